"""Full fine-tuning: every weight of the model is learned."""

from __future__ import annotations

from transfix.adapters import architecture, guests
from transfix.adapters.architecture import UnsupportedModelError
from transfix.adapters.methods.base import Method, Site, place_of
from transfix.adapters.methods.full.config import FullFineTuning
from transfix.errors import TransfixError


class FullFineTuningMethod(Method):
    """`full`: the tensors are the model's own."""

    part: FullFineTuning

    def __init__(self, part: FullFineTuning, site: Site) -> None:
        super().__init__(part, site)
        integers = any(not parameter.is_floating_point() for parameter in site.model.parameters())
        if integers or getattr(site.model, "is_quantized", False) or guests.quantised_by_torch(site.model):
            raise UnsupportedModelError(
                "full cannot train a quantised base: its weights take no small steps. Load it without quantization, or use "
                "another method."
            )
        if architecture.offloaded(site.model):
            raise TransfixError(
                "full fine-tuning trains every weight, but the layers of this model are offloaded: load it without offload."
            )
        self.places = {path: place_of(site.model, path) for path, _ in site.model.named_parameters()}
