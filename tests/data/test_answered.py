"""Answers written beside the rows they answer: as they were read, in every form."""

from __future__ import annotations

import datetime
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transfix import data
from transfix.data.answered import columns_of, content_of, form_of
from transfix.data.unlabelled import read_own_rows

TEXTS = ["=cmd|'/c x'!A1", '"quoted"', "tab\there", "two\nlines", "a; b, c | d", "ü\u202e", " 12 ", "\ra\rb"]
ADDED = [{"answer": "x", "probabilities": {"x": 0.75, "y": 0.25}} for _ in TEXTS]


def written(target: Path, rows: Sequence[Mapping[str, Any]], source: Path | None = None) -> bytes:
    return content_of(target, rows, ADDED[: len(rows)], source or Path(__file__), list(range(len(rows))))


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.jsonl", "out.parquet", "out.jsonl.gz", "out.csv.gz"])
def test_texts_are_left_as_they_are(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.write_bytes(written(target, [{"text": text, "n": str(n)} for n, text in enumerate(TEXTS)]))
    if name.endswith((".csv", ".tsv", ".csv.gz")):
        content = gzip.decompress(target.read_bytes()) if name.endswith(".gz") else target.read_bytes()
        mark = "\t" if "tsv" in name else ","
        frame = pd.read_csv(io.BytesIO(content), sep=mark, dtype=str, keep_default_na=False, lineterminator="\n")
        assert list(frame) == ["text", "n", "answer", "probability_x", "probability_y"]
        assert list(frame["probability_x"]) == ["0.75"] * len(TEXTS)
        found = list(frame["text"])
    else:
        found = [str(row["text"]) for row in read_own_rows(target, ["text"]).rows]
    assert found == TEXTS


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.jsonl", "out.parquet"])
def test_what_is_written_can_be_asked_again(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(written(tmp_path / name, [{"text": text} for text in TEXTS]))
    assert [row["text"] for row in read_own_rows(tmp_path / name, ["text"]).rows] == TEXTS


def test_cells_that_are_no_texts(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"a": None, "b": [1, "ü"], "c": True, "d": float("nan")}, {"a": 1.5, "e": "x"}]
    assert written(tmp_path / "x.csv", rows).decode() == (
        'a,b,c,d,e,answer,probability_x,probability_y\n,"[1, ""ü""]",true,,,x,0.75,0.25\n1.5,,,,x,x,0.75,0.25\n'
    )


def test_types_of_parquet_are_kept(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["a", "b", "c"],
            "n": pa.array([1, None, 3], pa.int8()),
            "when": pa.array([1, 2, 3], pa.timestamp("ns", tz="Asia/Tokyo")),
            "raw": [b"\xff", b"", None],
        }
    ).replace_schema_metadata({"huggingface": "{}", "own": "kept"})
    pq.write_table(table, tmp_path / "in.parquet")
    own = read_own_rows(tmp_path / "in.parquet", ["text"])
    content = content_of(tmp_path / "x.parquet", [own.rows[0], own.rows[2]], ADDED[:2], tmp_path / "in.parquet", [0, 2])
    found = pq.read_table(io.BytesIO(content))
    assert found.select(table.column_names).equals(table.take([0, 2]))
    assert found["probabilities"].to_pylist() == [{"x": 0.75, "y": 0.25}] * 2
    assert found.schema.metadata == {b"own": b"kept"}
    with pytest.raises(data.DataError, match="value of type bytes, which no text holds: write parquet"):
        written(tmp_path / "x.jsonl", list(own.rows))


def test_typed_values_in_jsonl(tmp_path: Path) -> None:
    (line,) = written(tmp_path / "x.jsonl", [{"when": datetime.date(2026, 1, 2)}]).decode().splitlines()
    assert json.loads(line)["when"] == "2026-01-02"
    assert written(tmp_path / "x.csv", [{"when": datetime.date(2026, 1, 2)}]).splitlines()[1].startswith(b"2026-01-02,")


def test_parquet_wants_one_type_a_column(tmp_path: Path) -> None:
    mixed: list[dict[str, Any]] = [{"a": 1}, {"a": "x"}]
    with pytest.raises(
        data.DataError, match="column 'a' has values of several types, which parquet has not: write jsonl"
    ):
        written(tmp_path / "x.parquet", mixed)


def test_forms() -> None:
    names = {
        "a.csv": "csv",
        "a.TSV": "tsv",
        "a.csv.gz": "csv",
        "a.parquet": "parquet",
        "a.jsonl": "jsonl",
        "a": "jsonl",
    }
    assert {name: form_of(Path(name)) for name in names} == names
    assert form_of(Path("answers.txt")) == "jsonl"
    for name in ("a.xlsx", "a.ARROW", "a.parquet.gz", "a.csv.zip"):
        with pytest.raises(data.DataError, match=rf"{name}: no .+ is written: name a file .jsonl, .csv"):
            form_of(Path(name))
    assert columns_of("csv", ADDED[0]) == ["answer", "probability_x", "probability_y"]
    assert columns_of("parquet", ADDED[0]) == ["answer", "probabilities"]
