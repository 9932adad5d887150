"""Reads a GGUF file into float32 arrays with transformers' weight names, once and fast.

transformers reads such a file three times through numpy views of single values, which takes minutes for a vocabulary of
262,144 tokens. Here the header is walked once with `struct`, and only the arrays of weights become numpy arrays.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transfix.errors import TransfixError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9

_ATTENTION_AND_MLP = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
}
_LAYER_NAMES = {
    "llama": _ATTENTION_AND_MLP | {"ffn_norm": "post_attention_layernorm"},
    "gemma3": _ATTENTION_AND_MLP
    | {
        "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm",
        "post_attention_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
    },
}
_TOP_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies in the file.

    Attributes:
        shape: in torch's order, outermost dimension first.
        kind: ggml's number of the storage type (0 float32, 12 Q4_K, ...).
        offset: bytes from the start of the tensor data.
    """

    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True, slots=True)
class Header:
    """A GGUF file without its tensor data.

    Attributes:
        metadata: the key-value table. An array of strings (a vocabulary) is given by its length only.
        tensors: by GGUF name.
        data_start: byte of the file at which tensor data begins.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]
    data_start: int

    @property
    def architecture(self) -> str:
        """The model family as llama.cpp names it (`llama`, `gemma3`)."""
        return str(self.metadata["general.architecture"])


def read_header(path: Path) -> Header:
    """Read metadata and tensor table; the tensor data need not be there.

    Raises:
        TransfixError: the file is not GGUF version 2 or 3, ends inside its header, or is of an unknown architecture.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            header = _parse(path, data)
    except (struct.error, UnicodeDecodeError, ValueError, KeyError) as error:
        raise TransfixError(f"{path}: not a complete GGUF file ({error}). Install its package again.") from error
    if header.architecture not in _LAYER_NAMES:
        known = ", ".join(sorted(_LAYER_NAMES))
        raise TransfixError(f"{path}: GGUF architecture {header.architecture!r} cannot be converted (known: {known}).")
    return header


