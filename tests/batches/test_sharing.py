"""Who can share: models that only attend; a model with a state or with ALiBi, or a backend without masks, cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from transfix import LoRA, PrefixTuning, attach
from transfix.batches import TokenSequence, mask_dtype, shared, sharing

Build = Callable[..., PreTrainedModel]
Family = Callable[..., list[TokenSequence]]


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "mistral", "gpt2", "gemma2", "phi"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_shares(build: Build, family: Family, architecture: str, dtype: torch.dtype) -> None:
    model = build(architecture).to(dtype).train()
    assert len(shared(model, family(1, 9, [2, 3]), 1000)) == 1
    assert model.training


@pytest.mark.parametrize("architecture", ["lfm2", "mpt", "bloom"])
@pytest.mark.filterwarnings("ignore:.*position_ids.*:FutureWarning")
def test_convolutions_and_alibi_do_not(build: Build, family: Family, architecture: str) -> None:
    assert len(shared(build(architecture), family(1, 9, [2, 3]), 1000)) == 2


def test_limits(build: Build, family: Family) -> None:
    rows = family(1, 9, [5] * 6)
    for architecture, budget, widest, sizes in (
        ("llama", 1000, None, [6]),
        ("llama", 30, None, [4, 2]),
        ("llama", 1000, 4, [4, 2]),
        ("gemma3", 1000, None, [3, 3]),  # its window is 24
    ):
        trees = shared(build(architecture), rows, budget, widest)
        assert [len(tree.sequences) for tree in trees] == sizes


def test_the_window_of_a_part_of_a_model(build: Build, family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model for text and images has the window in the configuration of its text part."""
    model = build("llama")
    part: Any = type(model.config)(sliding_window=20)
    monkeypatch.setattr(model.config, "get_text_config", lambda: part)
    assert [len(tree.sequences) for tree in shared(model, family(1, 9, [5] * 4), 1000)] == [2, 2]


def test_backends(build: Build, family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = family(1, 9, [2, 3])
    for attention, dtype, trees in (("eager", torch.float32, 1), ("sdpa", None, 1), ("flash_attention_2", None, 2)):
        model = build("llama")
        monkeypatch.setattr(model.config, "_attn_implementation_internal", attention)
        assert mask_dtype(model) == dtype
        assert len(shared(model, rows, 1000)) == trees


def test_a_model_is_asked_once(build: Build, family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[PreTrainedModel] = []
    monkeypatch.setattr(sharing, "_asks", lambda model: asked.append(model) or True)
    first, second = build("llama"), build("llama")
    for model in (first, first, second):
        shared(model, family(1, 9, [2, 3]), 1000)
    assert asked == [first, second]


def test_the_base_model_is_asked_whatever_adapter_is_on(
    build: Build, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prefix in bfloat16 rounds a tree and its rows apart by about the tolerance: it must not decide."""
    model = build("gemma3")
    attach(model, PrefixTuning(tokens=4), LoRA(rank=2))
    active, whole = [], sharing._logits
    monkeypatch.setattr(sharing, "_logits", lambda m, b: active.append(m._transfix.state.active) or whole(m, b))
    assert len(shared(model, family(1, 9, [2, 3]), 1000)) == 1
    assert active == [()] * 4
    assert model._transfix.state.active == ("default",)  # type: ignore[union-attr]
