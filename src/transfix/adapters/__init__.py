"""The methods, and the attention function by which they enter a transformers model. Usable alone, with any training loop."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
