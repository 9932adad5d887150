r"""The final number of a worked answer: after the marker, after the language's answer phrase, or the last one.

The first rule that finds a number decides, and `Extracted.how` says which it was:

1. `marker`: `#### N`, GSM8K's own. The first one, as in GSM8K's script: what a model writes after it is another question.
2. `phrase`: the earliest of the language's answer phrase (those of MGSM's and AfriMGSM's exemplars), the English one,
   `\boxed{N}`, and a line that ends in `Answer: N`, in English or the language. Words may stand between phrase and
   number (`Jibu ni dola 15`), but no end of a sentence. Of a calculation, `The answer is 5 + 6 = 11.`, the result.
3. `last`: the last number of the text.
4. `none`: there is no number. Numbers spelled out in words are not read.

`numerals` says how digits and separators are read. Where the format is not the language's own, its conventions are: the
English phrase is followed by an English number, and after `####` and in `\boxed{}` a comma groups thousands in every
language (`2,125` is 2125 there, also in German), as in the English rows that models are trained on.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Literal

from transfix import languages
from transfix.tasks.judging.numerals import ENGLISH, Convention, Number, convention, numbers, prepare

How = Literal["marker", "phrase", "last", "none"]


@dataclass(frozen=True, slots=True)
class Extracted:
    """The answer found in a text.

    Attributes:
        number: as it is written (`3.50` has two decimals); None if there is none: such answers are counted as unparsable.
        how: the rule that found it.
    """

    number: Decimal | None
    how: How


@dataclass(frozen=True, slots=True)
class Phrases:
    """How a language introduces an answer, as regular expressions; empty where nothing is known.

    Attributes:
        copula: "The answer is": a number follows in the same sentence.
        bare: "The answer": a number follows at once.
        noun: "Answer": counts with a colon and a number at the end of a line.
    """

    copula: str = ""
    bare: str = ""
    noun: str = ""


_ZULU = r"impendulo\s+(?:ithi|i?ngu)"
# MGSM: the phrases of its chain-of-thought exemplars (Shi et al. 2023), and close variants. The languages from Amharic
# on are AfriMGSM's (Adelani et al. 2024).
_PHRASES: Mapping[str, Phrases] = {
    "eng": Phrases(r"answer\s+is\b", noun="answer"),
    "ben": Phrases("উত্তর\\s*(?:টি\\s*)?(?:হলো|হল|হচ্ছে)", noun="উত্তর"),
    "deu": Phrases(r"antwort\s+(?:ist|lautet|beträgt)\b", noun="antwort"),
    "spa": Phrases(r"respuesta\s+(?:final\s+|correcta\s+)?es\b", noun="respuesta"),
    "fra": Phrases(r"réponse\s+(?:finale\s+|correcte\s+)?est\b", noun="réponse"),
    "jpn": Phrases("(?:答え|解答|回答|正解|答案|答)は", noun="答え|答"),
    "rus": Phrases(r"ответ\s*(?:[—–-]|\s(?:равен|равна|это|будет)\b)", noun="ответ"),
    "swh": Phrases(r"jibu\s+(?:la\s+mwisho\s+)?ni\b", noun="jibu"),
    "tel": Phrases(bare="సమాధానం", noun="సమాధానం"),
    "tha": Phrases("คำตอบ(?:สุดท้าย|ที่ถูกต้อง)?\\s*(?:คือ|เท่ากับ)", noun="คำตอบ"),
    "zho": Phrases("答案\\s*(?:应该|應該)?(?:是|为|為|等于|等於)", noun="答案|答"),
    "amh": Phrases(bare="መልሱ", noun="መልስ|መልሱ"),
    "ewe": Phrases(r"ŋuɖoɖoa?e?\s+nye\b"),
    "gaz": Phrases(bare=r"deebiin\s+isaa\b"),
    "hau": Phrases(r"amsar?\s+ita\s+ce\b", noun="amsa"),
    "ibo": Phrases(r"azịza\s+(?:ya\s+)?bụ\b"),
    "kin": Phrases(r"igisubizo\s+ni\b", noun="igisubizo"),
    "lin": Phrases(r"eyano\s+ezali\b", noun="eyano"),
    "lug": Phrases(r"eky['’]okuddamu\s+kiri\b"),
    "sna": Phrases(r"mhinduro\s+(?:ndeyekuti|ndeye|ndi)", noun="mhinduro"),
    "sot": Phrases(r"karabo\s+ke\b", noun="karabo"),
    "twi": Phrases(r"mmuae[ɛe]?\s+no\s+ne\b", noun="mmuae[ɛe]?"),
    "wol": Phrases(r"tontu\s+(?:li|bi)\s+mooy\b"),
    "xho": Phrases(_ZULU, noun="impendulo"),
    "yor": Phrases(r"[ìi]d[áa]h[ùu]n\s+(?:náà\s+|naa\s+|si\s+)?(?:ni|jẹ\u0301?)(?!\w)", noun="[ìi]d[áa]h[ùu]n"),
    "zul": Phrases(_ZULU, noun="impendulo"),
}

# What may stand before the number. Bounded, so that the time stays linear in the length of the text.
_SIGNS = r"[^\w\n]{0,20}?"
_WORDS = r"(?:[\s:：*]{0,20}?|[^\d\n.!?。！？।۔።]{0,40}?)"
_OPERATOR = r"[^\S\n]{0,3}([-–+*/×x÷·=]|\\times|\\div|\\cdot)"


def extract_number(text: str, language: str) -> Extracted:
    """The number that a text gives as its answer, by the order at the head of this module.

    Args:
        text: what the model wrote; the whole of it is read, so stop sequences belong before this.
        language: the language of the text: a FLORES code (`tha_Thai`) or anything else `languages.get` understands.

    Raises:
        UnknownLanguageError: if the language is unknown.
    """
    usual = convention(language)
    text = prepare(text)
    marker, *phrases = _rules(language)
    found = marker.find(text)
    if found is not None:
        return Extracted(found.value, "marker")
    candidates = [number for rule in phrases if (number := rule.find(text)) is not None]
    if candidates:
        return Extracted(min(candidates, key=lambda number: number.start).value, "phrase")
    last = deque(numbers(text, usual), maxlen=1)
    return Extracted(last[0].value, "last") if last else Extracted(None, "none")


def same_number(a: Decimal | str | None, b: Decimal | str | None) -> bool:
    """Whether two answers are the same number: 42, 42.0 and "42.00" are.

    Args:
        a: a number; or a text with exactly one, written as in English, as reference answers are in every language of MGSM
            (`2,125`, `$4.50`); or None.
        b: the same.

    Returns:
        False too if either is None or a text without exactly one number: an unparsable answer is never right.
    """
    first, second = _number(a), _number(b)
    return first is not None and second is not None and first == second


def _number(value: Decimal | str | None) -> Decimal | None:
    if not isinstance(value, str):
        return value
    found = [number.value for number in numbers(prepare(value), ENGLISH)]
    return found[0] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class _Rule:
    """A pattern that ends right before the digits of the answer, and how these are separated."""

    pattern: re.Pattern[str]
    convention: Convention

    def find(self, text: str) -> Number | None:
        match = self.pattern.search(text)
        return _result(text, match.end(), self.convention) if match else None


def _result(text: str, start: int, convention: Convention) -> Number:
    """The number at `start`, or if a calculation begins there, 5 + 6 = 11, what stands after its last equals sign."""
    first = result = next(numbers(text, convention, start))
    operator = _operator(convention)
    end, calculated = first.end, False
    while step := operator.match(text, end):
        number = next(numbers(text, convention, step.end()))
        if step[1] == "=" and calculated:
            result = dataclasses.replace(number, start=first.start)
        calculated, end = calculated or step[1] != "=", number.end
    return result


@cache
def _operator(convention: Convention) -> re.Pattern[str]:
    return re.compile(rf"{_OPERATOR}[^\w\n]{{0,5}}?(?={convention.pattern})", re.IGNORECASE)


@cache
def _rules(language: str) -> tuple[_Rule, ...]:
    """The rule of the marker, then those of the phrases."""
    usual = convention(language)
    formal = dataclasses.replace(usual, groups="".join(sorted({*usual.groups, ","})))
    own = languages.get(language).iso639_3
    return (
        _rule("####", _SIGNS, formal),
        _rule(r"\\f?boxed\s{0,3}\{", r"[^\d\n}]{0,40}?", formal),
        *_phrase_rules(_PHRASES["eng"], ENGLISH),
        *(_phrase_rules(_PHRASES[own], usual) if own in _PHRASES and own != "eng" else ()),
    )


def _phrase_rules(phrases: Phrases, convention: Convention) -> Iterator[_Rule]:
    if phrases.copula:
        yield _rule(phrases.copula, _WORDS, convention)
    if phrases.bare:
        yield _rule(phrases.bare, r"[^\w\n:：.]{0,10}?", convention)
    if phrases.noun:
        # Exemplars open with "Step-by-Step Answer: 5 bagels for $3 each": an answer has no more numbers on its line.
        line = rf"(?={convention.pattern}[^\d\n]{{0,30}}(?:\n|\Z))"
        yield _rule(rf"(?:{phrases.noun})[^\S\n]{{0,3}}[:：]", _SIGNS + line, convention)


def _rule(phrase: str, between: str, convention: Convention) -> _Rule:
    pattern = unicodedata.normalize("NFC", rf"(?:{phrase}){between}(?={convention.pattern})")
    return _Rule(re.compile(pattern, re.IGNORECASE), convention)
