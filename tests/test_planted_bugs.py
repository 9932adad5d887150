"""The list of planted bugs follows the code: each can still be planted, and names a test that there is (`make planted`)."""

from __future__ import annotations

import ast
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def planted_bugs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("planted_bugs", ROOT / "scripts" / "planted_bugs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up their annotations
    spec.loader.exec_module(module)
    return module


@cache
def functions(file: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)}


def test_each_can_be_planted_and_names_its_test(planted_bugs: ModuleType) -> None:
    found = planted_bugs.bugs()
    wrong = []
    for bug in found:
        try:
            ast.parse(bug.planted((ROOT / "src" / "transfix" / bug.file).read_text("utf-8")))
        except (OSError, ValueError, SyntaxError) as error:
            wrong.append(f"{bug.bug}: {error}")
        file, _, name = bug.seen_by.partition("::")
        if not (ROOT / file).is_file() or name not in functions(ROOT / file):
            wrong.append(f"{bug.bug}: there is no test {bug.seen_by}")
    assert not wrong, "\n".join(wrong)
    assert len({bug.bug for bug in found}) == len(found) > 100


def test_what_stands_there_twice_is_not_planted(planted_bugs: ModuleType) -> None:
    bug = planted_bugs.Bug("a bug", "file.py", "x = 1", "x = 2", "tests/test_x.py::test_x")
    assert bug.planted("y = 0; x = 1") == "y = 0; x = 2"
    for text in ("x = 1; x = 1", "x = 3"):
        with pytest.raises(ValueError, match="the list must follow the code"):
            bug.planted(text)
