"""LitGPT's adapter, trained with the pieces of its own `finetune adapter`: chunked head, chunked cross-entropy, AdamW.

It needs an environment of its own, since LitGPT wants an older huggingface-hub than transformers 5: see benchmarks/README.md;
so nothing of transfix is imported here, and rows come as token ids in a file. Like that script it runs the model once without
gradients before it trains; in LitGPT 0.5.13 this fills the cache of the prefix's keys and values for good, so that only the
gates receive a gradient (which makes its steps a little cheaper than they should be).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.sides import WARM

CHUNK = 128
"""Positions whose logits are computed at a time, as LitGPT's own script has it."""


def train(
    rows: str, weights: str, name: str = "SmolLM2-135M-Instruct", batch_rows: int = 16, dtype: str = "bfloat16"
) -> dict[str, Any]:
    """Trains LitGPT's adapter and says how fast.

    Args:
        rows: a JSON file: `rows`, each a list of token ids of which the last is the target.
        weights: a directory with the model's safetensors, in transformers' layout.
        name: what LitGPT calls the model.
        batch_rows: rows a step.
        dtype: of the base weights.
    """
    from litgpt.adapter import GPT, Config, mark_only_adapter_as_trainable
    from litgpt.utils import chunked_cross_entropy

    kind = getattr(torch, dtype)
    config = Config.from_name(name, adapter_prompt_length=10, adapter_start_layer=0)
    model = GPT(config)
    model.load_state_dict(_converted(config, Path(weights)), strict=False)
    model = model.to(kind)
    mark_only_adapter_as_trainable(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    tokens: list[list[int]] = json.loads(Path(rows).read_text())["rows"]
    model.max_seq_length = max(map(len, tokens))
    losses, ends = [], []
    model.train()
    with torch.no_grad():  # the script's sanity check
        model(torch.tensor([tokens[0]]))
    for start in range(0, len(tokens), batch_rows):
        part = tokens[start : start + batch_rows]
        width = max(map(len, part))
        ids = torch.zeros(len(part), width, dtype=torch.long)
        targets = torch.full((len(part), width), -100)
        for row, row_tokens in enumerate(part):
            ids[row, : len(row_tokens)] = torch.tensor(row_tokens)
            targets[row, len(row_tokens) - 1] = row_tokens[-1]
        logits = model(ids, lm_head_chunk_size=CHUNK)
        logits[-1] = logits[-1][..., :-1, :]
        loss = chunked_cross_entropy(logits, targets[..., 1:], chunk_size=0)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(round(float(loss), 4))
        ends.append(time.perf_counter())
    timed = len(tokens) - WARM * batch_rows
    return {
        "rows_per_s": round(timed / (ends[-1] - ends[WARM - 1]), 3),
        "rows": len(tokens),
        "trainable": sum(p.numel() for p in trained),
        "losses": losses,
    }


def _converted(config: Any, directory: Path) -> dict[str, torch.Tensor]:
    from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = {}
    hf = {key: value for file in sorted(directory.glob("*.safetensors")) for key, value in load_file(file).items()}
    hf.setdefault("lm_head.weight", hf["model.embed_tokens.weight"])
    copy_weights_hf_llama(config, {}, found, hf)
    return found
