"""Memory: the highest resident memory of a training process, against PEFT in Trainer; it is part of `benchmarks.training`.

python -m benchmarks.memory      fewer rows: a peak is there after a few steps
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks import arguments
from benchmarks.measuring import bind, in_turn, middle, spread, table, write
from benchmarks.training import METHODS


def main() -> None:
    """Runs the benchmark."""
    given = arguments.parser(__doc__, rows=64, repetitions=2).parse_args()
    common = {"model": "gemma-3-270m", "rows": given.rows}
    sides: dict[str, tuple[str, dict[str, Any]]] = {
        f"transfix {name}": ("transfix_side:train", {"method": METHODS[name]}) for name in ("prefix", "lora")
    }
    sides["transfix prefix, checkpointing"] = (
        "transfix_side:train",
        {"method": METHODS["prefix"], "checkpointing": True},
    )
    for name in ("prefix", "lora"):
        for setting in ("usual", "best"):
            sides[f"PEFT {name}, {setting}"] = ("peft_side:train", {"method": name, "setting": setting})
    sides = {name: side for name, side in sides.items() if given.only in name}
    found = in_turn(
        {name: bind(function, **common, **more) for name, (function, more) in sides.items()}, given.repetitions
    )
    first = middle(next(iter(found.values())), "peak_gib")
    lines = [(n, spread(runs, "peak_gib"), f"{first / middle(runs, 'peak_gib'):.2f}") for n, runs in found.items()]
    print(table(("side", "peak GiB", "share of it that transfix prefix takes"), lines))
    if not given.only:
        write("memory", {"command": " ".join(sys.argv[1:]), "runs": found})


if __name__ == "__main__":
    main()
