"""Rows generated together: transformers' own texts, and the same bits alone and in any batch, with every method."""

from __future__ import annotations

import copy
import gc
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BloomConfig,
    BloomForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    DiffLlamaConfig,
    DiffLlamaForCausalLM,
    DogeConfig,
    DogeForCausalLM,
    DynamicCache,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LagunaConfig,
    LagunaForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from transfix import Adapter, LlamaAdapter, PrefixTuning, SoftPrompt, attach, use
from transfix.adapters.methods import Part
from transfix.batches import Encoded
from transfix.errors import TransfixError
from transfix.evaluation.generation import Decoding, Generated, attention, engine, generate, prefill, tile_cache


def _adapter_models() -> ModuleType:
    """The tiny models of the adapters' tests."""
    path = Path(__file__).parents[1] / "adapters" / "conftest.py"
    spec = importlib.util.spec_from_file_location("transfix_test_adapter_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TINY = _adapter_models()
ALL = [("gemma3", method) for method in TINY.METHODS]  # two kinds of layers, one with a sliding window
ALL += [(name, method) for name in TINY.BUILDERS if name != "gemma3" for method in ("soft+prefix", "llama+lora")]
NEW = 8


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks a row, so that sliding windows wrap around, and few tiles a forward."""
    monkeypatch.setattr(attention, "block_size", lambda device: 8)
    monkeypatch.setattr(prefill, "FORWARD", 3)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """A word a token: w3 ... w63, without an end token."""
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{number}": number for number in range(3, TINY.VOCABULARY)}}
    inner = Tokenizer(WordLevel(words, unk_token="w3"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", bos_token="<s>")


def _prompts(lengths: Sequence[int], seed: int = 2) -> list[Encoded]:
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(3, TINY.VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
    return [Encoded(tuple(row), truncated=False) for row in rows]


PROMPTS = _prompts([5, 37, 1, 9, 2, 24, 12, 17])
PROMPTS.append(Encoded((*PROMPTS[1].tokens[:34], 7, 9), truncated=False))  # begins as another does


@cache
def _adapted(name: str, method: str, dtype: torch.dtype = torch.float32) -> Adapter:
    model = copy.deepcopy(TINY._built(name, 2)).to(dtype)
    return TINY._randomise(attach(model, *TINY.METHODS[method]))


@pytest.fixture
def fresh() -> Callable[[str, str], PreTrainedModel]:
    """A model of a test's own."""
    return lambda name, method: copy.deepcopy(_adapted(name, method)).model


@pytest.mark.parametrize(("name", "method"), ALL)
def test_greedy_texts_are_those_of_transformers(name: str, method: str, tokenizer: PreTrainedTokenizerFast) -> None:
    model = _adapted(name, method).model
    found = generate(model, tokenizer, PROMPTS, Decoding(max_new_tokens=NEW))
    for prompt, answer in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([prompt.tokens])
        mask = torch.ones_like(ids)
        expected = model.generate(ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False)[0, ids.shape[1] :]
        assert answer.tokens == tuple(expected.tolist())
        assert answer.text == tokenizer.decode(expected, skip_special_tokens=True)
        assert answer.finished == "length"
    assert len({answer.tokens for answer in found}) > len(PROMPTS) // 2, "the same answer everywhere tests little"


Recorded = dict[tuple[int, ...], Tensor]
Record = Callable[..., tuple[list[Generated], Recorded]]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch, tokenizer: PreTrainedTokenizerFast) -> Record:
    """Generates; returns the texts, and each prompt's logits (steps, vocabulary)."""
    logits: dict[tuple[int, ...], list[Tensor]] = {}
    step, choose = engine._Run._step, engine.choose

    def watched(run: Any) -> None:
        rows = [None if row is None else run.prompts[row.index].tokens for row in run.slots]

        def noted(scores: Tensor, *rest: Any) -> Any:
            for slot, tokens in enumerate(rows):
                if tokens is not None:
                    logits.setdefault(tokens, []).append(scores[slot].clone())
            return choose(scores, *rest)

        monkeypatch.setattr(engine, "choose", noted)
        step(run)

    monkeypatch.setattr(engine._Run, "_step", watched)

    def run(model: PreTrainedModel, prompts: list[Encoded], rows: int) -> tuple[list[Generated], Recorded]:
        logits.clear()
        texts = generate(model, tokenizer, prompts, Decoding(max_new_tokens=NEW, batch_rows=rows))
        return texts, {tokens: torch.stack(steps) for tokens, steps in logits.items()}

    return run


