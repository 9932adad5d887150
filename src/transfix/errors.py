"""The errors a user can cause: each says what was wrong, where, and what to do. The command line exits with 2.

A message quotes what somebody else wrote. However long that is and whatever characters it holds, the message stays short
and shows them: `shortened` and `visible` do it here for every message there is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

LONGEST_VALUE = 80
"""Characters of a value that a message quotes."""

LONGEST_LINE = 2_000
"""Characters of a line of a message."""

MOST_LINES = 120
"""Lines of a message."""

MOST_PROBLEMS = 100
"""Problems of one input that a message lists; the others are counted."""

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, what changes the direction of the text after it, and half characters."""


def shortened(text: str, longest: int = LONGEST_VALUE) -> str:
    """A text as a message quotes it: its beginning and its end, and `...` for the middle of one that is too long."""
    if len(text) <= longest:
        return text
    end = longest // 5
    return f"{text[: longest - end - 3]}...{text[len(text) - end :]}"


def visible(text: str) -> str:
    """A text whose control characters, also those that turn the direction of writing, are shown and not obeyed."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def message(text: str) -> str:
    """A whole message, short and visible: every line, and how many there are."""
    lines = text.split("\n", MOST_LINES)
    if len(lines) > MOST_LINES:
        lines[-1] = f"... and {lines[-1].count(chr(10)) + 1:,} more lines"
    return visible("\n".join(shortened(line, LONGEST_LINE) for line in lines))


class TransfixError(Exception):
    """Something the user can put right. Its message is complete on its own: no traceback is needed to act on it."""

    def __str__(self) -> str:
        return message(super().__str__())


class MissingFileError(TransfixError):
    """A file that an input names is not there."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input.

    Attributes:
        where: the path inside the input (`train.learning_rate`, `rows.jsonl:17`).
        what: what is wrong, with the offending value.
        allowed: what would be accepted, where that can be said shortly.
        missing_file: whether all that is wrong is that a file is not there.
    """

    where: str
    what: str
    allowed: str | None = None
    missing_file: bool = False

    def at(self, where: str) -> Self:
        """The same problem, its place said anew."""
        return replace(self, where=where)

    def __str__(self) -> str:
        what = shortened(self.what, LONGEST_LINE)
        line = f"{shortened(self.where, 2 * LONGEST_VALUE)}: {what}" if self.where else what
        return f"{line} (allowed: {shortened(self.allowed, LONGEST_LINE)})" if self.allowed else line


class ProblemsError(TransfixError):
    """All problems of one input, reported at once."""

    def __init__(self, title: str, problems: Sequence[Problem]) -> None:
        self.title = title
        self.problems = tuple(problems)
        more = len(self.problems) - MOST_PROBLEMS
        listed = [f"  - {problem}" for problem in self.problems[:MOST_PROBLEMS]]
        super().__init__("\n".join([title, *listed, *([f"  ... and {more:,} more"] if more > 0 else [])]))


class NotFiniteError(TransfixError):
    """A score is no number."""

    def __init__(self, found: str, dtype: object) -> None:
        """`found` says of what, `dtype` is the model's."""
        name = str(dtype).removeprefix("torch.")
        wider = {"float16": "use dtype bfloat16 or float32, or ", "bfloat16": "use dtype float32, or "}.get(name, "")
        super().__init__(
            f"{found} in {name}: {wider}train with a lower learning rate (the base model's own: its weights are damaged)."
        )
