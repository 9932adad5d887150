"""Cells, headers and line ends that text files may have and a reader can stumble over."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transfix import data
from transfix.data import Benchmark
from transfix.data.unlabelled import read_unlabelled

TOPICS = Benchmark(
    name="topics",
    fields=("text",),
    classes=("billing", "delivery", "quality"),
    label_aliases={},
    columns={"text": ("text",), "label": ("topic",)},
    splits=("test",),
    languages_given=("eng_Latn",),
    numbered_labels=False,
)
STARS = Benchmark(
    name="stars",
    fields=("text",),
    classes=("1", "2", "3"),
    label_aliases={},
    columns={"text": ("text",), "label": ("topic",)},
    splits=("test",),
    languages_given=("eng_Latn",),
    numbered_labels=False,
)


def load(path: Path, content: str, benchmark: Benchmark = TOPICS) -> list[data.Example]:
    path.write_text(content, encoding="utf-8", newline="")
    return data.load(benchmark, {"files": str(path)}, "en", "test")


def test_numbers_are_no_classes_of_a_task_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(data.DataError) as error:
        load(tmp_path / "x.csv", "text,topic\nA,billing\nB,2\n")
    (problem,) = error.value.problems
    assert (problem.where, problem.what) == (f"{tmp_path / 'x.csv'}:3", "label '2' is not one of the classes")
    assert "label (billing, delivery, quality)" in str(error.value)
    rows = load(tmp_path / "x.jsonl", '{"text": "a", "topic": 2}\n{"text": "b", "topic": "3"}\n', STARS)
    assert [row.label for row in rows] == ["2", "3"]
    with pytest.raises(data.DataError, match=r"label 0 is not one of the classes"):
        load(tmp_path / "x.jsonl", '{"text": "a", "topic": 0}\n', STARS)


def test_class_names_of_a_typed_source_still_count(tmp_path: Path) -> None:
    info = json.dumps({"info": {"features": {"label": {"names": ["quality", "billing"], "_type": "ClassLabel"}}}})
    table = pa.table({"text": ["a", "b"], "topic": [1, 0]}).replace_schema_metadata({"huggingface": info})
    pq.write_table(table, tmp_path / "x.parquet")
    rows = data.load(TOPICS, {"files": str(tmp_path / "x.parquet")}, "en", "test")
    assert [row.label for row in rows] == ["billing", "quality"]


@pytest.mark.parametrize("separator", [",", "\t"])
def test_repeated_columns(tmp_path: Path, separator: str) -> None:
    lines = [["text", "text", "topic"], ["a", "b", "billing"]]
    with pytest.raises(data.DataError, match="its header names more than one column 'text'; rename"):
        load(tmp_path / "x.csv", "".join(separator.join(line) + "\n" for line in lines))
    unnamed = "text,topic,,\na,billing,,\n"
    assert load(tmp_path / "x.csv", unnamed)[0].label == "billing"


def test_half_characters(tmp_path: Path) -> None:
    whole = json.dumps({"text": "\U0001f600", "topic": "billing"})
    content = whole + '\n{"text": "a\\ud800", "topic": "billing"}\n{"text": "a", "topic": "\\uDC00"}\n'
    with pytest.raises(data.DataError) as error:
        load(tmp_path / "x.jsonl", content)
    assert [problem.what for problem in error.value.problems] == [
        f"holds half a character (\\u{code}, a lone surrogate), which is no text" for code in ("d800", "dc00")
    ]
    with pytest.raises(data.DataError, match="half a character"):
        read_unlabelled(tmp_path / "x.jsonl")
    dialogue = [[["M: \ud800"], [{"question": "Q?", "choice": ["a", "b", "c"], "answer": "c"}], "1"]]
    (tmp_path / "d.json").write_text(json.dumps(dialogue))
    with pytest.raises(data.DataError, match="half a character"):
        data.load("dream", {"files": str(tmp_path / "d.json")}, "en", "train")


@pytest.mark.parametrize("name", ["x.csv", "x.tsv"])
def test_lines_that_end_with_carriage_returns_alone(tmp_path: Path, name: str) -> None:
    separator = "," if name == "x.csv" else "\t"
    content = "".join(f"{text}{separator}{label}\r" for text, label in (("text", "topic"), ("a", "billing")))
    with pytest.raises(data.DataError, match="its lines end with CR alone"):
        load(tmp_path / name, content)
    assert load(tmp_path / name, content.replace("\r", "\r\n"))[0].fields == {"text": "a"}


def test_long_cells(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    text = "x" * 200_000
    (row,) = load(tmp_path / "x.csv", f"text,topic\n{text},billing\n")
    assert row.fields["text"] == text
    assert load(tmp_path / "x.csv", f"text,topic,{text}\na,billing,b\n")[0].label == "billing"
    with pytest.raises(data.DataError) as error:
        load(tmp_path / "x.csv", f"text,theme,{text}\na,billing,b\n")
    assert len(str(error.value)) < 1000
    with pytest.raises(data.DataError, match="in no known layout"):
        load(tmp_path / "x.csv", "y" * 20_000_000 + "\n")
    assert csv.field_size_limit() == before
