"""K_p = knorm(E W_k) and V_p = E W_v: a learned prefix E (P, d), seen through a layer's own frozen projections.

**Not rotated**: every query sees the prefix alike, wherever it stands (arXiv 2510.24619; Zhang et al. 2023).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix.adapters import architecture
from transfix.adapters.architecture import KeysValues, KeyValueSource, Layer, UnsupportedModelError
from transfix.adapters.methods.base import require_norm


class ProjectedPrefix(nn.Module):
    """E (P, d) of one layer, seen through the layer's own W_k and W_v.

    Attributes:
        embedding: E, float32 whatever the base's dtype.
        kept: K_p and V_p of the last forward without gradients, and what they depended on.
    """

    def __init__(self, tokens: int, hidden: int, source: KeyValueSource, norm: nn.Module | None, device: torch.device):
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(tokens, hidden, dtype=torch.float32, device=device))
        self._frozen = (source, norm)  # in a tuple, so that the base's modules are not registered a second time
        self.kept: tuple[tuple[object, ...], KeysValues] | None = None

    @classmethod
    def on(cls, model: PreTrainedModel, layer: Layer, tokens: int, norm: str) -> ProjectedPrefix:
        """An empty prefix for `layer`; with `norm` = `layer` E passes through the layer's input norm first.

        Raises:
            UnsupportedModelError: if the layer's projections or, with `norm: layer`, its norm are unknown.
        """
        if layer.source is None:
            raise UnsupportedModelError(architecture.support(model).reason)
        hidden = architecture.embedding_table(model).shape[1]
        return cls(tokens, hidden, layer.source, require_norm(model, layer) if norm == "layer" else None, layer.device)

    def keys_values(self, dtype: torch.dtype, decoding: bool = False) -> KeysValues:
        """K_p and V_p (G, P, h) in `dtype`.

        Kept only while gradients are off, until a weight changes, and used again only while `decoding` token by token:
        a write through `weight.data` leaves no trace, so every forward over several tokens computes them afresh.
        """
        if torch.is_grad_enabled():
            self.kept = None
            return self._projected(dtype)
        source, norm = self._frozen
        weights = [self.embedding, *source.weights(), *(norm.parameters() if norm is not None else ())]
        stamp = _stamp(weights, dtype)
        if stamp is None:
            return self._projected(dtype)
        kept = self.kept  # another thread may put its own in place
        if not decoding or kept is None or kept[0] != stamp:
            kept = self.kept = (stamp, self._projected(dtype))
        return kept[1]

    def _projected(self, dtype: torch.dtype) -> KeysValues:
        source, norm = self._frozen
        states = self.embedding.to(dtype)
        return source(norm(states) if norm is not None else states)


def _stamp(weights: list[Tensor], dtype: torch.dtype) -> tuple[object, ...] | None:
    """A value that changes whenever one of `weights` is written or moved; None where that cannot be known."""
    try:
        return (dtype, *((weight.data_ptr(), weight._version) for weight in weights))
    except RuntimeError:  # inference tensors keep no version
        return None
