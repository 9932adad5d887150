"""Reads text files line by line (gzip and a byte order mark accepted) and knows what is not UTF-8 in which line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TypeVar, cast

from transfix.config import limits
from transfix.data.example import BadRowError, BadRows, DataError
from transfix.data.forms import LEGACY, foreign

T = TypeVar("T")

GZIP_MAGIC, UTF8_BOM = b"\x1f\x8b", b"\xef\xbb\xbf"
EVERY = 10_000
"""Lines between two looks at how much a gzip file has unpacked to."""


def text_lines(path: Path, bad: BadRows) -> Iterator[tuple[int, str]]:
    """The lines of a text file, numbered from 1, without their line ends (LF or CR LF and nothing else).

    Lines that are not UTF-8 are reported and left out; empty lines are reported unless nothing follows them.
    """
    return without_blank(decoded_lines(path, bad), lambda line: not line.strip(), bad)


def decoded_lines(path: Path, bad: BadRows) -> Iterator[tuple[int, str]]:
    """Like `text_lines`, with empty lines as they are."""
    for number, raw in raw_lines(path):
        try:
            yield number, decoded(raw)
        except BadRowError as error:
            bad.advice = LEGACY
            bad.add(number, str(error))


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file as bytes, numbered from 1, each with its end; the byte order mark is taken off.

    Raises:
        DataError: if the file cannot be read to its end, a line is longer than any row, or gzip unpacks to no end.
    """
    longest = limits.LINE_BYTES
    with readable(path, " to its end") as file:
        for number, raw in enumerate(iter(partial(file.readline, longest + 1), b""), start=1):
            if len(raw) > longest:
                raise DataError(f"{path}:{number}: the line is longer than {longest:,} bytes, which no row is")
            if not number % EVERY:
                check_expansion(path, file)
            yield number, raw.removeprefix(UTF8_BOM) if number == 1 else raw


def decoded(raw: bytes) -> str:
    """The text of a line, without its end.

    Raises:
        BadRowError: if it is not UTF-8.
    """
    try:
        return raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        what = f"not UTF-8: byte 0x{raw[error.start]:02x} at column {error.start + 1}"
        raise BadRowError(what) from None


def without_blank(
    items: Iterable[tuple[int, T]], is_blank: Callable[[T], bool], bad: BadRows
) -> Iterator[tuple[int, T]]:
    """The items that are not blank. Blank ones are reported, unless nothing follows them."""
    blanks: list[int] = []
    for number, item in items:
        if is_blank(item):
            blanks.append(number)
            if len(blanks) > limits.EMPTY_LINES:
                raise DataError(f"{bad.name}: more than {limits.EMPTY_LINES:,} empty lines after each other")
            continue
        for blank in blanks:
            bad.add(blank, "empty line")
        blanks.clear()
        yield number, item


def json_object(text: str) -> dict[str, object] | str:
    """The JSON object in `text`, or what is wrong with it."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        behind = text[error.pos :].strip()
        hint = " (one object a line, with no comma behind it)" if behind == "," and error.msg == "Extra data" else ""
        return f"not valid JSON: {error.msg} at column {error.colno}{hint}"
    except (ValueError, RecursionError) as error:
        return f"not usable JSON: {error}"
    if not isinstance(value, dict):
        return f"a JSON {type(value).__name__}, not an object"
    # only an escape can write half a character, and most lines hold none
    return (half_character(value) if "\\ud" in text.lower() else None) or value


def half_character(value: object) -> str | None:
    """What is wrong with a JSON value that holds a lone surrogate (half of a UTF-16 pair): no file can hold that text."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        return f"holds half a character (\\u{ord(error.object[error.start]):04x}, a lone surrogate), which is no text"
    return None


@contextmanager
def readable(path: Path, how_far: str = "") -> Iterator[IO[bytes]]:
    """A file's bytes, decompressed if it is gzipped, for the time of the block.

    Raises:
        DataError: if it cannot be read, or its gzip is torn; `how_far` is said of it.
    """
    try:
        with path.open("rb") as start:
            zipped = start.read(2) == GZIP_MAGIC
        with cast(IO[bytes], gzip.open(path, "rb")) if zipped else path.open("rb") as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read{how_far}: {error}") from error


def check_expansion(path: Path, file: IO[bytes]) -> None:
    """Raise `DataError` if a file's gzip has unpacked to more than text does: it may go on without end."""
    opened: object = file
    unpacked, packed = opened.tell() if isinstance(opened, gzip.GzipFile) else 0, path.stat().st_size
    if unpacked > max(limits.EXPANSION_FROM, limits.EXPANSION * packed):
        raise DataError(
            f"{path}: its {packed:,} bytes of gzip unpack to more than {unpacked:,}, which no text does; if it is what it "
            "should be, unpack it"
        )


def whole(path: Path, largest: int) -> bytes | None:
    """All bytes of a file, decompressed; None if they are more than `largest`. Raises `DataError` as `readable`."""
    with readable(path, " to its end") as file:
        content = file.read(largest + 1)
    return None if len(content) > largest else content


def peek(path: Path) -> tuple[bytes, str]:
    """The first four bytes and the first line (decoding errors are found when rows are read).

    Raises:
        DataError: if the file cannot be read or is UTF-16.
    """
    with readable(path) as file:
        line = file.readline(1 << 24)
    if (what := foreign(line)) is not None:
        raise DataError(f"{path}: {what}")
    return line[:4], line.removeprefix(UTF8_BOM).decode("utf-8", errors="replace").rstrip("\r\n")
