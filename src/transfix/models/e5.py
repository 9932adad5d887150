"""Reads the one-file form of multilingual-e5 (`E5S1`): a BERT of 4-bit blocks with XLM-R's unigram tokenizer.

    "E5S1", version                         then, all little-endian:
    H, layers, heads, inner, words, positions, token types, eps, block size
    pieces, <s>, </s>, <pad>, <unk>         their ends in the text, log-probabilities, the text itself
    characters that are written otherwise   each with what stands for it
    tensors                                 name, type (0 float32, 1 Q4_0), numbers, place in the file

A Q4_0 block is a float16 scale s and 32 weights of four bits: byte j holds weights j and j+16, each s·(nibble - 8).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transfix.errors import TransfixError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PretrainedConfig

BLOCK = 32
_BYTES = 18  # of a block
_MASK = "<mask>"
_KEPT = "～\U0001f23b"  # what Unicode's NFKC writes otherwise, and XLM-R's tokenizer does not
_ASIDE = {kept: chr(0xF8F0 + place) for place, kept in enumerate(_KEPT)}  # private characters that NFKC leaves alone

_TOP = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_MODULES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The unigram tokenizer.

    Attributes:
        pieces: in the order of their token ids, each with its log-probability.
        begin: token that begins a text, as `end`, `pad` and `unknown` are what they say.
        written: a character's code point -> what the tokenizer reads for it.
    """

    pieces: tuple[tuple[str, float], ...]
    begin: int
    end: int
    pad: int
    unknown: int
    written: dict[int, str]


@dataclass(frozen=True, slots=True)
class Header:
    """A file without its weights.

    Attributes:
        sizes: (H, layers, heads, inner, words, positions, token types).
        epsilon: of the norms.
        tensors: by name: (is Q4_0, numbers, place in the file).
    """

    path: Path
    sizes: tuple[int, int, int, int, int, int, int]
    epsilon: float
    vocabulary: Vocabulary
    tensors: dict[str, tuple[bool, int, int]]


def read_header(path: Path) -> Header:
    """Read everything but the weights.

    Raises:
        TransfixError: the file is not of this form, or not whole.
    """
    try:
        return _parse(path, path.read_bytes())
    except (struct.error, UnicodeDecodeError, ValueError, IndexError) as error:
        raise TransfixError(f"{path}: not a whole E5S1 file ({error}). Install its package again.") from error


def config(header: Header) -> PretrainedConfig:
    """The BERT configuration."""
    from transformers import BertConfig

    hidden, layers, heads, inner, words, positions, types = header.sizes
    vocabulary = header.vocabulary
    return BertConfig(
        vocab_size=words,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=header.epsilon,
        pad_token_id=vocabulary.pad,
        bos_token_id=vocabulary.begin,
        eos_token_id=vocabulary.end,
        architectures=["BertModel"],
    )


def weights(header: Header) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Every weight under the name that transformers' `BertModel` has for it; float32.

    Raises:
        TransfixError: a tensor has a name or a size that such a model does not have.
    """
    data = np.memmap(header.path, mode="r", dtype=np.uint8)
    hidden, _, _, inner, words, positions, types = header.sizes
    rows = {"emb.word": words, "emb.pos": positions, "emb.type": types}
    for name, (packed, count, place) in header.tensors.items():
        layer, _, rest = name.partition(".")
        module, _, kind = rest.rpartition(".")
        if name in _TOP:
            full = _TOP[name]
        elif layer[1:].isdigit() and module in _MODULES and kind in ("w", "b"):
            full = f"encoder.layer.{layer[1:]}.{_MODULES[module]}.{'weight' if kind == 'w' else 'bias'}"
        else:
            raise TransfixError(f"{header.path}: tensor {name!r} is none of this kind of model.")
        values = _unpacked(data, place, count) if packed else _plain(data, place, count)
        width = rows.get(name) or (inner if module == "fi" else hidden)
        is_matrix = name in rows or (kind == "w" and not module.endswith("ln"))
        yield full, values.reshape(width, -1) if is_matrix else values


def tokenizer(header: Header) -> Tokenizer:
    """XLM-R's tokenizer with the file's pieces: `<s> A </s>`, and of two texts `<s> A </s></s> B </s>`.

    Raises:
        TransfixError: the file writes a character otherwise than XLM-R's tokenizer does.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    found = header.vocabulary
    built = Tokenizer(models.Unigram(list(found.pieces), found.unknown, byte_fallback=False))
    aside = [normalizers.Replace(kept, private) for kept, private in _ASIDE.items()]
    back = [normalizers.Replace(private, kept) for kept, private in _ASIDE.items()]
    cleaned = [normalizers.Nmt(), normalizers.NFKC()]
    built.normalizer = normalizers.Sequence([*aside, *cleaned, *back, normalizers.Replace(Regex(" {2,}"), " ")])
    for point, written in found.written.items():
        if (read := normalizers.Sequence([*aside, *cleaned, *back]).normalize_str(chr(point))) != written:
            raise TransfixError(f"{header.path}: U+{point:04X} is written {written!r}, expected {read!r}.")
    built.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    from tokenizers import decoders

    built.decoder = decoders.Metaspace()
    begin, end = (found.pieces[number][0] for number in (found.begin, found.end))
    built.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} {end} $B {end}",
        special_tokens=[(begin, found.begin), (end, found.end)],
    )
    special = [found.begin, found.pad, found.end, found.unknown]
    built.add_special_tokens([AddedToken(found.pieces[number][0], normalized=False) for number in special])
    if any(piece == _MASK for piece, _ in found.pieces):
        built.add_special_tokens([AddedToken(_MASK, lstrip=True, normalized=False)])
    return built


