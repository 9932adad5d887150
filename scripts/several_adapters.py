"""Does it pay to train several adapters (seeds, learning rates) in one pass over a shared base? Measured, side by side.

    python scripts/several_adapters.py --model gemma-3-270m --adapters 4

For k adapters, each with its own R rows a step: k steps one after the other, against one step over k·R rows in which every
row has its own adapter. How far their gradients differ is printed. The two are measured in turn, and medians are printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from transfix import attach, batches, models, use
from transfix.adapters.methods import METHODS
from transfix.batches import word_logits

WORDS = torch.tensor([5, 6, 7])
CASES = ((16, 96), (16, 32), (4, 96), (4, 32), (1, 32))
"""Rows a step and tokens a row."""


def step(model: PreTrainedModel, names: Sequence[str], rows: int, tokens: int) -> float:
    """Forward and backward over `rows` rows for each of the adapters; seconds."""
    random = torch.Generator().manual_seed(0)
    one = [tuple(torch.randint(5, 1000, (tokens,), generator=random).tolist()) for _ in range(rows)]
    sequences = [batches.TokenSequence(number, row) for number, row in enumerate(one * len(names))]
    batch = batches.collate([batches.Tree((sequence,), tokens) for sequence in sequences], 0)
    targets = torch.arange(len(sequences)) % rows % len(WORDS)
    began = time.perf_counter()
    with use(model, [name for name in names for _ in range(rows)]):
        logits = word_logits(model, batch, WORDS)
    torch.nn.functional.cross_entropy(logits, targets, reduction="sum").backward()
    return time.perf_counter() - began


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gemma-3-270m")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--adapters", type=int, default=4)
    parser.add_argument("--method", default="prefix", choices=("prefix", "llama_adapter", "lora"))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    loaded = models.load(arguments.model, dtype=arguments.dtype)
    names = [f"seed-{seed}" for seed in range(arguments.adapters)]
    part = METHODS[arguments.method]()
    adapters = [attach(loaded.model, part, name=name, seed=seed) for seed, name in enumerate(names)]
    learned = [parameter for adapter in adapters for parameter in adapter.parameters()]
    optimiser = torch.optim.AdamW(learned)
    loaded.model.train()
    print(f"{arguments.model}, {loaded.dtype}, {torch.get_num_threads()} threads, {len(names)} x {part.method}")
    print("rows a step  tokens a row  one by one (s)  in one pass (s)  gain  AdamW (s)  gradients differ by")
    for rows, tokens in CASES:
        alone, together, updates = [], [], []
        for _ in range(arguments.repeats):
            optimiser.zero_grad()
            alone.append(sum(step(loaded.model, [name], rows, tokens) for name in names))
            expected = [parameter.grad.clone() for parameter in learned if parameter.grad is not None]
            optimiser.zero_grad()
            together.append(step(loaded.model, names, rows, tokens))
            found = [parameter.grad for parameter in learned if parameter.grad is not None]
            began = time.perf_counter()
            optimiser.step()
            updates.append(time.perf_counter() - began)
        apart = max(
            float((a - b).norm() / (b.norm() + 1e-12)) for a, b in zip(found, expected, strict=True) if bool(b.any())
        )
        first, second, update = (statistics.median(times) for times in (alone, together, updates))
        print(
            f"{rows:11}  {tokens:12}  {first:14.2f}  {second:15.2f}  {first / second:4.2f}  {update:9.3f}  {apart:.3f}"
        )


if __name__ == "__main__":
    main()
