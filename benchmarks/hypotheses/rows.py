"""The rows: what is tried, and with which settings. Every row sees the same training rows in the same order."""

from __future__ import annotations

from typing import Any

EXEMPLARS = (
    "A man is sleeping on a bench.\nA man is awake? no\nTwo women are walking to a shop.\nThe women are outside? yes"
)
"""Rows that nothing is trained on, in the words of the task's prompt."""

TEXT: dict[str, Any] = {"init": "text", "learning_rate_scale": "relative"}
PREFIX: dict[str, Any] = {"method": "prefix", "tokens": 10, "norm": "layer", **TEXT}
LLAMA: dict[str, Any] = {"tokens": 10, "norm": "layer", **TEXT, "gate_learning_rate": 0.01}

ROWS: dict[str, dict[str, Any]] = {
    # the methods as they are
    "prefix": {"adapter": PREFIX, "rate": 0.01},
    "prefix, 21 tokens": {"adapter": {**PREFIX, "tokens": 21}, "rate": 0.01},
    "prefix, normal start, absolute rate, no norm": {"adapter": {"method": "prefix", "tokens": 10}, "rate": 0.01},
    "prefix, rate 0.003": {"adapter": PREFIX, "rate": 0.003},
    "prefix, rate 0.02": {"adapter": PREFIX, "rate": 0.02},
    "llama_adapter": {"adapter": {"method": "llama_adapter", **LLAMA}, "rate": 0.01},
    "lora r=4": {"adapter": {"method": "lora", "rank": 4}, "rate": 0.002},
    "lora r=4, rate 0.001": {"adapter": {"method": "lora", "rank": 4}, "rate": 0.001},
    "lora r=4, rate 0.004": {"adapter": {"method": "lora", "rank": 4}, "rate": 0.004},
    "lora r=2": {"adapter": {"method": "lora", "rank": 2}, "rate": 0.002},
    # b: keys and values learn themselves, each relative to its size
    "free keys and values, 26 tokens": {
        "adapter": {"method": "prefix", "projection": "none", "tokens": 26, **TEXT},
        "rate": 0.01,
    },
    "free keys and values, 26 tokens, rate 0.03": {
        "adapter": {"method": "prefix", "projection": "none", "tokens": 26, **TEXT},
        "rate": 0.03,
    },
    # c: the start
    "prefix, start on exemplars, 21 tokens": {
        "adapter": {**PREFIX, "tokens": 21, "init_text": EXEMPLARS},
        "rate": 0.01,
    },
    # d: outside the softmax
    "memory, 26 slots": {"adapter": {"method": "memory", "tokens": 26, "init": "text"}, "rate": 0.01},
    "memory, 26 slots, rate 0.002": {"adapter": {"method": "memory", "tokens": 26, "init": "text"}, "rate": 0.002},
    # e: the gate
    "second softmax, gate from 0.1": {"adapter": {"method": "second_softmax", "start": 0.1, **LLAMA}, "rate": 0.01},
    "second softmax, weight 1": {
        "adapter": {"method": "second_softmax", "start": 1.0, "learned": False, **LLAMA},
        "rate": 0.01,
    },
    # f: how much mass the prefix takes
    "prefix, four times its mass": {"adapter": {**PREFIX, "method": "repeated", "times": 4}, "rate": 0.01},
    # g: hybrids and biases
    "prefix + lora r=2 on q, k": {
        "adapter": [
            {**PREFIX, "learning_rate": 0.01},
            {"method": "lora", "rank": 2, "targets": ["q", "k"], "learning_rate": 0.002},
        ],
        "rate": 0.01,
    },
    "prefix + memory, 13 slots": {
        "adapter": [
            {**PREFIX, "learning_rate": 0.01},
            {"method": "memory", "tokens": 13, "init": "text", "learning_rate": 0.002},
        ],
        "rate": 0.01,
    },
    "head biases": {"adapter": {"method": "head_bias"}, "rate": 0.01},
}


def specification(row: str, model: str, rows: int, limit: int, seed: int) -> dict[str, Any]:
    """A row's specification: trained on English MNLI once, measured on XNLI, calibrated on 64 unlabelled rows a language."""
    tried = ROWS[row]
    return {
        "model": model,
        "adapter": tried["adapter"],
        "seed": seed,
        "train": {
            "task": "mnli",
            "rows": rows,
            "development_rows": 600,
            "epochs": 1,
            "batch_rows": 9,
            "batch_tokens": 2048,
            "learning_rate": tried["rate"],
        },
        "evaluate": [{"task": "xnli", "limit": limit, "calibration": {"rows": 64}}],
    }
