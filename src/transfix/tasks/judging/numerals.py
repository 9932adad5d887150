"""Numbers in running text, read as the language writes them: digits of every script, separators by convention.

A number is read in this order; the first rule that fits decides:

1. No separator: an integer, of any length.
2. Unambiguous in every language. Groups of three digits, or as in India of three after groups of two, between several
   equal separators are thousands (`1.234.567`, `1,23,456`, `1 234 567`); a different last separator, `.`, `,` or `٫`,
   is the decimal one (`1,234.5`, `1.234,5`, `1 234,5`). The apostrophe, spaces that do not break (NBSP, narrow, thin,
   figure) and `٬` only ever group; `٫` is only ever decimal.
3. Ambiguous: one `.` or `,` between one to three digits (not beginning with 0) and exactly three, `1.234` or `1,234`.
   The language decides which of the two groups thousands; the other one is decimal (`Convention.groups`).
4. One `.` or `,` otherwise is decimal in every language: `3.50` in German is three and a half, and so are `3,50` in
   English, `0.125` and `1234.567` what they look like.
5. Whatever fits none of these is several numbers: `12.10.2020`, `1,2,3`.

An ordinary space groups thousands only where the language writes so (`Convention.space`). Signs: `-`, U+2212, its wide and
small forms and the en dash negate where nothing but a currency sign stands between them and the digits, and where they
follow neither a letter, nor a digit, nor a closing bracket (`9-5`, `9 -5`, `ngu-5` hold no negative number).
Currency and percent signs and units do not belong to the number; words (`million`, `万`, `लाख`), fractions and exponents
are not read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from transfix import languages

_SPACES = "\u00a0\u202f\u2009\u2007"
_DECIMAL = ".,\u066b"
_ARABIC_THOUSANDS = "\u066c"
_SEPARATORS = f"{_DECIMAL}{_ARABIC_THOUSANDS}'\u2019{_SPACES}"
_MINUS = "-\u2013"

_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
_WIDE_SEPARATOR = re.compile(r"(?<=[０-９])(?:．(?=[０-９])|，(?=[０-９]{3}(?![０-９])))")
_ASCII = str.maketrans(
    {
        **dict.fromkeys("\u2212\uff0d\ufe63\u2011", "-"),
        # Invisible marks of direction and width stand between sign and digits in right-to-left text.
        **dict.fromkeys("\u200b\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff", ""),
    }
)


@dataclass(frozen=True, slots=True)
class Convention:
    """How a language separates the digits of a number.

    Attributes:
        groups: which of `.` and `,` groups thousands in a number that could be read both ways, `1.234` or `1,234`.
        space: whether an ordinary space groups thousands too.
    """

    groups: str
    space: bool = False

    @property
    def pattern(self) -> str:
        """A regular expression, without groups, of a run of digits and separators that holds at least one number."""
        space = r"| \d{3}(?!\d)" if self.space else ""
        # .20 is a number where the point opens a word: $.20, not the end of a sentence without a space after it.
        return rf"(?:\d+(?:[{_SEPARATORS}]\d+{space})*|(?<![\w.,)\]}}])\.\d+)"


ENGLISH = Convention(",")

# After Unicode CLDR's number symbols. Spanish: both are usual, the point in Europe and the south, the comma in Mexico and
# Central America; the norm is a space. Languages that are not here write numbers as English does.
_CONVENTIONS: Mapping[Convention, str] = {
    Convention(
        "."
    ): "ast azj bos cat dan deu ell eus fao glg hrv ind isl ita jav ltz mkd nld por ron slv srp sun tur vie",
    Convention(".", space=True): (
        "afr als bel bul ces est fin fra hun hye kat kaz kir lit lvs nno nob pol rus slk swe tat ukr uzn"
    ),
    Convention(".,", space=True): "spa",
}


@cache
def convention(language: str) -> Convention:
    """How a language separates digits; as English does where nothing else is known.

    Args:
        language: a FLORES code (`deu_Latn`) or anything else `languages.get` understands.

    Raises:
        UnknownLanguageError: if the language is unknown.
    """
    code = languages.get(language).iso639_3
    return next((known for known, codes in _CONVENTIONS.items() if code in codes.split()), ENGLISH)


@dataclass(frozen=True, slots=True)
class Number:
    """A number and where its digits stand in the prepared text: from `start` to before `end`. A sign is before `start`."""

    value: Decimal
    start: int
    end: int


def prepare(text: str) -> str:
    """The text in NFC with ASCII digits and signs, which is what `numbers` reads."""
    text = unicodedata.normalize("NFC", text).translate(_ASCII).replace("{,}", ",")
    text = _WIDE_SEPARATOR.sub(lambda match: "." if match[0] == "．" else ",", text)
    return _OTHER_DIGIT.sub(lambda match: str(unicodedata.decimal(match[0])), text)


def numbers(text: str, convention: Convention, start: int = 0) -> Iterator[Number]:
    """The numbers of a text, in order.

    Args:
        text: as `prepare` gives it.
        convention: how the language separates digits.
        start: where to begin. Signs before it are seen.
    """
    for run in _runs(convention).finditer(text, start):
        negative = _is_negative(text, run.start())
        for value, first, last in _read(run[0], convention):
            signed = value.copy_negate() if negative and first == 0 else value
            yield Number(signed, run.start() + first, run.start() + last)


@cache
def _runs(convention: Convention) -> re.Pattern[str]:
    return re.compile(convention.pattern)


def _is_negative(text: str, start: int) -> bool:
    """Whether a minus sign, and no operator, hyphen or dash, belongs to the digits at `start`."""
    while start and (unicodedata.category(text[start - 1]) == "Sc" or text[start - 1] == "\\"):
        start -= 1
    if not start or text[start - 1] not in _MINUS:
        return False
    before = start - 1
    while before and text[before - 1] in " \t\u00a0":
        before -= 1
    previous = text[before - 1] if before else "\n"
    if before < start - 1:
        return not (previous.isdecimal() or previous in ")%")
    return unicodedata.category(previous)[0] not in "LMN" and previous not in ")]}%"


def _read(run: str, convention: Convention) -> Iterator[tuple[Decimal, int, int]]:
    """The numbers of a run of digits and separators, with where each begins and ends in it."""
    if run[0] == ".":
        yield Decimal("0" + run), 0, len(run)
        return
    whole = _value(run, convention)
    if whole is not None:
        yield whole, 0, len(run)
        return
    for part in re.finditer(f"[^ {_SPACES}]+", run):
        value = _value(part[0], convention)
        if value is not None:
            yield value, part.start(), part.end()
            continue
        for digits in re.finditer(r"\d+", part[0]):
            yield Decimal(digits[0]), part.start() + digits.start(), part.start() + digits.end()


def _value(run: str, convention: Convention) -> Decimal | None:
    """A run as one number, by the rules of the module's head; None if it is several."""
    groups, separators = re.findall(r"\d+", run), re.findall(r"\D", run)
    if not separators:
        return Decimal(run)
    last, several = separators[-1], len(separators) > 1
    if len(set(separators)) == 1:
        if _are_thousands(groups, last) and (several or last not in _DECIMAL or last in convention.groups):
            return Decimal("".join(groups))
        return None if several or last not in _DECIMAL else Decimal(".".join(groups))
    if last in _DECIMAL and len(set(separators[:-1])) == 1 and separators[0] != last:
        return Decimal("".join(groups[:-1]) + "." + groups[-1]) if _are_thousands(groups[:-1], separators[0]) else None
    return None


def _are_thousands(groups: list[str], separator: str) -> bool:
    """Whether groups of digits between one separator are one integer: 1,234,567 or, in the Indian way, 12,34,567."""
    if separator == "\u066b" or groups[0][0] == "0":
        return False
    sizes = [len(group) for group in groups]
    western = sizes[0] <= 3 and all(size == 3 for size in sizes[1:])
    indian = separator in f",{_ARABIC_THOUSANDS}" and len(sizes) > 2 and sizes[0] <= 2 and sizes[-1] == 3
    return western or (indian and all(size == 2 for size in sizes[1:-1]))