def _same(
    found: tuple[list[Generated], Recorded], expected: tuple[list[Generated], Recorded], order: list[int]
) -> None:
    texts, logits = found
    assert texts == [expected[0][index] for index in order]
    for index in order:
        tokens = PROMPTS[index].tokens
        assert torch.equal(logits[tokens], expected[1][tokens]), f"the logits of row {index} are others"


def _same_alone_and_in_batches(
    model: PreTrainedModel, record: Record, alone: Sequence[int] = (2, 5, 8), batches: Sequence[int] = (1, 40)
) -> None:
    together = record(model, PROMPTS, 16)
    for index in alone:
        _same(record(model, [PROMPTS[index]], 16), together, [index])
    shuffled = [5, 2, 8, 0, 3, 7, 1]
    others = _prompts([3, 33, 1, 6, 2, 5, 2, 4], seed=4)
    for rows in batches:  # refilled, and with room left over
        texts, logits = record(model, [*others, *(PROMPTS[index] for index in shuffled), *others[2:]], rows)
        _same((texts[len(others) : len(others) + len(shuffled)], logits), together, shuffled)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "method"), ALL)
def test_a_row_is_the_same_to_the_bit_alone_and_in_any_batch(
    name: str, method: str, dtype: torch.dtype, record: Record
) -> None:
    _same_alone_and_in_batches(_adapted(name, method, dtype).model, record)


@pytest.mark.parametrize(
    ("name", "part", "dtype"),
    [("gemma3", PrefixTuning(tokens=9), torch.bfloat16), ("gpt2", LlamaAdapter(tokens=9), torch.float32)],
    ids=["bfloat16", "float32"],
)
def test_so_it_is_with_several_threads(name: str, part: Part, dtype: torch.dtype, record: Record) -> None:
    torch.set_num_threads(2)  # torch's own attention in float32 depends on the thread if there are 8 keys or more
    model = copy.deepcopy(TINY._built(name, 2)).to(dtype)
    model = TINY._randomise(attach(model, part)).model
    _same_alone_and_in_batches(model, record, alone=[5], batches=[40])


def test_so_it_is_in_eager_attention(record: Record) -> None:
    model = copy.deepcopy(TINY._built("gemma3", 2)).to(torch.bfloat16)
    model.set_attn_implementation("eager")
    _same_alone_and_in_batches(TINY._randomise(attach(model, *TINY.METHODS["soft+prefix"])).model, record)
    assert model.config._attn_implementation == "transfix_eager"


def test_so_it_is_with_soft_capping(tokenizer: PreTrainedTokenizerFast, record: Record) -> None:
    torch.manual_seed(0)
    config = Gemma2Config(
        **TINY._SHAPE, num_hidden_layers=2, head_dim=16, sliding_window=TINY.WINDOW, attn_logit_softcapping=2.0
    )
    model = Gemma2ForCausalLM(config).eval()
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, None
    model.set_attn_implementation("eager")
    model = TINY._randomise(attach(model, *TINY.METHODS["soft+prefix"])).model
    found = generate(model, tokenizer, PROMPTS, Decoding(max_new_tokens=NEW))
    for prompt, answer in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([prompt.tokens])
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False)
        assert answer.tokens == tuple(whole[0, ids.shape[1] :].tolist())
    _same_alone_and_in_batches(model, record)


