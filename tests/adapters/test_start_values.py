"""Start values: their shapes, their size beside the model's own states, their dependence on the seed and on nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Olmo2Config, Olmo2ForCausalLM, PreTrainedModel

from transfix import Adapter, LlamaAdapter, PrefixTuning, SoftPrompt, TransfixError, attach, load_adapter
from transfix.adapters.architecture import layers
from transfix.adapters.methods import METHODS, Part
from transfix.studies import quickstart

Build = Callable[[str], PreTrainedModel]


def tokenizer(text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
    """A word is a token; a begin-of-sequence token stands in front."""
    return {"input_ids": [1] * add_special_tokens + [3 + len(word) for word in text.split()]}


def values(adapter: Adapter) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in adapter.tensors().items()}


def started(model: PreTrainedModel, *parts: Part, **settings: Any) -> dict[str, Tensor]:
    adapter = attach(model, *parts, **settings)
    found = values(adapter)
    if parts[0].method != "full":
        adapter.detach()
    return found


@pytest.mark.parametrize("architecture", ["qwen3", "gpt2"], indirect=True)
def test_the_seed_decides_and_nothing_else(model: PreTrainedModel, parts: tuple[Part, ...], method: str) -> None:
    torch.manual_seed(77)
    first = started(copy.deepcopy(model), *parts)
    torch.manual_seed(78)
    state = torch.get_rng_state()
    again = started(model.train(), *parts, name="another")
    assert torch.equal(torch.get_rng_state(), state)  # the caller's random numbers are not used up
    assert model.training
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    if method not in ("base", "full"):
        other = started(model, *parts, seed=1)
        constant = {name for name in first if name.endswith("gate") or "lora_B" in name}
        assert {name for name in first if torch.equal(first[name], other[name])} == constant
        assert not any(first[name].any() for name in constant)


@pytest.mark.parametrize(
    "part", [PrefixTuning(tokens=4), PrefixTuning(tokens=4, norm="layer"), PrefixTuning(tokens=4, projection="none")]
)
def test_normal_keys_and_values_look_like_real_ones(model: PreTrainedModel, part: PrefixTuning, ids: Tensor) -> None:
    part = part.model_copy(update={"tokens": 64})
    real: dict[int, tuple[Tensor, Tensor]] = {}
    hooks = []
    for layer in layers(model):
        assert layer.norm is not None
        keep = lambda _, __, out, layer=layer: real.__setitem__(layer.index, layer.source(out.flatten(0, 1)))
        hooks.append(layer.norm.register_forward_hook(keep))
    with torch.no_grad():
        model(ids)
        for hook in hooks:
            hook.remove()
        adapter = attach(model, part)
        for layer, module in zip(layers(model), adapter.methods[0].modules, strict=True):  # type: ignore[attr-defined]
            columns = (
                module.prefix.keys_values(torch.float32)
                if hasattr(module, "prefix")
                else module.columns(torch.float32, decoding=False)
            )
            for name, own, theirs in zip("KV", columns, real[layer.index], strict=True):
                ratio = float(own.square().mean().sqrt() / theirs.square().mean().sqrt())
                assert 1 / 3 < ratio < 3, (layer.index, name, ratio)


def test_a_normal_prompt_looks_like_embeddings(model: PreTrainedModel) -> None:
    E = started(model, SoftPrompt(tokens=200))["soft_prompt.embedding"]
    table = model.get_input_embeddings()(torch.arange(64)).detach()
    assert 0.8 < float(E.std() / table.std()) < 1.25


@pytest.mark.parametrize("part", [PrefixTuning(tokens=4), LlamaAdapter(tokens=4)])
def test_text_is_the_models_own_states(model: PreTrainedModel, part: PrefixTuning | LlamaAdapter) -> None:
    """`norm: layer` takes what enters the layer's norm, `none` what leaves it; the first token is left out."""
    seen: dict[int, tuple[Tensor, Tensor]] = {}
    hooks = []
    for layer in layers(model):
        assert layer.norm is not None
        keep = lambda _, args, out, layer=layer: seen.__setitem__(layer.index, (args[0][0, 1:], out[0, 1:]))
        hooks.append(layer.norm.register_forward_hook(keep))
    with torch.no_grad():
        model(torch.tensor([tokenizer("is this so then really")["input_ids"]]))
    for hook in hooks:
        hook.remove()
    for norm, which in (("layer", 0), ("none", 1)):
        text = part.model_copy(update={"init": "text", "init_text": "is this so then really", "norm": norm})
        for name, E in started(model, text, tokenizer=tokenizer).items():
            if name.endswith("embedding"):
                torch.testing.assert_close(E, seen[int(name.split(".")[1])][which][:4])
        longer = started(model, text.model_copy(update={"tokens": 7}), tokenizer=tokenizer)
        E = longer[f"{part.method}.1.embedding"]
        torch.testing.assert_close(E[:5], seen[1][which])
        repeated = (E[5:] - E[:2]).square().mean().sqrt() / E.square().mean().sqrt()
        assert 0 < repeated < 0.1  # again, but not exactly: equal rows would stay equal for ever


