"""From token sequences to what a model is called with, and back to the few logits that are wanted. Nothing needless.

`tokens` keeps rows of token ids as Arrow does; `trees` lets rows that begin alike share their beginning, where `sharing`
finds that the model can; `plan` orders them into batches by a token budget; `head` lets the model's head run only where a
target is, and `logits` gives what it says there.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
