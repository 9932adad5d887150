"""The languages of the benchmarks in one table, so that no other module needs to know a language.

`get` turns what a user writes into a `Language`; `all`, `of_benchmark` and `group_by` select. Codes inside transfix are
FLORES-200's (`swh_Latn`). The table is `languages.tsv`, whose head names the sources of every column: genealogies after
Ethnologue, WALS and Glottolog, resource classes after Joshi et al. 2020.

    >>> from transfix import languages
    >>> languages.get("sw").code
    'swh_Latn'
    >>> languages.get("zh-TW").benchmarks["ntrex"]
    'zho-TW'
    >>> [language.code for language in languages.of_benchmark("xquad")][:3]
    ['arb_Arab', 'deu_Latn', 'ell_Grek']
"""

from __future__ import annotations

from collections.abc import Iterable

from transfix.errors import TransfixError
from transfix.languages.lookup import UnknownLanguageError, get
from transfix.languages.table import BENCHMARKS, Direction, Language
from transfix.languages.table import languages as _table

__all__ = [
    "BENCHMARKS",
    "Direction",
    "Language",
    "UnknownLanguageError",
    "all",
    "get",
    "group_by",
    "of_benchmark",
]

_GROUP_KEYS = ("family", "branch", "script", "script_name", "direction", "resource_class")


def all() -> tuple[Language, ...]:
    """Every language of the table (all of FLORES-200 and Belebele), sorted by code."""
    return _table()


def of_benchmark(name: str) -> tuple[Language, ...]:
    """The languages of a benchmark, sorted by the benchmark's own codes (XNLI: ar, bg, de, ...).

    Args:
        name: one of `BENCHMARKS`.

    Raises:
        TransfixError: if the table does not know the benchmark.
    """
    if name not in BENCHMARKS:
        raise TransfixError(f"the languages of the benchmark {name!r} are not known; known: {', '.join(BENCHMARKS)}")
    return tuple(sorted((x for x in _table() if name in x.benchmarks), key=lambda x: x.benchmarks[name]))


def group_by(languages: Iterable[Language | str], key: str) -> dict[str | int, tuple[Language, ...]]:
    """Languages by a property: attribute value -> its languages, in the order given; the values sorted.

    Args:
        languages: languages, or anything `get` understands.
        key: `family`, `branch`, `script`, `script_name`, `direction` or `resource_class`.

    Raises:
        TransfixError: if `key` is none of these.
        UnknownLanguageError: if one of the languages is unknown.
    """
    if key not in _GROUP_KEYS:
        raise TransfixError(f"languages cannot be grouped by {key!r}; possible: {', '.join(_GROUP_KEYS)}")
    groups: dict[str | int, list[Language]] = {}
    for language in (x if isinstance(x, Language) else get(x) for x in languages):
        groups.setdefault(getattr(language, key), []).append(language)
    return {value: tuple(groups[value]) for value in sorted(groups, key=str)}
