"""Datasets of the hub, without a network: real ones in local directories, and a `load_dataset` that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from transfix import data

CLASSES = ["entailment", "neutral", "contradiction"]
LABEL = datasets.ClassLabel(names=CLASSES)


def nli(premise: str, labels: list[Any], label: Any = LABEL) -> datasets.Dataset:
    features = datasets.Features(
        {"premise": datasets.Value("string"), "hypothesis": datasets.Value("string"), "label": label}
    )
    columns = {"premise": [premise] * len(labels), "hypothesis": [f"h{i}" for i in range(len(labels))], "label": labels}
    return datasets.Dataset.from_dict(columns, features=features)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `load_dataset` was called with; it gives three rows."""
    seen: list[dict[str, Any]] = []

    def load_dataset(path: str, **options: Any) -> datasets.Dataset:
        seen.append({"path": path, **options})
        return nli("p", [2, 0, 1])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return seen


@pytest.mark.parametrize(
    ("benchmark", "source", "language", "split", "expected"),
    [
        ("xnli", {"hub": "facebook/xnli"}, "swh_Latn", "test", ("sw", "test", None)),
        (
            "xnli",
            {"hub": "facebook/xnli", "config": "all_languages"},
            "de",
            "dev",
            ("all_languages", "validation", None),
        ),
        ("mnli", {"hub": "nyu-mll/multi_nli"}, "en", "train", (None, "train", None)),
        ("mnli", {"hub": "nyu-mll/glue"}, "en", "dev_matched", ("mnli", "validation_matched", None)),
        ("afrixnli", {"hub": "masakhane/afrixnli"}, "gaz_Latn", "test", ("orm", "test", None)),
        (
            "xnli",
            {"hub": "me/x", "config": "c-{lang}", "split": "t", "revision": "v1"},
            "de",
            "test",
            ("c-de", "t", "v1"),
        ),
    ],
)
def test_what_is_asked_of_the_hub(
    calls: list[dict[str, Any]], benchmark: str, source: dict[str, str], language: str, split: str, expected: tuple[Any]
) -> None:
    examples = data.load(benchmark, source, language, split)
    name, hub_split, revision = expected  # type: ignore[misc]
    assert calls == [{"path": source["hub"], "name": name, "split": hub_split, "revision": revision}]
    assert [example.label for example in examples] == ["contradiction", "entailment", "neutral"]
    assert examples[2].id.endswith("-00002")


def test_nothing_is_fetched_for_a_language_it_has_not(calls: list[dict[str, Any]]) -> None:
    with pytest.raises(data.DataError, match=r"facebook/xnli has no jpn_Jpan \(allowed: arb_Arab, "):
        data.load("xnli", {"hub": "facebook/xnli"}, "jpn_Jpan", "test")
    assert calls == []


@pytest.fixture
def hub_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset repository as it lies on the hub: parquet files and the configurations in its README."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    directory = tmp_path / "xnli"
    directory.mkdir()
    lines = ["---", "configs:"]
    for code in ("de", "en"):
        nli(f"premise {code}", [0, 1, 2, -1, 1]).to_parquet(str(directory / f"{code}.parquet"))
        lines += [f"- config_name: {code}", "  data_files:", "  - split: test", f"    path: {code}.parquet"]
    (directory / "README.md").write_text("\n".join([*lines, "---", ""]), encoding="utf-8")
    return directory


def test_real_dataset_with_configurations(hub_directory: Path) -> None:
    source = {"hub": str(hub_directory), "config": "{lang}"}
    read = data.read("xnli", source, "deu_Latn", "test")
    assert [(example.id, example.label) for example in read.examples] == [
        ("test-00000", "entailment"),
        ("test-00001", "neutral"),
        ("test-00002", "contradiction"),
        ("test-00004", "neutral"),
    ]
    assert read.dropped == 1
    assert read.examples[0].fields == {"premise": "premise de", "hypothesis": "h0"}
    assert "config de, split test" in read.origin
    assert data.load("xnli", source, "en", "test", limit=2) == data.load("xnli", source, "en", "test")[:2]


