"""`on_bad_rows: skip`: bad rows are left out and counted, the others keep their ids, unreadable files stay errors."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import datasets
import pytest

from transfix import data

GOOD = "a\tb\tneutral\n"


def read(path: Path, content: bytes | str, **options: object) -> data.Rows:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return data.read("xnli", {"files": str(path)}, "de", "test", on_bad_rows="skip", **options)


def test_the_others_keep_their_ids(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = [GOOD, "a\tb\n", GOOD, "\n", "\n", GOOD, "a\t\tno\n", "a\t\xff\tneutral\n", GOOD]
    with caplog.at_level(logging.WARNING):
        rows = read(tmp_path / "x.tsv", "".join(content).encode("latin-1"))
    assert [row.id for row in rows.examples] == ["test-00000", "test-00002", "test-00005", "test-00008"]
    assert rows.skipped == 5  # the row with two problems counts once
    assert [problem.where.rsplit(":", 1)[1] for problem in rows.problems] == ["2", "4", "5", "7", "7", "8"]
    assert "x.tsv: 5 bad rows skipped, the first:" in caplog.text


def test_rows_without_gold_label_are_not_bad(tmp_path: Path) -> None:
    rows = read(tmp_path / "x.tsv", GOOD + "a\tb\t-\n" + "a\tb\tno\n")
    assert (len(rows.examples), rows.dropped, rows.skipped) == (1, 1, 1)


def test_nothing_bad(tmp_path: Path) -> None:
    rows = read(tmp_path / "x.tsv", GOOD * 3)
    assert (len(rows.examples), rows.skipped, rows.problems) == (3, 0, ())


def test_the_first_problems_are_kept(tmp_path: Path) -> None:
    rows = read(tmp_path / "x.tsv", GOOD + "a\tb\n" * 50, limit=1)
    assert (rows.skipped, len(rows.problems)) == (50, 20)


def test_second_row_of_an_id(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("key,premise,hypothesis,label\nk,a,b,neutral\nk,c,d,entailment\nm,e,f,neutral\n", encoding="utf-8")
    source = {"files": str(path), "columns": {"id": "key"}}
    rows = data.read("xnli", source, "de", "test", on_bad_rows="skip")
    assert [(row.id, row.fields["premise"]) for row in rows.examples] == [("k", "a"), ("m", "e")]
    assert rows.problems[0].where == f"{path}:3"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is empty"),
        ("Just some prose.\n", "in no known layout"),
        ("premise\thypothesis\tscore\na\tb\tc\n", "column label: missing"),
        ('premise,hypothesis,label\na,b,neutral\na,"b\n', "not valid csv from here"),
        (gzip.compress(GOOD.encode() * 1000)[:-12], "cannot be read"),
        ("a\tb\n" * 3, "none of its rows can be used; 3 are bad"),
    ],
)
def test_errors_all_the_same(tmp_path: Path, content: bytes | str, what: str) -> None:
    with pytest.raises(data.DataError) as error:
        read(tmp_path / "rows", content)
    assert what in str(error.value)


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"premise": ["a", "", "c"], "hypothesis": ["d", "e", "f"], "label": [0, 1, 9]}
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **options: datasets.Dataset.from_dict(columns))
    rows = data.read("xnli", {"hub": "me/x"}, "de", "test", on_bad_rows="skip")
    assert ([row.id for row in rows.examples], rows.skipped) == (["test-00000"], 2)
    assert [problem.where for problem in rows.problems] == [
        "hub me/x, split test, row 1",
        "hub me/x, split test, row 2",
    ]


def test_bad_rows_of_the_wanted_language_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("language,premise,hypothesis,label\nfr,a,b,neutral\nde,a,,neutral\n", encoding="utf-8")
    with pytest.raises(data.DataError, match=r"none of its rows can be used; 1 are bad\n.*:3: empty hypothesis"):
        data.read("xnli", {"files": str(path)}, "de", "test", on_bad_rows="skip")


def test_only_error_and_skip(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text(GOOD)
    with pytest.raises(data.DataError, match=r"on_bad_rows is 'ignore' \(allowed: error, skip\)"):
        data.load("xnli", {"files": str(tmp_path / "x.tsv")}, "de", "test", on_bad_rows="ignore")  # type: ignore[arg-type]
