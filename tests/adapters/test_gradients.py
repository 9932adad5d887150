"""What trains and what does not: one optimiser step, activation checkpointing, reduced precision, learning rates."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix import Adapter, attach, use
from transfix.adapters import kernels
from transfix.adapters.methods import Part

TRAINABLE = [
    "prefix",
    "prefix-norm",
    "prefix-free",
    "llama",
    "llama-layer",
    "llama-tanh",
    "soft",
    "lora",
    "lora-linear",
]
TRAINABLE += ["full", "prefix+lora", "soft+prefix", "llama+lora"]


def loss_of(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """The language-model loss on rows of which the second is padded on the left."""
    mask = torch.ones_like(ids)
    mask[1, :3] = 0
    loss: Tensor = model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
    return loss


def gradients(adapter: Adapter, ids: Tensor) -> dict[str, Tensor]:
    adapter.model.zero_grad()
    loss_of(adapter.model, ids).backward()
    return {name: parameter.grad.clone() for name, parameter in adapter.tensors().items() if parameter.grad is not None}


@pytest.mark.parametrize("method", TRAINABLE, indirect=True)
def test_a_step_moves_every_trainable_tensor_and_no_other(adapter: Adapter, ids: Tensor) -> None:
    model = adapter.model.train()
    learned = {id(parameter) for parameter in adapter.parameters()}
    assert {id(p) for p in model.parameters() if p.requires_grad} == learned
    before = {name: tensor.clone() for name, tensor in model.state_dict(keep_vars=True).items()}

    optimiser = torch.optim.SGD(adapter.parameters(), lr=1.0)
    loss_of(model, ids).backward()
    optimiser.step()

    after = model.state_dict(keep_vars=True)
    assert learned <= {id(tensor) for tensor in after.values()}
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) != (id(tensor) in learned), name


@pytest.mark.parametrize("method", ["base"], indirect=True)
def test_base_trains_nothing(adapter: Adapter) -> None:
    assert adapter.trainable == 0
    assert not any(parameter.requires_grad for parameter in adapter.model.parameters())


@pytest.mark.parametrize("method", ["llama", "llama-layer", "llama-tanh", "lora", "llama+lora"], indirect=True)
def test_a_method_that_starts_at_zero_trains_its_zero_tensors_first(
    model: PreTrainedModel, parts: tuple[Part, ...], ids: Tensor
) -> None:
    """LLaMA-Adapter's gate and LoRA's B move in the first step; E and A follow in the second."""
    adapter = attach(model.train(), *parts)
    start = {name: tensor.detach().clone() for name, tensor in adapter.tensors().items()}
    optimiser = torch.optim.SGD(adapter.parameters(), lr=0.1)
    for step in range(2):
        optimiser.zero_grad()
        loss_of(model, ids).backward()
        optimiser.step()
        for name, tensor in adapter.tensors().items():
            expected = step == 1 or name.endswith("gate") or "lora_B" in name
            assert torch.equal(tensor, start[name]) != expected, (step, name)


@pytest.mark.parametrize("method", TRAINABLE, indirect=True)
def test_activation_checkpointing_leaves_the_gradients_alone(
    adapter: Adapter, method: str, ids: Tensor, assert_close: Callable[..., None]
) -> None:
    model = adapter.model.train()
    model.config.use_cache = False
    expected = gradients(adapter, ids)
    assert expected.keys() == adapter.tensors().keys()
    for reentrant in (False, True):
        model.activation_checkpointing_enable({"use_reentrant": reentrant})
        if reentrant:
            model.enable_input_require_grads()  # which reentrant checkpointing needs, whatever the method
            if "soft" in method:  # its states are shared by all layers, which reentrant checkpointing cannot express
                with pytest.raises(RuntimeError, match="second time"):
                    gradients(adapter, ids)
                return
        found = gradients(adapter, ids)
        assert found.keys() == expected.keys()
        for name in expected:
            assert_close(found[name], expected[name])


@pytest.mark.parametrize("architecture", ["mistral", "gemma3", "gpt2"], indirect=True)
@pytest.mark.parametrize("method", ["prefix", "llama", "soft", "lora", "soft+prefix"], indirect=True)
def test_two_forwards_before_one_backward(adapter: Adapter, ids: Tensor, assert_close: Callable[..., None]) -> None:
    """A loss summed over two batches: the recomputed activations are those of each batch."""
    model = adapter.model.train()
    model.config.use_cache = False

    def both() -> dict[str, Tensor]:
        model.zero_grad()
        (loss_of(model, ids) + model(input_ids=ids[:, 5:], labels=ids[:, 5:]).loss).backward()
        return {name: p.grad.clone() for name, p in adapter.tensors().items() if p.grad is not None}

    expected = both()
    model.activation_checkpointing_enable({"use_reentrant": False})
    found = both()
    for name in expected:
        assert_close(found[name], expected[name])


@pytest.mark.parametrize("architecture", ["mistral", "gemma3", "gpt2"], indirect=True)
@pytest.mark.parametrize("method", ["prefix", "llama", "soft", "soft+prefix"], indirect=True)
def test_backward_after_the_adapter_was_changed(
    adapter: Adapter,
    parts: tuple[Part, ...],
    ids: Tensor,
    randomise: Callable[..., Adapter],
    assert_close: Callable[..., None],
) -> None:
    """Activations are recomputed with the adapters of their forward, not with those of the moment."""
    model = adapter.model.train()
    model.config.use_cache = False
    randomise(attach(model, *parts, name="other"), seed=1)
    with use(model, "default"):
        expected = gradients(adapter, ids)
    model.activation_checkpointing_enable({"use_reentrant": False})
    model.zero_grad()
    with use(model, "default"):
        loss = loss_of(model, ids)
    loss.backward()
    for name, parameter in adapter.tensors().items():
        assert parameter.grad is not None
        assert_close(parameter.grad, expected[name])


@pytest.mark.parametrize("architecture", ["gemma3", "gpt2"], indirect=True)
@pytest.mark.parametrize("method", TRAINABLE, indirect=True)
def test_bfloat16_base_with_float32_adapter(
    model: PreTrainedModel, parts: Sequence[Part], method: str, ids: Tensor, randomise: Callable[..., Adapter]
) -> None:
    expected = randomise(attach(copy.deepcopy(model), *parts)).model(ids).logits
    base = model(ids).logits
    adapter = randomise(attach(model.to(torch.bfloat16), *parts))
    if method != "full":
        assert all(parameter.dtype == torch.float32 for parameter in adapter.parameters())
    logits = model(ids).logits
    assert logits.dtype == torch.bfloat16
    if method != "full":  # whose noise bfloat16 rounds away
        assert (logits - expected).abs().mean() < 0.5 * (base - expected).abs().mean()
    found = gradients(adapter, ids)
    assert found.keys() == adapter.tensors().keys()
    assert all(bool(gradient.isfinite().all()) and bool(gradient.any()) for gradient in found.values())


@pytest.mark.parametrize("architecture", ["qwen3", "gpt2"], indirect=True)
@pytest.mark.parametrize("method", TRAINABLE, indirect=True)
def test_autocast(adapter: Adapter, ids: Tensor) -> None:
    """Mixed precision as trainers do it: float32 weights, bfloat16 products."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(adapter, ids)
    assert found.keys() == adapter.tensors().keys()
    assert all(gradient.dtype == torch.float32 and bool(gradient.isfinite().all()) for gradient in found.values())


