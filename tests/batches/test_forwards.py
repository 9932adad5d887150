"""A module's forward replaced in one thread, whatever other threads do with the module meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import torch
from torch import Tensor, nn

from transfix.batches import forward_of, instead_of_forward

ONE = torch.ones(1, 1)


@pytest.fixture
def other() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def doubling() -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(2.0)
    return layer


def ask(layer: nn.Module) -> float:
    answer: Tensor = layer(ONE)
    return float(answer.detach())


def test_other_threads_keep_the_modules_own(other: ThreadPoolExecutor) -> None:
    layer = doubling()
    with instead_of_forward(layer, lambda x: 5 * x):
        assert ask(layer) == 5
        assert other.submit(ask, layer).result() == 2
        own = forward_of(layer)
        with instead_of_forward(layer, lambda x: own(x) + 1):
            assert ask(layer) == 6
        assert ask(layer) == 5
    assert ask(layer) == 2
    assert "forward" not in vars(layer)


def test_blocks_of_threads_that_end_in_any_order(other: ThreadPoolExecutor) -> None:
    layer, here, there = doubling(), ExitStack(), ExitStack()
    here.enter_context(instead_of_forward(layer, lambda x: 5 * x))
    other.submit(there.enter_context, instead_of_forward(layer, lambda x: 7 * x)).result()
    assert (ask(layer), other.submit(ask, layer).result()) == (5, 7)
    here.close()
    assert (ask(layer), other.submit(ask, layer).result()) == (2, 7)
    other.submit(there.close).result()
    assert (ask(layer), other.submit(ask, layer).result()) == (2, 2)
    assert "forward" not in vars(layer)


def test_what_a_library_has_put_there_comes_back() -> None:
    layer = doubling()
    whole = layer.forward
    layer.forward = hook = lambda x: whole(x) + 1  # type: ignore[method-assign]
    with instead_of_forward(layer, lambda x: 5 * x):
        assert ask(layer) == 5
    assert layer.forward is hook
    assert ask(layer) == 3
