"""Exact match and F1 of short answers, by the rules of SQuAD v1.1 and of MLQA, each under its name.

Both rules normalise prediction and reference answer, cut them into tokens and compare:

    EM = 1 if the tokens are the same, in order, else 0
    F1 = 2 p r / (p + r),  p = n / (tokens of the prediction),  r = n / (tokens of the answer)

n counts the tokens in common, as multisets; F1 is 0 where n is 0. A row's score is the maximum over its reference
answers.
So that composed and decomposed characters are equal, every text is first brought to Unicode NFC: the only addition to the
published scripts. As in both scripts, two answers that are empty after normalising have EM 1 and F1 0.

`squad`: the evaluation script of SQuAD v1.1 (Rajpurkar et al. 2016). Lower case; ASCII punctuation removed; a, an, the
removed; cut at whitespace. Published XQuAD scores use it in every language.

`mlqa`: the evaluation script of MLQA (Lewis et al. 2020). Lower case; Unicode punctuation (every category P, and ASCII's)
removed; the language's articles removed; cut at whitespace, and in Chinese at every Han character too. Two of its
peculiarities are kept, or scores would not be comparable: in Arabic the letters of the article, ال, are removed wherever they
stand, also within a word, and leave a space; in Vietnamese its list holds words such as "của" that are no articles.
Beyond MLQA's seven languages: no articles are removed, and texts in scripts without spaces are cut as `segments.segment`
says (Japanese at characters, Thai at character clusters).
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from transfix import languages
from transfix.errors import TransfixError
from transfix.tasks.judging.segments import segment

Normaliser = Callable[[str, str], list[str]]
"""From a text and its language's code to the tokens that are compared."""

_ASCII_PUNCTUATION = frozenset(string.punctuation)

_ARTICLES: Mapping[str, re.Pattern[str]] = {
    code: re.compile(pattern)
    for code, pattern in {
        "eng_Latn": r"\b(a|an|the)\b",
        "spa_Latn": r"\b(un|una|unos|unas|el|la|los|las)\b",
        "vie_Latn": r"\b(của|là|cái|chiếc|những)\b",
        "deu_Latn": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
        "arb_Arab": "\u0627\u0644",
    }.items()
}


def _lower(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


def normalise_squad(text: str) -> str:
    """A text as SQuAD v1.1 compares it: its tokens, joined by single spaces."""
    kept = "".join(char for char in _lower(text) if char not in _ASCII_PUNCTUATION)
    return " ".join(_ARTICLES["eng_Latn"].sub(" ", kept).split())


def normalise_mlqa(text: str, language: str) -> list[str]:
    """The tokens of a text as MLQA compares them, by the rules of its language.

    Args:
        text: an answer.
        language: the language of the answer: a FLORES code (`zho_Hans`) or anything else `languages.get` understands.

    Raises:
        UnknownLanguageError: if the language is unknown.
    """
    entry = languages.get(language)
    kept = "".join(
        char for char in _lower(text) if char not in _ASCII_PUNCTUATION and unicodedata.category(char)[0] != "P"
    )
    articles = _ARTICLES.get(entry.code)
    return segment(articles.sub(" ", kept) if articles else kept, entry.script)


def _squad(text: str, language: str) -> list[str]:
    return normalise_squad(text).split()


NORMALISERS: Mapping[str, Normaliser] = {"squad": _squad, "mlqa": normalise_mlqa}
"""The normalisers by the names that tables state."""


def exact_match(prediction: str, answers: Sequence[str], normaliser: str, language: str) -> float:
    """Whether a prediction equals one of the reference answers after normalising: 1.0 or 0.0.

    Args:
        prediction: what the model answered.
        answers: the reference answers, at least one.
        normaliser: `squad` or `mlqa`.
        language: the language of the answers, as for `normalise_mlqa`.

    Raises:
        TransfixError: if the normaliser is unknown or there is no reference answer.
        UnknownLanguageError: if `mlqa` does not know the language.
    """
    predicted, references = _tokens(prediction, answers, normaliser, language)
    return float(any(predicted == reference for reference in references))


def f1(prediction: str, answers: Sequence[str], normaliser: str, language: str) -> float:
    """The F1 of a prediction's tokens against the reference answer it fits best, 0 to 1. See `exact_match`."""
    predicted, references = _tokens(prediction, answers, normaliser, language)
    return max(_f1(predicted, reference) for reference in references)


def _tokens(prediction: str, answers: Sequence[str], name: str, language: str) -> tuple[list[str], list[list[str]]]:
    if name not in NORMALISERS:
        raise TransfixError(f"unknown normaliser {name!r} (allowed: {', '.join(NORMALISERS)})")
    if isinstance(answers, str) or not answers:
        raise TransfixError(f"the reference answers of a row are {answers!r}; give a list with at least one text")
    normalise = NORMALISERS[name]
    return normalise(prediction, language), [normalise(answer, language) for answer in answers]


def _f1(predicted: list[str], reference: list[str]) -> float:
    common = sum((Counter(predicted) & Counter(reference)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(reference)
    return 2 * precision * recall / (precision + recall)
