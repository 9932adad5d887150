"""Files in forms that are not read, and cells that are no text: each is told, with what to do about it."""

from __future__ import annotations

import bz2
import io
import lzma
import shutil
import subprocess
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from transfix import data
from transfix.data import Benchmark
from transfix.data.dialect import looks_quoted

OWN = Benchmark(
    name="own",
    fields=("text",),
    classes=("x", "y"),
    label_aliases={},
    columns={"text": ("text",), "label": ("topic",)},
    splits=("test",),
    languages_given=("eng_Latn",),
    numbered_labels=False,
    quoted_tsv=None,
)
TEXT = "text,topic\ncafé,x\n"


def load(path: Path) -> list[tuple[str, str | None]]:
    return [(row.fields["text"], row.label) for row in data.load(OWN, {"files": str(path)}, "en", "test")]


def zipped(content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("rows.csv", content)
    return made.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv.bz2", bz2.compress(TEXT.encode()), "is compressed with bzip2; unpack it, or compress it with gzip"),
        ("x.csv.xz", lzma.compress(TEXT.encode()), "is compressed with xz;"),
        ("x.csv.zst", b"\x28\xb5\x2f\xfd\x04\x00\x11", "is compressed with zstandard;"),
        ("x.zip", zipped(TEXT.encode()), "is a zip archive, as Excel's and LibreOffice's workbooks are"),
        ("x.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Excel workbook; save the sheet as csv"),
        ("x.csv", TEXT.encode("utf-16"), r"is UTF-16 text; save it as UTF-8 \(`iconv -f UTF-16 "),
        ("x.csv", TEXT.encode("utf-16-le"), "is UTF-16 text.*iconv -f UTF-16LE "),
        ("x.csv", TEXT.encode("utf-16-be"), "is UTF-16 text.*iconv -f UTF-16BE "),
        ("x.csv", TEXT.encode("utf-32"), "is UTF-32 text"),
        ("x.csv", TEXT.encode("latin-1"), r"iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW`\n.*:2: not UTF-8: byte 0xe9"),
    ],
)
def test_what_is_not_read_is_called_by_its_name(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(data.DataError, match=said):
        load(tmp_path / name)


@pytest.mark.skipif(shutil.which("iconv") is None, reason="needs iconv")
@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-16", "UTF-16"), ("utf-16-be", "UTF-16BE"), ("utf-32", "UTF-32"), ("cp1252", "WINDOWS-1252")],
)
def test_the_advice_helps(tmp_path: Path, encoding: str, named: str) -> None:
    (tmp_path / "old").write_bytes(TEXT.encode(encoding))
    made = subprocess.run(["iconv", "-f", named, "-t", "UTF-8", str(tmp_path / "old")], capture_output=True, check=True)
    (tmp_path / "new.csv").write_bytes(made.stdout)
    assert load(tmp_path / "new.csv") == [("café", "x")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", "text,topic\na\0b,x\n"),
        ("x.tsv", "text\ttopic\na\0b\tx\n"),
        ("x.jsonl", '{"text": "a\\u0000b", "topic": "x"}\n'),
    ],
)
def test_nul_characters(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(data.DataError, match="text holds a NUL character, which is no text"):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"text": "a", "topic": "x"},\n', r":1: not valid JSON.*\(one object a line, with no comma behind it\)"),
        ('{\n"text": "a",\n"topic": "x"\n}\n', r"4 bad lines.*\n.*:1: not valid JSON"),
        ('{"text": "a", "topic": "x",}\n', ":1: not valid JSON"),
    ],
)
def test_a_file_without_one_whole_object(tmp_path: Path, content: str, said: str) -> None:
    """Not "columns are missing": none could be read."""
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(data.DataError, match=said):
        load(tmp_path / "x.jsonl")


@pytest.mark.parametrize("mark", ["\t", ",", ";"])
def test_a_cell_with_a_cr(tmp_path: Path, mark: str) -> None:
    """pandas does not quote a cell for it; one such cell must not turn the marks of all others into text."""
    texts = ["a\rb", 'he said "no"', f"a{mark}b"]
    frame = pd.DataFrame({"text": texts, "topic": ["x", "y", "x"]})
    frame.to_csv(tmp_path / "rows.csv", sep=mark, index=False, lineterminator="\n")
    assert load(tmp_path / "rows.csv") == list(zip(texts, ["x", "y", "x"], strict=True))
    (tmp_path / "rows.csv").write_bytes(f'text{mark}topic\n"a\rb"{mark}x\n'.encode())
    assert load(tmp_path / "rows.csv") == [("a\rb", "x")]


def test_what_a_cr_does_not_change(tmp_path: Path) -> None:
    file = tmp_path / "x.tsv"
    for content, quoted in (
        ('a\tb\n"x\ry"\t1\n', True),
        ('a\tb\nx\ry\t"1"\n', False),
        ('a\tb\nx\ry\t"1 ""2"""\n', True),
        ('a\tb\nx\ry\t1 "2"\n', False),
    ):
        file.write_bytes(content.encode())
        assert looks_quoted(file, "\t") is quoted, content
