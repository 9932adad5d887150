"""Scoring and generation at the shape of Llama 3.1 8B, with random weights in bfloat16, on a GPU.

    python -m benchmarks.shapes          (training is `python -m benchmarks.training --model llama-3.1-8b`)

Scoring: rows of 512 tokens, its share of the floor (2 x body parameters x tokens operations) against the GPU's own large
matrix product, measured in the same run. Generation: 64 tokens after prompts of 256 to 512, beside transformers' `generate`.
"""

from __future__ import annotations

from benchmarks import arguments
from benchmarks.measuring import bind, in_process, in_turn, middle, spread, table, write

MODEL = "llama-3.1-8b"
BUDGETS = (2048, 8192)
"""Tokens a forward of scoring; the first is what transfix takes."""
BATCHES = (16, 64)
"""Rows that are decoded together."""
NEW = 64


def main() -> None:
    """Runs the benchmark."""
    given = arguments.parser(__doc__, rows=128, repetitions=2).parse_args()
    sides = {
        f"transfix scores, {budget} tokens a forward": bind(
            "shapes_side:score", model=MODEL, rows=2 * given.rows, budget=budget
        )
        for budget in BUDGETS
    }
    for batch in BATCHES:
        asked = {"model": MODEL, "rows": given.rows, "new": NEW, "batch_rows": batch}
        sides[f"transfix writes, {batch} rows"] = bind("shapes_side:write", **asked)
        sides[f"transformers writes, {batch} rows"] = bind("shapes_side:transformers_write", **asked)
    ceiling = in_process("transfix_side:ceiling", gpu=True)
    found = in_turn(arguments.chosen(sides, given.only), given.repetitions)
    rows = []
    for name, runs in found.items():
        floor = f"{middle(runs, 'teraflops') / ceiling['teraflops']:.0%}" if "teraflops" in runs[0] else ""
        own = found.get(name.replace("transformers", "transfix"), runs)
        faster = "" if own is runs else f"{middle(own, 'tokens_per_s') / middle(runs, 'tokens_per_s'):.1f}"
        rows.append((name, spread(runs, "tokens_per_s"), spread(runs, "peak_gib"), faster, floor))
    print(table(("side", "tokens/s", "peak GiB", "transfix is faster by", "of the floor"), rows))
    print(f"matrix product, bfloat16: {ceiling['teraflops']} TFLOP/s on {ceiling['device']}")
    write(f"shapes-{MODEL}", given, {"ceiling": ceiling, "runs": found})


if __name__ == "__main__":
    main()
