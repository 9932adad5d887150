"""Two checkouts of transfix: is the second as fast as the first? Training and evaluation on Gemma 3 270M, in turn.

    python -m benchmarks.checkouts BEFORE AFTER

The same rows through the command line of either, every time in a new process. Examples a second of training are counted from
the first step; rows a second of evaluation include that the model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import arguments
from benchmarks.measuring import Numbers, in_process, in_turn, middle, spread, table

STUDY = {"norm": "none", "init": "normal", "learning_rate_scale": "absolute"}
"""The same computation in every version, whatever its defaults are."""

PREFIX = {"method": "prefix", "tokens": 10, **STUDY}
LORA = {"method": "lora", "rank": 4}
LLAMA_ADAPTER = {"method": "llama_adapter", "tokens": 10, **STUDY}
XNLI = {"asked": {"task": "xnli"}}
XQUAD = {"asked": {"task": "xquad", "max_new_tokens": 16}}
CASES: dict[str, tuple[str, dict[str, Any], float]] = {
    "training, prefix": ("train", {"adapter": PREFIX}, 1.0),
    "training, lora": ("train", {"adapter": LORA}, 1.0),
    "scoring, xnli, base": ("evaluate", {"adapter": "base", **XNLI}, 2.0),
    "scoring, xnli, prefix": ("evaluate", {"adapter": PREFIX, **XNLI}, 2.0),
    "scoring, xnli, llama_adapter": ("evaluate", {"adapter": LLAMA_ADAPTER, **XNLI}, 2.0),
    "generation, xquad, base": ("evaluate", {"adapter": "base", **XQUAD}, 0.25),
    "generation, xquad, prefix": ("evaluate", {"adapter": PREFIX, **XQUAD}, 0.25),
    "generation, xquad, llama_adapter": ("evaluate", {"adapter": LLAMA_ADAPTER, **XQUAD}, 0.25),
}
"""A function of `sides/checkout_side.py`, its arguments, and the share of `--rows` it gets."""


def main() -> None:
    """Runs the benchmark."""
    parser = arguments.parser(__doc__, rows=160, repetitions=5, least=32)
    parser.add_argument("before", type=Path, metavar="BEFORE", help="a checkout")
    parser.add_argument("after", type=Path, metavar="AFTER", help="another one")
    given = parser.parse_args()
    lines: list[Sequence[object]] = []
    for name, (function, asked, share) in CASES.items():
        if given.only not in name:
            continue
        rows = round(given.rows * share)
        sides = {
            side: _side(checkout.resolve(), function, {**asked, "rows": rows})
            for side, checkout in (("before", given.before), ("after", given.after))
        }
        found = in_turn(sides, given.repetitions)
        ratio = middle(found["after"], "rows_per_s") / middle(found["before"], "rows_per_s")
        peak = middle(found["after"], "peak_gib") / middle(found["before"], "peak_gib")
        speeds = (spread(found[side], "rows_per_s") for side in sides)
        lines.append((name, rows, *speeds, f"{ratio:.3f}", f"{peak:.3f}"))
    print(table(("case", "rows", "before, rows/s", "after, rows/s", "speed, after : before", "memory"), lines))


def _side(checkout: Path, function: str, asked: dict[str, Any]) -> Callable[[], Numbers]:
    def run() -> Numbers:
        environment = {"PYTHONPATH": str(checkout / "src")}
        found = in_process(f"checkout_side:{function}", environment=environment, **asked)
        if not Path(found["imported"]).is_relative_to(checkout):
            raise SystemExit(f"{checkout}: transfix is imported from {found['imported']}")
        return found

    return run


if __name__ == "__main__":
    main()
