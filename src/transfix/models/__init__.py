"""Base models: from the hub, a directory, or a Python package that carries one; and what shows without weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfix._lazy import lazy

if TYPE_CHECKING:
    from transfix.models.files import check_safetensors as check_safetensors
    from transfix.models.inspect import Inspection as Inspection
    from transfix.models.loading import LoadedModel as LoadedModel
    from transfix.models.loading import automatic_dtype as automatic_dtype
    from transfix.models.loading import load as load
    from transfix.models.registry import MODELS as MODELS

_WHERE = {
    "MODELS": "transfix.models.registry",
    "Inspection": "transfix.models.inspect",
    "LoadedModel": "transfix.models.loading",
    "automatic_dtype": "transfix.models.loading",
    "check_safetensors": "transfix.models.files",
    "load": "transfix.models.loading",
}
__getattr__, __dir__ = lazy(__name__, _WHERE)
