"""Whatever is wrong with a file ends in one message with the file, the lines, and what was expected."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from transfix import data

GOOD = "a\tb\tneutral\n"


def error_of(path: Path, content: bytes | str, **options: object) -> data.DataError:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(data.DataError) as error:
        data.load("xnli", {"files": str(path), **options}, "deu_Latn", "test")
    assert str(path) in str(error.value)
    return error.value


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (GOOD + "a\tb\n" + GOOD, ":2: 2 tab-separated columns, expected 3"),
        (GOOD + "a\tb\tneutral\textra\n", ":2: 4 tab-separated columns, expected 3"),
        (GOOD + " \tb\tneutral\n", ":2: empty premise"),
        (GOOD + "a\t\tneutral\n", ":2: empty hypothesis"),
        (GOOD + "a\tb\tperhaps\n", ":2: label 'perhaps' is not one of the classes"),
        ("s1\ts2\tgold\n" + GOOD, ":1: label 'gold' is not one of the classes (a header? name its columns"),
        (GOOD + "\n" + GOOD, ":2: empty line"),
        ("premise\thypothesis\tlabel\na\tb\n", ":2: 2 tab-separated columns, expected 3"),
        ("premise,hypothesis,label\na,b\n", ":2: 2 comma-separated columns, expected 3"),
        ('premise,hypothesis,label\na,b,neutral\na,"b\nc,neutral\n', ":3: not valid csv from here"),
        ('{"premise": "a", "hypothesis": "b", "label": 1}\n{"premise": "a"\n', ":2: not valid JSON"),
        ('{"premise": "a", "hypothesis": "b", "label": 1}\n[1]\n', ":2: a JSON list, not an object"),
        (
            '{"premise": "a", "hypothesis": "b", "label": 1}\n{"premise": "a", "label": 1}\n',
            ":2: 'hypothesis' is missing",
        ),
        ('{"premise": "a"\n{"premise": "a", "hypothesis": "b", "label": 1}\n', ":1: not valid JSON"),
        ('{"premise": 5, "hypothesis": "b", "label": 1}\n', ":1: premise is 5, not a text"),
        ('{"premise": "a", "hypothesis": "b", "label": 7}\n', ":1: label 7 is not one of the classes"),
        ('{"premise": "a", "hypothesis": "b", "label": true}\n', ":1: label True is not one of the classes"),
        ('{"premise": "a", "hypothesis": "b", "label": null}\n', ":1: empty label"),
        ('{"premise": "a", "hypothesis": "b", "label": -1}\n', ":1: label -1 is not one of the classes"),
        (b"a\tb\tneutral\na\xff\tb\tneutral\n", ":2: not UTF-8: byte 0xff at column 2"),
    ],
)
def test_bad_rows(tmp_path: Path, content: bytes | str, what: str) -> None:
    error = error_of(tmp_path / "rows", content)
    assert error.count == 1
    assert what in str(error)
    assert "expected premise, hypothesis (not empty) and label (entailment, neutral, contradiction" in str(error)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is empty"),
        (gzip.compress(b""), "is empty"),
        ("premise\thypothesis\tlabel\n", "has no rows"),
        ("Just some prose.\n", "in no known layout: 'Just some prose.'; expected tab-separated premise"),
        ("[{}]\n", "a JSON array: write one object a line"),
        ("premise\thypothesis\tscore\na\tb\tc\n", "column label: missing, looked for 'label' or 'gold_label'"),
        ('{"premise": "a", "label": 1}\n', "column hypothesis: missing"),
        ("a\tb\tneutral\n".encode("utf-16"), "UTF-16"),
        (gzip.compress(GOOD.encode() * 1000)[:-12], "cannot be read"),
        (b"PAR1 and nothing more", "not a readable parquet"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes | str, what: str) -> None:
    assert what in str(error_of(tmp_path / "rows", content))


def test_all_bad_rows_are_counted_and_twenty_shown(tmp_path: Path) -> None:
    error = error_of(tmp_path / "rows.tsv", GOOD + "a\tb\n" * 1234 + "a\tb\tno\n")
    assert error.count == 1235
    assert len(error.problems) == 20
    assert "1,235 bad lines" in str(error)
    assert str(error).endswith("... and 1,215 more")


def test_bad_rows_after_the_limit_are_found(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text(GOOD * 5 + "a\tb\n", encoding="utf-8")
    with pytest.raises(data.DataError, match=":6: 2 tab-separated columns"):
        data.load("xnli", {"files": str(path)}, "de", "test", limit=2)


def test_wrong_format_is_not_guessed_around(tmp_path: Path) -> None:
    assert ":1: not valid JSON" in str(error_of(tmp_path / "rows", GOOD, format="jsonl"))
    assert "columns are missing" in str(error_of(tmp_path / "rows", GOOD, format="csv"))


def test_wrong_language(tmp_path: Path) -> None:
    content = '{"premise": "a", "hypothesis": "b", "label": 1, "language": "fr"}\n' * 3
    assert "no rows in deu_Latn; the languages of its rows: fr (3)" in str(error_of(tmp_path / "rows", content))


def test_columns_and_labels_that_do_not_exist(tmp_path: Path) -> None:
    error = error_of(tmp_path / "rows", GOOD, columns={"premis": "a"}, labels={"x": "maybe"})
    assert [problem.where for problem in error.problems] == ["columns.premis", "labels.x"]
    error = error_of(tmp_path / "rows", "premise\thypothesis\tlabel\na\tb\tneutral\n", columns={"language": "tongue"})
    assert "column language: missing, looked for 'tongue'" in str(error)


def test_ids_must_be_unique(tmp_path: Path) -> None:
    content = "premise\thypothesis\tlabel\tkey\n" + "a\tb\tneutral\tk\n" * 2
    assert "'k' stands on more than one row" in str(error_of(tmp_path / "rows", content, columns={"id": "key"}))


def test_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match="does not exist"):
        data.load("xnli", {"files": str(tmp_path / "x.tsv")}, "de", "test")
    with pytest.raises(data.DataError, match="is a directory"):
        data.load("xnli", {"files": str(tmp_path)}, "de", "test")


def test_names_that_do_not_exist() -> None:
    with pytest.raises(data.DataError, match="unknown benchmark 'xnly': did you mean xnli"):
        data.load("xnly", "snapshot", "de", "test")
    with pytest.raises(data.DataError, match=r"xnli has no split 'tets' \(allowed: train, validation, test\)"):
        data.load("xnli", "snapshot", "de", "tets")
    with pytest.raises(data.DataError, match="limit is 0"):
        data.load("xnli", "snapshot", "de", "test", 0)
