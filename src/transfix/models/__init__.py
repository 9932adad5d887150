"""Base models: from the hub, a directory, or a Python package that carries one; and what shows without weights."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
