"""The options that several commands have, and how their texts are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

RunsDir = Annotated[Path, typer.Option("--runs", metavar="DIR", help="The directory of the runs.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's directory, or the beginning of its name or hash.")]
OnBadRows = Annotated[
    Literal["error", "skip"],
    typer.Option(help="error: all bad rows are named and none is asked. skip: the others are asked."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def names(given: Sequence[str] | None) -> list[str]:
    """The entries of an option that takes several: `a,b`, or the option given again."""
    return [name.strip() for entry in given or () for name in entry.split(",") if name.strip()]


def codes(given: Sequence[str] | None) -> list[str] | None:
    """FLORES-style codes from `--languages de,sw --languages zh-TW`; None if none is given, ["all"] for `all`.

    Raises:
        TransfixError: a language is unknown, or the option names none.
    """
    from transfix import languages
    from transfix.languages.spellings import conflicts

    found = names(given)
    if not found:
        if given:
            from transfix.errors import TransfixError

            raise TransfixError(
                "--languages names no language. Leave it out for those of the specification, or say `all`."
            )
        return None
    if "all" in found:
        return ["all"]
    if said := conflicts(found):
        from transfix.errors import TransfixError

        raise TransfixError(f"--languages: {said[0]}: name one of them.")
    return list(dict.fromkeys(languages.get(name).code for name in found))
