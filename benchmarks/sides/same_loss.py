"""The check of the training benchmark: with the same weights both sides have the same loss on the same first batches."""

from __future__ import annotations

import copy
import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.sides import peft_side
from benchmarks.sides.given import given
from transfix import adapters, batches, training
from transfix.adapters.methods import LlamaAdapter, PrefixTuning


def losses(model: str, method: str, batch_rows: int = 16, count: int = 2) -> dict[str, Any]:
    """The mean loss over the label words of the first batches, of PEFT and of transfix, in float32.

    Args:
        model: the base model.
        method: `prefix` or `adaption_prompt`.
        batch_rows: rows a batch.
        count: batches.
    """
    warnings.simplefilter("ignore")
    base, tokenizer, found = given(model, "float32", batch_rows * count, layers=2)
    pad = 0 if tokenizer is None else tokenizer.pad_token_id
    torch.manual_seed(0)
    peft = peft_side.wrapped(copy.deepcopy(base), method).eval()
    shift = peft_side.TOKENS if method == "prefix" else 0  # PEFT's prefix takes up positions, ours does not
    adapter = _transfix(base, peft, method)
    words = torch.tensor(found.words)
    objective = training.Choices(torch.tensor(found.classes), words, pad)
    sides: dict[str, list[float]] = {"peft": [], "transfix": []}
    for start in range(0, batch_rows * count, batch_rows):
        indices = list(range(start, start + batch_rows))
        targets = objective.targets[indices]
        sequences = [batches.TokenSequence(i, tuple(found.prompts[i])) for i in indices]
        trees = batches.shared(base, sequences, 2048)
        with torch.no_grad():
            # one by one: PEFT's prefix counts positions from the first padding token, so that padding would change it
            logits = torch.stack(
                [
                    peft(input_ids=torch.tensor([found.prompts[i]], device=base.device)).logits[0, -1, words]
                    for i in indices
                ]
            )
            sides["peft"].append(float(nn.functional.cross_entropy(logits.cpu(), targets)))
            batch = batches.collate(trees, objective.pad)
            batch = dataclasses.replace(batch, position_ids=batch.position_ids + shift)
            sides["transfix"].append(float(objective.loss(adapter.model, batch)) / batch_rows)
    apart = max(abs(a - b) for a, b in zip(sides["peft"], sides["transfix"], strict=True))
    return {**sides, "apart": apart}


@torch.no_grad()
def _transfix(model: Any, peft: Any, method: str) -> adapters.Adapter:
    """The same weights in transfix's own form."""
    layers = model.config.num_hidden_layers
    if method == "prefix":
        adapter = adapters.attach(model, PrefixTuning(tokens=peft_side.TOKENS, projection="none"))
        tensors = adapter.tensors()
        heads, length, size = tensors["prefix.0.keys"].shape
        weight = peft.prompt_encoder.default.embedding.weight.view(length, layers, 2, heads, size)
        for number in range(layers):
            for place, kind in enumerate(("keys", "values")):
                tensors[f"prefix.{number}.{kind}"].copy_(weight[:, number, place].transpose(0, 1))
        return adapter
    adapter = adapters.attach(model, LlamaAdapter(tokens=peft_side.TOKENS, gate="per_layer"))
    tensors = adapter.tensors()
    for number in range(layers):
        attention = peft.get_base_model().model.layers[number].self_attn
        attention.adaption_gate.fill_(0.5)  # it starts at zero, where every adapter is the base model
        tensors[f"llama_adapter.{number}.embedding"].copy_(attention.adaption_prompt[0])
        tensors[f"llama_adapter.{number}.gate"].copy_(attention.adaption_gate)
    return adapter


def token_rows(model: str, rows: int, directory: str) -> dict[str, Any]:
    """Writes rows as token ids, and the model in transformers' layout, for a side that has no transfix.

    Returns:
        where they are, and the base model's loss over the vocabulary on the first 16 rows, in float32.
    """
    base, _, found = given(model, "float32", rows)
    tokens = [[*prompt, found.words[label]] for prompt, label in zip(found.prompts, found.classes, strict=True)]
    file = Path(directory) / "rows.json"
    file.write_text(json.dumps({"rows": tokens}))
    base.save_pretrained(directory)
    with torch.no_grad():
        last = [(base(torch.tensor([row[:-1]])).logits[0, -1:], torch.tensor(row[-1:])) for row in tokens[:16]]
        terms = [float(nn.functional.cross_entropy(logits, target)) for logits, target in last]
    return {"rows": str(file), "weights": directory, "loss": round(sum(terms) / len(terms), 4)}
