"""Files as users have them, written small."""

from __future__ import annotations

import pytest

ROWS = [
    ("Er kam spät.", 'Er sagte "ja".', "contradiction"),
    ("Er kam spät.", "Er kam.", "entailment"),
    ("Er kam spät.", "Es regnete.", "neutral"),
]


@pytest.fixture
def rows() -> list[tuple[str, str, str]]:
    """One premise with its three hypotheses."""
    return ROWS
