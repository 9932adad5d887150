"""Scaling of keys and values, as in (IA)³ (Liu et al. 2022): a method that another package brings."""

from typing import ClassVar, Literal

from transfix.adapters.methods import Layers, LayerShape, Part


class KeyValueScaling(Part):
    """K' = l_k ⊙ K and V' = l_v ⊙ V, with learned l_k and l_v (G, h) that start at one."""

    label: ClassVar = "Key-value scaling"
    implementation: ClassVar = "kv_scaling.layer:KeyValueScalingMethod"
    method: Literal["kv_scaling"] = "kv_scaling"
    layers: Layers = "all"
    side: Literal["both", "values"] = "both"

    def kept(self, shape: LayerShape, width: int, cpu: bool) -> int:
        """K and V as they were."""
        return 2 * shape.heads * shape.head_size * width
