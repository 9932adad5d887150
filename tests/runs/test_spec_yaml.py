"""The YAML of a specification: what a person writes is what is read, and a mistake is shown with its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from transfix.config import yaml_dialect
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
    "text",
    [
        "1e-2",
        "yes",
        "No",
        "on",
        "1_0",
        "0x1f",
        "12e4567",
        ".5",
        "2024-01-01",
        "1:30",
        "=",
        "~",
        "",
        " yes",
        "a: b",
        "{x}",
        "#",
        "tab\t",
        "end\n",
        "\n",
        "—",
        "नहीं",
        "\u2028",
        "\x07",
        "'",
        '"',
        "&a",
        "*a",
        "!x",
        "- x",
        "<<",
        "null",
        "0123",
    ],
)
def test_text_survives_yaml(text: str) -> None:
    written = yaml_dialect.dump({"key": text, text or "empty": 1})
    assert yaml_dialect.parse(written, "here") == ({"key": text, text or "empty": 1}, [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-2", 0.01),
        ("1E5", 100000),
        ("-1e2", -100),
        ("+.5", 0.5),
        ("1.", 1.0),
        ("1_000", 1000),
        ("0x1f", 31),
        ("0", 0),
        ("-5", -5),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("yes", "yes"),
        ("off", "off"),
        ("012", "012"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        ("12e4567", "12e4567"),
        ("1.5e3", 1500.0),
    ],
)
def test_scalars(text: str, value: object) -> None:
    found, _ = yaml_dialect.parse(text, "here")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("model: x\n  bad: y\n", "line 2, column 6"),
        ("model: {premise} {hypothesis}\n", "line 1, column 18"),
        ("model: [a\n", "line 2"),
        ("model: x\n\tadapter: y", "line 2, column 1"),
        ("model: !!python/object:os.system x\n", "line 1, column 8"),
        ("model: *nothing\n", "line 1, column 8"),
        ("a: 1\n---\nb: 2\n", "line 2"),
        ("model: a\x00b", "line 1.*U\\+0000"),
        ("", "is empty.*model, revision"),
        ("- a\n", "holds \\['a'\\]"),
        ("just text", "holds 'just text'"),
        ("[" * 5000, "not valid YAML"),
        ("seed: !!int 09\n", "not valid YAML"),
    ],
)
def test_what_is_not_yaml(tmp_path: Path, text: str, pattern: str) -> None:
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


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("")
    with pytest.raises(TransfixError, match=r"no such file.*other\.yaml"):
        RunSpec.load(tmp_path / "nothing.yaml")
    with pytest.raises(TransfixError, match="is a directory"):
        RunSpec.load(tmp_path)
    with pytest.raises(TransfixError, match="no such file"):
        RunSpec.load(tmp_path / "no" / "where.yaml")
    (tmp_path / "latin.yaml").write_bytes("model: é".encode("latin-1"))
    with pytest.raises(TransfixError, match="not UTF-8"):
        RunSpec.load(tmp_path / "latin.yaml")
    (tmp_path / "marked.yaml").write_bytes(b"\xef\xbb\xbfmodel: m\nadapter: base\n")
    assert RunSpec.load(tmp_path / "marked.yaml").model == "m"
