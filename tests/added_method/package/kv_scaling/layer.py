"""What a layer learns and computes."""

import torch
from torch import Tensor, nn

from kv_scaling import KeyValueScaling
from transfix.adapters.architecture import Layer
from transfix.adapters.methods.base import AdapterLayer, LayerMethod


class ScaledLayer(AdapterLayer):
    """l_k and l_v of one layer."""

    def __init__(self, heads: int, head_size: int, device: torch.device, keys: bool) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.ones(heads, 1, head_size, device=device)) if keys else None
        self.values = nn.Parameter(torch.ones(heads, 1, head_size, device=device))

    def attended(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """l_k ⊙ K, l_v ⊙ V."""
        return key if self.keys is None else key * self.keys.to(key.dtype), value * self.values.to(value.dtype)


class KeyValueScalingMethod(LayerMethod):
    """`kv_scaling`: l_k and l_v on every adapted layer."""

    part: KeyValueScaling

    def make(self, layer: Layer) -> ScaledLayer:
        """Scales of one."""
        return ScaledLayer(*layer.key_value_shape, layer.device, keys=self.part.side == "both")
