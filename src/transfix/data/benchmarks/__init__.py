"""What is fixed about each benchmark's rows; `get` gives the facts of one by name."""

from __future__ import annotations

from transfix.config.suggestions import nearest
from transfix.data.benchmarks import choice, maths, nli, parallel, qa, summaries
from transfix.data.benchmarks.facts import ENGLISH, IDENTIFIER, LABEL, LANGUAGE, Benchmark, HubHome, Values
from transfix.data.benchmarks.nli import NLI_CLASSES, NLI_COLUMNS, NLI_LABEL_ALIASES
from transfix.data.example import DataError

__all__ = [
    "ENGLISH",
    "IDENTIFIER",
    "LABEL",
    "LANGUAGE",
    "NLI_CLASSES",
    "NLI_COLUMNS",
    "NLI_LABEL_ALIASES",
    "Benchmark",
    "HubHome",
    "Values",
    "facts_of",
    "get",
    "names",
]

_BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for family in (nli, qa, maths, choice, parallel, summaries)
    for benchmark in family.BENCHMARKS
}


def names() -> tuple[str, ...]:
    """The benchmarks that rows can be loaded for."""
    return tuple(_BENCHMARKS)


def get(name: str) -> Benchmark:
    """The benchmark called `name`.

    Raises:
        DataError: if there is none; close matches are named.
    """
    if name not in _BENCHMARKS:
        close = nearest(name, _BENCHMARKS, at_most=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise DataError(f"unknown benchmark {name!r}: {hint}(allowed: {', '.join(_BENCHMARKS)})")
    return _BENCHMARKS[name]


def facts_of(benchmark: str | Benchmark) -> Benchmark:
    """A benchmark's facts, given its name or, for a task of one's own, the facts themselves."""
    return benchmark if isinstance(benchmark, Benchmark) else get(benchmark)
