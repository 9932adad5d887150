"""Word problems of primary-school mathematics: GSM8K, MGSM, AfriMGSM."""

from __future__ import annotations

import re
from collections.abc import Iterator

from transfix.data.benchmarks.facts import ENGLISH, Benchmark, HubHome, Values
from transfix.data.example import BadRowError
from transfix.data.tables import Record

MARK = "####"
"""Stands between the reasoning and the number in GSM8K."""

_ANNOTATION = re.compile(r"<<.*?>>")

QUESTION_WORDS = (
    "প্রশ্ন",
    "Frage",
    "Question",
    "Pregunta",
    "問題",
    "Задача",
    "Swali",
    "ప్రశ్న",
    "โจทย์",
    "问题",
)
ANSWER_WORDS = (
    "ধাপে ধাপে উত্তর",
    "Schritt-für-Schritt-Antwort",
    "Step-by-Step Answer",
    "Respuesta paso a paso",
    "Réponse étape par étape",
    "ステップごとの答え",
    "Пошаговое решение",
    "Jibu la Hatua kwa Hatua",
    "దశలవారీగా సమాధానం",
    "คำตอบทีละขั้นตอน",
    "逐步解答",
)
"""How question and answer of MGSM's exemplars begin, before a colon, in its 11 languages."""

_QUESTION = re.compile(rf"\s*(?:{'|'.join(QUESTION_WORDS)})\s*[:：]\s*")
_ANSWER = re.compile(rf"\s*(?:{'|'.join(ANSWER_WORDS)})\s*[:：]\s*")


def split_solution(row: Values) -> Values:
    """GSM8K's answer as `reasoning`, the text before `####` without calculator annotations, and `label`, the number.

    Raises:
        BadRowError: if there is no `####`, or no number after it.
    """
    answer = row.get("label")
    if answer is None or answer == "":
        return row
    reasoning, mark, number = str(answer).rpartition(MARK)
    if not mark:
        raise BadRowError(f"the answer has no {MARK} before its number")
    if not number.strip():
        raise BadRowError(f"the answer has no number after {MARK}")
    return {**row, "reasoning": _ANNOTATION.sub("", reasoning).strip(), "label": number}


def bare_texts(row: Values) -> Values:
    """Question and reasoning without the words that introduce them in MGSM's exemplars (`Frage:`)."""
    cut = dict(row)
    for field, introduction in (("question", _QUESTION), ("reasoning", _ANSWER)):
        text = row.get(field)
        if isinstance(text, str) and (found := introduction.match(text)):
            cut[field] = text[found.end() :]
    return cut


def exemplars(document: object) -> Iterator[Record]:
    """The chain-of-thought exemplars of `exemplars.json`, eight a language.

    Raises:
        BadRowError: if `document` is not laid out so at its top.
    """
    texts = document.get("MGSM_EXEMPLARS") if isinstance(document, dict) else None
    numbers = document.get("EXEMPLAR_NUMBER_ANSWERS") if isinstance(document, dict) else None
    if not isinstance(texts, dict) or not isinstance(numbers, list):
        raise BadRowError("expected an object with MGSM_EXEMPLARS and EXEMPLAR_NUMBER_ANSWERS, as in exemplars.json")
    for language, by_number in texts.items():
        for key, exemplar in by_number.items() if isinstance(by_number, dict) else ():
            where = f"MGSM_EXEMPLARS.{language}.{key}"
            number = int(key) - 1 if key.isdecimal() else -1
            if not isinstance(exemplar, dict) or not 0 <= number < len(numbers):
                yield Record(where, {"language": language}, "expected an object under a number that has an answer")
                continue
            names = {"q": "question", "a": "reasoning"}
            values = {names[name]: exemplar[name] for name in names if name in exemplar}
            yield Record(where, {**values, "answer_number": numbers[number], "language": language})


MGSM_COLUMNS = {
    "question": ("question",),
    "label": ("answer_number", "label", "answer"),
    "reasoning": ("reasoning", "answer"),
}

BENCHMARKS = (
    Benchmark(
        name="gsm8k",
        fields=("question",),
        optional=("reasoning",),
        classes=(),
        label_aliases={},
        columns={"question": ("question",), "label": ("answer",)},
        splits=("train", "test"),
        reference="number",
        prepare=split_solution,
        monolingual=ENGLISH,
        hub={"openai/gsm8k": HubHome("main"), "gsm8k": HubHome("main")},
    ),
    Benchmark(
        name="mgsm",
        fields=("question",),
        optional=("reasoning",),
        classes=(),
        label_aliases={},
        columns=MGSM_COLUMNS,
        splits=("train", "test"),
        reference="number",
        prepare=bare_texts,
        document=exemplars,
        companions={"train": "exemplars.json"},
        row_parallel=True,
        hub={"juletxara/mgsm": HubHome("{lang}")},
    ),
    Benchmark(
        name="afrimgsm",
        fields=("question",),
        optional=("reasoning",),
        classes=(),
        label_aliases={},
        columns=MGSM_COLUMNS,
        splits=("train", "test"),
        reference="number",
        quoted_tsv=True,
        prepare=bare_texts,
        row_parallel=True,
        hub={"masakhane/afrimgsm": HubHome("{lang}")},
    ),
)