def special_tokens(header: Header) -> dict[str, str]:
    """What transformers calls the tokens that are no text."""
    found = header.vocabulary
    begin, end, pad, unknown = (
        found.pieces[number][0] for number in (found.begin, found.end, found.pad, found.unknown)
    )
    named = {"bos_token": begin, "eos_token": end, "unk_token": unknown, "pad_token": pad}
    mask = {"mask_token": _MASK} if any(piece == _MASK for piece, _ in found.pieces) else {}
    return {**named, "cls_token": begin, "sep_token": end, **mask}


def _parse(path: Path, data: bytes) -> Header:
    magic, version, *numbers, epsilon, block = struct.unpack_from("<4sI7ifi", data, 0)
    if magic != b"E5S1" or version != 1 or block != BLOCK:
        raise ValueError(f"it begins with {magic!r}, version {version}, blocks of {block}")
    vocabulary, position = _vocabulary(data, 44)
    (count,) = struct.unpack_from("<i", data, position)
    position += 4
    tensors: dict[str, tuple[bool, int, int]] = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, position)
        name = data[position + 2 : position + 2 + length].decode()
        kind, size, place, taken = struct.unpack_from("<BIQQ", data, position + 2 + length)
        position += 2 + length + 21
        if kind not in (0, 1) or place + taken > len(data) or taken != (size // BLOCK * _BYTES if kind else 4 * size):
            raise ValueError(f"tensor {name!r} ends at byte {place + taken:,} of {len(data):,}")
        tensors[name] = bool(kind), size, place
    hidden, layers, heads, inner, words, positions, types = numbers
    return Header(path, (hidden, layers, heads, inner, words, positions, types), epsilon, vocabulary, tensors)


def _vocabulary(data: bytes, position: int) -> tuple[Vocabulary, int]:
    count, begin, end, pad, unknown, length = struct.unpack_from("<5iQ", data, position)
    position += 28
    ends = struct.unpack_from(f"<{count + 1}I", data, position)
    position += 4 * (count + 1)
    scores = struct.unpack_from(f"<{count}f", data, position)
    position += 4 * count
    text = data[position : position + length]
    position += length
    pieces = tuple((text[a:b].decode(), score) for a, b, score in zip(ends, ends[1:], scores, strict=False))
    characters, taken = struct.unpack_from("<iI", data, position)
    position += 8
    after = position + taken
    written: dict[int, str] = {}
    for _ in range(characters):
        point, size = struct.unpack_from("<IB", data, position)
        written[point] = "".join(map(chr, struct.unpack_from(f"<{size}I", data, position + 5)))
        position += 5 + 4 * size
    if position != after or len(text) != length:
        raise ValueError("its vocabulary is not as long as it says")
    return Vocabulary(pieces, begin, end, pad, unknown, written), position


def _plain(data: NDArray[np.uint8], place: int, count: int) -> NDArray[np.float32]:
    return np.frombuffer(data[place : place + 4 * count].tobytes(), "<f4").astype(np.float32)


def _unpacked(data: NDArray[np.uint8], place: int, count: int) -> NDArray[np.float32]:
    blocks = np.frombuffer(data[place : place + count // BLOCK * _BYTES].tobytes(), np.uint8).reshape(-1, _BYTES)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32)
    values: NDArray[np.float32] = ((nibbles - 8) * scale).reshape(-1)
    return values
