"""Files of rows without end or sense are refused at once, with the limit that they pass."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transfix import data
from transfix.config import limits

ROW = '{"premise": "a", "hypothesis": "b", "label": 1}\n'


def error_of(path: Path, content: bytes, benchmark: str = "xnli", **options: object) -> str:
    path.write_bytes(content)
    began = time.monotonic()
    with pytest.raises(data.DataError) as error:
        data.load(benchmark, {"files": str(path), **options}, "eng_Latn", "test")
    assert time.monotonic() - began < 10
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that small files pass."""
    for name, value in {
        "LINE_BYTES": 1_000,
        "DOCUMENT_BYTES": 10_000,
        "EXPANSION_FROM": 20_000,
        "EMPTY_LINES": 50,
    }.items():
        monkeypatch.setattr(limits, name, value)


def test_the_limits_are_far_above_what_is_used() -> None:
    assert limits.LINE_BYTES >= 50_000_000
    assert limits.EXPANSION >= 100


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_line_without_end(tmp_path: Path, packed: bool) -> None:
    content = (ROW + json.dumps({"premise": "x" * 2_000, "hypothesis": "b", "label": 1}) + "\n").encode()
    said = error_of(tmp_path / "rows", gzip.compress(content) if packed else content)
    assert ":2: the line is longer than 1,000 bytes" in said


@pytest.mark.usefixtures("_small")
def test_a_cell_that_is_never_closed(tmp_path: Path) -> None:
    assert "not valid csv from here" in error_of(tmp_path / "rows", b'premise,hypothesis,label\n"' + b"x,y\n" * 2_000)


@pytest.mark.usefixtures("_small")
def test_gzip_that_unpacks_to_no_end(tmp_path: Path) -> None:
    rows = ROW * 100_000
    assert "of gzip unpack to more than" in error_of(tmp_path / "rows", gzip.compress(rows.encode()))
    assert "of gzip unpack to more than" in error_of(tmp_path / "cr", gzip.compress(b"premise\r" + b"a\r" * 1_000_000))


@pytest.mark.usefixtures("_small")
def test_empty_lines_without_end(tmp_path: Path) -> None:
    said = error_of(tmp_path / "rows", (ROW + "\n" * 100 + ROW).encode())
    assert "more than 50 empty lines after each other" in said


def test_empty_lines_are_counted(tmp_path: Path) -> None:
    said = error_of(tmp_path / "rows", (ROW + "\n" * 1_000 + ROW).encode())
    assert "1,000 bad lines" in said
    assert "and 980 more" in said


@pytest.mark.usefixtures("_small")
def test_a_document_that_is_too_large(tmp_path: Path) -> None:
    document = json.dumps({"data": ["x" * 100] * 200}).encode()
    assert "of more than 10,000 bytes" in error_of(tmp_path / "rows", document, "xquad", format="json")
    assert "longer than 1,000 bytes" in error_of(tmp_path / "rows", document, "xquad")


@pytest.mark.usefixtures("_small")
def test_rows_as_many_as_there_are_are_read(tmp_path: Path) -> None:
    """One object a line has no limit, though the first line looks like a document."""
    row = {"id": "1", "context": "A cat sat.", "question": "Who?", "answers": {"text": ["A cat"], "answer_start": [0]}}
    path = tmp_path / "rows"
    path.write_text("".join(json.dumps(row | {"id": str(number)}) + "\n" for number in range(200)))
    assert path.stat().st_size > limits.DOCUMENT_BYTES
    assert len(data.load("xquad", {"files": str(path)}, "eng_Latn", "test")) == 200


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"premise,hypo\rthesis,label\na,b,neutral\n", "columns are missing"),
        (gzip.compress(b"premise,hypothesis,label\r\n" + os.urandom(50_000).hex().encode())[:20_000], "end-of-stream"),
        (gzip.compress(b"premise\rhypothesis" + os.urandom(50_000).hex().encode())[:20_000], "end-of-stream"),
        (gzip.compress(ROW.encode())[:15], "end-of-stream"),
        (gzip.compress(ROW.encode() * 9)[:-9] + b"\0" * 9, "cannot be read"),
        (b'{"premise": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "not usable JSON"),
        (b'{"premise": ' + b"1" * 100_000 + b"}\n", "not usable JSON"),
    ],
    ids=["CR", "torn", "torn after CR", "torn header", "torn sum", "deep", "digits"],
)
def test_torn_and_odd_files(tmp_path: Path, content: bytes, what: str) -> None:
    assert what in error_of(tmp_path / "rows", content)


def test_a_pipe_is_no_file_of_rows(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows")
    with pytest.raises(data.DataError, match="no ordinary file"):
        data.load("xnli", {"files": str(tmp_path / "rows")}, "eng_Latn", "test")
    with pytest.raises(data.DataError, match="no ordinary file"):
        data.read_unlabelled(tmp_path / "rows")


@pytest.mark.parametrize(
    ("name", "why"),
    [("n" * 300, "File name too long"), ("~nosuchuser/x", "there is no user 'nosuchuser'"), ("a\0b", "null")],
)
def test_places_that_are_refused_are_not_called_missing(name: str, why: str) -> None:
    for read in (lambda: data.load("xnli", {"files": name}, "eng_Latn", "test"), lambda: data.read_unlabelled(name)):
        with pytest.raises(data.DataError, match=why):
            read()


def test_parquet_of_a_row_that_repeats_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"premise": ["a"] * 200, "hypothesis": ["b"] * 200, "label": [1] * 200}), path)
    monkeypatch.setattr(limits, "TYPED_ROWS", 100)
    with pytest.raises(data.DataError, match="200 rows; a file of rows has at most 100"):
        data.load("xnli", {"files": str(path)}, "eng_Latn", "test")


def test_long_values_are_shortened(tmp_path: Path) -> None:
    row = {"premise": "a", "hypothesis": "b", "label": "x" * 200_000}
    assert len(error_of(tmp_path / "rows", json.dumps(row).encode())) < 1_000
    (tmp_path / "asked").write_text(json.dumps({"premise": ["x" * 200_000]}) + "\n")
    with pytest.raises(data.DataError) as error:
        data.read_unlabelled(tmp_path / "asked", ["premise"])
    assert len(str(error.value)) < 1_000
