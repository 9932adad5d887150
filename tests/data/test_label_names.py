"""What numbers stand for: one way for the hub, parquet and Arrow files, whatever their column is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transfix import data
from transfix.data import Benchmark
from transfix.data.label_names import names_of, whole

NAMES = ["quality", "billing", "spam"]


def own(classes: tuple[str, ...] = ("billing", "delivery", "quality", "spam"), **changes: Any) -> Benchmark:
    facts: dict[str, Any] = {
        "name": "topics",
        "fields": ("text",),
        "classes": classes,
        "label_aliases": {},
        "columns": {"text": ("text",), "label": ("topic",)},
        "splits": ("test",),
        "languages_given": ("eng_Latn", "deu_Latn"),
        "numbered_labels": False,
    }
    return Benchmark(**{**facts, **changes})


def dataset(labels: list[Any], feature: Any = None, **columns: Any) -> datasets.Dataset:
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "topic": datasets.ClassLabel(names=NAMES) if feature is None else feature,
            **{name: given for name, (given, _) in columns.items()},
        }
    )
    content = {"text": [f"t{n}" for n in range(len(labels))], "topic": labels}
    return datasets.Dataset.from_dict({**content, **{k: v for k, (_, v) in columns.items()}}, features=features)


Place = Any
HOMES = ["parquet", "arrow", "arrow file", "hub"]


@pytest.fixture(params=HOMES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Puts a dataset somewhere and gives its source."""

    def put(rows: datasets.Dataset, **source: Any) -> dict[str, Any]:
        if request.param == "hub":
            monkeypatch.setattr(datasets, "load_dataset", lambda path, **options: rows)
            return {"hub": "me/mine", **source}
        if request.param == "parquet":
            path = tmp_path / "rows.parquet"
            rows.to_parquet(str(path))
        elif request.param == "arrow":
            rows.save_to_disk(str(tmp_path / "rows"))
            (path,) = (tmp_path / "rows").glob("*.arrow")
        else:
            path = tmp_path / "rows.feather"
            table = rows.with_format("arrow")[:]
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
        return {"files": str(path), **source}

    return put


def labels(benchmark: Benchmark, source: Any) -> list[str | None]:
    return [row.label for row in data.load(benchmark, source, "en", "test")]


def test_the_column_may_have_any_name(place: Place) -> None:
    assert labels(own(), place(dataset([0, 1, 2]))) == NAMES


def test_a_mapped_column(place: Place) -> None:
    benchmark = own(columns={"text": ("text",), "label": ("label",)})
    assert labels(benchmark, place(dataset([1, 0]), columns={"label": "topic"})) == ["billing", "quality"]


def test_minus_one_is_no_label(place: Place) -> None:
    read = data.read(own(), place(dataset([1, -1, 0])), "en", "test")
    assert [(row.id, row.label) for row in read.examples] == [("test-00000", "billing"), ("test-00002", "quality")]
    assert read.dropped == 1


def test_numbers_are_places_in_the_names_even_if_classes_are_numbers(place: Place) -> None:
    """Read by their looks these stars would all be one too few, and two of them the same."""
    stars = datasets.ClassLabel(names=["1", "2", "3"])
    assert labels(own(("1", "2", "3")), place(dataset([0, 1, 2], stars))) == ["1", "2", "3"]


def test_names_that_are_no_classes_are_said(place: Place) -> None:
    stars = datasets.ClassLabel(names=["1 star", "2 stars", "3 stars"])
    source = place(dataset([0, 1, 2], stars))
    with pytest.raises(data.DataError) as error:
        labels(own(("1", "2", "3")), source)
    assert error.value.count == 3
    assert (
        "label 1 is not one of the classes (the data calls it '2 stars': say which class that is with `labels`)"
        in str(error.value)
    )
    said = {"1 star": "1", "2 stars": "2", "3 stars": "3"}
    assert labels(own(("1", "2", "3")), {**source, "labels": said}) == ["1", "2", "3"]
    assert labels(own(("1", "2", "3")), {**source, "labels": {0: "3", 1: "2", 2: "1"}}) == ["3", "2", "1"]


