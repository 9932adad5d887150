"""One forward over trees: each row sees itself and nothing else, and its logits are those it has on its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor
from transformers import PreTrainedModel

from transfix import LlamaAdapter, LoRA, PrefixTuning, SoftPrompt, attach
from transfix.adapters.methods import Part
from transfix.batches import Batch, TokenSequence, Tree, collate, evaluation_batches, grow, mask_dtype, shared

Build = Callable[..., PreTrainedModel]
Family = Callable[..., list[TokenSequence]]

METHODS: dict[str, tuple[Part, ...]] = {
    "base": (),
    "prefix": (PrefixTuning(tokens=3),),
    "llama_adapter": (LlamaAdapter(tokens=3),),
    "soft_prompt": (SoftPrompt(tokens=3),),
    "lora": (LoRA(rank=2),),
}
PAD = 0


def seen_by(batch: Batch, read: int) -> list[tuple[int, int]]:
    """(position, token) of everything the query at a read sees, by position."""
    width = batch.input_ids.shape[1]
    row, query = divmod(read, width)
    if batch.attention_mask.ndim == 4:
        sees = batch.attention_mask[row, 0, query].bool()
    else:
        sees = batch.attention_mask[row].bool() & (torch.arange(width) <= query)
    return sorted(zip(batch.position_ids[row, sees].tolist(), batch.input_ids[row, sees].tolist(), strict=True))


@pytest.mark.parametrize("widest", [None, 1])
def test_a_read_sees_its_own_row(rows: list[TokenSequence], widest: int | None) -> None:
    batch = collate(grow(rows, 1000, widest), PAD)
    assert batch.attention_mask.ndim == (2 if widest else 4)
    assert sorted(batch.indices) == [row.index for row in rows]
    for read, index in zip(batch.reads.tolist(), batch.indices, strict=True):
        assert seen_by(batch, read) == list(enumerate(rows[index].tokens))
    assert batch.tokens == batch.input_ids.numel()


@pytest.mark.parametrize("widest", [None, 1])
def test_several_reads_a_row(rows: list[TokenSequence], widest: int | None) -> None:
    rows = [TokenSequence(row.index, row.tokens, reads=row.index % 3 + 1) for row in rows]
    batch = collate(grow(rows, 1000, widest), PAD)
    found: dict[int, list[int]] = {}
    for read, index in zip(batch.reads.tolist(), batch.indices, strict=True):
        seen = seen_by(batch, read)
        assert seen == list(enumerate(rows[index].tokens))[: len(seen)]
        found.setdefault(index, []).append(len(seen))
    for row in rows:
        assert found[row.index] == list(range(len(row.tokens) - row.reads + 1, len(row.tokens) + 1))


def logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """(reads, vocabulary), in the order of the rows' indices."""
    with torch.no_grad():
        whole = model(**batch.inputs("cpu", mask_dtype(model)), use_cache=False).logits
    return whole.flatten(0, 1)[batch.reads][torch.tensor(batch.indices).argsort()]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
def test_shared_is_separate(
    build: Build, rows: list[TokenSequence], architecture: str, method: str, attention: str
) -> None:
    model = build(architecture, attention)
    if method != "base":
        adapter = attach(model, *METHODS[method])
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for tensor in adapter.parameters():
                tensor += 0.3 * torch.randn(tensor.shape, generator=generator)
    model.eval()
    trees = shared(model, rows, 1000)
    assert max(len(tree.sequences) for tree in trees) == 4
    together = logits(model, collate(trees, PAD))
    plain = logits(model, collate([Tree((row,), len(row.tokens)) for row in rows], PAD))
    alone = torch.cat([model(torch.tensor([row.tokens])).logits[:, -1].detach() for row in rows])
    torch.testing.assert_close(plain, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["gemma3", "mistral"])
def test_a_sliding_window_is_respected(build: Build, family: Family, architecture: str) -> None:
    """Rows longer than the window (24) keep the model's own mask, whatever stands beside them."""
    model = build(architecture)
    rows = [*family(1, 10, [4, 5]), *family(2, 30, [3, 8], 2), *family(3, 25, [0], 4), *family(4, 12, [5, 6], 5)]
    trees = shared(model, rows, 1000)
    assert sorted(len(tree.sequences) for tree in trees) == [1, 1, 1, 2, 2]
    assert {s.index for tree in trees if tree.alone for s in tree.sequences} == {2, 3, 4}
    alone = [model(torch.tensor([row.tokens])).logits[0, -1].detach() for row in rows]
    batches = [collate(group, PAD) for group in evaluation_batches(trees, 1000)]
    assert len(batches) == 2
    for batch in batches:
        wanted = torch.stack([alone[index] for index in sorted(batch.indices)])
        torch.testing.assert_close(logits(model, batch), wanted, atol=1e-5, rtol=1e-5)


def test_inputs(rows: list[TokenSequence]) -> None:
    batch = collate(grow(rows, 1000), PAD)
    mask = batch.inputs("cpu", torch.bfloat16)["attention_mask"]
    assert mask.dtype == torch.bfloat16
    assert torch.equal(mask == 0, batch.attention_mask)
    assert float(mask.min()) == torch.finfo(torch.bfloat16).min
    plain = collate(grow(rows, 1000, 1), PAD)
    assert plain.inputs("cpu", torch.float32)["attention_mask"].tolist() == plain.attention_mask.tolist()
    assert plain.input_ids[:, -1].tolist() == [tree.sequences[0].tokens[-1] for tree in grow(rows, 1000, 1)]


def test_tests_check_shapes() -> None:
    ids = torch.zeros(2, 3, dtype=torch.long)
    Batch(ids, ids, ids, torch.tensor([2]), (0,))
    for wrong in ({"position_ids": ids[:, :2]}, {"attention_mask": ids[None, None]}, {"reads": torch.zeros(1)}):
        with pytest.raises(TypeCheckError):
            Batch(
                **{"input_ids": ids, "position_ids": ids, "attention_mask": ids, "reads": ids[0], "indices": ()} | wrong
            )
