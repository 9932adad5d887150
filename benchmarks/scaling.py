"""Scaling: time and memory over a factor of 16 in rows and of 8 in tokens, and what keeping the frozen lower layers saves.

python -m benchmarks.scaling
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import arguments
from benchmarks.measuring import Numbers, bind, in_turn, middle, spread, table, write

PREFIX = {"method": "prefix", "tokens": 10}
TOP = {**PREFIX, "layers": 6}


def main() -> None:
    """Runs the benchmark."""
    parser = arguments.parser(__doc__, rows=96, repetitions=1)
    given = parser.parse_args()
    rows = given.rows
    sides: dict[str, Callable[[], Numbers]] = {}
    for factor in (1, 4, 16):
        sides[f"rows x {factor}"] = _side(rows=rows * factor)
    for longer in (1, 4, 16):
        sides[f"premise x {longer}"] = _side(rows=rows, longer=longer)
    sides["6 of 18 layers, 3 epochs"] = _side(rows=2 * rows, epochs=3, method=TOP)
    sides["the same, lower layers kept"] = _side(rows=2 * rows, epochs=3, method=TOP, keep=True)
    sides = {name: side for name, side in sides.items() if given.only in name}
    found = in_turn(sides, given.repetitions)
    lines = [
        (
            name,
            runs[0]["rows"],
            runs[0]["tokens"],
            spread(runs, "whole_s"),
            f"{1e3 * middle(runs, 'whole_s') / runs[0]['tokens']:.2f}",
            spread(runs, "peak_gib"),
        )
        for name, runs in found.items()
    ]
    print(table(("training", "rows", "tokens", "seconds", "ms a token", "peak GiB"), lines))
    if "the same, lower layers kept" in found and "6 of 18 layers, 3 epochs" in found:
        plain, kept = found["6 of 18 layers, 3 epochs"], found["the same, lower layers kept"]
        print(
            f"kept lower layers: {middle(plain, 'whole_s') / middle(kept, 'whole_s'):.2f} times as fast, losses "
            f"{'the same' if plain[0]['losses'] == kept[0]['losses'] else 'differ'}"
        )
    if not given.only:
        write("scaling", {"runs": found})


def _side(**given: Any) -> Callable[[], Numbers]:
    settings = {"model": "gemma-3-270m", "method": PREFIX, **given}
    return bind("transfix_side:train", **settings)


if __name__ == "__main__":
    main()