Pairs = list[tuple[Tensor, Tensor]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "method"), ALL)
def test_prompts_are_read_as_by_transformers(
    name: str, method: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any order, in any company: to the bit; and close to one forward of transformers over the whole prompt."""
    model = _adapted(name, method, dtype).model
    tokens = [prompt.tokens for prompt in PROMPTS]
    tokens += [(), tokens[1], tokens[1][:32], (*tokens[1], 5)]

    def read(prompts: Sequence[tuple[int, ...]], room: int) -> list[Pairs]:
        monkeypatch.setattr(prefill, "ROOM", room)
        with torch.inference_mode():
            return list(prefill.TiledPrefill(model)(prompts))

    together = read(tokens, 10_000)
    for order, room in ((sorted(tokens), 64), (tokens[::-1], 1)):
        for prompt, states in zip(order, read(order, room), strict=True):
            _assert_pairs(states, together[tokens.index(prompt)], 0.0)
    bound = 1e-4 if dtype == torch.float32 else 0.1
    for prompt, states in zip(tokens, together, strict=True):
        _assert_pairs(states, _of_transformers(model, prompt), bound)


def test_prompts_are_read_one_at_a_time() -> None:
    model = _adapted("gemma3", "soft+prefix").model
    tokens = [(), *sorted(prompt.tokens for prompt in PROMPTS)]

    def read(prompts: Sequence[tuple[int, ...]]) -> list[Pairs]:
        reader = prefill.PiecewisePrefill(model)
        reader.piece = 8
        with torch.inference_mode():
            return list(reader(prompts))

    together, alone = read(tokens), [read([prompt])[0] for prompt in tokens]
    for prompt, states, same in zip(tokens, together, alone, strict=True):
        _assert_pairs(states, same, 0.0)
        _assert_pairs(states, _of_transformers(model, prompt), 1e-4)


def _of_transformers(model: PreTrainedModel, prompt: tuple[int, ...]) -> Pairs:
    """Each layer's keys and values of a forward of transformers over the whole prompt; none for no tokens."""
    cache = DynamicCache()
    if prompt:
        with torch.inference_mode():
            model(torch.tensor([prompt]), past_key_values=cache, use_cache=True)
    layers: list[Any] = cache.layers
    assert len(layers) > 1 or not prompt
    return [(layer.keys, layer.values) for layer in layers]


def _assert_pairs(found: Pairs, expected: Pairs, bound: float) -> None:
    """The same keys and values, apart by no more than this part of the largest."""
    assert len(found) == len(expected)
    for pair, others in zip(found, expected, strict=True):
        for mine, other in zip(pair, others, strict=True):
            torch.testing.assert_close(mine, other, atol=bound * float(other.abs().max()), rtol=0)


def test_prompts_are_read_no_farther_ahead_than_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefill, "ROOM", 3 * 32)
    asked: list[int] = []

    def prompts() -> Iterator[tuple[int, ...]]:
        for number, prompt in enumerate(_prompts([20] * 9)):
            asked.append(number)
            yield prompt.tokens

    reader = prefill.TiledPrefill(_adapted("llama", "prefix").model)
    with torch.inference_mode():
        states = reader(prompts())
        assert not asked
        for number, pairs in enumerate(states):  # three prompts of two tiles each are held; the fourth is known
            assert len(asked) <= number // 3 * 3 + 4
            assert len(pairs) == 2
            held = sum(type(thing) is tile_cache.Prompt for thing in gc.get_objects())
            assert held <= len(asked) - number, "what has been asked for is let go of"
    assert asked == list(range(9))


def _dynamic_rope() -> PreTrainedModel:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    shape = TINY._SHAPE | {"max_position_embeddings": 60, "rope_parameters": rope}
    return LlamaForCausalLM(LlamaConfig(**shape, num_hidden_layers=2))


def _long_rope() -> PreTrainedModel:
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    rope |= {"original_max_position_embeddings": 60, "rope_theta": 10_000.0, "partial_rotary_factor": 1.0}
    shape = TINY._SHAPE | {"original_max_position_embeddings": 60, "rope_parameters": rope}
    return Phi3ForCausalLM(Phi3Config(**shape, num_hidden_layers=2))


