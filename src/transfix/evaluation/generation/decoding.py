"""How texts are generated, and what comes back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from transfix.errors import Problem, ProblemsError


@dataclass(frozen=True, slots=True)
class Decoding:
    """The settings of `generate`.

    Attributes:
        max_new_tokens: a text that has not ended by then is cut.
        stop: texts that end an answer; they are not part of it. They may be special tokens of the tokenizer.
        temperature: the logits are divided by it before one token is drawn; 0 takes the likeliest token (greedy).
        top_p: draw only from the likeliest tokens that together have this probability (Holtzman et al. 2020).
        seed: of the draws.
        batch_rows: rows decoded together, on a CPU rounded up to a multiple of 16. Changes the speed and the memory, and on
            a CPU not the texts.

    Raises:
        ProblemsError: if a value is out of range; the message names every one.
    """

    max_new_tokens: int = 64
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    batch_rows: int = 16

    def __post_init__(self) -> None:
        stop: object = self.stop  # a text by itself would be taken letter by letter
        checks = [
            ("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "1 or more"),
            ("stop", stop, isinstance(stop, tuple) and all(stop), "a tuple of texts, none of them empty"),
            ("temperature", self.temperature, 0 <= self.temperature < math.inf, "0 (greedy) or more"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "above 0, up to 1"),
            ("batch_rows", self.batch_rows, self.batch_rows >= 1, "1 or more"),
        ]
        problems = [Problem(where, f"{value!r}", allowed) for where, value, fine, allowed in checks if not fine]
        if problems:
            raise ProblemsError("decoding:", problems)


@dataclass(frozen=True, slots=True)
class Generated:
    """A generated text.

    Attributes:
        text: up to the stop text, without it; special tokens are left out.
        tokens: all that the model wrote, with the tokens of the stop text or the end token.
        finished: `stop` by a stop text, `end` by an end token, `length` by `max_new_tokens`.
    """

    text: str
    tokens: tuple[int, ...]
    finished: Literal["stop", "end", "length"]