@pytest.mark.parametrize("architecture", ["qwen3", "gemma3"], indirect=True)
@pytest.mark.parametrize("method", ["prefix", "llama", "soft"], indirect=True)
def test_small_heads_learn_in_float32_on_a_cpu(
    model: PreTrainedModel,
    parts: Sequence[Part],
    ids: Tensor,
    randomise: Callable[..., Adapter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only where a backward pass follows; the gradients are those of bfloat16 within its rounding."""
    seen: list[torch.dtype] = []
    whole = kernels.sdpa_attention_forward

    def watched(module: nn.Module, query: Tensor, *rest: Any, **kwargs: Any) -> Any:
        seen.append(query.dtype)
        return whole(module, query, *rest, **kwargs)

    monkeypatch.setattr(kernels, "sdpa_attention_forward", watched)
    exact = gradients(randomise(attach(copy.deepcopy(model), *parts)), ids)
    adapter = randomise(attach(model.to(torch.bfloat16), *parts))
    seen.clear()
    with torch.no_grad():
        loss_of(adapter.model, ids)
    assert set(seen) == {torch.bfloat16}
    wide = gradients(adapter, ids)
    assert torch.float32 in seen
    monkeypatch.setattr(kernels, "SMALL_HEAD", 0)
    seen.clear()
    narrow = gradients(adapter, ids)
    assert set(seen) == {torch.bfloat16}
    off = {name: [float((found[name] - exact[name]).norm()) for found in (wide, narrow)] for name in exact}
    for name, (of_wide, _) in off.items():
        assert of_wide < 0.1 * float(exact[name].norm()), name
    assert sum(of_wide for of_wide, _ in off.values()) < 1.5 * sum(of_narrow for _, of_narrow in off.values())
