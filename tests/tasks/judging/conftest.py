"""The benchmarks' public files, where the machine has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def pool() -> Path:
    """The directory of the benchmarks' files: $TRANSFIX_TEST_DATA, or shared/data beside the checkout."""
    default = Path(__file__).parents[3].parent / "shared" / "data"
    path = Path(os.environ.get("TRANSFIX_TEST_DATA", default))
    if not path.is_dir():
        pytest.skip("needs the benchmarks' public files: set TRANSFIX_TEST_DATA to their directory")
    return path