def test_classes_that_are_the_numbers_themselves(place: Place) -> None:
    source = place(dataset([1, 0], datasets.ClassLabel(names=["negative", "positive"])))
    assert labels(own(("0", "1")), source) == ["1", "0"]


def test_several_labels_are_no_choice_but_texts(place: Place) -> None:
    source = place(dataset([[1, 0], [2]], [datasets.ClassLabel(names=NAMES)]))
    with pytest.raises(
        data.DataError, match=r"label \[1, 0\] is not one of the classes \(a list, and a choice has one"
    ):
        labels(own(), source)
    read = data.load(own((), reference="texts"), source, "en", "test")
    assert [row.answers for row in read] == [("billing", "quality"), ("spam",)]


def test_other_columns_of_numbers(place: Place) -> None:
    languages = datasets.ClassLabel(names=["en", "de"])
    source = place(dataset([1, 0, 2], language=(languages, [1, 0, 1])))
    assert [row.fields["text"] for row in data.load(own(), source, "de", "test")] == ["t0", "t2"]
    read = data.load(
        own(
            fields=("text", "topic"),
            columns={"text": ("text",), "topic": ("topic",), "label": ("language",)},
            classes=("en", "de"),
        ),
        source,
        "en",
        "test",
    )
    assert [(row.fields["topic"], row.label) for row in read] == [("billing", "de"), ("quality", "en"), ("spam", "de")]


@pytest.mark.parametrize("values", [[1.0, 0.0, None], ["1.0", "0.0", ""]])
def test_numbers_that_pandas_made_fractions(tmp_path: Path, values: list[Any]) -> None:
    pq.write_table(pa.table({"text": ["a", "b", "c"], "topic": values}), tmp_path / "x.parquet")
    with pytest.raises(data.DataError) as error:
        labels(own(("0", "1")), {"files": str(tmp_path / "x.parquet")})
    assert [problem.what for problem in error.value.problems] == ["empty label"]
    source = {"files": str(tmp_path / "x.parquet"), "labels": {0: "0", 1: "1"}}
    assert [row.label for row in data.load(own(("0", "1")), source, "en", "test", on_bad_rows="skip")] == ["1", "0"]


def test_nan_is_an_empty_cell(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a", "topic": NaN}\n{"text": NaN, "topic": "spam"}\n')
    with pytest.raises(data.DataError) as error:
        labels(own(), {"files": str(tmp_path / "x.jsonl")})
    assert [problem.what for problem in error.value.problems] == ["empty label", "empty text"]


def test_what_numbers_mean_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a", "topic": 2}\n{"text": "b", "topic": -1}\n')
    with pytest.raises(data.DataError) as error:
        labels(own(), {"files": str(tmp_path / "x.jsonl")})
    assert "say what numbers mean with `labels: {2: CLASS}`" in str(error.value)
    assert "-1 often means that a row has none: leave such rows out" in str(error.value)


def test_features_in_every_way_they_are_written() -> None:
    label = {"names": ["a", "b"], "_type": "ClassLabel"}
    for feature in (
        label,
        {"names": ["a", "b"], "num_classes": 2},
        [label],
        {"feature": label, "_type": "Sequence", "length": -1},
        {"feature": label, "_type": "List"},
    ):
        assert names_of({"x": feature}) == {"x": ("a", "b")}
    assert names_of({"x": {"dtype": "string", "_type": "Value"}, "y": {"names": {"dtype": "string"}}}) == {}
    assert names_of(None) == names_of([label]) == {}


def test_whole_numbers() -> None:
    for value, number in ((1, 1), (1.0, 1), ("1", 1), ("1.0", 1), ("-1", -1), (0.0, 0), ("0", 0)):
        assert whole(value) == number
    for other in (True, 1.5, "01", "1.00", "1e3", "", "-", "١", "-0", None, float("nan"), float("inf"), "9" * 5000):
        assert whole(other) is None


def test_an_arrow_file_that_is_cut_off(tmp_path: Path) -> None:
    dataset([0, 1]).save_to_disk(str(tmp_path / "rows"))
    (path,) = (tmp_path / "rows").glob("*.arrow")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(data.DataError, match=r"not a readable arrow file|cannot be read beyond row"):
        labels(own(), {"files": str(path)})
