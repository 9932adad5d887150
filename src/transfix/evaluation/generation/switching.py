"""The attention function of a model changed in the thread that asks for it: others that run the model meanwhile keep theirs.

transformers looks the function up by a name in the model's configuration, which all threads share. So for the time of a block
the name is that of a function which asks the thread it runs in:

    T1: implementation(model, "transfix_rows")    rows      config: "transfix_here_sdpa" ──▶ T1: row_attention, row_mask
    T2: model(ids)                                                                       ──▶ T2: what "sdpa" names
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface

from transfix.adapters import architecture
from transfix.adapters.attention import PREFIXED
from transfix.errors import TransfixError

HERE = PREFIXED + "here_"
"""Before the name of the function that other threads keep."""

_FUNCTIONS, _MASKS = AttentionInterface(), AttentionMaskInterface()
_chosen: ContextVar[str | None] = ContextVar("attention function of this thread", default=None)
_changing = threading.Lock()


@dataclass(slots=True)
class _Switched:
    """A model whose configuration names our function.

    Attributes:
        before: the name that was there.
        users: how many blocks it is for, of all threads.
    """

    before: str
    users: int = 0


_switched: dict[int, _Switched] = {}  # by the identity of the configuration, as long as a block holds the model


@contextmanager
def implementation(model: PreTrainedModel, name: str) -> Iterator[None]:
    """For the time of the block the model attends by the function of this name, in this thread.

    Raises:
        TransfixError: if the model is not on transformers' attention registry.
    """
    if not type(architecture.body(model))._can_set_attn_implementation():
        raise TransfixError(
            f"{type(model).__name__} does not use transformers' attention registry, so its rows cannot be generated "
            "together. Decoders such as Llama, Mistral, Qwen, Gemma and GPT-2 can."
        )
    key = id(model.config)
    with _changing:
        switched = _switched.get(key)
        if switched is None:
            switched = _Switched(model.config._attn_implementation)
            model.set_attn_implementation(_asking(switched.before))
            _switched[key] = switched
        switched.users += 1
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)
        with _changing:
            switched.users -= 1
            if not switched.users:
                del _switched[key]
                model.set_attn_implementation(switched.before)


def _asking(before: str) -> str:
    """The name of the function that asks its thread, and elsewhere is the one of before."""
    plain = before.endswith(("sdpa", "eager"))  # by which batches tell what mask they need
    name = HERE + (before if plain else f"{re.sub('[^a-z0-9]', '_', before.replace('flash', 'fast'))}")
    if name not in _FUNCTIONS:
        AttentionInterface.register(name, partial(_attend, before))
        AttentionMaskInterface.register(name, partial(_mask, before))
    return name


def _attend(before: str, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    function: Any = _FUNCTIONS.get_interface(_chosen.get() or before, eager)  # type: ignore[arg-type]
    if function is None:
        raise TransfixError(f"{type(module).__name__} has no eager attention function.")
    found: tuple[Tensor, Tensor | None] = function(module, *args, **kwargs)
    return found


def _mask(before: str, *args: Any, **kwargs: Any) -> Any:
    return _MASKS[_chosen.get() or before](*args, **kwargs)
