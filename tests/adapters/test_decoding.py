"""Generation: cached decoding is the full forward for every cache, batches are their rows, beams follow."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerFast, StaticCache, pipeline

from transfix import Adapter, LoRA, PrefixTuning, SoftPrompt, attach
from transfix.adapters.methods import Part

Close = Callable[..., None]
Pad = Callable[[Sequence[Tensor], str], tuple[Tensor, Tensor]]
NEW = 3
ADAPTERS = ["prefix", "prefix-norm", "prefix-free", "llama", "llama-layer", "llama-tanh", "soft", "lora", "lora-linear"]
ADAPTERS += ["prefix+lora", "soft+prefix", "llama+lora"]  # full and base are transformers' own models
CACHES: dict[str, Callable[[Any], Any]] = {
    "dynamic": lambda config: DynamicCache(config=config),  # with sliding layers where the model has them
    "plain": lambda config: DynamicCache(),
    "static": lambda config: StaticCache(config=config, max_cache_len=20),
}


@pytest.fixture(autouse=True)
def _no_gradients() -> Any:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("method", ADAPTERS, indirect=True)
def test_cached_decoding_is_the_full_forward(
    shared_adapter: Adapter, architecture: str, ids: Tensor, assert_close: Close
) -> None:
    model = shared_adapter.model
    expected = model(ids, use_cache=False).logits
    for name, make in CACHES.items():
        if name == "plain" and architecture not in ("mistral", "gemma3"):
            continue  # without sliding layers it is the same as `dynamic`
        cache, start, found = make(model.config), 0, []
        for step in (7, 1, 3, 1):  # token by token, and several tokens at once
            inputs = ids[:, start : start + step]
            found.append(model(inputs, past_key_values=cache, use_cache=True).logits)
            start += step
        assert_close(torch.cat(found, dim=1), expected)


@pytest.mark.parametrize("method", ADAPTERS, indirect=True)
def test_greedy_generation_with_every_cache(shared_adapter: Adapter, rows: list[Tensor], pad: Pad) -> None:
    model, (tokens, mask) = shared_adapter.model, pad(rows, "left")
    settings: dict[str, Any] = {"max_new_tokens": NEW, "do_sample": False}
    alone = {number: model.generate(rows[number][None], **settings)[0, -NEW:] for number in (0, 2)}  # the padded ones
    for cache in ({}, {"cache_implementation": "static"}, {"use_cache": False}):
        batch = model.generate(tokens, attention_mask=mask, **settings, **cache)
        for number, expected in alone.items():
            assert torch.equal(batch[number, -NEW:], expected), (cache, number)


@pytest.mark.parametrize("method", ["prefix", "llama-layer", "soft+prefix", "llama+lora"], indirect=True)
def test_beams(shared_adapter: Adapter, rows: list[Tensor], pad: Pad) -> None:
    model, (tokens, mask) = shared_adapter.model, pad(rows, "left")
    settings: dict[str, Any] = {"max_new_tokens": NEW, "do_sample": False, "num_beams": 2, "num_return_sequences": 2}
    batch = model.generate(tokens, attention_mask=mask, **settings)
    assert torch.equal(batch, model.generate(tokens, attention_mask=mask, use_cache=False, **settings))
    for number in (0, 2):
        alone = model.generate(rows[number][None], **settings)
        assert torch.equal(batch[2 * number : 2 * number + 2, -NEW:], alone[:, -NEW:])


@pytest.mark.parametrize("architecture", ["gemma3", "gpt2"], indirect=True)
@pytest.mark.parametrize("method", ["prefix", "soft", "llama+lora"], indirect=True)
def test_a_text_generation_pipeline(adapter: Adapter) -> None:
    words = {f"w{number}": number for number in range(3, 64)}
    inner = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2, **words}, unk_token="w3"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    tokenizer.padding_side = "left"
    texts = ["w5 w9 w11", "w7 w33 w21 w8 w60 w5 w9 w11 w3"]
    alone = [
        pipeline("text-generation", model=adapter.model, tokenizer=tokenizer)(t, max_new_tokens=4, do_sample=False)
        for t in texts
    ]
    together = pipeline("text-generation", model=adapter.model, tokenizer=tokenizer, batch_size=2)
    found = together(texts, max_new_tokens=4, do_sample=False)
    assert found == alone
    for text, result in zip(texts, found, strict=True):
        row = torch.tensor([[words[word] for word in text.split()]])
        expected = adapter.model.generate(row, max_new_tokens=4, do_sample=False)[0].tolist()
        found_tokens = [words[word] for word in re.findall(r"w\d+", result[0]["generated_text"])]
        assert found_tokens == [token for token in expected if token > 2]  # special tokens are not shown


@pytest.mark.parametrize("part", [PrefixTuning(tokens=3), LoRA(rank=2)], ids=["prefix", "lora"])
def test_the_head_gets_its_last_positions_in_one_piece(
    build: Callable[..., PreTrainedModel], part: Part, ids: Tensor
) -> None:
    """A slice would make torch copy a frozen head's matrix once a row."""
    model = attach(build("llama"), part).model
    seen: list[bool] = []
    head = model.get_output_embeddings()
    head.register_forward_hook(lambda _, args, output: seen.append(args[0].is_contiguous()))
    with_slice = model(ids, logits_to_keep=2).logits
    assert seen == [True]
    assert torch.equal(with_slice, model(ids).logits[:, -2:])


@torch.no_grad()
def test_a_prompt_whose_pass_failed_is_run_again(build: Callable[..., PreTrainedModel], ids: Tensor) -> None:
    model = build("llama")
    attach(model, SoftPrompt(tokens=3))
    expected = model(ids[:, :1]).logits
    model(ids)  # what was kept for single tokens is not what the next pass leaves

    def fail(*_: object) -> None:
        raise MemoryError

    hook = model.model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(MemoryError):
        model(ids)
    hook.remove()
    assert torch.equal(model(ids[:, :1]).logits, expected)
