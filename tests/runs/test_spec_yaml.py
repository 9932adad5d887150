"""The YAML of a specification: mistakes of the file and of its values are said together, with their lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from transfix.errors import ProblemsError, TransfixError
from transfix.runs.specification import RunSpec


def file(directory: Path, text: str) -> Path:
    path = directory / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path) -> dict[str, str]:
    """Where -> the rest of each problem's line."""
    with pytest.raises(ProblemsError) as caught:
        RunSpec.load(path)
    return {item.where: item.what for item in caught.value.problems}


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("model: x\n  bad: y\n", "line 2, column 6"),
        ("", "is empty.*model, revision"),
        ("- a\n", "holds \\['a'\\]"),
        ("just text", "holds 'just text'"),
    ],
)
def test_what_is_no_specification(tmp_path: Path, text: str, pattern: str) -> None:
    path = file(tmp_path, text)
    with pytest.raises(TransfixError) as caught:
        RunSpec.load(path)
    assert str(caught.value).startswith(str(path))
    assert re.search(pattern, str(caught.value)), str(caught.value)


def test_repeated_keys(tmp_path: Path) -> None:
    found = problems(file(tmp_path, "model: a\nadapter: base\nmodel: b\ntrain: {task: mnli, task: mlni}\n"))
    assert "'model'" in found["line 3, column 1"]
    assert "line 1" in found["line 3, column 1"]
    assert "'task'" in found["line 4, column 21"]
    assert "train" in found, "the other problems are reported with them"


def test_a_value_that_contains_itself(tmp_path: Path) -> None:
    assert "contains itself" in str(problems(file(tmp_path, "model: m\nadapter: base\nevaluate: &a [*a]\n")))
