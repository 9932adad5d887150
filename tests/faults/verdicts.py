"""What a fault did: which outcomes there are, and which of them are failures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.faults.forks import Ended

HARMLESS = "harmless"
"""Nothing was said, and all results are the same."""
REFUSED = "refused"
"""It was said, with what it is about; done again without the fault (as was advised, if at all) the results are the same."""
RECOVERED = "recovered"
"""The process was killed; the same command goes on and ends with the same results."""
LOST = "lost"
"""In the end a result is missing or another one, or what was advised does not help."""
SILENT = "silent"
"""Other results without a word."""
BADLY = "badly"
"""A traceback, `please report it`, no end, too much memory, or an end that says nothing."""

GOOD = (HARMLESS, REFUSED, RECOVERED)
BAD = (LOST, SILENT, BADLY)

LARGEST = 2 << 30
"""Bytes that a command may take beyond what the process it was forked from has."""
_OURS = re.compile(r"Traceback \(most recent call last\)|please report it|Unexpected error|Fatal Python error")


@dataclass(frozen=True)
class Verdict:
    """What one fault did, with what is needed to see it again where it is a failure."""

    outcome: str
    why: str = ""
    found: Mapping[str, str] = field(default_factory=dict)


def badly(ended: Ended, expected: frozenset[int] = frozenset({0, 1, 2})) -> str:
    """Why an end is a bad one; nothing where it is not."""
    if ended.status is None:
        return "it had no end"
    if found := _OURS.search(ended.output):
        return f"{found[0]}: {_last(ended.output)}"
    if ended.status not in expected:
        return f"status {ended.status}: {_last(ended.output)}"
    if ended.status and not ended.output.strip():
        return f"status {ended.status} without a word"
    if ended.peak > LARGEST:
        return f"{ended.peak >> 20} MB of memory"
    return ""


def _last(output: str) -> str:
    return " / ".join(line.strip() for line in output.strip().splitlines()[-6:])[-600:]
