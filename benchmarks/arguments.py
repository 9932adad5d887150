"""The command line that all benchmarks have in common."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")


def parser(description: str | None, rows: int, repetitions: int = 3, least: int = 1) -> argparse.ArgumentParser:
    """A parser with `--rows`, `--repetitions` and `--only`.

    Args:
        description: a script's docstring.
        rows: the default of `--rows`.
        repetitions: the default of `--repetitions`.
        least: fewer rows are refused.
    """

    def enough(text: str) -> int:
        if (count := int(text)) < least:
            raise argparse.ArgumentTypeError(f"at least {least} rows are needed")
        return count

    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    made.add_argument("--rows", type=enough, default=rows, help=f"rows a side and repetition (default {rows})")
    made.add_argument("--repetitions", type=int, default=repetitions, help=f"default {repetitions}")
    made.add_argument(
        "--only", default="", help="only what has this in its name, and transfix; results are not written"
    )
    return made


def chosen(named: Mapping[str, Item], only: str) -> dict[str, Item]:
    """What `--only` leaves: transfix always, ratios are to it."""
    return {name: item for name, item in named.items() if only in name or name.startswith("transfix")}


def pool() -> Path:
    """The directory of the benchmarks' files: $TRANSFIX_TEST_DATA, or shared/data beside the checkout.

    Raises:
        SystemExit: it is not there.
    """
    default = Path(__file__).parents[1].parent / "shared" / "data"
    path = Path(os.environ.get("TRANSFIX_TEST_DATA", default))
    if not path.is_dir():
        raise SystemExit("needs the benchmarks' public files: set TRANSFIX_TEST_DATA to their directory")
    return path.resolve()
