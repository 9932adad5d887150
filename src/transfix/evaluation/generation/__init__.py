"""Texts written by a model, many rows at a time, each row as if it were alone.

`prefill` reads prompts, on a CPU many at a time in tiles of a fixed size (`tile_cache`, `tile_attention`); `cache` and
`attention` decode a fixed number of rows together; neither makes a row's numbers depend on the others. `head` gives logits
in float32, `choosing` the next token as `decoding` wants it, `endings` the end of a text; `forward` is a step of the model,
recorded and replayed on a GPU, for which `packed` lays weights out on a CPU; `engine` refills rows as they finish.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfix._lazy import lazy

if TYPE_CHECKING:
    from transfix.evaluation.generation.decoding import Decoding as Decoding
    from transfix.evaluation.generation.decoding import Generated as Generated
    from transfix.evaluation.generation.engine import generate as generate

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Decoding": "transfix.evaluation.generation.decoding",
        "Generated": "transfix.evaluation.generation.decoding",
        "generate": "transfix.evaluation.generation.engine",
    },
)
