"""What is asked of the hub for each benchmark, and what its columns there become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from transfix import data

CONTEXT = "Sie liegt an der Spree."
QA = {
    "id": "b1",
    "title": "Berlin",
    "context": CONTEXT,
    "question": "Woran?",
    "answers": {"text": ["der Spree", "Spree"], "answer_start": [13, 17]},
}
QA_FIELDS = {"context": CONTEXT, "question": "Woran?"}
OPTIONS = {"option_a": "a", "option_b": "b", "option_c": "c", "option_d": "d"}
DREAM = {"id": 3, "dialogue_id": "5-510", "dialogue": ["M: Hi.", "W: Oh."], "question": "Q?"}
BELEBELE = {
    "link": "x",
    "question_number": 1,
    "flores_passage": "P.",
    "question": "Q?",
    **{f"mc_answer{number}": option for number, option in enumerate("abcd", start=1)},
    "correct_answer_num": "4",
    "dialect": "tha_Thai",
    "ds": "2023-05-03",
}
NUMBER = {"answer": None, "equation_solution": None}

Case = tuple[
    str, str, str, str, tuple[str | None, str], dict[str, Any], tuple[str, dict[str, str], str, tuple[str, ...]]
]
SPREE = ("der Spree", ("der Spree", "Spree"))
CASES: list[Case] = [
    ("squad", "rajpurkar/squad", "en", "dev", (None, "validation"), QA, ("b1", QA_FIELDS, *SPREE)),
    ("squadshifts", "squadshifts", "en", "train", ("new_wiki", "test"), QA, ("b1", QA_FIELDS, *SPREE)),
    ("squadshifts", "squadshifts", "en", "reddit", ("reddit", "test"), QA, ("b1", QA_FIELDS, *SPREE)),
    ("xquad", "google/xquad", "zh", "test", ("xquad.zh", "validation"), QA, ("b1", QA_FIELDS, *SPREE)),
    ("mlqa", "facebook/mlqa", "de", "test", ("mlqa.de.de", "test"), QA, ("b1", QA_FIELDS, *SPREE)),
    (
        "tydiqa",
        "google-research-datasets/tydiqa",
        "sw",
        "train",
        ("secondary_task", "train"),
        {**QA, "id": "swahili-41-1"},
        ("train-00000", QA_FIELDS, *SPREE),
    ),
    (
        "gsm8k",
        "openai/gsm8k",
        "en",
        "train",
        ("main", "train"),
        {"question": "Q?", "answer": "1+1=<<1+1=2>>2\n#### 2"},
        ("train-00000", {"question": "Q?", "reasoning": "1+1=2"}, "2", ("2",)),
    ),
    (
        "mgsm",
        "juletxara/mgsm",
        "ja",
        "test",
        ("ja", "test"),
        {"question": "Q?", "answer_number": 70000, **NUMBER},
        ("test-00000", {"question": "Q?"}, "70000", ("70000",)),
    ),
    (
        "mgsm",
        "juletxara/mgsm",
        "fr",
        "train",
        ("fr", "train"),
        {**NUMBER, "question": "Question : Q ?", "answer": "Réponse étape par étape : 11.", "answer_number": 11},
        ("train-00000", {"question": "Q ?", "reasoning": "11."}, "11", ("11",)),
    ),
    (
        "afrimgsm",
        "masakhane/afrimgsm",
        "om",
        "test",
        ("orm", "test"),
        {"question": "Q?", "answer_number": 18, **NUMBER},
        ("test-00000", {"question": "Q?"}, "18", ("18",)),
    ),
    (
        "belebele",
        "facebook/belebele",
        "Thai",
        "test",
        ("tha_Thai", "test"),
        BELEBELE,
        ("x#1", {"passage": "P.", "question": "Q?", **OPTIONS}, "D", ()),
    ),
    (
        "dream",
        "dataset-org/dream",
        "en",
        "train",
        (None, "train"),
        {**DREAM, "choice": ["a", "b", "c"], "answer": "b"},
        (
            "train-00000",
            {"passage": "M: Hi.\nW: Oh.", "question": "Q?", "option_a": "a", "option_b": "b", "option_c": "c"},
            "B",
            (),
        ),
    ),
    (
        "mctest",
        "sagnikrayc/mctest",
        "en",
        "validation",
        ("mc500", "validation"),
        {"story": "P.", "question": "Q?", "answer_options": dict(zip("ABCD", "abcd", strict=True)), "answer": "C"},
        ("validation-00000", {"passage": "P.", "question": "Q?", **OPTIONS}, "C", ()),
    ),
    (
        "race",
        "ehovy/race",
        "en",
        "train",
        ("all", "train"),
        {"example_id": "high1.txt", "article": "P.", "question": "Q?", "options": ["a", "b", "c", "d"], "answer": "A"},
        ("train-00000", {"passage": "P.", "question": "Q?", **OPTIONS}, "A", ()),
    ),
    (
        "xlsum",
        "csebuetnlp/xlsum",
        "id",
        "test",
        ("indonesian", "test"),
        {"id": "x", "url": "u", "title": "t", "summary": "S.", "text": "T."},
        ("x", {"text": "T."}, "S.", ("S.",)),
    ),
]


@pytest.mark.parametrize(
    ("benchmark", "hub", "language", "split", "asked", "row", "expected"), CASES, ids=[f"{c[1]}-{c[3]}" for c in CASES]
)
def test_hub(
    monkeypatch: pytest.MonkeyPatch,
    benchmark: str,
    hub: str,
    language: str,
    split: str,
    asked: tuple[str | None, str],
    row: dict[str, Any],
    expected: tuple[str, dict[str, str], str, tuple[str, ...]],
) -> None:
    calls: list[tuple[str, str | None, str]] = []

    def load_dataset(path: str, name: str | None, split: str, revision: str | None) -> datasets.Dataset:
        calls.append((path, name, split))
        return datasets.Dataset.from_list([row])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data.check(benchmark, {"hub": hub}, [language], split)
    (example,) = data.load(benchmark, {"hub": hub}, language, split)
    assert calls == [(hub, *asked)]
    assert (example.id, example.fields, example.label, example.answers) == expected


@pytest.mark.parametrize("name", ["belebele", "xquad"])
def test_real_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Parquet files that `datasets` itself loads, with bad rows among them."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    directory = tmp_path / name
    directory.mkdir()
    good = {"belebele": BELEBELE, "xquad": QA}[name]
    bad = {
        "belebele": {**BELEBELE, "correct_answer_num": "5", "question_number": 2},
        "xquad": {**QA, "id": "b2", "answers": {"text": ["Spree"], "answer_start": [3]}},
    }[name]
    datasets.Dataset.from_list([good, bad, bad]).to_parquet(str(directory / "test.parquet"))
    source = {"hub": str(directory), "split": "test"}
    with pytest.raises(data.DataError, match="2 bad rows") as error:
        data.load(name, source, "th", "test")
    assert [problem.where.rsplit(", ", 1)[1] for problem in error.value.problems] == ["row 1", "row 2"]
    rows = data.read(name, source, "th", "test", on_bad_rows="skip")
    assert (len(rows.examples), rows.skipped) == (1, 2)


def test_tydiqa_has_all_languages_together(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ("arabic-1-1", "finnish-1-1", "arabic-2-1", "telugu-1-1")
    dataset = datasets.Dataset.from_list([{**QA, "id": identifier} for identifier in ids])
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **options: dataset)
    rows = data.load("tydiqa", {"hub": "tydiqa"}, "ar", "train")
    assert [row.id for row in rows] == ["train-00000", "train-00001"]
    assert len(data.load("tydiqa", {"hub": "tydiqa"}, "ar", "train", limit=1)) == 1


def test_languages_that_a_dataset_lacks() -> None:
    with pytest.raises(data.DataError, match="csebuetnlp/xlsum has no tgl_Latn"):
        data.check("xlsum", {"hub": "csebuetnlp/xlsum"}, ["id", "tl"], "test")
    with pytest.raises(data.DataError, match="google/xquad has no swh_Latn") as error:
        data.check("xquad", {"hub": "google/xquad"}, ["de", "sw", "ja"], "test")
    assert [problem.where for problem in error.value.problems] == ["sw", "ja"]


def test_local_export_of_the_hub(tmp_path: Path) -> None:
    """`Dataset.to_json` and `to_parquet` of a hub dataset are files like others."""
    dataset = datasets.Dataset.from_list([QA])
    dataset.to_parquet(str(tmp_path / "x.parquet"))
    (tmp_path / "x.jsonl").write_text(json.dumps(QA), encoding="utf-8")
    for name in ("x.parquet", "x.jsonl"):
        (row,) = data.load("squad", {"files": str(tmp_path / name)}, "en", "train")
        assert (row.id, row.answers) == ("b1", ("der Spree", "Spree"))