def test_what_a_tokenizer_ends_texts_with_is_no_state(model: PreTrainedModel) -> None:
    closing = lambda text, add_special_tokens=True: {
        "input_ids": tokenizer(text, add_special_tokens)["input_ids"] + [2] * add_special_tokens
    }
    part = PrefixTuning(tokens=8, init="text", init_text="is this so then really")
    plain, closed = (started(model, part, tokenizer=each) for each in (tokenizer, closing))
    assert plain
    assert all(torch.equal(plain[name], closed[name]) for name in plain)


@pytest.mark.parametrize("part", [PrefixTuning(init="text"), SoftPrompt(init="text")])
def test_a_word_without_an_embedding(model: PreTrainedModel, part: PrefixTuning) -> None:
    beyond = lambda text, add_special_tokens=True: {"input_ids": [1, 5, 64]}
    with pytest.raises(TransfixError, match="has token 64, and the model has embeddings for 64"):
        attach(model, part.model_copy(update={"init_text": "yes lamp"}), tokenizer=beyond)


def test_text_of_a_prompt_is_its_embeddings(model: PreTrainedModel) -> None:
    E = started(model, SoftPrompt(tokens=3, init="text", init_text="yes or no"), tokenizer=tokenizer)[
        "soft_prompt.embedding"
    ]
    assert torch.equal(E, model.get_input_embeddings()(torch.tensor([6, 5, 5])).detach())


@pytest.mark.parametrize(
    "part",
    [
        PrefixTuning(init="zero"),
        PrefixTuning(init="zero", projection="none"),
        LlamaAdapter(init="zero"),
        SoftPrompt(init="zero"),
    ],
)
def test_zero_is_zero(build: Build, part: Part) -> None:
    assert not any(tensor.any() for tensor in started(build("qwen3"), part).values())


def test_scale_and_shapes(build: Build) -> None:
    model = build("gemma3")
    for part in (PrefixTuning(tokens=5), LlamaAdapter(tokens=5), PrefixTuning(tokens=5, projection="none")):
        found = started(model, part)
        shape = (2, 5, 16) if isinstance(part, PrefixTuning) and part.projection == "none" else (5, 32)
        assert all(tensor.shape == shape for name, tensor in found.items() if not name.endswith("gate"))
        assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    text = {"init": "text", "init_text": "is this so then really"}
    for make in (PrefixTuning, LlamaAdapter, SoftPrompt):
        for how in (
            ({}, text) if make is not SoftPrompt else (text,)
        ):  # a prompt's noise stands around the embeddings' mean
            parts = [make(tokens=7, init_scale=scale, **how) for scale in (1.0, 2.0)]
            once, twice = (started(model, part, tokenizer=tokenizer) for part in parts)
            for name, tensor in once.items():
                torch.testing.assert_close(2 * tensor, twice[name], msg=f"{make.__name__}, {how}, {name}")


