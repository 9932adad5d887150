"""How long threads should look before they sleep: steps of prefix tuning alone and beside a busy process.

    python -m benchmarks.threads

Turns of GNU OpenMP's waiting loop: 300,000 (what it takes by itself), none, and what the command sets. The busy process
takes one core.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import arguments
from benchmarks.measuring import Numbers, in_process, in_turn, spread, table, write
from benchmarks.scaling import PREFIX
from benchmarks.training import LEAST
from transfix.runs.process import SPINS

TURNS = ("300000", "0", SPINS)
BATCH_ROWS = 16


def main() -> None:
    """Runs the benchmark."""
    given = arguments.parser(__doc__, rows=96, repetitions=2, least=LEAST).parse_args()
    sides: dict[str, Callable[[], Numbers]] = {}
    for turns in TURNS:
        sides[f"{int(turns):,} turns"] = alone = _side(turns, given.rows)
        sides[f"{int(turns):,} turns, beside a busy process"] = _beside_a_busy_process(alone)
    found = in_turn(arguments.chosen(sides, given.only), given.repetitions)
    print(table(("threads", "seconds a step"), [(name, spread(runs, "step_s")) for name, runs in found.items()]))
    write("threads", given, {"runs": found})


def _side(turns: str, rows: int) -> Callable[[], Numbers]:
    train: dict[str, Any] = {"model": "gemma-3-270m", "method": PREFIX, "rows": rows, "batch_rows": BATCH_ROWS}

    def measured() -> Numbers:
        found = in_process("transfix_side:train", environment={"GOMP_SPINCOUNT": turns}, **train)
        return {"step_s": round(BATCH_ROWS / found["rows_per_s"], 3), **found}

    return measured


def _beside_a_busy_process(side: Callable[[], Numbers]) -> Callable[[], Numbers]:
    """The side while another process takes one core."""

    def measured() -> Numbers:
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            return side()
        finally:
            busy.kill()
            busy.wait()

    return measured


if __name__ == "__main__":
    main()
