"""Natural language inference: MNLI, XNLI, AfriXNLI."""

from __future__ import annotations

from collections.abc import Mapping

from transfix.data.benchmarks.facts import ENGLISH, Benchmark, HubHome

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


BENCHMARKS = (
    _nli(
        "mnli",
        ("train", "validation_matched", "validation_mismatched"),
        monolingual=ENGLISH,
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
