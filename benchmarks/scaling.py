"""Scaling: time and memory over 16 times the rows, over longer rows, and what keeping the frozen lower layers saves.

Also what rows take before the first step (text, tokens, trees), up to the size of MultiNLI's training set.

python -m benchmarks.scaling
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import arguments
from benchmarks.measuring import Numbers, bind, in_turn, middle, spread, table, write
from benchmarks.training import LEAST

PREFIX = {"method": "prefix", "tokens": 10}
TOP = {**PREFIX, "layers": 6}
HELD = {f"{rows:,} rows held": rows for rows in (98_000, 392_000)}
PAIRS = 3
"""Repetitions, at least, of the two trainings that are compared."""
PLAIN, KEPT = "6 of 18 layers, 3 epochs", "the same, lower layers kept"


def main() -> None:
    """Runs the benchmark."""
    parser = arguments.parser(__doc__, rows=96, repetitions=1, least=LEAST)
    given = parser.parse_args()
    rows = given.rows
    sides: dict[str, Callable[[], Numbers]] = {}
    for factor in (1, 4, 16):
        sides[f"rows x {factor}"] = _side(rows=rows * factor)
    for longer in (1, 4, 16):
        sides[f"premise x {longer}"] = _side(rows=rows, longer=longer)
    sides["rows x 1, 16 epochs"] = _side(rows=rows, epochs=16)
    pair = {
        PLAIN: _side(rows=2 * rows, epochs=3, method=TOP),
        KEPT: _side(rows=2 * rows, epochs=3, method=TOP, keep=True),
    }
    sides |= {name: bind("transfix_side:hold", rows=held) for name, held in HELD.items()}
    found = in_turn(arguments.chosen(sides, given.only), given.repetitions)
    found |= in_turn(arguments.chosen(pair, given.only), max(PAIRS, given.repetitions))
    lines = [
        (
            name,
            runs[0]["rows"],
            runs[0]["tokens"],
            runs[0]["largest_forward"],
            spread(runs, "whole_s"),
            f"{1e3 * middle(runs, 'whole_s') / runs[0]['tokens']:.2f}",
            spread(runs, "peak_gib"),
        )
        for name, runs in found.items()
        if name not in HELD
    ]
    print(table(("training", "rows", "tokens", "largest forward", "seconds", "ms a token", "peak GiB"), lines))
    if HELD.keys() <= found.keys():
        few, many = (found[name][0] for name in HELD)
        each = (many["resident"] - few["resident"]) / (many["rows"] - few["rows"])
        print(f"before the first step: {each:.0f} bytes a row, {1e6 * many['whole_s'] / many['rows']:.0f} µs a row")
    if {PLAIN, KEPT} <= found.keys():
        plain, kept = found[PLAIN], found[KEPT]
        print(
            f"kept lower layers: {middle(plain, 'whole_s') / middle(kept, 'whole_s'):.2f} times as fast, losses "
            f"{'the same' if plain[0]['losses'] == kept[0]['losses'] else 'differ'}"
        )
    write("scaling", given, {"runs": found})


def _side(**given: Any) -> Callable[[], Numbers]:
    settings = {"model": "gemma-3-270m", "method": PREFIX, **given}
    return bind("transfix_side:train", **settings)


if __name__ == "__main__":
    main()
