"""transfix: adapt a language model on English labels, measure it in every language.

adapter = transfix.attach(model, transfix.PrefixTuning(tokens=10, layers=30))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfix._lazy import lazy

if TYPE_CHECKING:
    from transfix.adapters import Adapter as Adapter
    from transfix.adapters import attach as attach
    from transfix.adapters import load_adapter as load_adapter
    from transfix.adapters import use as use
    from transfix.adapters.methods import Base as Base
    from transfix.adapters.methods import FullFineTuning as FullFineTuning
    from transfix.adapters.methods import LlamaAdapter as LlamaAdapter
    from transfix.adapters.methods import LoRA as LoRA
    from transfix.adapters.methods import PrefixTuning as PrefixTuning
    from transfix.adapters.methods import SoftPrompt as SoftPrompt
    from transfix.errors import TransfixError as TransfixError

__version__ = "0.1.0"

_METHODS = ("PrefixTuning", "LlamaAdapter", "SoftPrompt", "LoRA", "FullFineTuning", "Base")
_WHERE = {
    **dict.fromkeys(("Adapter", "attach", "load_adapter", "use"), "transfix.adapters"),
    **dict.fromkeys(_METHODS, "transfix.adapters.methods"),
    "TransfixError": "transfix.errors",
}
__getattr__, __dir__ = lazy(__name__, _WHERE)