def _parse(path: Path, data: mmap.mmap) -> Header:
    magic, version, tensor_count, entry_count = struct.unpack_from("<4sIQQ", data, 0)
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"it begins with {magic!r}, version {version}")
    position = 24
    metadata: dict[str, Any] = {}
    for _ in range(entry_count):
        key, position = _string(data, position)
        (kind,) = struct.unpack_from("<I", data, position)
        metadata[key], position = _value(data, position + 4, kind)
    tensors: dict[str, TensorInfo] = {}
    for _ in range(tensor_count):
        name, position = _string(data, position)
        (dimensions,) = struct.unpack_from("<I", data, position)
        *sizes, kind, offset = struct.unpack_from(f"<{dimensions}QIQ", data, position + 4)
        position += 16 + 8 * dimensions
        tensors[name] = TensorInfo(tuple(reversed(sizes)), kind, offset)
    alignment = int(metadata.get("general.alignment", 32))
    return Header(path, metadata, tensors, -(-position // alignment) * alignment)


def _string(data: mmap.mmap, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, position)
    end = position + 8 + length
    if end > len(data):
        raise ValueError(f"a string ends at byte {end:,} of {len(data):,}")
    return data[position + 8 : end].decode("utf-8"), end


def _value(data: mmap.mmap, position: int, kind: int) -> tuple[Any, int]:
    if kind == _STRING:
        return _string(data, position)
    if kind != _ARRAY:
        (value,) = struct.unpack_from(_SCALARS[kind], data, position)
        return value, position + struct.calcsize(_SCALARS[kind])
    element, count = struct.unpack_from("<IQ", data, position)
    position += 12
    if element == _STRING:
        for _ in range(count):
            (length,) = struct.unpack_from("<Q", data, position)
            position += 8 + length
        return count, position
    layout = f"<{count}{_SCALARS[element][1]}"
    return list(struct.unpack_from(layout, data, position)), position + struct.calcsize(layout)


def config(header: Header) -> PretrainedConfig:
    """The transformers configuration that the metadata describes."""
    from transformers import Gemma3TextConfig, LlamaConfig

    metadata, architecture = header.metadata, header.architecture

    def get(key: str) -> Any:
        return metadata[f"{architecture}.{key}"]

    heads = get("attention.head_count")
    shared: dict[str, Any] = {
        "vocab_size": metadata["tokenizer.ggml.tokens"],
        "hidden_size": get("embedding_length"),
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": get("attention.head_count_kv"),
        "max_position_embeddings": get("context_length"),
        "rms_norm_eps": get("attention.layer_norm_rms_epsilon"),
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": metadata.get("tokenizer.ggml.padding_token_id"),
        "dtype": "float32",
    }
    if architecture == "gemma3":
        # The file does not say it: every sixth layer sees everything, and the others' windows rotate with base 10,000.
        local = {"rope_type": "default", "rope_theta": 10_000.0}
        everywhere = {"rope_type": "default", "rope_theta": get("rope.freq_base")}
        return Gemma3TextConfig(
            **shared,
            head_dim=get("attention.key_length"),
            query_pre_attn_scalar=get("attention.key_length"),
            sliding_window=get("attention.sliding_window"),
            rope_parameters={"sliding_attention": local, "full_attention": everywhere},
            architectures=["Gemma3ForCausalLM"],
        )
    return LlamaConfig(
        **shared,
        head_dim=get("embedding_length") // heads,
        rope_parameters={"rope_type": "default", "rope_theta": get("rope.freq_base")},
        architectures=["LlamaForCausalLM"],
    )


def weights(header: Header) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Every weight in float32 under transformers' name, dequantised exactly as llama.cpp's Python package does it.

    Raises:
        TransfixError: the file ends before its tensors do, or holds a tensor of unknown name.
    """
    from gguf import GGMLQuantizationType, dequantize
    from gguf.quants import quant_shape_to_byte_shape

    data = np.memmap(header.path, mode="r", dtype=np.uint8)
    for name, info in header.tensors.items():
        kind = GGMLQuantizationType(info.kind)
        if kind is GGMLQuantizationType.F32:
            byte_shape = (*info.shape[:-1], 4 * info.shape[-1])
        else:
            byte_shape = quant_shape_to_byte_shape(info.shape, kind)
        start = header.data_start + info.offset
        stop = start + int(np.prod(byte_shape))
        if stop > data.size:
            raise TransfixError(
                f"{header.path}: tensor {name} ends at byte {stop:,}, but the file has only {data.size:,}. "
                "Install its package again."
            )
        stored = np.asarray(data[start:stop]).reshape(byte_shape)
        if kind is GGMLQuantizationType.F32:
            array = stored.view(np.float32)
        else:
            array = dequantize(stored, kind)
        yield _translate(header, name), _undo(header, name, array)


def _translate(header: Header, name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    layer = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
    names = _LAYER_NAMES[header.architecture]
    if layer and layer[2] in names:
        return f"model.layers.{layer[1]}.{names[layer[2]]}.{suffix}"
    if stem in _TOP_NAMES:
        return f"{_TOP_NAMES[stem]}.{suffix}"
    raise TransfixError(f"{header.path}: no {header.architecture} model has a tensor named {name}.")


def _undo(header: Header, name: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Undo what llama.cpp changed in the values when it wrote the file."""
    if header.architecture == "gemma3" and name.endswith("norm.weight"):
        return array - np.float32(1)  # stored as 1 + w, which transformers adds itself
    if header.architecture == "llama" and re.search(r"attn_[qk]\.weight$", name):
        # Stored for rotation of neighbours (2i, 2i+1); transformers rotates the halves (i, i + h/2).
        heads = header.metadata["llama.attention.head_count" + ("_kv" if "attn_k." in name else "")]
        rows, columns = array.shape
        return array.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
    return array
