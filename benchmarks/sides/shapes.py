"""Models of a published size with random weights, on rows of random tokens: what a GPU shows without a download.

Every row has the same length, so no side wins or loses by padding, and no two rows begin alike, so nothing is shared.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from transfix.batches import TokenSequence
from transfix.training import Choices

TOKENS = 512
"""Tokens of a row, the answer not counted."""

SHAPES: dict[str, dict[str, Any]] = {
    "llama-3.1-8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
}
"""Configurations as published, without the end of text: with random weights it would come at random."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Random rows with random classes: after `prompts[i]` the token `words[classes[i]]` is right."""

    prompts: list[list[int]]
    classes: list[int]
    words: list[int]

    def sequences(self) -> list[TokenSequence]:
        """As transfix's batches take them."""
        return [TokenSequence(index, tuple(prompt)) for index, prompt in enumerate(self.prompts)]

    def objective(self) -> Choices:
        """As transfix's trainer takes it."""
        return Choices(torch.tensor(self.classes), torch.tensor(self.words), 0)


def device() -> torch.device:
    """The GPU, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def model(name: str, dtype: str, layers: int | None = None) -> PreTrainedModel:
    """A model of that size with random weights, on the GPU; with fewer layers if asked."""
    shape = copy.deepcopy(SHAPES[name])
    shape["num_hidden_layers"] = layers or shape["num_hidden_layers"]
    torch.manual_seed(0)
    with device():
        made: PreTrainedModel = AutoModelForCausalLM.from_config(LlamaConfig(**shape), dtype=getattr(torch, dtype))
    made.eval()
    return made


def rows(count: int, tokens: int = TOKENS, shortest: int | None = None) -> Rows:
    """`count` rows of `tokens` random tokens, or of `shortest` to `tokens`."""
    generator = torch.Generator().manual_seed(0)

    def draw(low: int, high: int, size: int) -> list[int]:
        found: list[int] = torch.randint(low, high, (size,), generator=generator).tolist()
        return found

    lengths = draw(shortest or tokens, tokens + 1, count)
    return Rows([draw(10, 100_000, length) for length in lengths], draw(0, 3, count), [1, 2, 3])


def peak(on: torch.device) -> dict[str, float]:
    """The highest memory that tensors took on a GPU, as `peak_gib`; nothing for a CPU."""
    return {"peak_gib": round(torch.cuda.max_memory_allocated(on) / 2**30, 3)} if on.type == "cuda" else {}
