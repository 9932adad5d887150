"""Choices are scored as they would be one by one, in the order they came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from transfix import PrefixTuning, attach, data, models, tasks, use
from transfix.batches import Encoded, TokenSequence, encode, sharing
from transfix.errors import TransfixError
from transfix.evaluation import scoring
from transfix.evaluation.scoring import ChoiceScorer, LikelihoodScorer, log_likelihoods, score_choices


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> models.LoadedModel:
    return models.load(tiny_model, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def prompts(loaded: models.LoadedModel) -> list[Encoded]:
    """Rows of several premises, some longer than the model's sliding window, in an order of lengths that is none."""
    task = tasks.get("xnli")
    rows = data.load("xnli", "snapshot", "deu_Latn", "test", 24)[::-1]
    return encode(loaded.tokenizer, [task.prompt(row) for row in rows], None)


@pytest.fixture(scope="module")
def words(loaded: models.LoadedModel) -> Tensor:
    tokenizer: Any = loaded.tokenizer
    return torch.tensor(list(tasks.check_verbaliser(tasks.get("xnli"), tokenizer).values()))


def one_by_one(model: PreTrainedModel, prompts: list[Encoded], words: Tensor) -> Tensor:
    with torch.no_grad():
        logits = [model(torch.tensor([prompt.tokens])).logits[0, -1, words] for prompt in prompts]
    return torch.stack([row - row.logsumexp(-1) for row in logits])


@pytest.mark.parametrize("budget", [1, 100, 2048])
def test_scores(loaded: models.LoadedModel, prompts: list[Encoded], words: Tensor, budget: int) -> None:
    lengths = [len(prompt.tokens) for prompt in prompts]
    assert min(lengths) < 128 < max(lengths), "within the sliding window and beyond it"
    done: list[int] = []
    scores = score_choices(loaded.model.train(), prompts, words, 0, done.append, budget)
    assert not loaded.model.training
    assert sum(done) == len(prompts)
    assert scores.shape == (len(prompts), 3)
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(len(prompts)))
    torch.testing.assert_close(scores, one_by_one(loaded.model, prompts, words), atol=1e-5, rtol=1e-5)
    assert len(scores.argmax(-1).unique()) > 1, "the same answer everywhere tests little"


def test_the_order_of_words(loaded: models.LoadedModel, prompts: list[Encoded], words: Tensor) -> None:
    forward = score_choices(loaded.model, prompts[:6], words, 0)
    backward = score_choices(loaded.model, prompts[:6], words.flip(0), 0)
    torch.testing.assert_close(backward, forward.flip(1))


def test_nothing(loaded: models.LoadedModel, words: Tensor) -> None:
    assert score_choices(loaded.model, [], words, 0).shape == (0, 3)


Continuations = list[tuple[tuple[int, ...], int]]


@pytest.fixture(scope="module")
def continuations(prompts: list[Encoded]) -> Continuations:
    """Continuations of one token to three, three behind each prompt, which share it."""
    return [
        ((*prompt.tokens, 7 + last, *range(20, 20 + last)), last + 1) for prompt in prompts[:6] for last in range(3)
    ]


@pytest.mark.parametrize("budget", [1, 100, 1024])
def test_likelihoods(loaded: models.LoadedModel, continuations: Continuations, budget: int) -> None:
    done: list[int] = []
    totals, greedy = log_likelihoods(loaded.model.train(), continuations, 0, done.append, budget)
    assert not loaded.model.training
    assert sum(done) == len(continuations)
    for (tokens, reads), total, likeliest in zip(continuations, totals, greedy, strict=True):
        with torch.no_grad():
            logits = loaded.model(torch.tensor([tokens])).logits[0, -reads - 1 : -1]
        wanted = torch.tensor(tokens[-reads:])
        alone = logits.log_softmax(-1).gather(1, wanted[:, None]).sum()
        torch.testing.assert_close(total, alone, atol=1e-4, rtol=1e-5)
        assert bool(likeliest) == bool((logits.argmax(-1) == wanted).all())


def test_what_greedy_decoding_would_write(loaded: models.LoadedModel, prompts: list[Encoded]) -> None:
    ids = torch.tensor([prompts[0].tokens])
    with torch.no_grad():
        for _ in range(2):
            ids = torch.cat([ids, loaded.model(ids).logits[:, -1:].argmax(-1)], 1)
    likeliest = tuple(ids[0].tolist())
    other = (*likeliest[:-1], (likeliest[-1] + 1) % 50)
    asked = [(other, 2), (likeliest, 2), (other, 1), (_led_astray(loaded.model, prompts[0]), 2)]
    assert log_likelihoods(loaded.model, asked, 0)[1].tolist() == [False, True, False, False]


@torch.no_grad()
def _led_astray(model: PreTrainedModel, prompt: Encoded) -> tuple[int, ...]:
    """A token that is not the likeliest, and the likeliest after it: not what greedy decoding would write."""
    second = int(model(torch.tensor([prompt.tokens])).logits[0, -1].topk(2).indices[1])
    last = int(model(torch.tensor([[*prompt.tokens, second]])).logits[0, -1].argmax())
    return (*prompt.tokens, second, last)


def test_an_empty_continuation(loaded: models.LoadedModel) -> None:
    with pytest.raises(TransfixError, match="continuation 2 has no tokens"):
        log_likelihoods(loaded.model, [((5, 6), 1), ((5, 6), 0)], 0)


def test_scorers_grow_their_trees_once(
    loaded: models.LoadedModel,
    prompts: list[Encoded],
    continuations: Continuations,
    words: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scored again, also under another adapter, the numbers are to the bit those of rows prepared anew."""
    grown: list[int] = []
    whole = sharing.grow
    monkeypatch.setattr(sharing, "grow", lambda *given: grown.append(len(given[0])) or whole(*given))
    sequences = [TokenSequence(index, prompt.tokens) for index, prompt in enumerate(prompts)]
    choices = ChoiceScorer(loaded.model, sequences, words, 0)
    sequences = [TokenSequence(index, tokens[:-1], reads) for index, (tokens, reads) in enumerate(continuations)]
    likelihoods = LikelihoodScorer(loaded.model, sequences, [tokens[-reads:] for tokens, reads in continuations], 0)
    base = choices.score(), *likelihoods.score()
    adapter = attach(loaded.model, PrefixTuning(tokens=3), name="other")
    try:
        adapted = choices.score(), *likelihoods.score()
        assert grown == [len(prompts), len(continuations)]
        assert not any(torch.equal(one, other) for one, other in zip(base[:2], adapted[:2], strict=True))
        for scores, adapters in ((adapted, "other"), (base, None)):
            with use(loaded.model, adapters):
                anew = score_choices(loaded.model, prompts, words, 0), *log_likelihoods(loaded.model, continuations, 0)
            assert all(torch.equal(one, other) for one, other in zip(scores, anew, strict=True))
    finally:
        adapter.detach()


def test_a_score_that_is_not_finite(
    loaded: models.LoadedModel, prompts: list[Encoded], words: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scoring.word_logits

    def broken(model: PreTrainedModel, batch: Any, words: Tensor) -> Tensor:
        logits = whole(model, batch, words)
        if 2 in batch.indices:
            logits[batch.indices.index(2)] = float("inf")
        return logits

    monkeypatch.setattr(scoring, "word_logits", broken)
    with pytest.raises(
        TransfixError, match=r"row 3 are not finite \(\[nan, nan, nan\]\) in float32: train with a lower"
    ):
        score_choices(loaded.model, prompts[:4], words, 0, budget=10**6)
