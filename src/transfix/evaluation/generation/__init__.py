"""Texts written by a model, many rows at a time, each row as if it were alone.

`prefill` reads prompts, on a CPU many at a time in tiles of a fixed size (`tile_cache`, `tile_attention`); `cache` and
`attention` decode a fixed number of rows together; neither makes a row's numbers depend on the others. `head` gives logits
in float32, `choosing` the next token as `decoding` wants it, `endings` the end of a text; `forward` is a step of the model,
recorded and replayed on a GPU, for which `packed` lays weights out on a CPU; `engine` refills rows as they finish.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
