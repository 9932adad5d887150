"""Linear layers whose weights are laid out once as the processor's matrix product reads them.

oneDNN's products in bfloat16 read weights in blocks of their own. torch lays an ordinary weight out anew at every call, which
for the 16 rows of a decoding step takes about as long as the product itself, and longer for a large vocabulary. Here that is
done once, for as long as texts are generated. The sums are the same to the bit: only where the numbers lie differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix.batches import instead_of_forward

MOST = 2 * 2**30
"""Bytes of copies there may be at a time: weights beyond them stay as they are."""

_HINT = 16
"""Rows of a product that the layout is chosen for; it serves any number."""


@contextmanager
def packed_weights(model: PreTrainedModel) -> Iterator[int]:
    """While the block runs, the model's bfloat16 linear layers on a CPU have such copies of their weights, in this thread.

    The head comes first, then the layers in their order. What is quantised, has a forward of its own (a library's hook,
    another thread's copies) or lies elsewhere is left alone. Weights must not change meanwhile.

    Args:
        model: its modules stay in their places.

    Yields:
        bytes of the copies.
    """
    taken = 0
    with ExitStack() as stack:
        for module in dict.fromkeys([model.get_output_embeddings(), *model.modules()]) if _supported() else ():
            if not isinstance(module, nn.Linear) or not _plain(module) or taken + module.weight.nbytes > MOST:
                continue
            taken += module.weight.nbytes
            weight = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), _HINT)
            stack.enter_context(instead_of_forward(module, partial(_product, weight, module.bias)))
        yield taken


def _supported() -> bool:
    """Whether this torch and this processor have the product: torch.compile's own, which is no public name."""
    names = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    known = torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)
    return known and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _plain(module: nn.Linear) -> bool:
    weight = module.weight
    place = weight.device.type == "cpu" and weight.dtype == torch.bfloat16
    return type(module) is nn.Linear and place and "forward" not in vars(module)


def _product(
    weight: Tensor,
    bias: Float[Tensor, " outputs"] | None,
    states: Float[Tensor, "... inputs"],
) -> Float[Tensor, "... outputs"]:
    """`x Wᵀ + b`; `weight` is in a layout of its own."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return product