def test_parts_of_one_adapter_start_from_numbers_of_their_own(build: Build) -> None:
    found = started(build("gemma3"), PrefixTuning(tokens=4), LlamaAdapter(tokens=4))
    for layer in range(2):
        assert not torch.equal(found[f"prefix.{layer}.embedding"], found[f"llama_adapter.{layer}.embedding"])


@pytest.mark.parametrize("part", [PrefixTuning(init="text"), LlamaAdapter(init="text"), SoftPrompt(init="text")])
def test_text_that_cannot_be_had(build: Build, part: PrefixTuning) -> None:
    model = build("llama")
    with pytest.raises(TransfixError, match="tokenizer=tokenizer"):
        attach(model, part)
    with pytest.raises(TransfixError, match="init_text: ' '"):
        attach(model, part.model_copy(update={"init_text": " "}), tokenizer=tokenizer)
    if not isinstance(part, SoftPrompt):
        without_start = lambda text, add_special_tokens=True: tokenizer(text, add_special_tokens=False)
        with pytest.raises(TransfixError, match="init_text: 'yes'"):
            attach(model, part.model_copy(update={"init_text": "yes"}), tokenizer=without_start)
    assert not hasattr(model, "_transfix")


def test_learning_rates(build: Build) -> None:
    model = build("llama")
    parts = (
        LlamaAdapter(tokens=2, layers=2, learning_rate=0.1, gate_learning_rate=0.5, learning_rate_scale="relative"),
        SoftPrompt(tokens=2, init_scale=3.0, learning_rate_scale="absolute"),
    )
    adapter = attach(model, *parts)
    groups = adapter.parameter_groups(0.01)
    assert [id(p) for group in groups for p in group["params"]].sort() == [id(p) for p in adapter.parameters()].sort()
    by_parameter = {id(p): group["lr"] for group in groups for p in group["params"]}
    for name, tensor in adapter.tensors().items():
        size = float(tensor.detach().square().mean().sqrt())
        expected = 0.5 if name.endswith("gate") else 0.01 if name.startswith("soft") else 0.1 * size
        assert by_parameter[id(tensor)] == pytest.approx(expected), name


@pytest.mark.parametrize("part", [PrefixTuning(), LlamaAdapter()])
def test_what_is_automatic(part: Part, build: Build, tmp_path: Path) -> None:
    """As the quickstart learns best: from a text through the layer's norm, where there are a tokenizer and norms."""
    model = build("llama")
    assert settled(attach(model, part, tokenizer=tokenizer)) == ("layer", "text", "relative")
    assert settled(attach(model, part, name="second")) == ("layer", "normal", "relative")
    attach(model, part, name="third").save(tmp_path)
    assert load_adapter(build("llama"), tmp_path).parts[0].norm == "layer"  # what was decided is saved
    shape = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": 64,
    }
    without = attach(
        Olmo2ForCausalLM(Olmo2Config(**shape)), part, tokenizer=tokenizer
    )  # its norms come after attention
    assert settled(without) == ("none", "normal", "relative")


def test_what_is_automatic_is_the_quickstarts() -> None:
    for settings in quickstart.ADAPTERS:
        asked = dict(settings["adapter"])
        part = METHODS[asked["method"]]
        assert part(**asked).settled(lambda: True, True) == part().settled(lambda: True, True)
        assert settings["train"]["learning_rate"] == part.usual_rate


def test_free_keys_and_values_pass_no_norm(build: Build) -> None:
    adapter = attach(build("llama"), PrefixTuning(projection="none"), tokenizer=tokenizer)
    assert settled(adapter) == ("none", "text", "relative")


def test_a_soft_prompt_starts_from_a_text_without_norms() -> None:
    assert SoftPrompt().settled(lambda: False, True).init == "text"
    assert SoftPrompt().settled(lambda: False, False).init == "normal"


def settled(adapter: Adapter) -> tuple[str, ...]:
    (part,) = adapter.parts
    return part.norm, part.init, part.learning_rate_scale
