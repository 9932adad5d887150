"""What is computed once while decoding dies with any weight change (a stale prefix would train nothing, silently)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix import Adapter, LoRA, PrefixTuning, SoftPrompt, attach, use
from transfix.adapters.architecture import KeyValueSource, layers

CACHED = ["prefix-norm", "llama", "soft", "soft+prefix"]
Change = Callable[[Adapter], object]


def layer_tensor(adapter: Adapter, kind: str) -> nn.Parameter:
    """W_k (fused with W_q and W_v in GPT-2) or the input norm's weight of the top layer."""
    layer = layers(adapter.model)[-1]
    if kind == "norm":
        assert layer.norm is not None
        return next(layer.norm.parameters())
    attention: Any = layer.attention
    weight: nn.Parameter = (attention.c_attn if hasattr(attention, "c_attn") else attention.k_proj).weight
    return weight


def _step(optimiser: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> Change:
    def change(adapter: Adapter) -> None:
        ids = torch.randint(3, 64, (1, 6), generator=torch.Generator().manual_seed(9))
        with torch.enable_grad():
            adapter.model(ids, labels=ids).loss.backward()
        optimiser(list(adapter.parameters())).step()

    return change


def _load_state(adapter: Adapter, assign: bool) -> None:
    state = {
        name: tensor * 0.7 if tensor.is_floating_point() else tensor
        for name, tensor in adapter.model.state_dict().items()
    }
    adapter.model.load_state_dict(state, assign=assign)


CHANGES: dict[str, Change] = {
    "sgd": _step(lambda p: torch.optim.SGD(p, lr=1.0)),
    "adam": _step(lambda p: torch.optim.Adam(p, lr=0.3, foreach=True)),
    "fused adam": _step(lambda p: torch.optim.AdamW(p, lr=0.3, fused=True)),
    "load_state_dict": lambda a: _load_state(a, assign=False),
    "assigned state": lambda a: _load_state(a, assign=True),
    "E in place": lambda a: next(a.parameters()).mul_(-0.5),
    "W_k in place": lambda a: layer_tensor(a, "k").mul_(-0.5),
    "norm in place": lambda a: layer_tensor(a, "norm").mul_(-0.5),
    "one number": lambda a: next(a.parameters()).view(-1)[5].add_(30.0),
}
UNTRACKED: dict[str, Change] = {  # torch keeps no trace of these
    "E.data": lambda a: next(a.parameters()).data.mul_(-0.5),
    "W_k.data": lambda a: layer_tensor(a, "k").data.mul_(-0.5),
    "norm.data": lambda a: layer_tensor(a, "norm").data.mul_(-0.5),
    "there and back": lambda a: a.model.to(torch.float8_e4m3fn).to(torch.float32),
}


@pytest.mark.parametrize("architecture", ["gemma3", "gpt2"], indirect=True)
@pytest.mark.parametrize("method", CACHED, indirect=True)
def test_no_change_is_missed(adapter: Adapter, ids: Tensor) -> None:
    model = adapter.model
    for name, change in {**CHANGES, **UNTRACKED}.items():
        with torch.no_grad():
            before = model(ids).logits, model(ids[:, :1]).logits
            change(adapter)
            after = model(ids[:, :1]).logits, model(ids).logits
        with torch.enable_grad():
            expected = model(ids).logits
        assert torch.equal(after[1], expected), name
        assert not torch.allclose(before[0], expected, atol=1e-3), name
        if name in CHANGES:  # also while decoding token by token
            with torch.enable_grad():
                assert torch.equal(after[0], model(ids[:, :1]).logits), name


@pytest.mark.parametrize("architecture", ["llama", "gpt2"], indirect=True)
def test_decoding_computes_prefixes_once(model: PreTrainedModel, ids: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the tests above would hold of a cache that does not exist."""
    attach(model, PrefixTuning(tokens=2), SoftPrompt(tokens=2))
    count = {"projections": 0, "prompts": 0}
    project = KeyValueSource.__call__

    def counted(source: KeyValueSource, states: Tensor) -> tuple[Tensor, Tensor]:
        count["projections"] += 1
        return project(source, states)

    monkeypatch.setattr(KeyValueSource, "__call__", counted)
    body = model.base_model
    body.register_forward_pre_hook(
        lambda _, __, kwargs: count.update(prompts=count["prompts"] + (kwargs.get("inputs_embeds") is not None)),
        with_kwargs=True,
    )
    model.generate(ids, max_new_tokens=5, do_sample=False)
    assert count == {"projections": 2 * 2, "prompts": 1}  # for the prompt's own pass, and for the rows


@pytest.mark.parametrize("architecture", ["llama"], indirect=True)
def test_inference_mode_and_training_take_turns(adapter: Adapter, method: str, ids: Tensor) -> None:
    model = adapter.model
    for _ in range(2):
        with torch.inference_mode():
            expected = model.generate(ids, max_new_tokens=2, do_sample=False)
        with torch.no_grad():
            assert torch.equal(model.generate(ids, max_new_tokens=2, do_sample=False), expected)
        if method != "base":
            model(ids, labels=ids).loss.backward()


@pytest.mark.parametrize("part", [PrefixTuning(tokens=2), SoftPrompt(tokens=2), LoRA(rank=2)])
def test_an_adapter_in_the_place_of_another(
    build: Callable[[str], PreTrainedModel], part: Any, ids: Tensor, randomise: Callable[..., Adapter]
) -> None:
    """Of the same name and maybe at the same address in memory."""
    model = build("llama")
    randomise(attach(model, part, name="other"))
    token = ids[:, :1]
    with torch.no_grad():
        for seed in range(4):
            adapter = randomise(attach(model, part, name="a"), seed=seed)
            found = model(token).logits
            with torch.enable_grad(), use(model, "a"):
                assert torch.equal(found, model(token).logits)
            adapter.detach()
