"""What it is worth to lay the weights out once for generation: with and without, in turn, in one process, the same texts.

    python -m benchmarks.packing

Prompts are of random tokens, 206 each, seven beginnings of 181; 32 new tokens a row, greedy.
"""

from __future__ import annotations

import random
import time

from benchmarks import arguments
from benchmarks.measuring import in_turn, middle, spread, table, write

MODEL = "gemma-3-270m"
NEW = 32


def main() -> None:
    """Runs the benchmark."""
    given = arguments.parser(__doc__, rows=32).parse_args()
    from transfix import models
    from transfix.runs import process

    process.settle()  # before torch is loaded, as the command does
    from transfix.batches import Encoded
    from transfix.evaluation.generation import Decoding, generate, packed

    loaded = models.load(MODEL, dtype="bfloat16", device="cpu")
    draw = random.Random(0)
    beginnings = [[2, *(draw.randrange(5, 20_000) for _ in range(180))] for _ in range(7)]
    prompts = [
        Encoded((*beginnings[row % 7], *(draw.randrange(5, 20_000) for _ in range(25))), False)
        for row in range(given.rows)
    ]
    most, texts = packed.MOST, set()

    def timed(limit: int) -> dict[str, float]:
        packed.MOST = limit
        began = time.perf_counter()
        texts.add(tuple(row.text for row in generate(loaded.model, loaded.tokenizer, prompts, Decoding(NEW))))
        return {"seconds": round(time.perf_counter() - began, 2)}

    timed(most)  # what only the first call does
    found = in_turn({"laid out once": lambda: timed(most), "at every call": lambda: timed(0)}, given.repetitions)
    if len(texts) != 1:
        raise SystemExit("the texts differ")
    ratio = middle(found["at every call"], "seconds") / middle(found["laid out once"], "seconds")
    print(table(("weights", "seconds"), [(name, spread(runs, "seconds")) for name, runs in found.items()]))
    print(f"{ratio:.2f} times as fast, the same texts")
    write("packing", given, {"runs": found, "ratio": round(ratio, 2)})


if __name__ == "__main__":
    main()
