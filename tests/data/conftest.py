"""Files as users have them, written small; and the benchmarks' public files, where the machine has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROWS = [
    ("Er kam spät.", 'Er sagte "ja".', "contradiction"),
    ("Er kam spät.", "Er kam.", "entailment"),
    ("Er kam spät.", "Es regnete.", "neutral"),
]


@pytest.fixture(scope="session")
def pool() -> Path:
    """The directory of the benchmarks' files: $TRANSFIX_TEST_DATA, or shared/data beside the checkout."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    path = Path(os.environ.get("TRANSFIX_TEST_DATA", default))
    if not path.is_dir():
        pytest.skip("needs the benchmarks' public files: set TRANSFIX_TEST_DATA to their directory")
    return path


@pytest.fixture
def rows() -> list[tuple[str, str, str]]:
    """One premise with its three hypotheses."""
    return ROWS
