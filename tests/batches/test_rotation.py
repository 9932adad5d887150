"""A row's score depends on the row alone, also where rotary embeddings depend on the longest row of a forward."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM, PreTrainedModel

from transfix import SoftPrompt, attach
from transfix.batches import TokenSequence, collate, evaluation_batches, shared, training_steps, word_logits
from transfix.errors import TransfixError
from transfix.models import reach

ORIGINAL = 40
LENGTHS = (12, ORIGINAL, ORIGINAL + 1, 52, 52, 70, 30, ORIGINAL)
WORDS = torch.tensor([5, 6, 7])
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.3,
}


def long_rope() -> PreTrainedModel:
    """As Phi-3 and Phi-4 with 128k."""
    rope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
        "factor": 3.0,
    }
    rope |= {"original_max_position_embeddings": ORIGINAL}
    reads = {"max_position_embeddings": 3 * ORIGINAL, "original_max_position_embeddings": ORIGINAL}
    return _made(lambda: Phi3ForCausalLM(Phi3Config(**SHAPE, **reads, rope_parameters=rope)))


def dynamic() -> PreTrainedModel:
    """Dynamic NTK: every length beyond the original one is turned in its own way."""
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    return _made(lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, max_position_embeddings=ORIGINAL, rope_parameters=rope)))


def _made(build: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval()


def sequences() -> list[TokenSequence]:
    """Rows on both sides of the original length; two of the same length begin alike."""
    draw = random.Random(0)
    rows = [[draw.randrange(3, 64) for _ in range(length)] for length in LENGTHS]
    rows[4][:45] = rows[3][:45]
    return [TokenSequence(index, tuple(row)) for index, row in enumerate(rows)]


def alone(build: Callable[[], PreTrainedModel]) -> torch.Tensor:
    """Each row on a model that has read nothing before."""
    with torch.no_grad():
        rows = [build()(torch.tensor([row.tokens])).logits[0, -1, WORDS] for row in sequences()]
    return torch.stack(rows)


@pytest.mark.parametrize("build", [long_rope, dynamic])
@pytest.mark.parametrize("order", [1, -1])
def test_scores_are_those_of_the_row_alone(build: Callable[[], PreTrainedModel], order: int) -> None:
    model = build()
    found = torch.zeros(len(LENGTHS), 3)
    for trees in evaluation_batches(shared(model, sequences(), 2000), 2000)[::order]:
        batch = collate(trees, 0)
        with torch.no_grad():
            found[list(batch.indices)] = word_logits(model, batch, WORDS)
    wanted = alone(build)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    with torch.no_grad():  # what would go wrong: the short rows beside a long one
        ids, mask = torch.zeros(2, 70, dtype=torch.long), torch.zeros(2, 70, dtype=torch.long)
        for place, row in enumerate((sequences()[0], sequences()[5])):
            ids[place, 70 - len(row.tokens) :], mask[place, 70 - len(row.tokens) :] = torch.tensor(row.tokens), 1
        beside = model(ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0)).logits[0, -1, WORDS]
    assert (beside - wanted[0]).abs().max() > 0.01


@pytest.mark.parametrize("build", [long_rope, dynamic])
def test_forwards_of_training_and_evaluation(build: Callable[[], PreTrainedModel]) -> None:
    """Rows that are turned alike are in one forward; rows that are not never are. A step may have both."""
    trees = shared(build(), sequences(), 2000, widest=3)
    steps = training_steps(trees, 2, 3, 2000, seed=0)
    forwards = [forward for step in steps for forward in step] + evaluation_batches(trees, 2000)
    for forward in forwards:
        lengths = {len(row.tokens) for tree in forward for row in tree.sequences}
        beyond = {length for length in lengths if length > ORIGINAL}
        assert not (beyond and min(lengths) <= ORIGINAL)
        assert build is long_rope or len(beyond) <= 1
    assert max(sum(len(tree.sequences) for tree in forward) for forward in forwards) > 2
    assert any(len(step) > 1 for step in steps)
    assert any(len(tree.sequences) == 2 for tree in trees if tree.company), "rows beyond it share their beginning"


def test_other_models_are_as_they_were(build: Callable[..., PreTrainedModel], rows: list[TokenSequence]) -> None:
    assert {tree.company for tree in shared(build("llama"), rows, 1000)} == {0}
    assert reach.original_length(build("gemma3").config) is None


def test_a_soft_prompt_before_a_row_beyond_it() -> None:
    model = attach(long_rope(), SoftPrompt(tokens=4)).model
    rows = sequences()
    assert {tree.company for tree in shared(model, [row for row in rows if len(row.tokens) <= 36], 2000)} == {0}
    with pytest.raises(TransfixError, match="Lower max_tokens to 36 or less"):
        shared(model, rows[1:2], 2000)


def test_how_much_is_read() -> None:
    phi, llama = long_rope().config, dynamic().config
    assert (reach.reads(phi), reach.generated(phi), reach.original_length(phi)) == (3 * ORIGINAL, ORIGINAL, ORIGINAL)
    assert (reach.reads(llama), reach.generated(llama), reach.original_length(llama)) == (ORIGINAL,) * 3
