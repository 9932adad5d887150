"""Where the time of a training step goes: torch's profiler over ten steps of prefix tuning, 16 rows of 24 tokens, bfloat16.

python -m benchmarks.step
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.measuring import table, write

ROWS, TOKENS, STEPS = 16, 24, 10
KINDS = {"matrix products": ("aten::mm", "aten::addmm", "aten::bmm"), "attention": ("scaled_dot_product",)}


def main() -> None:
    """Trains, and prints the shares."""
    given = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args(
        namespace=argparse.Namespace(only="")
    )
    from transfix.runs import process

    process.settle()  # before torch is loaded, as the command does
    import torch
    from torch.profiler import ProfilerActivity, profile

    from benchmarks.sides.transfix_side import settings
    from transfix import attach, batches, models
    from transfix.adapters.methods import PrefixTuning
    from transfix.training import AdapterTrainer, Choices

    adapter = attach(models.load("gemma-3-270m", dtype="bfloat16", device="cpu").model, PrefixTuning(tokens=10))
    rows = [batches.TokenSequence(row, tuple(torch.randint(5, 1000, (TOKENS,)).tolist()), 1) for row in range(ROWS)]
    trees = [batches.Tree((row,), TOKENS) for row in rows]
    objective = Choices(torch.zeros(ROWS, dtype=torch.long), torch.tensor([5, 6, 7]), 0)

    def train(steps: int) -> None:
        with tempfile.TemporaryDirectory() as directory:
            AdapterTrainer(adapter, [[trees]] * steps, objective, settings(Path(directory))).run()

    train(3)  # what only first steps do
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        train(STEPS)
    times = {event.key: event.self_cpu_time_total for event in recorded.key_averages()}
    whole = sum(times.values())
    shares = {
        kind: sum(time for name, time in times.items() if any(part in name for part in parts)) / whole
        for kind, parts in KINDS.items()
    }
    shares["all else: norms, activation functions, rotation, copies, the optimiser"] = 1 - sum(shares.values())
    print(table(("part of a step", "share"), [(kind, f"{100 * share:.0f} %") for kind, share in shares.items()]))
    write("step", given, {"shares": shares})


if __name__ == "__main__":
    main()
