"""Which rows may be in one forward where rotary embeddings depend on the length of the longest row in it.

LongRoPE (Phi-3, Phi-4) turns positions in one way up to the original length, and in another beyond it; dynamic NTK in another
way for every length beyond it, and remembers the longest it has seen. A row's score must depend on the row alone.
"""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedModel

from transfix.adapters import architecture
from transfix.adapters.host import Host
from transfix.adapters.rotary import one_at_a_time
from transfix.errors import TransfixError
from transfix.models import reach

Company = Callable[[int], int]
"""From a row's length in tokens to what its forward's rows must have in common; 0 for a model that turns all alike."""


def company(model: PreTrainedModel) -> Company:
    """What rows of a model must have in common to be in one forward. Makes a model forget the lengths it has seen.

    Raises (when called with a row's length):
        TransfixError: a soft prompt stands before a row beyond the original length: the two would be turned differently.
    """
    original = reach.original_length(model.config)
    if original is None:
        return lambda _: 0
    each = reach.depends_on_each_length(model.config)
    forget_lengths(model)
    host = getattr(model, "_transfix", None)
    device = architecture.embedding_table(model).device
    ahead = host.tokens_ahead(device) if isinstance(host, Host) and not host.by_row else 0

    def of(length: int) -> int:
        if ahead + length <= original:
            return 0
        if ahead:
            raise TransfixError(
                f"a row of {length:,} tokens behind a soft prompt of {ahead} is longer than {original:,}: from there on this "
                f"model turns positions otherwise than in the soft prompt. Lower max_tokens to {original - ahead:,} or less."
            )
        return length if each else 1

    return of


def forget_lengths(model: PreTrainedModel) -> None:
    """Makes every forward of a model depend on its own rows only, where dynamic NTK would remember the longest row before."""
    if reach.depends_on_each_length(model.config):
        for rotary in one_at_a_time(model):
            rotary.forgets = True
