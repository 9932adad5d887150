"""Trains one case with and without compiled layers and prints how far apart the learned tensors are.

A process of its own: the type checks that the other tests run under are no code for torch.compile.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from transfix import LlamaAdapter, LoRA, PrefixTuning, SoftPrompt, attach, batches
from transfix.adapters import architecture
from transfix.errors import TransfixError
from transfix.training import AdapterTrainer, Choices, Settings
from transfix.training.kept import KeptLayers

CASES: dict[str, Any] = {
    "hybrid": [PrefixTuning(tokens=3), LoRA(rank=2)],
    "kept": [PrefixTuning(tokens=3, layers=1)],
    "checkpointed": [LlamaAdapter(tokens=3)],
    "soft_prompt": [SoftPrompt(tokens=3)],
}
SHAPE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}


def learned(case: str, compile_: bool, output: Path) -> list[torch.Tensor]:
    """The tensors after two epochs, with an evaluation on the way; batches of many shapes, trees and single rows."""
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPE, num_key_value_heads=2, vocab_size=64, initializer_range=0.2, pad_token_id=0)
    model = LlamaForCausalLM(config).eval()
    adapter = attach(model, *CASES[case], seed=1)
    draw, rows = random.Random(0), []
    for group in range(8):
        premise = [draw.randrange(8, 64) for _ in range(draw.randint(4, 9))]
        for _ in range(3 if group % 2 else 1):
            end = [draw.randrange(8, 64) for _ in range(draw.randint(2, 5))]
            rows.append(batches.TokenSequence(len(rows), (*premise, *end)))
    targets = torch.tensor([draw.randrange(3) for _ in rows])
    steps = batches.training_steps(batches.shared(model, rows, 64, widest=6), 2, 6, 40, seed=0)
    kept = KeptLayers.of(adapter, steps, 2, 0, output) if case == "kept" else None
    settings = Settings(output, 0.02, 0.0, "constant", 0.0, 1.0, 3, None, 1000, case == "checkpointed", 0, compile_)
    objective = Choices(targets, torch.tensor([5, 6, 7]), 0)

    def develop() -> dict[str, float]:
        with torch.no_grad():
            model(torch.tensor([[5, 6, 7]]))
        return {"accuracy": 0.0, "loss": 1.0}

    AdapterTrainer(adapter, steps, objective, settings, develop, (), kept).run()
    assert all(layer._compiled_call_impl is None for layer in architecture.stack(model))
    return [tensor.detach() for tensor in adapter.parameters()]


def main() -> None:
    """`compiled.py CASE`: the largest difference, and how many pieces of code were compiled; or what transfix said."""
    warnings.simplefilter("ignore")
    case = sys.argv[1]
    if case == "no-compiler":
        torch._inductor.config.cpp.cxx = ("no-such-compiler",)
        torch._inductor.config.force_disable_caches = True
        case = "hybrid"
    with tempfile.TemporaryDirectory() as directory:
        try:
            plain, compiled = (learned(case, on, Path(directory) / str(on)) for on in (False, True))
        except TransfixError as error:
            print(json.dumps({"said": str(error)}))
            return
    apart = max(float((one - other).abs().max()) for one, other in zip(plain, compiled, strict=True))
    frames = torch._dynamo.utils.counters["frames"]["ok"]
    print(json.dumps({"apart": apart, "frames": frames}))


if __name__ == "__main__":
    main()
