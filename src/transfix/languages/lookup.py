"""From whatever a user calls a language (sw, zh-TW, pt-BR, Deutsch) to its one row of the table, or a helpful error.

Three steps, the first that answers wins: a code, name or alias of the table; a BCP 47 tag `language[-Script][-REGION]`
whose language is known (the region says which script or variety, where Unicode CLDR says it does, and is otherwise
dropped); an `UnknownLanguageError` with the nearest entries. A script or region that means a variety the table does not
have is an error, never another script of the same language.

What regions imply stands here because langcodes 3.5.1 carries CLDR 40 of 2021, by which 27 of 116,572 pairs of language and
region mean something else: `ku-IQ` would not be Sorani, nor `sd-IN` in Devanagari.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache

from transfix.config.suggestions import nearest
from transfix.errors import TransfixError
from transfix.languages.table import Language, languages

_TAG = r"(?P<language>[a-z]{2,3})(-(?P<script>[a-z]{4}))?(-(?P<region>[a-z]{2}|[0-9]{3}))?"
_SAME = str.maketrans({**dict.fromkeys("_-()", " "), **dict.fromkeys("’ʼʻ‘`", "'")})

# Regions that mean another row, or a script the table may not have. Source: Unicode CLDR 48, likelySubtags.
_REGION_ROWS: Mapping[str, Mapping[str, str]] = {
    "zho_Hans": {"zho_Hant": "au bn gb gf hk id mo pa pf ph sr th tw us vn"},
    "pes_Arab": {"prs_Arab": "af"},
    "azj_Latn": {"azb_Arab": "iq ir"},
    "kmr_Latn": {"ckb_Arab": "iq ir lb"},
}
_REGION_SCRIPTS: Mapping[str, Mapping[str, str]] = {
    "azj_Latn": {"Cyrl": "ru"},
    "hau_Latn": {"Arab": "cm sd"},
    "kaz_Cyrl": {"Arab": "af cn ir mn"},
    "khk_Cyrl": {"Mong": "cn"},
    "kir_Cyrl": {"Arab": "cn", "Latn": "tr"},
    "kmr_Latn": {"Cyrl": "am az ge tm"},
    "pan_Guru": {"Arab": "pk"},
    "snd_Arab": {"Deva": "in"},
    "srp_Cyrl": {"Latn": "me ro tr"},
    "tgk_Cyrl": {"Arab": "pk"},
    "uig_Arab": {"Cyrl": "kz mn"},
    "uzn_Latn": {"Arab": "af", "Cyrl": "cn"},
    "yue_Hant": {"Hans": "cn"},
    "zsm_Latn": {"Arab": "cc"},
}


class UnknownLanguageError(TransfixError):
    """A code or name that means no language of the table.

    Attributes:
        value: what was asked for.
        matches: the nearest languages, best first; may be empty.
    """

    def __init__(self, value: object, matches: tuple[Language, ...] = (), reason: str = "") -> None:
        self.value = value
        self.matches = matches
        lines = [f"unknown language {value!r}" + (f": {reason}" if reason else "")]
        if matches:
            lines.append("did you mean " + ", ".join(f"{m.code} ({m.name})" for m in matches) + "?")
        lines.append("`transfix languages` lists all codes; ISO 639 codes, BCP 47 tags and names are accepted too")
        super().__init__("\n".join(lines))


def normalise(text: str) -> str:
    """The form in which codes and names are compared: case, `_`, `-`, spaces, brackets and apostrophes do not matter.

    Letters keep their marks: in most scripts of India a mark is a vowel.
    """
    text = unicodedata.normalize("NFC", text).casefold()
    # The dotted and the dotless i of Turkic languages do not pair up with I.
    text = text.replace("ı", "i").replace("i\N{COMBINING DOT ABOVE}", "i")
    return "-".join(text.translate(_SAME).split())


@cache
def index() -> Mapping[str, Language]:
    """Normalised code, name or alias -> language.

    Raises:
        ValueError: if the table gives one of them to two languages (a mistake in `languages.tsv`, not the user's).
    """
    found: dict[str, Language] = {}
    for language in languages():
        for alias in (language.code, language.name, language.native_name, *language.aliases):
            other = found.setdefault(normalise(alias), language)
            if other is not language:
                raise ValueError(f"languages.tsv: {alias!r} means both {other.code} and {language.code}")
    return found


def get_or_none(code: str) -> Language | None:
    """Like `get`; None for what is no language at all.

    Raises:
        UnknownLanguageError: if it is a language in a script that the table does not have.
    """
    key = normalise(code)
    return index().get(key) or _from_tag(code, key)


def tag(key: str) -> re.Match[str] | None:
    """The parts (`language`, `script`, `region`) of a normalised BCP 47 tag; None if it is none."""
    return re.fullmatch(_TAG, key)


def get(code: str) -> Language:
    """The language that a code or name means.

    Args:
        code: a FLORES code (`swh_Latn`), an ISO 639-1, -2 or -3 code (`sw`), a BCP 47 tag (`zh-TW`, `pt-BR`), a
            benchmark's own code (`zho-CN`) or a name, English or native (`Swahili`, `Kiswahili`). Case does not matter.

    Raises:
        UnknownLanguageError: if it means none; its message names the nearest languages.
    """
    language = get_or_none(_text(code))
    if language is None:
        raise UnknownLanguageError(code, _nearest(normalise(code)))
    return language


def _text(value: object) -> str:
    """`value` if it is a string: what a YAML file gives need not be."""
    if isinstance(value, str):
        return value
    if value is False:  # YAML 1.1 reads an unquoted `no` as false
        reason = 'YAML reads an unquoted no as false: write nob_Latn or "no"'
        raise UnknownLanguageError(value, (index()["nob-latn"],), reason)
    raise UnknownLanguageError(value, (), "not a string")


def _from_tag(code: str, key: str) -> Language | None:
    """The language of a BCP 47 tag; None if `key` is no such tag or its language subtag is unknown."""
    parts = tag(key)
    primary = index().get(parts["language"]) if parts else None
    if parts is None or primary is None:
        return None
    script, region = parts["script"], parts["region"]
    if script is None and region is not None:
        for code_there, regions in _REGION_ROWS.get(primary.code, {}).items():
            other = index()[normalise(code_there)]
            # kmr-IQ is Northern Kurdish all the same; only the macrolanguage, ku-IQ, is Central Kurdish there.
            exact = parts["language"] == primary.iso639_3 != other.iso639_3
            if region in regions.split() and not exact:
                return other
        for implied, regions in _REGION_SCRIPTS.get(primary.code, {}).items():
            if region in regions.split():
                script = implied.casefold()
    if script is None or script == primary.script.casefold():
        return primary
    for wanted in (f"{parts['language']}-{script}", f"{primary.iso639_3}-{script}"):
        if wanted in index():
            return index()[wanted]
    siblings = tuple(language for language in languages() if language.iso639_3 == primary.iso639_3)
    known = ", ".join(language.script for language in siblings)
    raise UnknownLanguageError(code, siblings, f"{primary.name} is known in the script {known}, not {script.title()}")


def _nearest(key: str) -> tuple[Language, ...]:
    # Two codes of two letters are never more alike than 0.5, unless they are equal.
    close = nearest(key, index(), at_most=5, likeness=0.5 if len(key) < 4 else 0.6)
    return tuple(dict.fromkeys(index()[match] for match in close))[:3]