def _learned_positions() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=60, vocab_size=TINY.VOCABULARY))


def _latent_attention() -> PreTrainedModel:
    heads = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8}
    shape = TINY._SHAPE | {"num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2}
    shape |= {"n_group": 1, "topk_group": 1, "moe_intermediate_size": 16, "first_k_dense_replace": 2}
    return DeepseekV3ForCausalLM(DeepseekV3Config(**shape, **heads, num_hidden_layers=2))


def _changed_values() -> PreTrainedModel:
    return DiffLlamaForCausalLM(DiffLlamaConfig(**TINY._SHAPE, num_hidden_layers=2))


def _heads_by_layer() -> PreTrainedModel:
    shape = TINY._SHAPE | {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    shape |= {"shared_expert_intermediate_size": 16, "layer_types": ["full_attention"] * 2}
    return LagunaForCausalLM(LagunaConfig(**shape, num_hidden_layers=2, num_attention_heads_per_layer=[4, 8]))


@pytest.mark.parametrize(
    ("build", "soft", "tiled"),
    [
        (_dynamic_rope, 0, True),
        (_dynamic_rope, 3, True),
        (_long_rope, 0, True),
        (_long_rope, 3, True),
        (_learned_positions, 0, True),
        (_learned_positions, 3, True),
        (_latent_attention, 0, False),
        (_changed_values, 0, False),
        (_heads_by_layer, 0, True),
    ],
)
def test_models_with_a_reach_or_keys_of_their_own(
    build: Callable[[], PreTrainedModel], soft: int, tiled: bool, tokenizer: PreTrainedTokenizerFast
) -> None:
    """What fills up a tile is not beyond the reach; a model that attends to other keys than it caches is not tiled."""
    torch.manual_seed(0)
    model = build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.2)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, None
    if soft:
        model = TINY._randomise(attach(model, SoftPrompt(tokens=soft))).model
    prompts = _prompts([52 - soft, 3, 20, 9])
    found = generate(model, tokenizer, prompts, Decoding(max_new_tokens=NEW))
    for prompt, answer in zip(prompts, found, strict=True):
        ids = torch.tensor([prompt.tokens])
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False)
        assert answer.tokens == tuple(whole[0, ids.shape[1] :].tolist())
    with torch.inference_mode():
        reader = prefill.prefill(model, 3)
        assert isinstance(reader, prefill.TiledPrefill) == tiled
        together = list(reader([prompt.tokens for prompt in prompts]))
    for prompt, states in zip(prompts, together, strict=True):
        _assert_pairs(states, _of_transformers(model, prompt.tokens), 1e-4)


def test_a_first_prompt_of_one_token(record: Record) -> None:
    """Nothing is read before the first decoding step; a soft prompt is, and in the same way as before longer prompts."""
    adapter = _adapted("gpt2", "soft", torch.bfloat16)
    alone = record(copy.deepcopy(adapter).model, [PROMPTS[2]], 16)
    _same(alone, record(copy.deepcopy(adapter).model, PROMPTS, 16), [2])


def test_drawn_texts_depend_on_seed_and_key_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    model = _adapted("gemma3", "prefix").model
    keys = [f"row-{number}" for number in range(len(PROMPTS))]

    def drawn(order: list[int], seed: int = 0, named: bool = True, **settings: Any) -> list[Generated]:
        decoding = Decoding(max_new_tokens=NEW, temperature=1.5, top_p=0.9, seed=seed, **settings)
        prompts = [PROMPTS[index] for index in order]
        return generate(model, tokenizer, prompts, decoding, keys=[keys[index] for index in order] if named else None)

    every = list(range(len(PROMPTS)))
    first = drawn(every)
    assert first == drawn(every)
    assert drawn(every[::-1], batch_rows=40) == first[::-1]
    assert drawn([3]) == [first[3]]
    assert all(one != other for one, other in zip(first, drawn(every, seed=1), strict=True))
    assert drawn([3, 3]) == [first[3], first[3]]
    again = generate(
        model, tokenizer, [PROMPTS[3]], Decoding(max_new_tokens=NEW, temperature=1.5, top_p=0.9), keys=["another"]
    )
    assert again != [first[3]]
    assert drawn([1, 4], named=False) == drawn([4, 1], named=False)[::-1]


