"""Studies: many runs from one file. What a study is (`StudySpec`), its runs (`expand`, `runs`), and running them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
