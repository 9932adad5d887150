"""Rows for `transfix predict`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from transfix import data
from transfix.data.unlabelled import read_own_rows


def test_rows_are_kept_as_they_are(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "premise": "p", "hypothesis": "h ", "language": "deu_Latn", "label": None, "price": 3.5},
        {"premise": "p", "hypothesis": "h", "tags": ["x"]},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    assert data.read_unlabelled(path, ("premise", "hypothesis")) == rows
    zipped = tmp_path / "rows.jsonl.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert data.read_unlabelled(str(zipped)) == rows


def test_all_malformed_rows_at_once(tmp_path: Path) -> None:
    lines = [
        '{"premise": "p", "hypothesis": "h"}',
        "{",
        "3",
        '{"premise": "p"}',
        '{"premise": "", "hypothesis": 4}',
        '{"premise": "p", "hypothesis": "h", "language": 7}',
        "",
        '{"premise": "p", "hypothesis": "h"}',
    ]
    path = tmp_path / "rows.jsonl"
    path.write_bytes("\n".join(lines).encode() + b'\n{"premise": "\xff"}')
    with pytest.raises(data.DataError) as error:
        data.read_unlabelled(path, ("premise", "hypothesis"))
    assert [problem.where for problem in error.value.problems] == [f"{path}:{line}" for line in (2, 3, 4, 5, 6, 7, 9)]
    assert "'hypothesis' is missing" in str(error.value)
    assert "'premise' is '', not a text; 'hypothesis' is 4, not a text" in str(error.value)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_no_rows(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(data.DataError, match="has no rows"):
        data.read_unlabelled(tmp_path / "rows.jsonl")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match="does not exist"):
        data.read_unlabelled(tmp_path / "rows.jsonl")
    with pytest.raises(data.DataError, match="is a directory"):
        data.read_unlabelled(tmp_path)


def test_columns_of_the_users_own_are_not_looked_at(tmp_path: Path) -> None:
    row = {"id": 7, "label": 3, "premise": "p", "hypothesis": "h", "language": None, "label_2": [1]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    assert data.read_unlabelled(tmp_path / "rows.jsonl", ("premise", "hypothesis")) == [row]


ROWS = [
    {"n": "1", "text": 'a "b"', "label": "x"},
    {"n": "2", "text": "tab\there; and, there\nbelow", "label": ""},
    {"n": "3", "text": "=1+1", "label": "y"},
]


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.txt", "rows.CSV"])
@pytest.mark.parametrize("mark", [",", "\t", ";", "|"])
def test_delimited_rows(tmp_path: Path, name: str, mark: str) -> None:
    pd.DataFrame(ROWS).to_csv(tmp_path / name, sep=mark, index=False)
    assert data.read_unlabelled(tmp_path / name, ["text"]) == ROWS


def test_one_column(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text\none\ntwo\n")
    assert data.read_unlabelled(tmp_path / "rows.csv", ["text"]) == [{"text": "one"}, {"text": "two"}]


def test_typed_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "when": pd.to_datetime(["2026-01-01", "2026-01-02"]), "n": [1.5, None]})
    frame.to_parquet(tmp_path / "rows.parquet")
    found = read_own_rows(tmp_path / "rows.parquet", ["text"])
    assert [row["text"] for row in found.rows] == ["a", "b"]
    assert found.names == [f"{tmp_path / 'rows.parquet'}, row 0", f"{tmp_path / 'rows.parquet'}, row 1"]


def test_a_missing_column_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("premise,other\na,b\nc,d\n")
    with pytest.raises(data.DataError, match=r"has no column 'hypothesis'.*read as csv with header.*premise, other"):
        data.read_unlabelled(tmp_path / "rows.csv", ["premise", "hypothesis"])


def test_bad_rows_are_skipped_and_all_are_named(tmp_path: Path) -> None:
    lines = ['{"text": "one", "note": 3}', "{", *['{"text": ""}'] * 30, '{"text": "two"}', '{"text": NaN}']
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    found = read_own_rows(tmp_path / "rows.jsonl", ["text"], on_bad_rows="skip")
    assert [row["text"] for row in found.rows] == ["one", "two"]
    assert (found.places, found.skipped, len(found.problems)) == ([1, 33], 32, 32)
    assert found.problems[0].where == f"{tmp_path / 'rows.jsonl'}:2"
    with pytest.raises(data.DataError, match="none of its rows can be used; 34 are bad"):
        read_own_rows(tmp_path / "rows.jsonl", ["text"], ["note"], lambda row: ["I say so"], "skip")
    with pytest.raises(data.DataError, match="'note' is 3, not a text"):
        read_own_rows(tmp_path / "rows.jsonl", ["text"], ["note"])


def test_what_cannot_be_read_further_is_no_bad_row(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('text,n\nok,1\n"open,2\nx,3\n')
    with pytest.raises(data.DataError, match=r"rows\.csv:3: not valid csv from here"):
        read_own_rows(tmp_path / "rows.csv", ["text"], on_bad_rows="skip")
