"""Start: seconds of `import transfix` and of `transfix --help`, each in a new process, beside a bare interpreter.

python -m benchmarks.startup
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks import arguments
from benchmarks.measuring import Numbers, in_turn, spread, table, write

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import transfix": ["-c", "import transfix"],
    "transfix --help": ["-m", "transfix", "--help"],
    "import peft": ["-c", "import peft"],
}


def main() -> None:
    """Runs the benchmark."""
    given = arguments.parser(__doc__, rows=0, repetitions=7).parse_args()
    sides = {name: _timed([sys.executable, *command]) for name, command in COMMANDS.items()}
    found = in_turn(arguments.chosen(sides, given.only), given.repetitions)
    print(table(("command", "seconds"), [(name, spread(runs, "seconds")) for name, runs in found.items()]))
    write("startup", given, {"runs": found})


def _timed(command: Sequence[str]) -> Callable[[], Numbers]:
    def run() -> Numbers:
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return {"seconds": round(time.perf_counter() - began, 4)}

    return run


if __name__ == "__main__":
    main()
