"""Checksums inside the files that are written, so that whoever reads one knows whether it is as it was written.

    JSON      "checksum": "1:HEX", over everything else that the object holds
    text      a last line "# checksum: 1:HEX", over the lines above it
    bytes     MARK followed by HEX somewhere in the file, over the whole file with zeros in the place of HEX

HEX is a SHA-256; the number before it says how it is computed. A file without a checksum is of an earlier version, and is
taken as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEY = "checksum"
KIND = "1"
"""How checksums are computed; counted up whenever that changes."""

MARK = b"transfix-checksum-1:"
"""Stands before the checksum in a file of bytes."""

UNSEALED = MARK + b"0" * 64
"""What a file of bytes must hold once before `seal` writes its checksum there."""

_LINE = f"# {KEY}: "
_LAST = re.compile(rf"{KEY}: (\d+:[0-9a-f]*)\s*\Z")
_SEAL = re.compile(re.escape(MARK) + rb"([0-9a-f]{64})")


class ChecksumError(ValueError):
    """A file that is not as it was written."""

    def __init__(self, why: str = "its content is not what was written, by its checksum") -> None:
        super().__init__(why)


def of_json(content: Mapping[str, Any]) -> str:
    """The checksum of what a JSON object holds besides its checksum: the same however it is laid out."""
    plain = {key: value for key, value in content.items() if key != KEY}
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return _of(text.encode("utf-8", "surrogatepass"))


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its checksum. What JSON would change (tuples, keys that are numbers) is changed."""
    plain = json.loads(json.dumps(content))
    return {**plain, KEY: of_json(plain)}


def opened(content: dict[str, Any]) -> dict[str, Any]:
    """A JSON object as it was before `sealed`.

    Raises:
        ChecksumError: its content is not what was written.
    """
    if KEY not in content:
        return content
    _compare(content[KEY], of_json(content))
    return {key: value for key, value in content.items() if key != KEY}


def sealed_text(text: str) -> str:
    """A text with a last line that holds its checksum: a comment in YAML."""
    whole = text if text.endswith("\n") else f"{text}\n"
    return f"{whole}{_LINE}{_of(whole.encode())}\n"


def opened_text(text: str) -> str:
    """A text as it was before `sealed_text`.

    Raises:
        ChecksumError: its content is not what was written.
    """
    if not (found := _LAST.search(text)):
        return text
    whole, line, _ = text.replace("\r\n", "\n").rpartition(f"\n{_LINE}")
    if not line:
        raise ChecksumError
    _compare(found[1], _of(f"{whole}\n".encode()))
    return f"{whole}\n"


def seal(path: Path) -> None:
    """Writes the checksum of a file that holds `UNSEALED` once into it."""
    content = path.read_bytes()
    place = content.rindex(UNSEALED) + len(MARK)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(hashlib.sha256(content).hexdigest().encode())


def is_sealed(content: bytes) -> bool:
    """Whether the content of a file is what `seal` left; False if it has no checksum.

    Raises:
        ChecksumError: its content is not what was written.
    """
    found = list(_SEAL.finditer(content))
    if not found:
        return False
    last = found[-1]
    zeros = b"0" * len(last[1])
    if hashlib.sha256(content[: last.start(1)] + zeros + content[last.end(1) :]).hexdigest().encode() != last[1]:
        raise ChecksumError
    return True


def of_file(path: Path) -> str:
    """SHA-256 of a file's bytes (64 hex digits)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of(content: bytes) -> str:
    return f"{KIND}:{hashlib.sha256(content).hexdigest()}"


def _compare(written: object, now: str) -> None:
    kind, _, _ = str(written).partition(":")
    if kind.isdigit() and kind != KIND:
        raise ChecksumError(f"its checksum is of kind {kind}, of a later version, or damaged")
    if written != now:
        raise ChecksumError
