"""Text cut into the words that ROUGE counts, in every script.

`rouge-score`'s own tokenizer keeps `a-z0-9` and deletes everything else: a Hindi summary has no words there. Here a word is
a run of letters, marks and digits of any script (Unicode categories L, M and N; the joiners U+200C and U+200D belong to
it), in lower case and NFC. Where words are not separated:

- Chinese: jieba's words; Thai: PyThaiNLP's `newmm`.
- Japanese: single characters; Lao, Khmer, Burmese: clusters of a letter and its marks, as `segments.segment` cuts them.

Only English is stemmed (Porter, words of more than three letters), as `use_stemmer=True` does in `rouge-score`: for ASCII
text in English both give the same words.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from transfix import languages
from transfix.tasks.judging import extra
from transfix.tasks.judging.segments import segment

_JOINERS = "\u200c\u200d"
# Segmenters and the stemmer take more than linear time on runs of letters that no language has, but models produce.
_LONGEST_CLAUSE = 500
_LONGEST_STEM = 50


def words(text: str, language: str) -> list[str]:
    """The words of a text.

    Args:
        text: any text.
        language: its language: a FLORES code (`tha_Thai`) or anything else `languages.get` understands.

    Raises:
        TransfixError: if the language needs a segmenter that is not installed.
        UnknownLanguageError: if the language is unknown.
    """
    entry = languages.get(language)
    runs = _runs(text)
    if entry.script in ("Hans", "Hant"):
        cut = extra.chinese_words()
        return [word for run in runs for clause in _clauses(run) for word in cut(clause)]
    if entry.script == "Thai":
        cut = extra.thai_words()
        return [word for run in runs for clause in _clauses(run) for word in cut(clause)]
    if entry.script in ("Jpan", "Laoo", "Khmr", "Mymr"):
        return [word for run in runs for word in segment(run, entry.script)]
    if entry.code == "eng_Latn":
        stem = extra.english_stem()
        return [stem(run) if 3 < len(run) <= _LONGEST_STEM else run for run in runs]
    return runs


def _runs(text: str) -> list[str]:
    lowered = unicodedata.normalize("NFC", text).lower()
    return "".join(char if _in_word(char) else " " for char in lowered).split()


@cache
def _in_word(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN" or char in _JOINERS


def _clauses(run: str) -> list[str]:
    return [run[start : start + _LONGEST_CLAUSE] for start in range(0, len(run), _LONGEST_CLAUSE)]
