"""A model that is measured in one thread and asked in others: each gets what it gets alone, and nothing stays behind."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from tests.adapters import conftest as tiny
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from transfix import LoRA, PrefixTuning, SoftPrompt, attach, use
from transfix.adapters import Adapter
from transfix.batches import Encoded, TokenSequence, collate, grow, word_logits
from transfix.errors import TransfixError
from transfix.evaluation.generation import Decoding, attention, generate
from transfix.evaluation.generation.switching import implementation
from transfix.evaluation.scoring import log_likelihoods, score_choices

WORDS = torch.tensor([5, 6, 7])
ROUNDS = 4


@pytest.fixture(autouse=True)
def _often() -> Iterator[None]:
    """Threads take turns many times within a forward."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def other() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """A word a token, without an end token."""
    inner = Tokenizer(WordLevel({"<pad>": 0} | {f"w{number}": number for number in range(1, 64)}, unk_token="w3"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>")


def adapted(*parts: Any, architecture: str = "llama") -> tuple[PreTrainedModel, Adapter, Adapter]:
    """A model with two adapters; the second is the default."""
    model = tiny._build(architecture)
    first, second = (tiny._randomise(attach(model, *parts, name=name)) for name in "ab")
    with torch.no_grad():
        for number, tensor in enumerate(second.parameters()):
            tensor.add_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(number)))
    return model.eval(), first, second


def prompts(seed: int, count: int = 5) -> list[Encoded]:
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 9, (count,), generator=draw).tolist()
    return [Encoded(tuple(torch.randint(3, 64, (n,), generator=draw).tolist()), False) for n in lengths]


def together(calls: Sequence[Callable[[], Any]]) -> list[list[Any]]:
    gate = threading.Barrier(len(calls))

    def work(call: Callable[[], Any]) -> list[Any]:
        gate.wait()
        return [call() for _ in range(ROUNDS)]

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(work, call) for call in calls]]


@torch.no_grad()
def asked(model: PreTrainedModel, choice: str | None, seed: int) -> Tensor:
    with use(model, choice):
        logits: Tensor = model(torch.tensor([prompts(seed, 1)[0].tokens])).logits
    return logits


@torch.no_grad()
def read(model: PreTrainedModel, choice: str | None, seed: int) -> Tensor:
    batch = collate(grow([TokenSequence(0, prompts(seed, 1)[0].tokens)], 1000), 0)
    with use(model, choice):
        return word_logits(model, batch, WORDS)


def scored(model: PreTrainedModel, choice: str | None, seed: int) -> Tensor:
    with use(model, choice):
        return score_choices(model, prompts(seed), WORDS, 0, budget=20)


def likely(model: PreTrainedModel, choice: str | None, seed: int) -> Tensor:
    with use(model, choice):
        return log_likelihoods(model, [(prompt.tokens, 2) for prompt in prompts(seed)], 0, budget=20)[0]


@pytest.mark.parametrize("parts", [(SoftPrompt(tokens=2), LoRA(rank=2)), (PrefixTuning(tokens=3),)])
def test_measuring_and_asking_at_once(parts: Any) -> None:
    model, *_ = adapted(*parts)
    calls: list[Callable[[], Tensor]] = [
        lambda ask=ask, choice=choice, seed=seed: ask(model, choice, seed)  # type: ignore[misc]
        for seed, (ask, choice) in enumerate([(asked, "a"), (read, "a"), (scored, "b"), (likely, None), (scored, "a")])
    ]
    alone = [call() for call in calls]
    for expected, found in zip(alone, together(calls), strict=True):
        assert all(torch.equal(expected, answer) for answer in found)
    assert "forward" not in vars(model.get_output_embeddings())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_generating_in_several_threads(tokenizer: PreTrainedTokenizerFast, dtype: torch.dtype) -> None:
    model = adapted(PrefixTuning(tokens=3), LoRA(rank=2))[0].to(dtype)

    def written(choice: str | None, seed: int) -> list[str]:
        with use(model, choice):
            found = generate(model, tokenizer, prompts(seed), Decoding(max_new_tokens=4, batch_rows=2))
        return [answer.text for answer in found]

    calls: list[Callable[[], Any]] = [lambda c=c, s=s: written(c, s) for s, c in enumerate(("a", "b", None))]
    alone = [call() for call in calls]
    assert len({tuple(texts) for texts in alone}) == 3
    expected = asked(model, "a", 0)
    calls.append(lambda: asked(model, "a", 0))
    *texts, logits = together(calls)
    assert all(answer == one for one, found in zip(alone, texts, strict=True) for answer in found)
    for found in logits:  # torch's fused attention is off in the whole process while rows are decoded
        torch.testing.assert_close(found, expected, atol=0.1 if dtype == torch.bfloat16 else 1e-5, rtol=1e-5)
    assert model.config._attn_implementation == "transfix_sdpa"
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_attention_functions_of_threads_that_end_in_any_order(other: ThreadPoolExecutor, backend: str) -> None:
    model = tiny._build("llama")
    model.set_attn_implementation(backend)
    ids, here, there = torch.tensor([prompts(0, 1)[0].tokens]), ExitStack(), ExitStack()

    @torch.no_grad()
    def ask() -> Tensor:
        logits: Tensor = model(ids).logits
        return logits

    alone = ask()
    here.enter_context(implementation(model, attention.ROWS))
    assert torch.equal(other.submit(ask).result(), alone)
    assert not torch.equal(ask(), alone), "the rows' own function rounds otherwise"
    other.submit(there.enter_context, implementation(model, attention.ROWS)).result()
    here.close()
    assert torch.equal(ask(), alone)
    other.submit(there.close).result()
    assert model.config._attn_implementation == backend


def test_a_default_that_changes_meanwhile_is_for_what_comes_after(tokenizer: PreTrainedTokenizerFast) -> None:
    """What is measured, and what transformers generates, has one adapter from the first forward to the last."""
    model, first, second = adapted(PrefixTuning(tokens=3, norm="none"))

    changed: list[None] = []

    def changing(*_: Any) -> None:
        changed.append(None)
        (first if len(changed) % 2 else second).on_by_default()

    rows, ids = prompts(0, 20), torch.tensor([prompts(1, 1)[0].tokens])
    calls: list[Callable[[Any], Any]] = [
        lambda then: score_choices(model, rows, WORDS, 0, then, budget=8).tolist(),
        lambda then: log_likelihoods(model, [(row.tokens, 2) for row in rows], 0, then, budget=8)[0].tolist(),
        lambda then: [t.text for t in generate(model, tokenizer, rows, Decoding(max_new_tokens=4, batch_rows=1), then)],
        lambda then: model.generate(
            ids, max_new_tokens=6, do_sample=False, prefix_allowed_tokens_fn=lambda *_: then() or list(range(64))
        ).tolist(),
    ]
    for call in calls:
        second.on_by_default()
        alone = call(lambda *_: None)
        changed.clear()
        assert call(changing) == alone
        assert len(changed) > 1
        first.on_by_default()
        assert call(lambda *_: None) != alone


def test_adapters_are_not_changed_while_a_text_is_generated(tokenizer: PreTrainedTokenizerFast) -> None:
    model, first, second = adapted(PrefixTuning(tokens=3, norm="none"))
    refused = []

    def change(*_: Any) -> None:
        for attempt in (lambda: attach(model, LoRA(rank=2), name="c"), first.detach):
            with (
                ThreadPoolExecutor(1) as pool,
                pytest.raises(TransfixError, match="another thread is running the model"),
            ):
                pool.submit(attempt).result()
            refused.append(None)

    generate(model, tokenizer, prompts(0, 2), Decoding(max_new_tokens=2, batch_rows=1), change)
    score_choices(model, prompts(0, 2), WORDS, 0, change)
    ids = torch.tensor([[5, 6, 7]])
    model.generate(ids, max_new_tokens=2, prefix_allowed_tokens_fn=lambda *_: change() or list(range(64)))
    assert len(refused) >= 6
    first.detach()
    second.detach()
    assert "generate" not in vars(model)
