"""What is fixed about each benchmark's rows: their fields, classes, splits, languages and homes on the hub."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from transfix import languages
from transfix.data.example import DataError

NLI_CLASSES = ("entailment", "neutral", "contradiction")
"""The order is that of the integer labels 0, 1, 2 on the hub."""

NLI_COLUMNS = {
    "premise": ("premise", "sentence1"),
    "hypothesis": ("hypothesis", "sentence2", "hypo"),
    "label": ("label", "gold_label"),
}
"""Column names that the benchmarks' own distributions use (`hypo`: the XNLI machine-translated training files)."""

NLI_LABEL_ALIASES = {"contradictory": "contradiction"}
"""Spellings of a class in official files (the XNLI machine-translated training files)."""

SPLIT_ALIASES = {
    "validation": ("dev", "valid", "val"),
    "validation_matched": ("dev_matched",),
    "validation_mismatched": ("dev_mismatched",),
}


@dataclass(frozen=True, slots=True)
class HubHome:
    """How a known hub dataset is laid out: `config` may hold `{lang}`, the benchmark's own language code."""

    config: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The fixed facts about a benchmark's rows.

    Attributes:
        name: `xnli`.
        fields: the texts every row has.
        classes: the gold labels, in the order of their integer form.
        label_aliases: other spellings of a class in official files.
        columns: for every field and `label`, the column names its distributions use, the preferred one first.
        splits: canonical names, those of the hub.
        row_parallel: row i says the same in every language, so that rows are compared across languages by id.
        monolingual: the FLORES-style code of its only language, `None` if `languages.of_benchmark` lists them.
        hub: hub name -> its layout.
    """

    name: str
    fields: tuple[str, ...]
    classes: tuple[str, ...]
    label_aliases: Mapping[str, str]
    columns: Mapping[str, tuple[str, ...]]
    splits: tuple[str, ...]
    row_parallel: bool = False
    monolingual: str | None = None
    hub: Mapping[str, HubHome] = field(default_factory=dict)

    @property
    def languages(self) -> tuple[str, ...]:
        """FLORES-style codes of the languages the benchmark is published in."""
        if self.monolingual is not None:
            return (self.monolingual,)
        return tuple(language.code for language in languages.of_benchmark(self.name))

    def split(self, name: str) -> str:
        """The canonical name of a split: `dev` is `validation`.

        Raises:
            DataError: if the benchmark has no such split.
        """
        if name in self.splits:
            return name
        for canonical in self.splits:
            if name in SPLIT_ALIASES.get(canonical, ()):
                return canonical
        raise DataError(f"{self.name} has no split {name!r} (allowed: {', '.join(self.splits)})")

    def own_code(self, language: str) -> str:
        """The benchmark's own code of a language (`de` for deu_Latn in XNLI); the FLORES-style code if it has none."""
        entry = languages.get(language)
        return entry.benchmarks.get(self.name, entry.code)

    def codes(self, language: str) -> tuple[str, ...]:
        """All codes a file may use for a language, the likeliest first: own code, FLORES-style, ISO 639, aliases."""
        entry = languages.get(language)
        codes = [self.own_code(language), entry.code, entry.iso639_1, entry.iso639_3, *entry.aliases]
        return tuple(dict.fromkeys(code for code in codes if code))

    def split_names(self, split: str) -> tuple[str, ...]:
        """All names a file may use for a canonical split: `validation`, `dev`, `valid`, `val`."""
        return (split, *SPLIT_ALIASES.get(split, ()))


def _nli(
    name: str,
    splits: tuple[str, ...],
    hub: Mapping[str, HubHome],
    row_parallel: bool = False,
    monolingual: str | None = None,
) -> Benchmark:
    return Benchmark(
        name=name,
        fields=("premise", "hypothesis"),
        classes=NLI_CLASSES,
        label_aliases=NLI_LABEL_ALIASES,
        columns=NLI_COLUMNS,
        splits=splits,
        row_parallel=row_parallel,
        monolingual=monolingual,
        hub=hub,
    )


_BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        _nli(
            "mnli",
            ("train", "validation_matched", "validation_mismatched"),
            monolingual="eng_Latn",
            hub={
                "nyu-mll/multi_nli": HubHome(),
                "multi_nli": HubHome(),
                "nyu-mll/glue": HubHome("mnli"),
                "glue": HubHome("mnli"),
            },
        ),
        _nli(
            "xnli",
            ("train", "validation", "test"),
            row_parallel=True,
            hub={"facebook/xnli": HubHome("{lang}"), "xnli": HubHome("{lang}")},
        ),
        _nli("afrixnli", ("validation", "test"), row_parallel=True, hub={"masakhane/afrixnli": HubHome("{lang}")}),
    )
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
        close = difflib.get_close_matches(name, _BENCHMARKS)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise DataError(f"unknown benchmark {name!r}: {hint}(allowed: {', '.join(_BENCHMARKS)})")
    return _BENCHMARKS[name]
