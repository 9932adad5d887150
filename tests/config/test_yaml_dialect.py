"""The YAML of specifications and task files: what a person writes is what is read, and a mistake is shown with its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from transfix.config import yaml_dialect
from transfix.errors import TransfixError


def file(directory: Path, text: str) -> Path:
    path = directory / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


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
        ("[" * 5000, "not valid YAML"),
        ("seed: !!int 09\n", "not valid YAML"),
    ],
)
def test_what_is_not_yaml(tmp_path: Path, text: str, pattern: str) -> None:
    path = file(tmp_path, text)
    with pytest.raises(TransfixError) as caught:
        yaml_dialect.read(path)
    assert str(caught.value).startswith(str(path))
    assert re.search(pattern, str(caught.value)), str(caught.value)


def test_every_repeated_key_with_its_line() -> None:
    text = "a: 1\nb: {c: 1, c: 2, c: 3}\na: 2\n1: x\n'1': y\n"
    found, problems = yaml_dialect.parse(text, "here")
    assert found == {"a": 2, "b": {"c": 3}, "1": "y"}
    assert [str(problem) for problem in problems] == [
        "line 3, column 1: the key 'a' is given a second time (first in line 1)",
        "line 5, column 1: the key '1' is given a second time (first in line 4)",
        "line 2, column 11: the key 'c' is given a second time (first in line 2)",
        "line 2, column 17: the key 'c' is given a second time (first in line 2)",
    ]


def test_keys_are_the_text_that_is_written() -> None:
    text = "{1: a, true: b, no: c, null: d, 0x1: e, 1.50: f, 2024-01-01: g}"
    assert yaml_dialect.parse(text, "here") == (
        {"1": "a", "true": "b", "no": "c", "null": "d", "0x1": "e", "1.50": "f", "2024-01-01": "g"},
        [],
    )


def test_aliases() -> None:
    assert yaml_dialect.parse("a: &x [1, 2]\nb: *x\nc: {<<: &y {d: 1}, e: 2}\n", "here") == (
        {"a": [1, 2], "b": [1, 2], "c": {"d": 1, "e": 2}},
        [],
    )
    found, (problem,) = yaml_dialect.parse("a: &x [1, *x, *x]\nb: 2\n", "here")
    assert found == {"a": [1, None, None], "b": 2}
    assert str(problem) == "line 1, column 11: the alias *x contains itself"


def test_aliases_that_would_write_out_a_huge_document() -> None:
    bomb = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 36))])
    _, problems = yaml_dialect.parse(bomb, "here")
    assert str(problems[0]) == "line 12, column 12: the alias *a10 would write out more than 10,000 values"
    assert 1 < len({problem.what for problem in problems}) == len(problems)


def test_half_a_character() -> None:
    found, problems = yaml_dialect.parse('a: "\\ud800"\n', "here")
    assert problems == []
    assert yaml_dialect.plain(found, "", problems) == {"a": "\\ud800"}
    assert [str(problem) for problem in problems] == [
        "a: '\\\\ud800' holds half a character (a lone surrogate), which is no text"
    ]


def test_what_is_written_reads_the_same_by_yaml_1_1() -> None:
    data = {
        "no": "no",
        "1e-2": "1e-2",
        "rate": 0.01,
        "tiny": 1e-07,
        "huge": 1e22,
        "on": [True, None, "12e4567", "1:30"],
    }
    assert yaml.safe_load(yaml_dialect.dump(data)) == data
    assert yaml_dialect.parse(yaml_dialect.dump(data), "here") == (data, [])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("")
    with pytest.raises(TransfixError, match=r"no such file.*other\.yaml"):
        yaml_dialect.read(tmp_path / "nothing.yaml")
    with pytest.raises(TransfixError, match="is a directory"):
        yaml_dialect.read(tmp_path)
    with pytest.raises(TransfixError, match="no such file"):
        yaml_dialect.read(tmp_path / "no" / "where.yaml")
    (tmp_path / "latin.yaml").write_bytes("model: é".encode("latin-1"))
    with pytest.raises(TransfixError, match="not UTF-8"):
        yaml_dialect.read(tmp_path / "latin.yaml")
    (tmp_path / "marked.yaml").write_bytes(b"\xef\xbb\xbfmodel: m\nadapter: base\n")
    assert yaml_dialect.read(tmp_path / "marked.yaml") == ({"model": "m", "adapter": "base"}, [])
