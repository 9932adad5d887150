"""Tests reach nothing outside this machine, and leave nothing in the user's caches. Fixtures that several areas share."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import arguments
from tests import tiny

# Before anything imports a library that reads them. Tests' processes inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"  # tiny matrices are faster on one thread, and sums are the same every time


def pytest_collection_finish() -> None:
    """What tests have imported is never garbage: a training collects twice, and each took half a second to look at it all."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Every test on one thread, whatever the one before has set. Tests without torch do not load it."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    if torch:
        torch.set_num_threads(1)
    yield
    if torch:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def pool() -> Path:
    """The directory of the benchmarks' files: $TRANSFIX_TEST_DATA, or shared/data beside the checkout."""
    try:
        return arguments.pool()
    except SystemExit as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a random Gemma 3 of four layers and a tokenizer that has ` yes`, ` maybe`, ` no` as one token each.

    Its sliding window (128) is shorter than some prompts. A test that changes files must copy it first.
    """
    return tiny.save(tmp_path_factory.mktemp("models") / "tiny-gemma")
