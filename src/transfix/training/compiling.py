"""Layers compiled for the time of a training: their many small operations become a few."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch._dynamo.exc import TorchDynamoException
from torch._inductor.exc import InductorError
from transformers import PreTrainedModel

from transfix.adapters import architecture
from transfix.errors import TransfixError


@contextmanager
def compiled_layers(model: PreTrainedModel) -> Iterator[None]:
    """While the block runs, torch.compile makes the model's layers; modules, weights and hooks stay where they are.

    A layer is compiled once for all of them and for every batch size and length; with a soft prompt each layer by itself, and
    from the ninth on not at all. Sums are rounded in other places than without it, in bfloat16 as much as another GPU would.

    Raises:
        TransfixError: if the layers cannot be compiled, for example for want of a C++ compiler.
    """
    stack = architecture.stack(model)
    before = [layer._compiled_call_impl for layer in stack]
    try:
        for layer in stack:
            layer.compile(dynamic=True)
        yield
    except (TorchDynamoException, InductorError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise TransfixError(
            f"compile: true: torch.compile failed on {type(model).__name__} ({reason[:200]}). It needs a C++ compiler (on a "
            "GPU Triton too); set compile: false to train without it."
        ) from error
    finally:
        for layer, own in zip(stack, before, strict=True):
            layer._compiled_call_impl = own
