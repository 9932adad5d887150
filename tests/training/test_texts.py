"""The loss over texts: what is right where, and that the short way gives the loss and gradients of the ordinary one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from transfix import FullFineTuning, LoRA, PrefixTuning, SoftPrompt, attach, batches
from transfix.adapters.methods import Part
from transfix.training import Texts, head_loss, objectives

SHAPE: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "tied": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True)),
    "capped": lambda: Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8, final_logit_softcapping=3.0)),
}
TARGETS = [(5, 6, 7), (9,), (11, 12), (13, 5, 9, 2)]


def build(name: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MODELS[name]().to(dtype).eval()


def sequences(shared: bool) -> list[batches.TokenSequence]:
    trunk = (20, 21, 22, 23, 24)
    own = [(30 + index,) for index in range(len(TARGETS))]
    prompts = [trunk + last if shared else (*last, *trunk[: index + 1]) for index, last in enumerate(own)]
    return [
        batches.TokenSequence(index, (*prompt, *target[:-1]), len(target))
        for index, (prompt, target) in enumerate(zip(prompts, TARGETS, strict=True))
    ]


def batch(shared: bool) -> batches.Batch:
    return batches.collate(batches.grow(sequences(shared), 1000, None if shared else 1), 0)


def reference(model: PreTrainedModel, shared: bool) -> torch.Tensor:
    """Row by row, from the logits of all positions."""
    total = torch.zeros(())
    for sequence, target in zip(sequences(shared), TARGETS, strict=True):
        logits = model(torch.tensor([sequence.tokens])).logits[0, -len(target) :].float()
        total = total + nn.functional.cross_entropy(logits, torch.tensor(target), reduction="sum")
    return total


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("part", [PrefixTuning(tokens=3), LoRA(rank=2), SoftPrompt(tokens=2), FullFineTuning()])
def test_loss_and_gradients_are_those_of_the_rows(
    name: str, part: Part, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_loss, "CHUNK", 3)
    monkeypatch.setattr(objectives, "CHUNK", 3)
    adapter = attach(build(name), part, seed=0)
    with torch.no_grad():
        for tensor in adapter.parameters():
            tensor.add_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)) * 0.05)
    found = Texts(TARGETS, 0).loss(adapter.model, batch(shared))
    found.backward()
    gradients = {key: tensor.grad.clone() for key, tensor in adapter.tensors().items() if tensor.grad is not None}
    adapter.model.zero_grad()
    expected = reference(adapter.model, shared)
    expected.backward()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    assert gradients
    for key, tensor in adapter.tensors().items():
        if tensor.grad is not None:
            torch.testing.assert_close(gradients[key], tensor.grad, atol=1e-4, rtol=1e-3, msg=key)
    assert "forward" not in vars(adapter.model.get_output_embeddings())


def test_the_short_way_is_taken_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = []
    monkeypatch.setattr(objectives, "target_logits", lambda *_: ways.append("long") or torch.zeros(10, 64))
    for name, part, long in (
        ("llama", PrefixTuning(tokens=2), False),
        ("tied", LoRA(rank=2), False),
        ("capped", PrefixTuning(tokens=2), True),
        ("llama", FullFineTuning(), True),
    ):
        ways.clear()
        Texts(TARGETS, 0).loss(attach(build(name), part).model, batch(True))
        assert bool(ways) == long, (name, part)


def test_bfloat16() -> None:
    adapter = attach(build("llama", torch.bfloat16), PrefixTuning(tokens=3), seed=0)
    found = Texts(TARGETS, 0).loss(adapter.model, batch(False))
    found.backward()
    with torch.no_grad():
        expected = reference(adapter.model, False)
    assert float(found.detach()) == pytest.approx(float(expected), rel=0.02)
    assert all(bool(tensor.grad.isfinite().all()) for tensor in adapter.parameters() if tensor.grad is not None)
