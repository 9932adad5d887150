"""Attaching: parameter counts of the study's configurations, and requests that cannot be met and leave no trace."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraModel
from pydantic import BaseModel, ValidationError
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM, PreTrainedModel

import transfix
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
    use,
)
from transfix.adapters import UnsupportedModelError, support
from transfix.adapters.attention import LayerAdapters
from transfix.adapters.methods import AnyPart, Part
from transfix.errors import ProblemsError

Build = Callable[[str], PreTrainedModel]


@pytest.fixture(scope="module")
def llama_8b() -> PreTrainedModel:
    """Llama-3.1-8B without weights."""
    config = LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        return LlamaForCausalLM(config)


COUNTS: list[tuple[Part, int]] = [
    (SoftPrompt(tokens=10), 40_960),
    (PrefixTuning(tokens=10, layers=30), 1_228_800),
    (PrefixTuning(tokens=10, layers=30, norm="layer"), 1_228_800),
    (PrefixTuning(tokens=10, layers=30, projection="none"), 614_400),
    (LlamaAdapter(tokens=10, layers=30), 1_229_760),
    (LlamaAdapter(tokens=10, layers=30, gate="per_layer"), 1_228_830),
    (LoRA(rank=4), 2_359_296),
    (LoRA(rank=128), 75_497_472),
    (Base(), 0),
    (FullFineTuning(), 8_030_261_248),
]


@pytest.mark.parametrize(("part", "count"), COUNTS)
def test_trainable_parameters_of_the_study(llama_8b: PreTrainedModel, part: Part, count: int) -> None:
    adapter = attach(llama_8b, part)
    assert adapter.trainable == count
    assert sum(p.numel() for p in llama_8b.parameters() if p.requires_grad) == count
    assert sum(p.numel() for group in adapter.parameter_groups(0.1) for p in group["params"]) == count
    if not isinstance(part, FullFineTuning):
        adapter.detach()


def test_hybrids_add_up(build: Build) -> None:
    model = build("llama")
    parts = (PrefixTuning(tokens=3), LoRA(rank=2), SoftPrompt(tokens=2), LlamaAdapter(tokens=1))
    alone = []
    for part in parts:
        adapter = attach(model, part)
        alone.append(adapter.trainable)
        adapter.detach()
    assert attach(model, *parts).trainable == sum(alone)


REFUSED: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "no part": ((), {}, "at least one part"),
    "more layers than there are": ((PrefixTuning(layers=4),), {}, "4 layers are to be adapted, but .* has 3"),
    "a layer that is not there": ((LlamaAdapter(layers=(0, 3)),), {}, r"layers: \[0, 3\]: .* has layers 0 to 2"),
    "no layer": ((LoRA(layers=()),), {}, "has layers 0 to 2"),
    "lora on more layers": ((LoRA(layers=5),), {}, "5 layers are to be adapted"),
    "the second part": ((SoftPrompt(), LoRA(), PrefixTuning(layers=4)), {}, "4 layers are to be adapted"),
    "a text without a tokenizer": ((LoRA(), PrefixTuning(init="text")), {}, "tokenizer=tokenizer"),
    "the same method twice": ((LoRA(), LoRA(rank=2)), {}, "twice: lora"),
    "full with company": ((FullFineTuning(), LoRA()), {}, "stands alone"),
    "base with company": ((Base(), PrefixTuning()), {}, "stands alone"),
    "a dotted name": ((PrefixTuning(),), {"name": "a.b"}, "name 'a.b'"),
    "an empty name": ((PrefixTuning(),), {"name": ""}, "name ''"),
    "a name torch needs": ((PrefixTuning(),), {"name": "train"}, "name 'train'"),
    "another name torch needs": ((LlamaAdapter(),), {"name": "keys"}, "name 'keys'"),
}


def trace(model: PreTrainedModel) -> tuple[object, ...]:
    modules = {name: (type(m), len(m._forward_pre_hooks), len(m._forward_hooks)) for name, m in model.named_modules()}
    flags = {name: (id(p), p.requires_grad) for name, p in model.named_parameters()}
    return modules, flags, set(vars(model)), model.config._attn_implementation


@pytest.mark.parametrize("case", list(REFUSED))
@pytest.mark.parametrize("architecture", ["llama", "gpt2"], indirect=True)
def test_a_refused_attach_leaves_no_trace(three_layers: PreTrainedModel, case: str, ids: Tensor) -> None:
    parts, settings, message = REFUSED[case]
    next(iter(three_layers.parameters())).requires_grad_(False)
    before, expected = trace(three_layers), three_layers(ids).logits
    with pytest.raises(TransfixError, match=message):
        attach(three_layers, *parts, **settings)
    assert trace(three_layers) == before
    assert torch.equal(three_layers(ids).logits, expected)


@pytest.mark.parametrize("first", [LoRA(rank=2), PrefixTuning(tokens=2), SoftPrompt(tokens=2), Base()])
def test_a_refused_second_adapter_leaves_the_first_alone(
    build: Build, first: Part, ids: Tensor, randomise: Callable[..., Adapter]
) -> None:
    model = build("llama")
    adapter = randomise(attach(model, first, name="first"))
    expected, implementation = model(ids).logits, model.config._attn_implementation
    flags = [p.requires_grad for p in adapter.parameters()]
    refused = (
        (SoftPrompt(), LoRA(), PrefixTuning(layers=4)),
        (LlamaAdapter(), LoRA(rank=3, targets="all_linear"), SoftPrompt(init="text")),
    )
    for parts in refused:
        with pytest.raises(TransfixError):
            attach(model, *parts, name="second")
        assert torch.equal(model(ids).logits, expected)
        assert [p.requires_grad for p in adapter.parameters()] == flags
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == adapter.trainable
        assert model.config._attn_implementation == implementation
        with pytest.raises(TransfixError, match="no adapter 'second'"), use(model, "second"):
            pass
    with pytest.raises(TransfixError, match="'first' is already attached"):
        attach(model, first, name="first")
    attach(model, PrefixTuning(tokens=2), name="second").detach()
    assert torch.equal(model(ids).logits, expected)


def test_an_unknown_part(build: Build) -> None:
    class Ia3(Part):
        method: str = "ia3"

    with pytest.raises(TransfixError, match="PrefixTuning, LlamaAdapter"):
        attach(build("llama"), Ia3())


IMPOSSIBLE: dict[str, tuple[Callable[[], Part], tuple[str, ...]]] = {
    "a number": (lambda: PrefixTuning(tokens=0), ("PrefixTuning", "tokens: 0 is not allowed", "at least 1")),
    "a rate": (lambda: SoftPrompt(learning_rate=-1.0), ("SoftPrompt", "learning_rate: -1.0", "greater than 0")),
    "no number": (lambda: LoRA(rank="big"), ("LoRA", "rank: 'big'", "(allowed: a valid integer)")),  # type: ignore[arg-type]
    "a choice": (lambda: LlamaAdapter(gate="each"), ("gate: 'each'", "'per_head' or 'per_layer'")),  # type: ignore[arg-type]
    "no layer": (lambda: PrefixTuning(layers=0), ("layers: 0", "(allowed: all or a whole number L")),
    "a word": (lambda: PrefixTuning(layers="top"), ("layers: 'top'", "the top L layers")),  # type: ignore[arg-type]
    "below the first": (lambda: LoRA(layers=(-1,)), ("layers: (-1,)", "a list of layer indices from 0")),
    "a projection": (lambda: LoRA(targets=("q", "z")), ("targets: ('q', 'z')", "all_linear, or a list of q")),  # type: ignore[arg-type]
    "unknown": (
        lambda: PrefixTuning(depth=3),  # type: ignore[call-arg]
        ("depth: there is no such setting", "(allowed: learning_rate, tokens, init"),
    ),
    "together": (
        lambda: PrefixTuning(projection="none", norm="layer"),
        ("PrefixTuning", "norm: layer needs projection: base"),
    ),
    "all at once": (
        lambda: PrefixTuning(tokens=0, layers="top", init_scale=0.0, depth=3),  # type: ignore[arg-type,call-arg]
        ("tokens: 0", "layers: 'top'", "init_scale: 0.0", "depth: "),
    ),
}


@pytest.mark.parametrize("case", list(IMPOSSIBLE))
def test_settings_that_cannot_be(case: str) -> None:
    """One line a setting with its value and what is allowed, and nothing of the library that found it."""
    make, parts = IMPOSSIBLE[case]
    with pytest.raises(ProblemsError) as caught:
        make()
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert len(caught.value.problems) == message.count("\n") == (4 if case == "all at once" else 1)
    assert "pydantic" not in message.lower()
    assert caught.value.__cause__ is None


def test_parts_inside_a_pydantic_model_raise_its_own_error() -> None:
    """A specification reports all of its fields in one error, with the path of each."""

    class Specification(BaseModel):
        parts: tuple[AnyPart, ...]
        seed: int

    with pytest.raises(ValidationError) as caught:
        Specification.model_validate({"parts": [{"method": "prefix", "tokens": 0}, {"method": "lora"}], "seed": "x"})
    assert [error["loc"] for error in caught.value.errors()] == [("parts", 0, "tokens"), ("seed",)]
    with pytest.raises(ValidationError):
        PrefixTuning.model_validate({"tokens": 0})
    assert Specification(parts=(PrefixTuning(tokens=3),), seed=1).parts == (PrefixTuning(tokens=3),)


def test_unsupported_architectures_say_what_still_works(ids: Tensor) -> None:
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=4, pad_token_id=0)
    model = MambaForCausalLM(config).eval()
    before = trace(model)
    assert not support(model).supported
    for part in (PrefixTuning(), LlamaAdapter(), SoftPrompt()):
        with pytest.raises(UnsupportedModelError, match="still work"):
            attach(model, part)
        assert trace(model) == before


def test_an_attention_implementation_that_takes_no_prefix(build: Build) -> None:
    model = build("llama")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(UnsupportedModelError, match=r"'flash_attention_2'.*set_attn_implementation"):
        attach(model, PrefixTuning())
    assert not hasattr(model, "_transfix")


def test_a_model_that_is_only_named() -> None:
    name: Any = "gemma-3-270m"
    with pytest.raises(TransfixError, match=r"attach: the model is a str; load it first"):
        inspect.unwrap(attach)(name, LoRA())  # without the types that tests check


def test_the_public_names() -> None:
    for name in (
        "attach",
        "use",
        "load_adapter",
        "Adapter",
        "PrefixTuning",
        "LlamaAdapter",
        "SoftPrompt",
        "LoRA",
        "Base",
    ):
        assert getattr(transfix, name).__name__ == name
    with pytest.raises(AttributeError, match="attatch"):
        transfix.attatch  # noqa: B018


@pytest.mark.parametrize("first", [None, PrefixTuning(tokens=2), LoRA(rank=2)])
@pytest.mark.parametrize(
    "part", [PrefixTuning(tokens=3), LlamaAdapter(tokens=3), SoftPrompt(tokens=3), LoRA(rank=3)], ids=lambda p: p.method
)
def test_what_fails_midway_is_undone(
    build: Build,
    part: Part,
    first: Part | None,
    ids: Tensor,
    randomise: Callable[..., Adapter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second of two layers fails, when the first has its part already."""
    model = build("llama")
    if first is not None:
        randomise(attach(model, first, name="first"))
    before, expected = trace(model), model(ids).logits
    calls = 0

    def then_fail(whole: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise MemoryError("no room for the second")
            return whole(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(LayerAdapters, "place", then_fail(LayerAdapters.place))
        patch.setattr(LoraModel, "_create_and_replace", then_fail(LoraModel._create_and_replace))
        with pytest.raises(MemoryError):
            attach(model, part, name="second")
    assert calls == 2
    assert torch.equal(model(ids).logits, expected)
    if not isinstance(first, LoRA) or not isinstance(part, LoRA):  # PEFT leaves wrappers that add nothing
        assert trace(model) == before
    with_second = randomise(attach(model, part, name="second"))
    assert not torch.allclose(model(ids).logits, expected, atol=1e-3)
    with_second.detach()
    assert torch.equal(model(ids).logits, expected)
