"""Where text is cut in scripts that put no spaces between words: at characters, or clusters of a letter and its marks."""

from __future__ import annotations

import re
from collections.abc import Mapping

_THAI = "[\u0e01-\u0e30\u0e32\u0e40-\u0e46][\u0e31\u0e33-\u0e3a\u0e47-\u0e4e]*"
_LAO = "[\u0e81-\u0eb0\u0eb2\u0ebd\u0ec0-\u0ec6\u0edc-\u0edf][\u0eb1\u0eb3-\u0ebc\u0ec8-\u0ece]*"
# A consonant written under another (coeng in Khmer, virama in Burmese) belongs to the cluster of the upper one.
_KHMER = "[\u1780-\u17b3\u17d7\u17dc](?:\u17d2[\u1780-\u17b3]?|[\u17b4-\u17d1\u17d3\u17dd])*"
_BURMESE = (
    "[\u1000-\u102a\u103f\u1050-\u1055\u105a-\u105d\u1061\u1065\u1066\u106e-\u1070\u1075-\u1081\u108e]"
    "(?:\u1039[\u1000-\u102a]?|[\u102b-\u1038\u103a-\u103e\u1056-\u1059\u105e-\u1060\u1062-\u1064\u1067-\u106d"
    "\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d])*"
)
_KANJI = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"

# Exactly the characters that the evaluation script of MLQA separates in Chinese: scores stay comparable.
_HAN = "[\u4e00-\u9fa5]"

_UNITS: Mapping[str, re.Pattern[str]] = {
    script: re.compile(pattern)
    for script, pattern in {
        "Hans": _HAN,
        "Hant": _HAN,
        "Jpan": f"[{_KANJI}{_KANA}]",
        "Thai": _THAI,
        "Laoo": _LAO,
        "Khmr": _KHMER,
        "Mymr": _BURMESE,
    }.items()
}

# Scripts of South-East Asia may mark word boundaries with an invisible space.
_ZERO_WIDTH_SPACE = "\u200b"


def segment(text: str, script: str) -> list[str]:
    """Cut text into tokens: one a character or cluster where words have no spaces, else one a run without whitespace.

    Han characters and kana stand alone. Thai, Lao, Khmer and Burmese are cut into clusters, a letter with the marks
    written on it (extended grapheme clusters, Unicode Standard Annex 29, and stacked consonants kept whole), so that no
    token is a mark without its letter. Everything else in such a text, as Latin words and all digits, is cut at whitespace.

    Args:
        text: any text; whitespace is dropped.
        script: the ISO 15924 code of the language's script (`Hans`, `Thai`, `Latn`).
    """
    unit = _UNITS.get(script)
    if unit is None:
        return text.split()
    if script not in ("Hans", "Hant"):
        text = text.replace(_ZERO_WIDTH_SPACE, " ")
    tokens: list[str] = []
    end = 0
    for match in unit.finditer(text):
        tokens += text[end : match.start()].split()
        tokens.append(match[0])
        end = match.end()
    return tokens + text[end:].split()
