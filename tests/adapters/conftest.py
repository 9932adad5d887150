"""Tiny random models of five architectures, and every method with settings that exercise its branches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from transfix import Adapter, Base, FullFineTuning, LlamaAdapter, LoRA, PrefixTuning, SoftPrompt, attach
from transfix.adapters.methods import Part

VOCABULARY, WINDOW = 64, 6  # sequences are longer than the sliding window

_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,  # so that attention is not flat and adapters matter
}
_GEMMA_LAYERS = ["sliding_attention", "full_attention", "sliding_attention"]  # as many of them as there are layers

BUILDERS: dict[str, Callable[[int], PreTrainedModel]] = {
    "llama": lambda n: LlamaForCausalLM(LlamaConfig(**_SHAPE, num_hidden_layers=n)),
    "mistral": lambda n: MistralForCausalLM(MistralConfig(**_SHAPE, num_hidden_layers=n, sliding_window=WINDOW)),
    "qwen3": lambda n: Qwen3ForCausalLM(Qwen3Config(**_SHAPE, num_hidden_layers=n, head_dim=16)),
    "gemma3": lambda n: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **_SHAPE, num_hidden_layers=n, head_dim=16, sliding_window=WINDOW, layer_types=_GEMMA_LAYERS[:n]
        )
    ),
    "gpt2": lambda n: GPT2LMHeadModel(
        GPT2Config(
            n_embd=32,
            n_layer=n,
            n_head=4,
            n_positions=64,
            vocab_size=VOCABULARY,
            initializer_range=0.2,
            resid_pdrop=0.0,
            attn_pdrop=0.0,
            embd_pdrop=0.0,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    ),
}

METHODS: dict[str, tuple[Part, ...]] = {
    "prefix": (PrefixTuning(tokens=3),),
    "prefix-norm": (PrefixTuning(tokens=3, layers=1, norm="layer"),),
    "prefix-free": (PrefixTuning(tokens=3, projection="none"),),
    "llama": (LlamaAdapter(tokens=3),),
    "llama-layer": (LlamaAdapter(tokens=3, layers=(0,), gate="per_layer"),),
    "llama-tanh": (LlamaAdapter(tokens=3, tanh=True, norm="layer"),),
    "soft": (SoftPrompt(tokens=3),),
    "lora": (LoRA(rank=2),),
    "lora-linear": (LoRA(rank=2, targets="all_linear", layers=1),),
    "full": (FullFineTuning(),),
    "base": (Base(),),
    "prefix+lora": (PrefixTuning(tokens=3), LoRA(rank=2)),
    "soft+prefix": (SoftPrompt(tokens=2), PrefixTuning(tokens=3, layers=1)),
    "llama+lora": (LlamaAdapter(tokens=3), LoRA(rank=2)),
}
IN_ATTENTION = [name for name in METHODS if not {"lora", "full", "base"} & {part.method for part in METHODS[name][:1]}]
DETACHABLE = [name for name in METHODS if name != "full"]


@pytest.fixture(autouse=True)
def _seed() -> None:
    """What is drawn never depends on the test before."""
    torch.manual_seed(0)


@cache
def _built(architecture: str, layers: int) -> PreTrainedModel:
    torch.manual_seed(0)
    model = BUILDERS[architecture](layers)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases start at 0 or 1: a mistake with them would not show
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = None  # rows of one length are easier to compare
    return model.eval()


def _build(architecture: str, layers: int = 2) -> PreTrainedModel:
    return copy.deepcopy(_built(architecture, layers))


@pytest.fixture
def build() -> Callable[..., PreTrainedModel]:
    """A fresh tiny model of an architecture, by default of two layers, always with the same weights."""
    return _build


@pytest.fixture(params=list(BUILDERS))
def architecture(request: pytest.FixtureRequest) -> str:
    """Each architecture in turn."""
    return str(request.param)


@pytest.fixture
def model(architecture: str) -> PreTrainedModel:
    """A tiny model of the architecture, in eval mode."""
    return _build(architecture)


@pytest.fixture
def three_layers(architecture: str) -> PreTrainedModel:
    """The same with three layers, for tests of which layers are adapted."""
    return _build(architecture, 3)


@pytest.fixture(params=list(METHODS))
def method(request: pytest.FixtureRequest) -> str:
    """Each method's name in turn (parametrise indirectly for a choice of them)."""
    return str(request.param)


@pytest.fixture
def parts(method: str) -> tuple[Part, ...]:
    """The parts of the method."""
    return METHODS[method]


@pytest.fixture
def methods() -> dict[str, tuple[Part, ...]]:
    """All methods by name."""
    return METHODS


def _randomise(adapter: Adapter, seed: int = 0) -> Adapter:
    generator = torch.Generator().manual_seed(100 + seed)
    with torch.no_grad():
        for name, parameter in adapter.tensors().items():
            size = 0.05 if name.startswith("full") else 0.3 if "lora" in name else 0.7
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += noise.to(parameter.device, parameter.dtype) * size
    return adapter


@pytest.fixture
def randomise() -> Callable[..., Adapter]:
    """Gives every tensor of an adapter (gates and LoRA's B too) a value that matters, by `seed`."""
    return _randomise


@cache
def _adapted(architecture: str, method: str) -> Adapter:
    return _randomise(attach(_build(architecture), *METHODS[method]))


@pytest.fixture
def adapted() -> Callable[[str, str], Adapter]:
    """The `shared_adapter` of an architecture and a method."""
    return _adapted


@pytest.fixture
def shared_adapter(architecture: str, method: str) -> Adapter:
    """The method, randomised, for tests that change nothing: they share it, which saves its making."""
    return _adapted(architecture, method)


@pytest.fixture
def adapter(architecture: str, method: str) -> Adapter:
    """The method, randomised, on a model of its own."""
    return copy.deepcopy(_adapted(architecture, method))


@pytest.fixture
def rows() -> list[Tensor]:
    """Three token rows of different lengths, two of them longer than the sliding window."""
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(3, VOCABULARY, (length,), generator=generator) for length in (5, 13, 9)]


@pytest.fixture
def ids() -> Tensor:
    """Two rows of 12 tokens."""
    return torch.randint(3, VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(3))


def _pad(rows: Sequence[Tensor], side: str) -> tuple[Tensor, Tensor]:
    longest = max(len(row) for row in rows)
    tokens, mask = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest, dtype=torch.long)
    for number, row in enumerate(rows):
        where = slice(longest - len(row), None) if side == "left" else slice(0, len(row))
        tokens[number, where], mask[number, where] = row, 1
    return tokens, mask


@pytest.fixture
def pad() -> Callable[[Sequence[Tensor], str], tuple[Tensor, Tensor]]:
    """Rows as one batch padded `left` or `right`: token ids (B, T) and mask (B, T)."""
    return _pad


def _assert_close(left: Tensor, right: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(left, right, atol=tolerance, rtol=tolerance)


@pytest.fixture
def assert_close() -> Callable[..., None]:
    """Equal up to float32 rounding (logits are of size 1 to 10)."""
    return _assert_close
