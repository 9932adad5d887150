"""Memory: the highest resident memory of a training process, against PEFT in Trainer.

`benchmarks.training` tells it too; a peak is there after a few steps, so this takes fewer rows.

    python -m benchmarks.memory
"""

from __future__ import annotations

from benchmarks import arguments
from benchmarks.measuring import bind, in_turn, middle, spread, table, write
from benchmarks.training import LEAST, METHODS, sides

MODEL = "gemma-3-270m"


def main() -> None:
    """Runs the benchmark."""
    given = arguments.parser(__doc__, rows=64, repetitions=2, least=LEAST).parse_args()
    compared = sides(MODEL, given.rows)
    compared["transfix prefix, checkpointing"] = bind(
        "transfix_side:train", model=MODEL, rows=given.rows, method=METHODS["prefix"], checkpointing=True
    )
    found = in_turn(arguments.chosen(compared, given.only), given.repetitions)
    first = middle(found["transfix prefix"], "peak_gib")
    lines = [(n, spread(runs, "peak_gib"), f"{first / middle(runs, 'peak_gib'):.2f}") for n, runs in found.items()]
    print(table(("side", "peak GiB", "share of it that transfix prefix takes"), lines))
    write("memory", given, {"runs": found})


if __name__ == "__main__":
    main()
