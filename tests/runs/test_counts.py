"""Counts are kept beside the predictions, and counted again wherever that might be wrong."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from transfix.runs.store.counts import kept
from transfix.statistics.metrics import Counted


class Counting:
    """Counts how often it counts."""

    def __init__(self, values: list[list[int]], signature: str = "v1") -> None:
        self.counted, self.times = Counted(np.array(values, dtype=np.float64), signature), 0

    def __call__(self) -> Counted:
        self.times += 1
        return self.counted


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    return tmp_path / "deu_Latn.parquet"


def test_counted_once(predictions: Path) -> None:
    count, other = Counting([[1, 2], [3, 4]]), Counting([[5], [6]], "")
    for _ in range(3):
        found = kept(predictions, "corpus_bleu", ["de", ["a", "b"]], count)
        assert found.values.tolist() == [[1, 2], [3, 4]]
        assert found.values.dtype == np.float64
        assert found.signature == "v1"
        assert kept(predictions, "corpus_chrf", ["de", ["a", "b"]], other).values.tolist() == [[5], [6]]
    assert (count.times, other.times) == (1, 1)
    assert [path.name for path in predictions.parent.iterdir()] == [".deu_Latn.counts"]


def test_counted_again_where_something_is_other(predictions: Path) -> None:
    first, second = Counting([[1]]), Counting([[2]], "v2")
    kept(predictions, "corpus_bleu", ["de", ["a"]], first)
    for _ in range(2):
        found = kept(predictions, "corpus_bleu", ["de", ["b"]], second)
        assert (found.values.tolist(), found.signature) == ([[2]], "v2")
    assert second.times == 1
    kept(predictions, "corpus_bleu", ["de", ["a"]], first)
    assert first.times == 2


@pytest.mark.parametrize("content", [b"", b"PAR1", b"{}", os.urandom(200)])
def test_a_torn_file_is_counted_in_again(predictions: Path, content: bytes) -> None:
    count = Counting([[1]])
    kept(predictions, "corpus_bleu", 1, count)
    file = predictions.with_name(".deu_Latn.counts")
    whole = file.read_bytes()
    for torn in (content, whole[: len(whole) // 2], whole[:-9] + whole[-8:]):
        file.write_bytes(torn)
        assert kept(predictions, "corpus_bleu", 1, count).values.tolist() == [[1]]
        assert file.read_bytes()[:4] == b"PAR1"
    assert count.times == 4


def test_where_nothing_can_be_written_it_is_counted_each_time(tmp_path: Path) -> None:
    count = Counting([[1]])
    for _ in range(2):
        assert kept(tmp_path / "gone" / "deu_Latn.parquet", "corpus_bleu", 1, count).values.tolist() == [[1]]
    assert count.times == 2


def test_no_rows_are_not_worth_a_file(predictions: Path) -> None:
    empty = Counted(np.zeros((0, 0)))
    assert len(kept(predictions, "corpus_bleu", 1, lambda: empty).values) == 0
    assert list(predictions.parent.iterdir()) == []
