"""Training an adapter: the loop on transformers' Trainer, and the plan of one training from its rows."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
