"""The errors a user can cause: each says what was wrong, where, and what to do. The command line exits with 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self


class TransfixError(Exception):
    """Something the user can put right. Its message is complete on its own: no traceback is needed to act on it."""


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
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line} (allowed: {self.allowed})" if self.allowed else line


class ProblemsError(TransfixError):
    """All problems of one input, reported at once."""

    def __init__(self, title: str, problems: Sequence[Problem]) -> None:
        self.title = title
        self.problems = tuple(problems)
        super().__init__("\n".join([title, *(f"  - {problem}" for problem in self.problems)]))


class NotFiniteError(TransfixError):
    """A score is no number."""

    def __init__(self, found: str, dtype: object) -> None:
        """`found` says of what, `dtype` is the model's."""
        name = str(dtype).removeprefix("torch.")
        wider = {"float16": "use dtype bfloat16 or float32, or ", "bfloat16": "use dtype float32, or "}.get(name, "")
        super().__init__(
            f"{found} in {name}: {wider}train with a lower learning rate (the base model's own: its weights are damaged)."
        )
