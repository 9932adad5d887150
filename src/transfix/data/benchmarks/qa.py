"""Extractive question answering in SQuAD's layout: SQuAD, SQuADShifts, TyDiQA-GoldP, XQuAD, MLQA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from transfix.data.benchmarks.facts import ENGLISH, Benchmark, HubHome, Values
from transfix.data.example import BadRowError
from transfix.data.tables import Record

QA_COLUMNS = {
    "context": ("context",),
    "question": ("question",),
    "label": ("answers", "answer", "label"),
    "is_impossible": ("is_impossible",),
}
"""The names of SQuAD's JSON, which are the hub's too."""

SHIFTS = ("new_wiki", "nyt", "reddit", "amazon")

TYDIQA_LANGUAGES = {
    "arb_Arab": "arabic",
    "ben_Beng": "bengali",
    "eng_Latn": "english",
    "fin_Latn": "finnish",
    "ind_Latn": "indonesian",
    "kor_Hang": "korean",
    "rus_Cyrl": "russian",
    "swh_Latn": "swahili",
    "tel_Telu": "telugu",
}
"""FLORES-style code -> the name with which the official ids and files of TyDiQA-GoldP begin (`swahili-4-1`)."""

MLQA_LANGUAGES = {
    "arb_Arab": "ar",
    "deu_Latn": "de",
    "eng_Latn": "en",
    "spa_Latn": "es",
    "hin_Deva": "hi",
    "vie_Latn": "vi",
    "zho_Hans": "zh",
}


def squad_document(document: object) -> Iterator[Record]:
    """The questions of a SQuAD file: `{"data": [{"paragraphs": [{"context", "qas": [{"question", "answers"}]}]}]}`.

    Raises:
        BadRowError: if `document` is not laid out so at its top.
    """
    articles = document.get("data") if isinstance(document, dict) else None
    if not isinstance(articles, list):
        raise BadRowError('expected an object with a list "data", as in SQuAD')
    for number, article in enumerate(articles):
        for where, paragraph in _parts(article, "paragraphs", f"data[{number}]"):
            if isinstance(paragraph, str):
                yield Record(where, {}, paragraph)
                continue
            for place, question in _parts(paragraph, "qas", where):
                if isinstance(question, str):
                    yield Record(place, {}, question)
                else:
                    context = {"context": paragraph["context"]} if "context" in paragraph else {}
                    yield Record(place, {**question, **context})


def _parts(parent: Any, key: str, where: str) -> Iterator[tuple[str, dict[str, object] | str]]:
    """The objects in the list `parent[key]` with their places; a text says what is wrong in place of an object."""
    parts = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(parts, list):
        missing = isinstance(parent, dict) and key not in parent
        yield where, f"{key!r} is missing" if missing else f"expected an object with a list {key!r}"
        return
    for number, part in enumerate(parts):
        place = f"{where}.{key}[{number}]"
        yield place, part if isinstance(part, dict) else f"a JSON {type(part).__name__}, not an object"


def _answerable(row: Values) -> Values:
    if row.get("is_impossible") is True:
        raise BadRowError(
            "has no answer (is_impossible): questions without an answer, as in SQuAD 2, are not asked here"
        )
    return row


def _language_in_id(row: Values) -> str | None:
    """The language of an official TyDiQA id (`swahili-8831-1`), `None` for other ids."""
    name, dash, _ = str(row.get("official_id")).partition("-")
    return name if dash and name in TYDIQA_LANGUAGES.values() else None


def _qa(name: str, splits: tuple[str, ...], hub: Mapping[str, HubHome], **facts: Any) -> Benchmark:
    columns = facts.pop("columns", {**QA_COLUMNS, "id": ("id",)})
    return Benchmark(
        name=name,
        fields=("context", "question"),
        classes=(),
        label_aliases={},
        columns=columns,
        splits=splits,
        reference="texts",
        spans_in="context",
        prepare=_answerable,
        document=squad_document,
        hub=hub,
        **facts,
    )


_SHIFTS_HOME = HubHome(
    configs={"train": SHIFTS[0], **{name: name for name in SHIFTS[1:]}},
    splits=dict.fromkeys(("train", *SHIFTS[1:]), "test"),
)

BENCHMARKS = (
    _qa(
        "squad",
        ("train", "validation"),
        monolingual=ENGLISH,
        hub={"rajpurkar/squad": HubHome(), "squad": HubHome()},
    ),
    # Its four sets are tests, officially. New Wikipedia, drawn as SQuAD's own articles were, is the English training set
    # here, so `train` is its canonical name and `new_wiki` an alias; the other three keep theirs.
    _qa(
        "squadshifts",
        ("train", *SHIFTS[1:]),
        monolingual=ENGLISH,
        split_aliases={"train": SHIFTS[:1]},
        hub={"ludwigschmidt/squadshifts": _SHIFTS_HOME, "squadshifts": _SHIFTS_HOME},
    ),
    # Copies of its English part carry ids that count the questions of one article, so ids are not taken from the file.
    _qa(
        "tydiqa",
        ("train", "validation"),
        columns={**QA_COLUMNS, "official_id": ("id",)},
        language_of=_language_in_id,
        own_codes=TYDIQA_LANGUAGES,
        hub={
            "google-research-datasets/tydiqa": HubHome("secondary_task"),
            "tydiqa": HubHome("secondary_task"),
        },
    ),
    _qa(
        "xquad",
        ("validation",),
        split_aliases={"validation": ("test",)},
        row_parallel=True,
        hub={"google/xquad": HubHome("xquad.{lang}"), "xquad": HubHome("xquad.{lang}")},
    ),
    _qa(
        "mlqa",
        ("validation", "test"),
        own_codes=MLQA_LANGUAGES,
        hub={"facebook/mlqa": HubHome("mlqa.{lang}.{lang}"), "mlqa": HubHome("mlqa.{lang}.{lang}")},
    ),
)
