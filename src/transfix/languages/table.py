"""The table of languages as objects: it exists so that `languages.tsv` is read once, checked once, and typed.

The sources of every column (families, resource classes, the benchmarks' codes) stand in the head of `languages.tsv`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

Direction = Literal["ltr", "rtl"]

BENCHMARKS = ("xnli", "xquad", "mgsm", "belebele", "flores200", "afrixnli", "afrimgsm", "ntrex", "xlsum_sea")
"""The benchmarks whose languages the table knows; each is a column of `languages.tsv`."""

SCRIPTS = {
    "Arab": "Arabic",
    "Armn": "Armenian",
    "Beng": "Bengali",
    "Cyrl": "Cyrillic",
    "Deva": "Devanagari",
    "Ethi": "Ethiopic",
    "Geor": "Georgian",
    "Grek": "Greek",
    "Gujr": "Gujarati",
    "Guru": "Gurmukhi",
    "Hang": "Hangul",
    "Hans": "Han (Simplified)",
    "Hant": "Han (Traditional)",
    "Hebr": "Hebrew",
    "Jpan": "Japanese",
    "Khmr": "Khmer",
    "Knda": "Kannada",
    "Laoo": "Lao",
    "Latn": "Latin",
    "Mlym": "Malayalam",
    "Mymr": "Myanmar",
    "Olck": "Ol Chiki",
    "Orya": "Odia",
    "Sinh": "Sinhala",
    "Taml": "Tamil",
    "Telu": "Telugu",
    "Tfng": "Tifinagh",
    "Thai": "Thai",
    "Tibt": "Tibetan",
}
"""ISO 15924 code -> English name. `Jpan` is Han, Hiragana and Katakana together."""

RIGHT_TO_LEFT = frozenset({"Arab", "Hebr"})


@dataclass(frozen=True, slots=True)
class Language:
    """A language in one script: the unit in which benchmarks are divided.

    Attributes:
        code: the FLORES-200 code, `deu_Latn`: ISO 639-3, an underscore, ISO 15924. Used everywhere inside transfix.
        name: the English name, as FLORES-200 and Belebele give it; unique.
        native_name: the name in the language itself, in this row's script; for romanised rows a transliteration.
        script: the ISO 15924 code, `Latn`.
        script_name: the script's English name, `Latin`.
        family: the top-level family (`Indo-European`), `Creole`, `Language isolate` or `Constructed language`.
        branch: the subgroup of the family (`Germanic`); for a creole its lexifier (`French-based`).
        resource_class: 0 (least resources) to 5 (most), Joshi et al. 2020, table 1.
        resource_entry: the name in their list the class was taken from; None: class 0, because none of the names they
            put into classes 1 to 5 means this language.
        iso639_1: the two-letter code; for a standard variety its macrolanguage's (`ar` for arb); None if it has none.
        iso639_3: the three-letter code, the first part of `code` (as in FLORES-200 sometimes a macrolanguage's: zho).
        direction: `ltr` or `rtl`.
        aliases: further codes and names that `get` accepts for this row, besides code, name and native name.
        benchmarks: benchmark -> the benchmark's own code of this language, as in its file names (`xnli` -> `de`).
    """

    code: str
    name: str
    native_name: str
    script: str
    script_name: str
    family: str
    branch: str
    resource_class: int
    resource_entry: str | None
    iso639_1: str | None
    iso639_3: str
    direction: Direction
    aliases: tuple[str, ...]
    benchmarks: Mapping[str, str] = field(hash=False)


def _rows() -> Iterator[dict[str, str]]:
    from pathlib import Path  # not needed to import the package

    path = Path(__file__).with_name("languages.tsv")
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    header = next(lines).split("\t")
    for line in lines:
        yield dict(zip(header, line.split("\t"), strict=True))


def _language(row: Mapping[str, str]) -> Language:
    iso639_3, script = row["code"].split("_")
    iso = [row["iso639_1"], iso639_3] if row["primary"] else []
    return Language(
        code=row["code"],
        name=row["name"],
        native_name=row["native_name"],
        script=script,
        script_name=SCRIPTS[script],
        family=row["family"],
        branch=row["branch"],
        resource_class=int(row["resource_class"]),
        resource_entry=row["resource_entry"] or None,
        iso639_1=row["iso639_1"] or None,
        iso639_3=iso639_3,
        direction="rtl" if script in RIGHT_TO_LEFT else "ltr",
        aliases=tuple(alias for alias in (*iso, *row["aliases"].split("; ")) if alias),
        benchmarks={name: row[name] for name in BENCHMARKS if row[name]},
    )


@cache
def languages() -> tuple[Language, ...]:
    """Every language of the table, sorted by code. Read on the first call, then kept."""
    return tuple(_language(row) for row in _rows())
