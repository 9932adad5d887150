"""Numbers that must not depend on how they are computed: padding, batching, backend, packing, layers, switching off."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Model, LlamaModel, PreTrainedModel

from transfix import Adapter, LlamaAdapter, PrefixTuning, SoftPrompt, TransfixError, attach
from transfix.adapters.methods import Part

Close = Callable[..., None]
Pad = Callable[[Sequence[Tensor], str], tuple[Tensor, Tensor]]


def positions_of(mask: Tensor) -> Tensor:
    return (mask.cumsum(-1) - 1).clamp(min=0)


@torch.no_grad()
def test_the_adapter_matters(shared_adapter: Adapter, method: str, ids: Tensor) -> None:
    """Else the tests below would hold of themselves."""
    model = shared_adapter.model
    with_adapter = model(ids).logits
    assert with_adapter.isfinite().all()
    if method != "full":
        with shared_adapter.disabled():
            assert ((with_adapter - model(ids).logits).abs().mean() > 0.1) == (method != "base")


@pytest.mark.parametrize("method", ["llama", "llama-layer", "llama-tanh", "lora", "llama+lora", "base"], indirect=True)
def test_a_zero_start_is_the_base_bit_for_bit(
    model: PreTrainedModel, parts: tuple[Part, ...], ids: Tensor, rows: list[Tensor], pad: Pad
) -> None:
    tokens, mask = pad(rows, "left")
    inputs: list[dict[str, Any]] = [
        {"input_ids": ids},
        {"input_ids": tokens, "attention_mask": mask, "position_ids": positions_of(mask)},
    ]
    expected = [model(**kwargs).logits for kwargs in inputs]
    generated = model.generate(tokens, attention_mask=mask, max_new_tokens=4, do_sample=False)
    attach(model, *parts)
    for kwargs, logits in zip(inputs, expected, strict=True):
        assert torch.equal(model(**kwargs).logits, logits)
    assert torch.equal(model.generate(tokens, attention_mask=mask, max_new_tokens=4, do_sample=False), generated)


@torch.no_grad()
def test_a_batch_of_mixed_lengths_is_its_rows_one_by_one(
    shared_adapter: Adapter, rows: list[Tensor], pad: Pad, assert_close: Close
) -> None:
    model = shared_adapter.model
    alone = [model(row[None]).logits[0] for row in rows]
    # methods outside the attention function leave positions to the caller, as transformers does
    outside = {"lora", "full", "base"}.issuperset(part.method for part in shared_adapter.parts)
    for side in ("left", "right"):
        tokens, mask = pad(rows, side)
        kwargs = {"position_ids": positions_of(mask)} if outside else {}
        batch = model(input_ids=tokens, attention_mask=mask, **kwargs).logits
        for number, expected in enumerate(alone):
            assert_close(batch[number][mask[number].bool()], expected)


@torch.no_grad()
def test_eager_is_sdpa(
    shared_adapter: Adapter,
    model: PreTrainedModel,
    parts: tuple[Part, ...],
    rows: list[Tensor],
    pad: Pad,
    randomise: Callable[..., Adapter],
    assert_close: Close,
) -> None:
    model.set_attn_implementation("eager")
    (tokens, mask), sdpa, eager = pad(rows, "left"), shared_adapter, randomise(attach(model, *parts))
    keep = mask.bool()
    assert_close(
        eager.model(input_ids=tokens, attention_mask=mask).logits[keep],
        sdpa.model(input_ids=tokens, attention_mask=mask).logits[keep],
    )


def _tree(trunk: Tensor, branches: Sequence[Tensor], window: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """One row: the trunk, then every branch; who sees whom (1, 1, T, T); and positions that continue the trunk's."""
    tokens = torch.cat([trunk, *branches])
    positions = torch.cat([torch.arange(len(trunk)), *(len(trunk) + torch.arange(len(b)) for b in branches)])
    branch = torch.cat([torch.zeros(len(trunk)), *(torch.full((len(b),), 1.0 + n) for n, b in enumerate(branches))])
    sees = (branch[None, :] == 0) | (branch[None, :] == branch[:, None])
    sees &= torch.ones_like(sees).tril()
    if window is not None:
        sees &= positions[:, None] - positions[None, :] < window
    return tokens[None], sees[None, None], positions[None]


@torch.no_grad()
def test_a_packed_tree_is_its_sequences(
    shared_adapter: Adapter, architecture: str, rows: list[Tensor], assert_close: Close
) -> None:
    """One shared trunk with several branches, as choices are scored: a 4-D mask and explicit positions."""
    model = shared_adapter.model
    trunk, branches = rows[1][:8], [rows[0][:3], rows[2][:4], rows[2][5:6]]
    windows = {"full_attention": None, "sliding_attention": getattr(model.config, "sliding_window", None)}
    alone = [model(torch.cat([trunk, branch])[None]).logits[0] for branch in branches]
    for kind in ("bool", "float") if architecture in ("llama", "gemma3") else ("bool",):
        masks: dict[str, Tensor] = {}
        for layer_type, window in windows.items():
            tokens, sees, positions = _tree(trunk, branches, window)
            hidden = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)
            masks[layer_type] = sees if kind == "bool" else hidden
        mask: Any = masks if architecture == "gemma3" else masks["sliding_attention"]
        packed = model(input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=False).logits[0]
        start = len(trunk)
        for branch, expected in zip(branches, alone, strict=True):
            assert_close(packed[: len(trunk)], expected[: len(trunk)])
            assert_close(packed[start : start + len(branch)], expected[len(trunk) :])
            start += len(branch)


