"""Damage to a file, at several offsets: bits that flip, blocks that are zero, ends that are gone, bytes that came twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def damaged(content: bytes, flips: int = 24) -> Iterator[tuple[str, bytes]]:
    """What a file's content may become, with words for it. Never what it was."""
    size = len(content)
    found: dict[str, bytes] = {}
    for number in range(flips):
        place = number * (size - 1) // max(1, flips - 1)
        found[f"bit {number % 8} of byte {place}"] = _flipped(content, place, number % 8)
    for place in (0, size // 3, size // 2, max(0, size - 200), max(0, size - 40)):
        for length in (8, 64, 512):
            found[f"{length} zeros at {place}"] = (content[:place] + b"\0" * length + content[place + length :])[:size]
    for left in (0, 1, size // 2, size - 9, size - 1):
        found[f"{left} bytes left"] = content[: max(0, left)]
    found["a block twice"] = content[: size // 2] + content[size // 4 : size // 2] + content[size // 2 :]
    yield from ((what, other) for what, other in found.items() if other != content)


def every_bit(content: bytes) -> Iterator[bytes]:
    """The content with each of its bits flipped in turn."""
    for place in range(len(content)):
        for bit in range(8):
            yield _flipped(content, place, bit)


def overwrite(path: Path, place: int, block: bytes) -> None:
    """Writes a block into a file, as a program gone wrong does."""
    with path.open("r+b") as file:
        file.seek(place)
        file.write(block)


def _flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
