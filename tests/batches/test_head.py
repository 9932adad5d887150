"""The focused head gives the rows and columns of the full logits, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix.batches import focused_head

Build = Callable[..., PreTrainedModel]
READS = torch.tensor([3, 11, 4, 4])
WORDS = torch.tensor([9, 5, 60])


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(3, 64, (2, 6), generator=torch.Generator().manual_seed(3))


# soft-capped logits, a head with a bias, a tied head, an untied one
@pytest.mark.parametrize("architecture", ["gemma2", "phi", "gpt2", "llama"])
def test_rows_of_the_full_logits(build: Build, ids: Tensor, architecture: str) -> None:
    model = build(architecture)
    full = model(ids).logits.detach().flatten(0, 1)[READS]
    if architecture == "gemma2":
        assert float(full.abs().max()) < 2, "capped at 2"
    with focused_head(model, READS):
        every = model(ids).logits
    with focused_head(model, READS, WORDS):
        some = model(ids).logits
    assert (every.shape, some.shape) == ((1, 4, 64), (1, 4, 3))
    torch.testing.assert_close(every[0], full, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(some[0], full[:, WORDS], atol=1e-5, rtol=1e-5)
    assert torch.equal(model(ids).logits.flatten(0, 1)[READS], full)


def test_gradients(build: Build, ids: Tensor) -> None:
    model = build("gemma2")
    found = []
    for focused in (True, False):
        model.zero_grad()
        if focused:
            with focused_head(model, READS, WORDS):
                logits = model(ids).logits[0]
        else:
            logits = model(ids).logits.flatten(0, 1)[READS][:, WORDS]
        logits.square().sum().backward()
        found.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


class Doubled(nn.Linear):
    """A head that is not just its weight."""

    def forward(self, hidden: Tensor) -> Tensor:
        return 2 * super().forward(hidden)


def test_a_head_of_another_kind(build: Build, ids: Tensor) -> None:
    model = build("llama")
    model.lm_head = Doubled(32, 64)
    full = model(ids).logits.flatten(0, 1)[READS]
    with focused_head(model, READS, WORDS):
        torch.testing.assert_close(model(ids).logits[0], full[:, WORDS])


@pytest.mark.parametrize("hooked", [False, True])
def test_the_head_comes_back_even_on_error(build: Build, ids: Tensor, hooked: bool) -> None:
    model = build("llama")
    head: Any = model.get_output_embeddings()
    if hooked:  # as accelerate puts its hooks on a module
        whole = head.forward
        head.forward = lambda hidden: whole(hidden) + 1
    before, full = dict(vars(head)), model(ids).logits
    with focused_head(model, READS):
        model(ids)
    assert vars(head) == before
    with pytest.raises(KeyboardInterrupt), focused_head(model, READS, WORDS):
        raise KeyboardInterrupt
    assert vars(head) == before
    assert torch.equal(model(ids).logits, full)
