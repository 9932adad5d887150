"""Codes and names as files, columns and lists of languages write them: which of them mean a language, and what is in doubt.

One way on both sides: `languages: [pt-BR]` finds `test-pt_BR.csv`, and `language: Deutsch` in a column is deu_Latn. Two
spellings with different regions are one language here and two in the world: they are never taken for each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from transfix.languages.lookup import UnknownLanguageError, get_or_none, normalise, tag
from transfix.languages.table import Language, languages


@dataclass(frozen=True, slots=True)
class Spelling:
    """A code or name that means a language.

    Attributes:
        language: the language.
        region: what the code says beyond it: `br` of pt-BR; empty if nothing.
        is_open: it could mean the language in another script as well, as zh.
    """

    language: Language
    region: str
    is_open: bool


@lru_cache(maxsize=1 << 14)
def spelling(text: str) -> Spelling | None:
    """What a text means, or None if it is no language."""
    try:
        language = get_or_none(text)
    except UnknownLanguageError:
        return None
    if language is None:
        return None
    key = normalise(text)
    parts = tag(key)
    if parts is None:
        return Spelling(language, "", False)
    region = parts["region"] or ""
    return Spelling(language, region, bool(_siblings(language)) and not region and parts["script"] is None)


def means(text: str, code: str, written: str | None = None) -> bool:
    """Whether a text means a language, and no other region than the one that was asked for.

    Args:
        text: as a file has it.
        code: FLORES-style code of the language.
        written: as the user has written the language; None: by its code.
    """
    found = spelling(text)
    if found is None or found.language.code != code:
        return False
    wanted = spelling(written) if written is not None else None
    return wanted is None or not wanted.region or not found.region or wanted.region == found.region


def doubt(code: str, matched: Collection[str], others: Iterable[str], written: str | None = None) -> str | None:
    """Why it is not clear which of several spellings are meant; None if it is.

    Args:
        code: FLORES-style code of the language.
        matched: spellings that mean it (see `means`).
        others: further ones beside them, of whatever language.
        written: as the user has written the language.
    """
    found = {text: known for text in matched if (known := spelling(text)) is not None}
    if len({known.region for known in found.values()}) > 1:
        return f"{_listed(found)} are one language here, {code}, and may not be one in the data"
    wanted = spelling(written) if written is not None else None
    is_open = any(known.is_open for known in found.values()) or (wanted is not None and wanted.is_open)
    if not is_open or all(known.is_open for known in found.values()):
        return None
    siblings = [text for text in others if (known := spelling(text)) and known.language in _siblings_of(code)]
    if not siblings:
        return None
    opened = [text for text, known in found.items() if known.is_open] or [str(written)]
    exact = [text for text, known in found.items() if not known.is_open]
    return f"{_listed(opened)} may mean {_listed([*exact, *siblings])}, which are there too"


def choose(
    texts: Sequence[str], code: str, written: str | None = None, also: Collection[str] = ()
) -> tuple[list[str], str | None]:
    """Which of the names that files or configurations have is that of a language.

    Args:
        texts: the names.
        code: FLORES-style code of the language.
        written: as the user has written it: a name that is written so is preferred.
        also: further names of the language that the table does not know.

    Returns:
        Those that mean it, at best one; and why it is in doubt even so.
    """
    found = [text for text in texts if text in also or means(text, code, written)]
    exact = [text for text in found if written is not None and normalise(text) == normalise(written)]
    if len(exact) == 1:
        return exact, None
    others = [text for text in texts if text not in found]
    return found, doubt(code, found, others, written) if found else None


def conflicts(names: Iterable[str]) -> list[str]:
    """What is said of names in one list that are one language here, with different regions."""
    said: dict[str, list[str]] = {}
    for name in names:
        if (known := spelling(name)) is not None:
            said.setdefault(known.language.code, []).append(name)
    return [found for code, several in said.items() if (found := doubt(code, several, ()))]


def _siblings(language: Language) -> tuple[Language, ...]:
    """The same language in other scripts."""
    return _siblings_of(language.code)


@lru_cache(maxsize=1024)
def _siblings_of(code: str) -> tuple[Language, ...]:
    iso = code.partition("_")[0]
    return tuple(other for other in languages() if other.iso639_3 == iso and other.code != code)


def _listed(texts: Iterable[str]) -> str:
    return " and ".join(map(repr, texts))
