"""One run from specification to record: what it is (`RunSpec`), where it is kept (`RunStore`), and how it is done."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
