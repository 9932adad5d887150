"""A user's own task: its facts are a `Benchmark` that she builds, and every source reads its rows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transfix import data
from transfix.data import Benchmark, benchmarks

REVIEWS = Benchmark(
    name="reviews",
    fields=("text",),
    optional=("product",),
    classes=("good", "bad"),
    label_aliases={},
    columns={"text": ("review", "text"), "product": ("product",), "label": ("verdict",)},
    splits=("train", "test"),
    languages_given=("eng_Latn", "deu_Latn", "swh_Latn"),
)
ANSWERS = Benchmark(
    name="capitals",
    fields=("country",),
    classes=(),
    label_aliases={},
    columns={"country": ("country",), "label": ("capital",)},
    splits=("test",),
    reference="texts",
    languages_given=("eng_Latn",),
)
SUMS = dataclasses.replace(
    ANSWERS, name="sums", fields=("a", "b"), columns={"a": ("a",), "b": ("b",), "label": ("sum",)}, reference="number"
)


def test_classes_in_three_languages(tmp_path: Path) -> None:
    for code, text in (("en", "Fine."), ("deu_Latn", 'Schön, "sehr".'), ("sw", "Nzuri.")):
        quoted = text.replace('"', '""')
        (tmp_path / f"{code}.csv").write_text(
            f'review,product,verdict\n"{quoted}",tea,good\nNo,,bad\n', encoding="utf-8"
        )
    source = {"files": str(tmp_path / "{lang}.csv")}
    data.check(REVIEWS, source, REVIEWS.languages, "test")
    assert data.load(REVIEWS, source, "German", "test") == [
        data.Example("test-00000", "deu_Latn", {"text": 'Schön, "sehr".', "product": "tea"}, "good"),
        data.Example("test-00001", "deu_Latn", {"text": "No"}, "bad"),
    ]
    assert data.read(REVIEWS, source, "swh_Latn", "train").origin.endswith("sw.csv")
    assert REVIEWS.own_code("sw") == "swh_Latn"


def test_one_file_with_a_language_column(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("language,review,verdict\nde,Ja,good\nsw,Ndiyo,good\nde,Nein,bad\n", encoding="utf-8")
    rows = data.load(REVIEWS, {"files": str(path)}, "de", "test")
    assert [row.fields["text"] for row in rows] == ["Ja", "Nein"]
    data.check(REVIEWS, {"files": str(path)}, ["de", "sw"], "test")


def test_optional_column_of_later_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"review": "a", "verdict": 0}\n{"review": "b", "verdict": "bad", "product": "tea"}\n')
    rows = data.load(REVIEWS, {"files": str(path)}, "en", "test")
    assert [row.fields for row in rows] == [{"text": "a"}, {"text": "b", "product": "tea"}]
    assert [row.label for row in rows] == ["good", "bad"]
    path.write_text('{"review": "a", "verdict": 0, "product": 7}\n')
    with pytest.raises(data.DataError, match="product is 7, not a text"):
        data.load(REVIEWS, {"files": str(path)}, "en", "test")


def test_texts(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("country,capital\nPeru,Lima\n")
    (row,) = data.load(ANSWERS, {"files": str(path)}, "en", "test")
    assert (row.label, row.answers) == ("Lima", ("Lima",))
    capitals = ["Sucre", "La Paz", "Sucre"]
    squad = {"text": capitals, "answer_start": [3, 9, 3]}  # no field to look into: places are not checked
    for number, capital in enumerate((capitals, squad)):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(json.dumps({"country": "Bolivia", "capital": capital}))
        (row,) = data.load(ANSWERS, {"files": str(path)}, "en", "test")
        assert (row.label, row.answers) == ("Sucre", ("Sucre", "La Paz"))
    pq.write_table(pa.table({"country": ["Bolivia"], "capital": [capitals]}), tmp_path / "x.parquet")
    (row,) = data.load(ANSWERS, {"files": str(tmp_path / "x.parquet")}, "en", "test")
    assert row.answers == ("Sucre", "La Paz")


def test_spans_are_checked_where_they_are_to_stand(tmp_path: Path) -> None:
    extraction = dataclasses.replace(
        ANSWERS, fields=("report",), columns={"report": ("report",), "label": ("part",)}, spans_in="report"
    )
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"report": "pump broken", "part": {"text": ["pump"], "answer_start": [1]}}))
    with pytest.raises(data.DataError, match="does not stand at answer_start 1 of the report"):
        data.load(extraction, {"files": str(path)}, "en", "test")


def test_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1, "b": 2.5, "sum": 3.5}\n{"a": "1,000", "b": "2", "sum": "1,002"}\n')
    rows = data.load(SUMS, {"files": str(path)}, "en", "test")
    assert [row.fields for row in rows] == [{"a": "1", "b": "2.5"}, {"a": "1,000", "b": "2"}]
    assert [(row.label, row.answers) for row in rows] == [("3.5", ("3.5",)), ("1002", ("1002",))]


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def load_dataset(path: str, name: str | None, **options: object) -> datasets.Dataset:
        asked.append(name)
        return datasets.Dataset.from_dict({"text": ["Ja"], "verdict": [1]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    (row,) = data.load(REVIEWS, {"hub": "me/reviews", "config": "{lang}"}, "de", "test")
    assert (row.label, asked) == ("bad", ["deu_Latn"])


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match=r"reviews has no split 'dev' \(allowed: train, test\)"):
        data.load(REVIEWS, "snapshot", "de", "dev")
    with pytest.raises(data.DataError, match="the snapshot has no reviews rows"):
        data.load(REVIEWS, "snapshot", "de", "test")
    (tmp_path / "x.csv").write_text("review,verdict\na,fine\n")
    source = {"files": str(tmp_path / "x.csv")}
    with pytest.raises(data.DataError, match=r"label 'fine' is not one of the classes"):
        data.load(REVIEWS, source, "de", "test")
    assert data.load(REVIEWS, {**source, "labels": {"fine": "good"}}, "de", "test")[0].label == "good"
    with pytest.raises(data.DataError, match="no labels here"):
        data.load(ANSWERS, {**source, "labels": {"fine": "good"}}, "de", "test")


def test_facts_that_do_not_fit() -> None:
    with pytest.raises(data.DataError) as error:
        dataclasses.replace(REVIEWS, fields=("text", "stars"), classes=())
    assert [problem.where for problem in error.value.problems] == ["columns.stars", "classes"]
    with pytest.raises(data.DataError, match="good, bad, where reference is texts"):
        dataclasses.replace(REVIEWS, reference="texts")


def test_files_of_a_benchmarks_layout_under_another_name(tmp_path: Path) -> None:
    """Whoever has SQuAD-like files in her own languages takes SQuAD's facts with these."""
    own = dataclasses.replace(
        benchmarks.get("squad"), name="manuals", monolingual=None, languages_given=("deu_Latn", "swh_Latn")
    )
    question = {"id": "1", "question": "Was?", "answers": [{"text": "Pumpe", "answer_start": 4}]}
    document = {"data": [{"paragraphs": [{"context": "Die Pumpe.", "qas": [question]}]}]}
    (tmp_path / "de.json").write_text(json.dumps(document))
    (row,) = data.load(own, {"files": str(tmp_path / "{lang}.json")}, "de", "train")
    assert (row.label, row.language) == ("Pumpe", "deu_Latn")
