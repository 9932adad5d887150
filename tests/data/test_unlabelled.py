"""Rows for `transfix predict`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from transfix import data


def test_rows_are_kept_as_they_are(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "premise": "p", "hypothesis": "h ", "language": "deu_Latn", "label": None, "price": 3.5},
        {"premise": "p", "hypothesis": "h", "tags": ["x"]},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    assert data.read_unlabelled(path, ("premise", "hypothesis")) == rows
    zipped = tmp_path / "rows.jsonl.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert data.read_unlabelled(str(zipped)) == rows


def test_all_malformed_rows_at_once(tmp_path: Path) -> None:
    lines = [
        '{"premise": "p", "hypothesis": "h"}',
        "{",
        "3",
        '{"premise": "p"}',
        '{"premise": "", "hypothesis": 4}',
        '{"premise": "p", "hypothesis": "h", "id": 7}',
        "",
        '{"premise": "p", "hypothesis": "h"}',
    ]
    path = tmp_path / "rows.jsonl"
    path.write_bytes("\n".join(lines).encode() + b'\n{"premise": "\xff"}')
    with pytest.raises(data.DataError) as error:
        data.read_unlabelled(path, ("premise", "hypothesis"))
    assert [problem.where for problem in error.value.problems] == [f"{path}:{line}" for line in (2, 3, 4, 5, 6, 7, 9)]
    assert "'hypothesis' is missing" in str(error.value)
    assert "'premise' is '', not a text; 'hypothesis' is 4, not a text" in str(error.value)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_no_rows(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(data.DataError, match="has no rows"):
        data.read_unlabelled(tmp_path / "rows.jsonl")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match="does not exist"):
        data.read_unlabelled(tmp_path / "rows.jsonl")
    with pytest.raises(data.DataError, match="is a directory"):
        data.read_unlabelled(tmp_path)
