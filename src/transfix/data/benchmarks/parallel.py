"""Translation from and into English: FLORES, NTREX-128.

Both are line-parallel files, one a language: `{lang}.devtest`, `{lang}.txt`. On the hub FLORES has either both sentences of
a pair in a row (`facebook/flores`: `sentence_eng_Latn`, `sentence_deu_Latn`) or a configuration a language with the column
`text` (`openlanguagedata/flores_plus`), of which two are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from transfix.data.benchmarks.facts import Benchmark, HubHome


def _translation(
    name: str,
    direction: Literal["from_english", "to_english"],
    splits: tuple[str, ...],
    listed_as: str,
    hub: Mapping[str, HubHome],
    **facts: Any,
) -> Benchmark:
    return Benchmark(
        name=f"{name}_{direction}",
        fields=("source", "source_language", "target_language"),
        classes=(),
        label_aliases={},
        columns={
            "source": ("source",),
            "source_language": ("source_language",),
            "target_language": ("target_language",),
            "label": ("target",),
        },
        splits=splits,
        reference="texts",
        parallel=direction,
        row_parallel=True,
        listed_as=listed_as,
        hub=hub,
        **facts,
    )


_INSTEAD = (
    "Read the same sentences from `{hub: openlanguagedata/flores_plus}`, from the files of FLORES-200 "
    "(`{files: DIR/{lang}.devtest}`), or from the snapshot"
)

_DIRECTIONS: tuple[Literal["from_english", "to_english"], ...] = ("from_english", "to_english")

BENCHMARKS = (
    *(
        _translation(
            "flores",
            direction,
            ("dev", "devtest"),
            "flores200",
            {
                "facebook/flores": HubHome("eng_Latn-{lang}", instead=_INSTEAD),
                # One configuration a language. It renamed a few (zho_Hans is cmn_Hans there): name those with `config:`.
                "openlanguagedata/flores_plus": HubHome("{lang}"),
            },
            split_aliases={"dev": ("validation", "valid", "val"), "devtest": ("test",)},
        )
        for direction in _DIRECTIONS
    ),
    *(
        _translation(
            "ntrex",
            direction,
            ("test",),
            "ntrex",
            {},
            files_only=(
                "NTREX-128 is read from files: get them from github.com/MicrosoftTranslator/NTREX "
                "and write `data: {files: PATH/{lang}.txt}`"
            ),
        )
        for direction in _DIRECTIONS
    ),
)