def test_real_dataset_from_jsonl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    directory = tmp_path / "data"
    directory.mkdir()
    text = (
        '{"premise": "a", "hypothesis": "b", "label": "neutral"}\n{"premise": "a", "hypothesis": "", "label": "no"}\n'
    )
    (directory / "test.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(data.DataError) as error:
        data.load("afrixnli", {"hub": str(directory)}, "sw", "test")
    assert error.value.count == 2
    assert "row 1: empty hypothesis" in str(error.value)
    assert "row 1: label 'no' is not one of the classes" in str(error.value)


def test_configuration_or_split_that_does_not_exist(hub_directory: Path) -> None:
    with pytest.raises(data.DataError, match=r"(?s)config zh.*Name one of the dataset's configurations with `config:`"):
        data.load("xnli", {"hub": str(hub_directory), "config": "{lang}"}, "zh", "test")
    with pytest.raises(data.DataError, match=r"(?s)split train.*Name one of the dataset's splits with `split:`"):
        data.load("xnli", {"hub": str(hub_directory), "config": "de"}, "de", "train")


def test_all_languages_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """XNLI's configuration `all_languages` has all translations in a row."""
    codes = ["de", "en"]
    features = datasets.Features(
        {
            "premise": datasets.Translation(codes),
            "hypothesis": datasets.TranslationVariableLanguages(codes),
            "label": LABEL,
        }
    )
    row = {"premise": {"de": "Ja.", "en": "Yes."}, "hypothesis": {"de": "Nein.", "en": "No."}, "label": 2}
    dataset = datasets.Dataset.from_list([features.encode_example(row)] * 3, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **options: dataset)
    source = {"hub": "facebook/xnli", "config": "all_languages"}
    examples = data.load("xnli", source, "de", "test")
    expected = data.Example("test-00001", "deu_Latn", {"premise": "Ja.", "hypothesis": "Nein."}, "contradiction")
    assert examples[1] == expected
    with pytest.raises(data.DataError, match=r"no rows in fra_Latn; the languages of its rows: de \(3\), en \(3\)"):
        data.load("xnli", source, "fr", "test")


def test_class_names_count_not_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    label = datasets.ClassLabel(names=["contradiction", "neutral", "entailment"])
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **options: nli("p", [0, 1, 2], label))
    examples = data.load("mnli", {"hub": "me/nli"}, "en", "train")
    assert [example.label for example in examples] == ["contradiction", "neutral", "entailment"]
    label = datasets.ClassLabel(names=["no", "maybe", "yes"])
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **options: nli("p", [0, 1, 2], label))
    with pytest.raises(data.DataError, match="label 0 is not one of the classes"):
        data.load("mnli", {"hub": "me/nli"}, "en", "train")
    names = {"no": "contradiction", "maybe": "neutral", "yes": "entailment"}
    examples = data.load("mnli", {"hub": "me/nli", "labels": names}, "en", "train")
    assert [example.label for example in examples] == ["contradiction", "neutral", "entailment"]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ConnectionError("Couldn't reach 'facebook/xnli' on the Hub"), "use `data: snapshot` or local files"),
        (OSError("read timed out"), "use `data: snapshot` or local files"),
        (datasets.exceptions.DatasetNotFoundError("doesn't exist on the Hub or cannot be accessed"), "Check its name"),
    ],
)
def test_failures_say_what_to_do(monkeypatch: pytest.MonkeyPatch, error: Exception, advice: str) -> None:
    def load_dataset(path: str, **options: Any) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(data.DataError) as raised:
        data.load("xnli", {"hub": "facebook/xnli"}, "de", "test")
    assert advice in str(raised.value)
    assert "facebook/xnli, config de, split test" in str(raised.value)
