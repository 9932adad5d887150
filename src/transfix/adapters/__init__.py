"""The methods, and the attention function by which they enter a transformers model. Usable alone, with any training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfix._lazy import lazy

if TYPE_CHECKING:
    from transfix.adapters.adapter import Adapter as Adapter
    from transfix.adapters.adapter import attach as attach
    from transfix.adapters.adapter import load_adapter as load_adapter
    from transfix.adapters.adapter import use as use
    from transfix.adapters.architecture import Support as Support
    from transfix.adapters.architecture import UnsupportedModelError as UnsupportedModelError
    from transfix.adapters.architecture import support as support
    from transfix.adapters.files import AdapterFileError as AdapterFileError

_WHERE = {
    "Adapter": "transfix.adapters.adapter",
    "attach": "transfix.adapters.adapter",
    "use": "transfix.adapters.adapter",
    "Support": "transfix.adapters.architecture",
    "UnsupportedModelError": "transfix.adapters.architecture",
    "support": "transfix.adapters.architecture",
    "AdapterFileError": "transfix.adapters.files",
    "load_adapter": "transfix.adapters.adapter",
}
__getattr__, __dir__ = lazy(__name__, _WHERE)
