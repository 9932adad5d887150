"""Several adapters on one base: chosen by call and by row, each as if it were alone, in any mixture of methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from transfix import (
    Adapter,
    Base,
    FullFineTuning,
    LlamaAdapter,
    LoRA,
    PrefixTuning,
    SoftPrompt,
    TransfixError,
    attach,
    load_adapter,
    use,
)
from transfix.adapters.methods import Part

Close = Callable[..., None]
Pad = Callable[[Sequence[Tensor], str], tuple[Tensor, Tensor]]
Randomise = Callable[..., Adapter]

MIXTURES: dict[str, tuple[tuple[Part, ...], tuple[Part, ...]]] = {
    "prefix lengths": ((PrefixTuning(tokens=2),), (PrefixTuning(tokens=5, layers=1, projection="none"),)),
    "gates": ((LlamaAdapter(tokens=2),), (LlamaAdapter(tokens=4, layers=(0,), gate="per_layer", tanh=True),)),
    "prompt lengths": ((SoftPrompt(tokens=2),), (SoftPrompt(tokens=5),)),
    "prefix, gate": ((PrefixTuning(tokens=3),), (LlamaAdapter(tokens=2),)),
    "prompt, prefix": ((SoftPrompt(tokens=4),), (PrefixTuning(tokens=2, norm="layer"),)),
    "ranks": ((LoRA(rank=2),), (LoRA(rank=3, targets="all_linear", layers=1),)),
    "prompt, lora": ((SoftPrompt(tokens=3),), (LoRA(rank=2),)),
    "hybrids": ((SoftPrompt(tokens=2), PrefixTuning(tokens=3)), (LlamaAdapter(tokens=3), LoRA(rank=2))),
    "prompt+lora, base": ((SoftPrompt(tokens=3), LoRA(rank=2)), (Base(),)),
}


@pytest.fixture(params=list(MIXTURES))
def pair(request: pytest.FixtureRequest, model: PreTrainedModel, randomise: Randomise) -> tuple[Adapter, Adapter]:
    """Two adapters `a` and `b`, randomised, on one model."""
    first, second = MIXTURES[request.param]
    return randomise(attach(model, *first, name="a"), seed=1), randomise(attach(model, *second, name="b"), seed=2)


def test_rows_choose_their_adapter(
    pair: tuple[Adapter, Adapter], rows: list[Tensor], pad: Pad, assert_close: Close
) -> None:
    model = pair[0].model
    tokens, mask = pad(rows, "left")
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    for names in (["a", None, "b"], ["a", "b", "a"]):
        with torch.no_grad():
            with use(model, names):
                batch = model(input_ids=tokens, attention_mask=mask, position_ids=positions).logits
            for number, (name, row) in enumerate(zip(names, rows, strict=True)):
                with use(model, name):
                    assert_close(batch[number][mask[number].bool()], model(row[None]).logits[0])


@pytest.mark.parametrize("architecture", ["gemma3"], indirect=True)
@pytest.mark.parametrize("beams", [1, 2])
def test_rows_generate_with_their_adapter(
    pair: tuple[Adapter, Adapter], beams: int, rows: list[Tensor], pad: Pad
) -> None:
    """Beams and returned sequences follow their row."""
    model, names, (tokens, mask) = pair[0].model, ["a", None, "b"], pad(rows, "left")
    settings: dict[str, Any] = {"max_new_tokens": 3, "do_sample": False, "num_beams": beams}
    settings["num_return_sequences"] = beams
    with use(model, names):
        batch = model.generate(tokens, attention_mask=mask, **settings)
    for number, (name, row) in enumerate(zip(names, rows, strict=True)):
        with use(model, name):
            alone = model.generate(row[None], **settings)
        assert torch.equal(batch[number * beams : (number + 1) * beams, -3:], alone[:, -3:])


@pytest.mark.parametrize("architecture", ["llama", "gpt2"], indirect=True)
def test_each_is_as_if_alone(
    pair: tuple[Adapter, Adapter],
    build: Callable[[str], PreTrainedModel],
    architecture: str,
    ids: Tensor,
    randomise: Randomise,
) -> None:
    """Also while the other one is detached."""
    model = pair[0].model
    alone = [
        randomise(attach(build(architecture), *adapter.parts), seed=seed).model(ids).logits
        for seed, adapter in enumerate(pair, start=1)
    ]
    assert torch.equal(model(ids).logits, alone[1])  # the newest is active
    with use(model, "a"):
        assert torch.equal(model(ids).logits, alone[0])
        with use(model, ["b", "b"]):
            assert torch.equal(model(ids).logits, alone[1])
        assert torch.equal(model(ids).logits, alone[0])
        with pair[1].active():
            assert torch.equal(model(ids).logits, alone[1])
    with use(model, None):
        assert torch.equal(model(ids).logits, build(architecture)(ids).logits)
    assert all(p.requires_grad for adapter in pair for p in adapter.parameters())
    pair[1].detach()
    assert torch.equal(model(ids).logits, alone[0])
    assert all(p.requires_grad for p in pair[0].parameters())
    pair[0].detach()
    assert torch.equal(model(ids).logits, build(architecture)(ids).logits)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"], indirect=True)
@pytest.mark.parametrize("part", [PrefixTuning(tokens=3), LlamaAdapter(tokens=3), SoftPrompt(tokens=3)])
def test_rows_train_their_own_adapter(
    model: PreTrainedModel, part: Part, ids: Tensor, randomise: Randomise, assert_close: Close
) -> None:
    """Two adapters trained in one batch have the gradients that they have alone."""
    pair = [randomise(attach(model, part, name=name), seed=seed) for seed, name in enumerate("ab")]
    expected = []
    for row, adapter in zip(ids, pair, strict=True):
        model.zero_grad()
        with adapter.active():
            model(row[None], labels=row[None]).loss.backward()
        expected.append([p.grad.clone() for p in adapter.parameters() if p.grad is not None])
    model.zero_grad()
    with use(model, ["a", "b"]):
        (2 * model(ids, labels=ids).loss).backward()
    for adapter, gradients in zip(pair, expected, strict=True):
        for parameter, gradient in zip(adapter.parameters(), gradients, strict=True):
            assert parameter.grad is not None
            assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"], indirect=True)
@pytest.mark.parametrize(
    "part", [LoRA(rank=2), LoRA(rank=2, targets="all_linear"), PrefixTuning(tokens=2), SoftPrompt(tokens=2)]
)
def test_three_come_and_go(
    model: PreTrainedModel,
    part: Part,
    ids: Tensor,
    randomise: Randomise,
    build: Callable[[str], PreTrainedModel],
    architecture: str,
) -> None:
    """In any order; whatever is left keeps its numbers and its gradients. Names may be those of modules."""
    names = ["layers", "one", "model"]
    adapters = {name: randomise(attach(model, part, name=name), seed=seed) for seed, name in enumerate(names)}
    alone = [randomise(attach(build(architecture), part), seed=seed).model(ids).logits for seed in range(4)]
    adapters.pop("model").detach()
    adapters["again"] = randomise(attach(model, part, name="again"), seed=3)
    adapters.pop("layers").detach()
    for name, expected in (("one", alone[1]), ("again", alone[3])):
        with use(model, name), torch.no_grad():
            assert torch.equal(model(ids).logits, expected)
        assert all(p.requires_grad for p in adapters[name].parameters())
        assert len(adapters[name].tensors()) > 0
    with pytest.raises(TransfixError, match=r"no adapter 'layers'.*one, again"), use(model, "layers"):
        pass


def test_an_interrupted_block_leaves_no_trace(model: PreTrainedModel, ids: Tensor, randomise: Randomise) -> None:
    for name, part in (("p", PrefixTuning(tokens=2)), ("l", LoRA(rank=2)), ("s", SoftPrompt(tokens=2))):
        randomise(attach(model, part, name=name))
    expected = model(ids).logits

    def interrupted() -> None:
        with use(model, ["l", None]):
            model(ids)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.equal(model(ids).logits, expected)
    assert torch.equal(model(ids[:1]).logits, model(ids[:1]).logits)


def test_a_batch_that_does_not_fit_the_rows(model: PreTrainedModel, ids: Tensor) -> None:
    for name, part in (("a", PrefixTuning(tokens=2)), ("b", LoRA(rank=2))):
        attach(model, part, name=name)
    with use(model, ["a", "b", None]), pytest.raises(TransfixError, match="3 rows, but the batch has 2"):
        model(ids)


@pytest.mark.parametrize("none", [[], (), ""])
def test_no_adapter_at_all_is_refused(model: PreTrainedModel, ids: Tensor, none: Any) -> None:
    attach(model, PrefixTuning(tokens=2), name="a")
    expected = model(ids).logits
    with pytest.raises(TransfixError, match="adapter"), use(model, none):
        model(ids)
    assert torch.equal(model(ids).logits, expected)


def test_what_stands_alone(build: Callable[[str], PreTrainedModel], ids: Tensor) -> None:
    model = build("llama")
    attach(model, PrefixTuning(tokens=2), name="a")
    with pytest.raises(TransfixError, match="full fine-tuning changes the weights"):
        attach(model, FullFineTuning(), name="b")
    with use(model, "a"):
        model(ids)
    with pytest.raises(TransfixError, match="no transfix adapter"), use(build("llama"), "a"):
        pass
    with pytest.raises(TransfixError, match="no transfix adapter"), use(build("llama"), None):
        pass


def test_loaded_under_another_name(
    build: Callable[[str], PreTrainedModel], ids: Tensor, tmp_path: Any, randomise: Randomise
) -> None:
    model = build("gemma3")
    one = randomise(attach(model, PrefixTuning(tokens=2), name="one"), seed=1)
    expected = model(ids).logits
    one.save(tmp_path)
    two = load_adapter(model, tmp_path, name="two")
    assert two.name == "two"
    for name in ("one", "two"):
        with use(model, name):
            assert torch.equal(model(ids).logits, expected)
    with pytest.raises(TransfixError, match="'one' is already attached"):
        load_adapter(model, tmp_path)
