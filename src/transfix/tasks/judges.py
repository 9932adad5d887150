"""How generated answers are judged: each judge takes the answer out of a text and scores it against the reference.

A judge's first metric is the score of its tasks; the others are kept beside it. All scores are from 0 to 1 and higher is
better, so that every table, interval and test treats them alike.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from transfix.data.example import Example

if TYPE_CHECKING:
    from transfix.statistics.metrics import Counted

CorpusCount = Callable[[Sequence[str], Sequence[Sequence[str]], str], "Counted"]

UNKNOWN, ENGLISH = "und", "eng_Latn"
"""A row that does not say its language is read as an English one where that matters (1,234 is a thousand and more)."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found in a generated text.

    Attributes:
        answer: the answer that was judged.
        scores: metric -> score from 0 to 1.
        parsed: whether an answer was found at all.
    """

    answer: str
    scores: Mapping[str, float]
    parsed: bool = True


@dataclass(frozen=True, slots=True)
class Judge:
    """A way of judging.

    Attributes:
        metrics: what it scores, the main one first.
        title: for tables: the main metric's name and what it depends on.
        judge: (generated text, row) -> judgement.
        by_prompt: whether the answer is read in the prompt's language rather than the row's (an English prompt gets English
            reasoning with English separators).
        corpus: the metrics of a whole language, which are no means over rows, and what counts for them: (answers, accepted
            answers of each, language of the answers) -> what is added up over rows.
        modules: of the extra `generation`, without which it cannot judge.
    """

    metrics: tuple[str, ...]
    title: str
    judge: Callable[[str, Example], Judgement]
    by_prompt: bool = False
    corpus: Mapping[str, CorpusCount] = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    def require(self) -> None:
        """Finds out, before texts are generated, whether they can be judged.

        Raises:
            TransfixError: if a package is not installed; the message says how to install it.
        """
        from transfix.tasks.judging import extra

        for module in self.modules:
            extra.load(module)


def references(example: Example) -> tuple[str, ...]:
    """All accepted answers of a row."""
    return example.answers or ((example.label,) if example.label is not None else ())


def _spans(text: str, example: Example) -> Judgement:
    from transfix.tasks.judging import spans

    answer, accepted = text.strip(), references(example)
    scores: dict[str, float] = {}
    if not accepted:
        return Judgement(answer, scores, bool(answer))
    for name, suffix in (("squad", ""), ("mlqa", "_mlqa")):
        scores[f"f1{suffix}"] = spans.f1(answer, accepted, name, example.language)
        scores[f"exact_match{suffix}"] = spans.exact_match(answer, accepted, name, example.language)
    return Judgement(answer, scores, bool(answer))


def _number(text: str, example: Example) -> Judgement:
    from transfix.tasks.judging import numbers

    found = numbers.extract_number(text, ENGLISH if example.language == UNKNOWN else example.language)
    right = found.number is not None and any(numbers.same_number(found.number, one) for one in references(example))
    answer = "" if found.number is None else f"{found.number:f}"
    return Judgement(answer, {"exact_match": float(right)}, found.number is not None)


def _text(text: str, example: Example) -> Judgement:
    from transfix.tasks.judging import spans

    answer, accepted = text.strip(), references(example)
    if not accepted:
        return Judgement(answer, {}, bool(answer))
    scores = {
        "exact_match": spans.exact_match(answer, accepted, "mlqa", example.language),
        "f1": spans.f1(answer, accepted, "mlqa", example.language),
    }
    return Judgement(answer, scores, bool(answer))


def _translation(text: str, example: Example) -> Judgement:
    from transfix.tasks.judging import texts

    answer, accepted = text.strip(), references(example)
    scores = {"chrf": texts.sentence_chrf(answer, accepted)} if accepted else {}
    return Judgement(answer, scores, bool(answer))


def _bleu(answers: Sequence[str], accepted: Sequence[Sequence[str]], language: str) -> Counted:
    from transfix.tasks.judging import texts

    return texts.bleu_counts(answers, accepted, language)


def _chrf(answers: Sequence[str], accepted: Sequence[Sequence[str]], language: str) -> Counted:
    from transfix.tasks.judging import texts

    return texts.chrf_counts(answers, accepted)


def answer_language(example: Example) -> str:
    """The language that the answer to a row is in: a translation's target, else the row's own."""
    from transfix import languages

    target = example.fields.get("target_language")
    return languages.get(target).code if target else example.language


def _summary(text: str, example: Example) -> Judgement:
    from transfix.tasks.judging import texts

    answer, accepted = text.strip(), references(example)
    if not accepted:
        return Judgement(answer, {}, bool(answer))
    scores = texts.rouge(answer, accepted, example.language)
    return Judgement(answer, {name: scores[name] for name in ("rougeL", "rouge1", "rouge2")}, bool(answer))


_HARNESS_NUMBER = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _harness_number(text: str, example: Example) -> Judgement:
    """lm-evaluation-harness' mgsm: its `flexible-extract` filter and its exact match without case and punctuation."""
    found = _HARNESS_NUMBER.findall(text)
    last = next((group for group in found[-1] if group), "[invalid]").strip() if found else "[invalid]"
    if not (accepted := references(example)):
        return Judgement(last, {}, bool(found))
    scores = {"exact_match": _same(last, accepted[0]), "exact_match_whole": _same(text.strip(), accepted[0])}
    return Judgement(last, scores, bool(found))


def _same(answer: str, reference: str) -> float:
    return float(answer.lower().translate(_PUNCTUATION) == reference.lower().translate(_PUNCTUATION))


JUDGES: Mapping[str, Judge] = {
    "spans": Judge(
        ("f1", "exact_match", "f1_mlqa", "exact_match_mlqa"), "F1 (squad normaliser, as XQuAD publishes)", _spans
    ),
    "number": Judge(("exact_match",), "exact match of the number", _number, by_prompt=True),
    "text": Judge(("exact_match", "f1"), "exact match (mlqa normaliser)", _text),
    "translation": Judge(
        ("chrf",),
        "chrF++ of sentences",
        _translation,
        corpus={"corpus_bleu": _bleu, "corpus_chrf": _chrf},
        modules=("sacrebleu",),
    ),
    "summary": Judge(("rougeL", "rouge1", "rouge2"), "ROUGE-L F1", _summary, modules=("rouge_score",)),
    "harness_number": Judge(
        ("exact_match", "exact_match_whole"), "exact match, as lm-evaluation-harness extracts it", _harness_number
    ),
}
"""By the name that a task file gives (`judge: spans`)."""
