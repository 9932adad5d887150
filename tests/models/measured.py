"""One training or evaluation of a packaged model in a process of its own, and the memory it took.

python tests/models/measured.py '{"model": "gemma-3-270m", "part": {"method": "prefix"}, "rows": 16, ...}'
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers.models.gemma3.modeling_gemma3  # noqa: F401 (imports that training would do belong to the baseline)

from transfix import attach, batches, models
from transfix.adapters.methods import METHODS
from transfix.training import AdapterTrainer, Choices, Settings, Texts

STEPS = 2  # the second has gradients, moments and activations at once
SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-4,
    "warmup": 0.0,
    "schedule": "constant",
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "evaluate_every": 0,
    "early_stopping": None,
    "checkpoint_every": 1000,
    "seed": 0,
}


def status(field: str) -> int:
    """A field of this process's /proc status in bytes: `VmRSS`, resident now, or `VmHWM`, the most that was."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Makes VmHWM what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def run(case: dict[str, Any]) -> dict[str, int]:
    """Trains or evaluates; bytes above what the interpreter and the libraries take."""
    torch.manual_seed(0)
    warm_up()
    baseline = status("VmRSS")
    loaded = models.load(case["model"], dtype=case["dtype"], device="cpu", quantization=case["quantization"])
    for weight in loaded.model.parameters():  # pages of a file are there once they are looked at
        weight.detach().flatten().view(torch.uint8)[::4096].max()
    gc.collect()
    at_load, resident = status("VmHWM") - baseline, status("VmRSS") - baseline
    forget_peak()
    rows = [
        batches.TokenSequence(row, tuple(torch.randint(5, 1000, (case["tokens"],)).tolist()), max(1, case["targets"]))
        for row in range(case["rows"])
    ]
    if case["part"] is None:
        evaluate(loaded, rows)
    else:
        train(loaded, rows, case)
    return {"loading": at_load, "resident": resident, "peak": status("VmHWM") - baseline}


def warm_up() -> None:
    """What a process takes at its first matrix product, backward pass and optimiser step, on a matrix of nothing."""
    layer = torch.nn.Linear(8, 8)
    optimiser = torch.optim.AdamW(layer.parameters())
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            layer(torch.ones(8, 8)).sum().backward()
    optimiser.step()


def evaluate(loaded: models.LoadedModel, rows: list[batches.TokenSequence]) -> None:
    """One forward, as `transfix evaluate` does it for a choice."""
    from transfix.batches import Encoded
    from transfix.evaluation.scoring import score_choices

    score_choices(loaded.model, [Encoded(row.tokens, False) for row in rows], torch.tensor([5, 6, 7]), 0)


def train(loaded: models.LoadedModel, rows: list[batches.TokenSequence], case: dict[str, Any]) -> None:
    """A few optimiser steps over the same rows, each in one forward."""
    part = METHODS[case["part"]["method"]].model_validate(case["part"])
    adapter = attach(loaded.model, part)
    trees = [batches.Tree((row,), len(row.tokens)) for row in rows]
    objective: Any = Choices(torch.zeros(len(rows), dtype=torch.long), torch.tensor([5, 6, 7]), 0)
    if case["targets"]:
        objective = Texts([row.tokens[: row.reads] for row in rows], 0)
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(output=Path(directory), gradient_checkpointing=case["checkpointing"], **SETTINGS)
        trainer = AdapterTrainer(adapter, [[trees]] * STEPS, objective, settings)
        trainer._save_checkpoint = lambda *_: None  # type: ignore[method-assign]
        trainer.run()


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))