@pytest.mark.parametrize("part", [PrefixTuning(tokens=3), LlamaAdapter(tokens=3)])
def test_top_layers_are_explicit_layers_and_every_subset_counts(
    three_layers: PreTrainedModel, part: PrefixTuning | LlamaAdapter, ids: Tensor, randomise: Callable[..., Adapter]
) -> None:
    seen: list[Tensor] = []
    for layers in ("all", 3, 2, (1, 2), 1, (2,), (0,), (2, 0), (0, 2)):
        adapter = attach(three_layers, part.model_copy(update={"layers": layers}), seed=0)
        with torch.no_grad():  # the same value for the same layer, whichever others are adapted
            for name, parameter in adapter.tensors().items():
                torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(int(name.split(".")[1])))
        adapted = {int(name.split(".")[1]) for name in adapter.tensors()}
        assert adapted == set(layers if isinstance(layers, tuple) else range(3)[-(3 if layers == "all" else layers) :])
        seen.append(three_layers(ids).logits)
        adapter.detach()
    everything, three, two, two_explicit, one, one_explicit, *_, ends, ends_sorted = seen
    for left, right in ((everything, three), (two, two_explicit), (one, one_explicit), (ends, ends_sorted)):
        assert torch.equal(left, right)
    different = [everything, two, one, seen[6], ends]
    for number, left in enumerate(different):
        assert all(not torch.allclose(left, right, atol=1e-2) for right in different[:number])


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"], indirect=True)
@pytest.mark.parametrize(
    "method", ["prefix", "llama", "soft", "lora", "lora-linear", "base", "soft+prefix", "prefix+lora"], indirect=True
)
def test_disabled_and_detach_restore_everything(
    model: PreTrainedModel,
    parts: tuple[Part, ...],
    ids: Tensor,
    rows: list[Tensor],
    pad: Pad,
    randomise: Callable[..., Adapter],
) -> None:
    tokens, mask = pad(rows, "left")
    frozen = next(iter(model.parameters()))
    frozen.requires_grad_(False)

    def numbers() -> list[Tensor]:
        return [model(ids).logits, model(input_ids=tokens, attention_mask=mask).logits]

    def state() -> tuple[object, ...]:
        modules = {
            name: (type(m), len(m._forward_pre_hooks), len(m._forward_hooks)) for name, m in model.named_modules()
        }
        flags = {name: (id(p), p.requires_grad) for name, p in model.named_parameters()}
        return modules, flags, set(model.state_dict()), set(vars(model)), model.config._attn_implementation

    expected, before = numbers(), state()
    for _ in range(2):
        adapter = randomise(attach(model, *parts))
        inside = numbers()
        with adapter.disabled():
            assert all(torch.equal(left, right) for left, right in zip(numbers(), expected, strict=True))
        assert all(torch.equal(left, right) for left, right in zip(numbers(), inside, strict=True))
        adapter.detach()
        assert all(torch.equal(left, right) for left, right in zip(numbers(), expected, strict=True))
        assert state() == before


@pytest.mark.parametrize("method", ["full"], indirect=True)
def test_full_fine_tuning_has_no_base_to_go_back_to(adapter: Adapter) -> None:
    with pytest.raises(TransfixError, match="load the base model again"), adapter.disabled():
        pass
    with pytest.raises(TransfixError, match="load the base model again"):
        adapter.detach()


@pytest.mark.parametrize("architecture", ["llama", "gpt2"], indirect=True)
def test_deepcopy_is_an_adapter_of_its_own(adapter: Adapter, method: str, ids: Tensor) -> None:
    model = adapter.model
    if method != "base":
        model(input_ids=ids, labels=ids).loss.backward()  # leaves nothing behind that could not be copied
    twin = copy.deepcopy(model)
    with torch.no_grad():
        expected = model(ids).logits
        assert torch.equal(twin(ids).logits, expected)
        for parameter in twin.parameters():
            parameter.mul_(0.5)
        assert not torch.allclose(twin(ids).logits, expected, atol=1e-2)
        assert torch.equal(model(ids).logits, expected)
    assert not {id(p) for p in model.parameters()} & {id(p) for p in twin.parameters()}


@pytest.mark.parametrize("part", [PrefixTuning(tokens=3), SoftPrompt(tokens=3), LlamaAdapter(tokens=3)])
def test_a_body_without_head(
    build: Callable[[str], PreTrainedModel], part: Part, ids: Tensor, randomise: Callable[..., Adapter]
) -> None:
    for architecture, kind in (("llama", LlamaModel), ("gpt2", GPT2Model)):
        whole = build(architecture)
        body = whole.base_model
        assert isinstance(body, kind)
        expected = randomise(attach(copy.deepcopy(whole), part)).model.base_model(ids).last_hidden_state
        adapter = randomise(attach(body, part))
        assert torch.equal(body(ids).last_hidden_state, expected)
        with adapter.disabled():
            assert not torch.equal(body(ids).last_hidden_state, expected)


def test_another_attention_implementation_is_not_ignored(build: Callable[[str], PreTrainedModel], ids: Tensor) -> None:
    """Chosen after `attach`, it would leave the prefix out without a word."""
    model = build("llama")
    attach(model, PrefixTuning(tokens=3))
    model.set_attn_implementation("eager")
    with pytest.raises(TransfixError, match="before attach"):
        model(ids)
