"""Tiny E5S1 files, written from the format's description, and what their numbers are."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

HIDDEN, LAYERS, HEADS, INNER, POSITIONS, TYPES = 32, 2, 2, 64, 24, 2
PIECES = [
    ("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.5), ("a", -4.0), ("b", -4.0), ("ab", -5.0),
    ("▁ab", -6.5), ("1", -5.0), ("ä", -4.5), ("～", -7.0), ("~", -7.0), ("<mask>", 0.0),
]  # fmt: skip
WORDS = len(PIECES) + 3  # rows of the table that are no token's, as the real one has
WRITTEN = {0xFF11: "1", 0x2003: " ", 0x200B: " ", 0x7: "", 0x1F1: "DZ"}


def tensors() -> dict[str, tuple[int, ...]]:
    """Names and shapes."""
    found: dict[str, tuple[int, ...]] = {"emb.word": (WORDS, HIDDEN), "emb.pos": (POSITIONS, HIDDEN)}
    found |= {"emb.type": (TYPES, HIDDEN), "emb.ln.w": (HIDDEN,), "emb.ln.b": (HIDDEN,)}
    for layer in range(LAYERS):
        for name, out, into in (
            ("q", HIDDEN, HIDDEN), ("k", HIDDEN, HIDDEN), ("v", HIDDEN, HIDDEN), ("ao", HIDDEN, HIDDEN),
            ("fi", INNER, HIDDEN), ("fo", HIDDEN, INNER),
        ):  # fmt: skip
            found |= {f"l{layer}.{name}.w": (out, into), f"l{layer}.{name}.b": (out,)}
        for name in ("aln", "oln"):
            found |= {f"l{layer}.{name}.w": (HIDDEN,), f"l{layer}.{name}.b": (HIDDEN,)}
    return found


def write(path: Path, written: dict[int, str] | None = None) -> dict[str, np.ndarray]:
    """A model of random weights; what its tensors are, number by number."""
    random, exact, blocks = np.random.default_rng(0), {}, {}
    for name, shape in tensors().items():
        if len(shape) == 2 and name not in ("emb.pos", "emb.type"):
            raw, values = b"", []
            for _ in range(shape[0] * shape[1] // 32):
                scale = np.float16(random.uniform(0.01, 0.1))
                nibbles = random.integers(0, 16, 32)
                raw += scale.tobytes() + bytes(int(nibbles[j]) | int(nibbles[j + 16]) << 4 for j in range(16))
                values += [float(scale) * (int(nibble) - 8) for nibble in nibbles]
            blocks[name] = (1, raw)
            exact[name] = np.array(values, np.float32).reshape(shape)
        else:
            exact[name] = (random.standard_normal(shape) * 0.1 + name.endswith("ln.w")).astype("<f4")
            blocks[name] = (0, exact[name].tobytes())
    head = struct.pack("<4sI7ifi", b"E5S1", 1, HIDDEN, LAYERS, HEADS, INNER, WORDS, POSITIONS, TYPES, 1e-12, 32)
    text = [piece.encode() for piece, _ in PIECES]
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, sum(map(len, text)))
    head += struct.pack(f"<{len(PIECES) + 1}I", *np.cumsum([0, *map(len, text)]))
    head += struct.pack(f"<{len(PIECES)}f", *(score for _, score in PIECES)) + b"".join(text)
    rules = b"".join(
        struct.pack(f"<IB{len(to)}I", point, len(to), *map(ord, to))
        for point, to in (WRITTEN if written is None else written).items()
    )
    head += struct.pack("<iI", len(WRITTEN if written is None else written), len(rules)) + rules
    place = len(head) + 4 + sum(2 + len(name) + 21 for name in blocks)
    table, data = struct.pack("<i", len(blocks)), b""
    for name, (kind, raw) in blocks.items():
        table += struct.pack("<H", len(name)) + name.encode()
        table += struct.pack("<BIQQ", kind, exact[name].size, place + len(data), len(raw))
        data += raw
    path.write_bytes(head + table + data)
    return exact
