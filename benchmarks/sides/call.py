"""`python -m benchmarks.sides.call MODULE:FUNCTION '{"argument": ...}'`: prints what it returns as a line of JSON."""

from __future__ import annotations

import importlib
import json
import resource
import sys


def main() -> None:
    """Calls the function with its arguments."""
    module, name = sys.argv[1].split(":")
    if module in ("transfix_side", "shapes_side"):
        from transfix.runs import process

        process.settle()  # as the command does, before torch is loaded; the others' threads wait as they usually do
    function = getattr(importlib.import_module(f"benchmarks.sides.{module}"), name)
    found = function(**json.loads(sys.argv[2]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"peak_gib": round(peak, 3), **found}))


if __name__ == "__main__":
    main()