def test_several_end_tokens(fresh: Callable[[str, str], PreTrainedModel], tokenizer: PreTrainedTokenizerFast) -> None:
    model, tokenizer = fresh("llama", "prefix"), copy.deepcopy(tokenizer)
    whole = generate(model, tokenizer, PROMPTS, Decoding(max_new_tokens=NEW))
    ends = [whole[0].tokens[4], whole[3].tokens[2]]
    model.generation_config.eos_token_id = ends
    tokenizer.eos_token = f"w{whole[6].tokens[0]}"
    ends.append(whole[6].tokens[0])
    told: list[int] = []
    found = generate(model, tokenizer, PROMPTS, Decoding(max_new_tokens=NEW), told.append)
    for answer, long in zip(found, whole, strict=True):
        length = next((place for place, token in enumerate(long.tokens, 1) if token in ends), NEW)
        assert answer.tokens == long.tokens[:length]
        ended = long.tokens[length - 1] in ends
        assert answer.finished == ("end" if ended else "length")
        assert answer.text == tokenizer.decode(long.tokens[: length - ended], skip_special_tokens=True)
    assert found[6] == Generated("", whole[6].tokens[:1], "end")
    assert {answer.finished for answer in found} == {"end", "length"}
    assert sum(told) == len(PROMPTS)
    assert all(told)


