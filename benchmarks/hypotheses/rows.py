"""The rows: what is tried, and with which settings. Every row sees the same training rows in the same order."""

from __future__ import annotations

from typing import Any

EXEMPLARS = (
    "A man is sleeping on a bench.\nA man is awake? no\nTwo women are walking to a shop.\nThe women are outside? yes"
)
"""Rows that nothing is trained on, in the words of the task's prompt."""

STUDY: dict[str, Any] = {"norm": "none", "init": "normal", "learning_rate_scale": "absolute"}
"""The study's form, and the defaults until now."""

ROWS: dict[str, dict[str, Any]] = {
    # each method as it is where nothing is said
    "base": {"adapter": "base"},
    "soft prompt": {"adapter": "soft_prompt"},
    "prefix": {"adapter": "prefix"},
    "llama-adapter": {"adapter": "llama_adapter"},
    "lora r=4": {"adapter": "lora"},
    "full": {"adapter": "full"},
    # what it was before
    "soft prompt, study's form": {
        "adapter": {"method": "soft_prompt", "init": "normal", "learning_rate_scale": "absolute"},
        "rate": 0.01,
    },
    "prefix, study's form": {"adapter": {"method": "prefix", **STUDY}},
    "llama-adapter, study's form": {"adapter": {"method": "llama_adapter", **STUDY}},
    # three rates each
    "prefix, rate 0.003": {"adapter": "prefix", "rate": 0.003},
    "prefix, rate 0.03": {"adapter": "prefix", "rate": 0.03},
    "lora r=4, rate 0.0006": {"adapter": "lora", "rate": 0.0006},
    "lora r=4, rate 0.006": {"adapter": "lora", "rate": 0.006},
    # size
    "prefix, 21 tokens": {"adapter": {"method": "prefix", "tokens": 21}},
    "lora r=2": {"adapter": {"method": "lora", "rank": 2}},
    # b: keys and values learn themselves, each relative to its size
    "free keys and values, 26 tokens": {"adapter": {"method": "prefix", "projection": "none", "tokens": 26}},
    "free keys and values, 26 tokens, rate 0.03": {
        "adapter": {"method": "prefix", "projection": "none", "tokens": 26},
        "rate": 0.03,
    },
    # c: the start
    "prefix, 21 tokens, start on exemplars": {"adapter": {"method": "prefix", "tokens": 21, "init_text": EXEMPLARS}},
    # d: outside the softmax
    "memory, 26 slots": {"adapter": {"method": "memory", "tokens": 26}, "rate": 0.002},
    "memory, 26 slots, rate 0.01": {"adapter": {"method": "memory", "tokens": 26}, "rate": 0.01},
    # e: the gate
    "second softmax, gate from 0.1": {"adapter": {"method": "second_softmax", "start": 0.1}},
    "second softmax, weight 1": {"adapter": {"method": "second_softmax", "start": 1.0, "learned": False}},
    # f: how much mass the prefix takes
    "prefix, four times its mass": {"adapter": {"method": "repeated", "times": 4}},
    # g: hybrids and biases
    "prefix + lora r=2 on q, k": {
        "adapter": [{"method": "prefix"}, {"method": "lora", "rank": 2, "targets": ["q", "k"]}],
    },
    "prefix + memory, 13 slots": {
        "adapter": [{"method": "prefix"}, {"method": "memory", "tokens": 13, "learning_rate": 0.002}],
    },
    "head biases": {"adapter": "head_bias"},
}


def specification(row: str, model: str, rows: int, limit: int, seed: int) -> dict[str, Any]:
    """A row's specification: trained on English MNLI once, measured on XNLI, calibrated on 64 unlabelled rows a language."""
    tried = ROWS[row]
    train = {
        "task": "mnli",
        "rows": rows,
        "development_rows": 600,
        "epochs": 1,
        "batch_rows": 9,
        "batch_tokens": 2048,
        **({"learning_rate": tried["rate"]} if "rate" in tried else {}),
    }
    return {
        "model": model,
        "adapter": tried["adapter"],
        "seed": seed,
        **({} if tried["adapter"] == "base" else {"train": train}),
        "evaluate": [{"task": "xnli", "limit": limit, "calibration": {"rows": 64}}],
    }
