"""The names of a package are those of the stub beside it, and are imported when they are first used."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import transfix

SOURCE = Path(transfix.__file__).parents[1]
STUBS = {
    ".".join(path.parent.relative_to(SOURCE).parts): path for path in sorted(SOURCE.glob("transfix/**/__init__.pyi"))
}


@pytest.mark.parametrize("package", STUBS)
def test_every_name_is_where_the_stub_says(package: str) -> None:
    imports = [node for node in ast.parse(STUBS[package].read_text()).body if isinstance(node, ast.ImportFrom)]
    where = {alias.name: f"{package}.{node.module}" for node in imports for alias in node.names}
    module = importlib.import_module(package)
    assert where
    assert dir(module) == sorted(where)
    for name, home in where.items():
        assert getattr(module, name) is getattr(importlib.import_module(home), name)
    with pytest.raises(AttributeError, match=f"{package} attribute nothing"):
        _ = module.nothing


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    assert "Did you mean: 'attach'?" in python("import transfix; transfix.attatch").stderr


def test_importing_packages_is_light() -> None:
    assert {"transfix", "transfix.models", "transfix.evaluation.generation"} <= set(STUBS)
    code = (
        f"import sys, {', '.join(STUBS)}; transfix.PrefixTuning(tokens=3)\n"
        "print([name for name in ('torch', 'transformers', 'pandas', 'datasets') if name in sys.modules])"
    )
    done = python(code)
    assert done.stdout.strip() == "[]", done.stderr
