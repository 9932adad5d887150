"""transfix: adapt a language model on English labels, measure it in every language.

adapter = transfix.attach(model, transfix.PrefixTuning(tokens=10, layers=30), tokenizer=tokenizer)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