def test_a_finished_row_makes_room_at_once(
    fresh: Callable[[str, str], PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    model = fresh("llama", "base")
    prompts, longest = _prompts([3 + number % 5 for number in range(120)], seed=9), 40
    model.generation_config.eos_token_id = list(range(3, 8))
    calls: list[int] = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    found = generate(model, tokenizer, prompts, Decoding(max_new_tokens=longest, batch_rows=16))
    lengths = [len(answer.tokens) for answer in found]
    assert min(lengths) < 5 < longest == max(lengths), "answers of different lengths"
    assert set(calls) == {16}
    assert len(calls) <= sum(lengths) / 16 + longest
    assert len(calls) < 0.6 * sum(max(lengths[start : start + 16]) for start in range(0, 120, 16)), "without refilling"


def test_what_prompts_share_is_read_once(
    fresh: Callable[[str, str], PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    model, read = fresh("gemma3", "prefix"), [0]

    def count(module: Any, args: Any, kwargs: Any) -> None:
        tiles, tokens = kwargs["input_ids"].shape
        read[0] += tiles if tokens == 16 else 0

    model.model.register_forward_pre_hook(count, with_kwargs=True)
    start = _prompts([21])[0].tokens
    prompts = [Encoded((*start, *end.tokens), truncated=False) for end in _prompts([4, 3, 5, 2], seed=6)]
    generate(model, tokenizer, prompts, Decoding(max_new_tokens=2))
    assert read[0] == 1 + 1 + len(
        prompts
    )  # what goes ahead of all prompts, the first 16 tokens of all, the rest of each


def test_the_model_attends_and_scores_as_before(
    fresh: Callable[[str, str], PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    model = fresh("llama", "prefix").train()
    ids = torch.tensor([PROMPTS[1].tokens])
    before = model.eval()(ids).logits
    generate(model.train(), tokenizer, PROMPTS[:2], Decoding(max_new_tokens=2))
    assert not model.training
    assert model.config._attn_implementation == "transfix_sdpa"
    assert "forward" not in vars(model.lm_head)
    assert torch.equal(model(ids).logits, before)
    assert model(ids).logits.requires_grad


def test_scores_that_are_no_numbers(
    fresh: Callable[[str, str], PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    model = fresh("llama", "base")
    with torch.no_grad():
        model.model.embed_tokens.weight[PROMPTS[1].tokens[3]] = float("nan")
    prompts = [PROMPTS[2], PROMPTS[1]]
    for settings in ({}, {"temperature": 1.0}, {"temperature": 1.0, "top_p": 0.5}):
        with pytest.raises(TransfixError, match=r"row 2 are not finite in float32: train with a lower"):
            generate(model, tokenizer, prompts, Decoding(max_new_tokens=2, **settings))
    assert model.config._attn_implementation == "sdpa"
    assert "forward" not in vars(model.lm_head)


def test_prompts_that_do_not_fit(
    fresh: Callable[[str, str], PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    model = fresh("gpt2", "base")  # has learned positions, so one more would be an index out of range
    decoding = Decoding(max_new_tokens=40)
    assert len(generate(model, tokenizer, [PROMPTS[5]], decoding)[0].tokens) == 40
    with pytest.raises(TransfixError, match=r"prompt 2 needs 24 tokens \+ max_new_tokens 41, but the model reads 64"):
        generate(model, tokenizer, [PROMPTS[0], PROMPTS[5]], Decoding(max_new_tokens=41))
    attach(model, SoftPrompt(tokens=4), name="soft")
    with pytest.raises(TransfixError, match=r"needs 4 of the soft prompt \+ 24 tokens \+ max_new_tokens 40"):
        generate(model, tokenizer, [PROMPTS[5]], decoding)
    assert len(generate(model, tokenizer, [PROMPTS[5]], Decoding(max_new_tokens=36))[0].tokens) == 36
    with pytest.raises(TransfixError, match="prompt 1 has no tokens"):
        generate(model, tokenizer, [Encoded((), truncated=False)], decoding)
    with pytest.raises(TransfixError, match="2 prompts, but 1 keys"):
        generate(model, tokenizer, PROMPTS[:2], decoding, keys=["a"])
    assert generate(model, tokenizer, [], decoding) == []


def test_adapters_chosen_row_by_row_are_refused(
    fresh: Callable[[str, str], PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> None:
    model = fresh("llama", "prefix")
    with use(model, ["default", None]), pytest.raises(TransfixError, match="one adapter at a time"):
        generate(model, tokenizer, PROMPTS[:2], Decoding())


def test_models_that_cannot_be_decoded_row_by_row(tokenizer: PreTrainedTokenizerFast) -> None:
    bloom = BloomForCausalLM(BloomConfig(hidden_size=32, n_layer=1, n_head=4, vocab_size=64))
    with pytest.raises(TransfixError, match="BloomForCausalLM does not use transformers' attention registry"):
        generate(bloom, tokenizer, PROMPTS[:1], Decoding())
    shape = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "vocab_size": 64}
    lfm = Lfm2ForCausalLM(
        Lfm2Config(hidden_size=32, intermediate_size=48, layer_types=["conv", "full_attention"], **shape)
    )
    with pytest.raises(TransfixError, match=r"lfm2: .* this model has a LinearAttentionLayer"):
        generate(lfm, tokenizer, PROMPTS[:1], Decoding())
    shape |= {"hidden_size": 32, "intermediate_size": 48, "pad_token_id": 0}
    with pytest.raises(TransfixError, match="DogeAttention attends with a mask of its own"):
        generate(DogeForCausalLM(DogeConfig(**shape)), tokenizer, PROMPTS[:1], Decoding())
    both_ways = BertLMHeadModel(BertConfig(**shape, is_decoder=False))
    with pytest.raises(TransfixError, match="BertSelfAttention lets tokens see what follows them"):
        generate(both_ways, tokenizer, PROMPTS[:1], Decoding(max_new_tokens=2))


def test_long_rope_ends_where_it_changes() -> None:
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    config = Phi3Config(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=64,
        pad_token_id=0,
        max_position_embeddings=128,
        original_max_position_embeddings=48,
        rope_parameters={**rope, "original_max_position_embeddings": 48},
    )
    assert engine._reach(Phi3ForCausalLM(config)) == 48
    assert engine._reach(TINY._built("gemma3", 2)) == 64
