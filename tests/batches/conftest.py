"""Tiny random models, and rows of tokens that begin alike."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import transformers
from transformers import PreTrainedModel

from transfix.batches import TokenSequence

VOCABULARY, WINDOW = 64, 24

_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
_GPT: dict[str, Any] = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128, "vocab_size": VOCABULARY}
_SLIDING = {"head_dim": 16, "sliding_window": WINDOW}
_TYPES = ["sliding_attention", "full_attention", "sliding_attention"]
_ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.2}

_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", _SHAPE),
    "gemma3": ("Gemma3", {**_SHAPE, **_SLIDING, "layer_types": _TYPES}),
    "mistral": ("Mistral", {**_SHAPE, "sliding_window": WINDOW}),
    "gpt2": ("GPT2", {**_GPT, **_ENDS}),
    "gemma2": ("Gemma2", {**_SHAPE, **_SLIDING, "layer_types": _TYPES, "final_logit_softcapping": 2.0}),
    "phi": ("Phi", {**_SHAPE, "num_key_value_heads": 4}),  # a head with a bias
    "lfm2": ("Lfm2", {**_SHAPE, "layer_types": ["conv", "full_attention", "conv"]}),
    "mpt": ("Mpt", {"d_model": 32, "n_layers": 2, "n_heads": 4, "vocab_size": VOCABULARY, "initializer_range": 0.2}),
    "bloom": (
        "Bloom",
        {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": VOCABULARY, "initializer_range": 0.2},
    ),
}


@cache
def _config(architecture: str) -> Any:
    name, settings = _MODELS[architecture]
    kind = {"Gemma3": "Gemma3TextConfig"}.get(name, f"{name}Config")
    return getattr(transformers, kind)(**settings)


def _build(architecture: str, attention: str | None = None) -> PreTrainedModel:
    name = _MODELS[architecture][0]
    head = {"GPT2": "GPT2LMHeadModel"}.get(name, f"{name}ForCausalLM")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made: PreTrainedModel = getattr(transformers, head)._from_config(
            _config(architecture), **({"attn_implementation": attention} if attention else {})
        )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():  # norms and biases start at 0 or 1: a mistake with them would not show
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return made.eval()


@pytest.fixture
def build() -> Callable[..., PreTrainedModel]:
    """A fresh tiny model: `build("llama", "eager")`."""
    return _build


def _family(seed: int, trunk: int, branches: list[int], start: int = 0) -> list[TokenSequence]:
    draw = random.Random(seed)
    beginning = [draw.randrange(3, VOCABULARY) for _ in range(trunk)]
    return [
        TokenSequence(start + number, (*beginning, *(draw.randrange(3, VOCABULARY) for _ in range(length))))
        for number, length in enumerate(branches)
    ]


@pytest.fixture
def family() -> Callable[..., list[TokenSequence]]:
    """Rows with a common beginning: `family(seed, tokens of the trunk, [tokens of each branch], first index)`."""
    return _family


@pytest.fixture
def rows() -> list[TokenSequence]:
    """Rows of every kind: three of one premise, two of another, one that begins another, two equal ones, one alone."""
    first = _family(1, 8, [3, 5, 2])
    second = _family(2, 6, [4, 4], 3)
    short = TokenSequence(5, first[0].tokens[:9])
    again = TokenSequence(6, second[1].tokens)
    return [*first, *second, short, again, *_family(3, 0, [7], 7)]
