"""Checks the files of a model directory, so that a damaged one is named as such, with what to do about it."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from transfix.config import limits, places
from transfix.errors import Problem, ProblemsError, TransfixError

CONFIG = "config.json"
AGAIN = "Download or save it again."
_INDEX = ".index.json"
_WEIGHTS = ("model.safetensors", f"model.safetensors{_INDEX}", "pytorch_model.bin", f"pytorch_model.bin{_INDEX}")
"""Where transformers looks for weights, in its order."""
_LARGEST = {
    **dict.fromkeys(
        (
            "num_hidden_layers",
            "num_layers",
            "n_layers",
            "n_layer",
            "num_decoder_layers",
            "encoder_layers",
            "decoder_layers",
        ),
        limits.LAYERS,
    ),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "n_shared_experts"), limits.EXPERTS),
    "num_labels": limits.LABELS,
}
"""What is made one by one when a model is built, whatever the architecture calls it."""

_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
_TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_LARGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors format
_LFS_POINTER = b"version https://git-lfs"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        TransfixError: the file is missing, is not JSON (with line and column), or is no object.
    """
    try:
        raw = places.read_bytes(path, limits.RECORD_BYTES)
        _refuse_pointer(path, raw)
        content = json.loads(raw.decode())
    except FileNotFoundError:
        raise TransfixError(f"{path} does not exist.") from None
    except RecursionError as error:
        raise TransfixError(f"{path} is not valid JSON: it is nested too deep. {AGAIN}") from error
    except UnicodeDecodeError as error:
        raise TransfixError(f"{path} is not valid JSON: it is no UTF-8 text (byte {error.start}). {AGAIN}") from error
    except json.JSONDecodeError as error:
        what = f"{error.msg} (line {error.lineno}, column {error.colno})" if error.doc.strip() else "it is empty"
        raise TransfixError(f"{path} is not valid JSON: {what}. {AGAIN}") from error
    except ValueError as error:  # a number of 5,000 digits
        raise TransfixError(f"{path} is not usable JSON: {error}. {AGAIN}") from error
    if not isinstance(content, dict):
        kind = "null" if content is None else type(content).__name__
        raise TransfixError(f"{path} holds a JSON {kind}, expected an object. {AGAIN}")
    return content


def read_config(directory: Path) -> dict[str, Any]:
    """The directory's config.json.

    Raises:
        TransfixError: it is missing, not JSON, does not name a model type, or gives sizes that are none.
    """
    path = directory / CONFIG
    if not path.is_file():
        if any((directory / name).is_file() for name in ("adapter.json", "adapter_config.json")):
            raise TransfixError(
                f"{directory} holds an adapter, not a model. Give the base model it was trained on; `load_adapter` puts "
                "an adapter of transfix on it."
            )
        raise TransfixError(
            f"{directory} holds no {CONFIG}, so it is no model directory. Give the directory that save_pretrained "
            "wrote, or that was downloaded from the hub."
        )
    config = read_json(path)
    if not isinstance(config.get("model_type"), str):
        raise TransfixError(f"{path} has no model_type, so the architecture is unknown. Is it another program's file?")
    check_sizes(config, str(path))
    return config


def made_for_classes(name: str) -> bool:
    """Whether a model directory, or what is in the hub's cache, says that its model has a head of classes."""
    path = places.expanded(name) / CONFIG
    if not path.is_file():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            cached = try_to_load_from_cache(name, CONFIG)
        except HFValidationError:
            return False
        if not isinstance(cached, str):
            return False
        path = Path(cached)
    try:
        kinds = read_json(path).get("architectures")
    except TransfixError:
        return False
    return isinstance(kinds, list) and any("ForSequenceClassification" in str(kind) for kind in kinds)


def check_sizes(config: Mapping[str, Any], where: str) -> None:
    """Check the sizes that every transformer has; a list (one a layer) is left to the architecture.

    Raises:
        TransfixError: with all that are no whole number, or below 1; or one, of a part of the model too, that would take
            hours or all memory before a weight is read.
    """
    given = {name: config.get(name) for name in _SIZES}
    wrong = [
        f"{name} is {size!r}"
        for name, size in given.items()
        if isinstance(size, str | float | bool) or (isinstance(size, int) and size < 1)
    ]
    if wrong:
        raise TransfixError(f"{where}: {', '.join(wrong)}; expected a whole number, at least 1. {AGAIN}")
    for part in (config, *(value for value in config.values() if isinstance(value, Mapping))):
        for name, largest in _LARGEST.items():
            size = part.get(name)
            if isinstance(size, int) and size > largest:
                raise TransfixError(f"{where}: {name} is {size:,}; no model has more than {largest:,}. {AGAIN}")


def check_directory(directory: Path) -> None:
    """Check that a local model is whole: configuration, every weight file, each as long as its header says.

    Raises:
        TransfixError: with all damaged or missing files at once.
    """
    read_config(directory)
    if (generation := directory / "generation_config.json").is_file():
        read_json(generation)
    check_weights(directory)


def check_weights(directory: Path) -> None:
    """Check the weight files of a model directory, without reading their tensors.

    Raises:
        TransfixError: with all damaged or missing files at once.
    """
    first = next((name for name in _WEIGHTS if (directory / name).is_file()), None)
    if first is None:
        raise TransfixError(
            f"{directory} has a {CONFIG} but no weights (model.safetensors, or an index with its parts). "
            "`transfix inspect` needs none; everything else does."
        )
    paths = _shards(directory / first) if first.endswith(_INDEX) else [directory / first]
    check = check_safetensors if first.startswith("model.safetensors") else _check_pickle
    _check_all(directory, "weight files are damaged or missing", [(check, path) for path in paths])


def has_weights(directory: Path) -> bool:
    """Whether there is a file of weights, or an index of some."""
    return any((directory / name).is_file() for name in _WEIGHTS)


def has_tokenizer(directory: Path) -> bool:
    """Whether there are files of a tokenizer."""
    return any((directory / name).is_file() for name in _TOKENIZERS)


def check_tokenizer(directory: Path) -> None:
    """Check a tokenizer that transformers could not load: what its files show.

    Raises:
        TransfixError: with all damaged files at once, or if there are none.
    """
    there = [directory / name for name in _TOKENIZERS if (directory / name).is_file()]
    if not there:
        raise TransfixError(
            f"{directory} has no tokenizer ({', '.join(_TOKENIZERS[:4])} ...): copy the tokenizer's files of the base "
            "model into it, or write them with tokenizer.save_pretrained(directory)."
        )
    checks: list[tuple[Callable[[Path], object], Path]] = [
        (read_json, directory / name) for name in _TOKENIZER_SETTINGS if (directory / name).is_file()
    ]
    if there[0].name == "tokenizer.json":
        checks.insert(0, (_check_fast_tokenizer, there[0]))
    _check_all(directory, "files of the tokenizer are damaged", checks)


def check_safetensors(path: str | Path) -> None:
    """Check a safetensors file's header against the length of the file, without reading its tensors.

    Args:
        path: the file.

    Raises:
        TransfixError: the file is missing, is not safetensors, or is shorter or longer than its header says.
    """
    path = Path(path)
    try:
        _refuse_pointer(path, _start(path))
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else None
            if length is None or length > _LARGEST_HEADER:
                raise TransfixError(f"{path} is not a safetensors file ({size:,} bytes, no header). {AGAIN}")
            if 8 + length > size:
                raise TransfixError(f"{path} is truncated inside its header: {size:,} of {8 + length:,} bytes. {AGAIN}")
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except FileNotFoundError:
        raise TransfixError(f"{path} does not exist. {AGAIN}") from None
    except OSError as error:
        raise TransfixError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise TransfixError(f"{path} is not a safetensors file: its header is damaged ({error}). {AGAIN}") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        word = "truncated" if size < expected else "damaged"
        raise TransfixError(f"{path} is {word}: it has {size:,} bytes, its header says {expected:,}. {AGAIN}")


def _check_pickle(path: Path) -> None:
    """Check that a file can be one that torch.save wrote: a whole zip archive or, before torch 1.6, a pickle."""
    try:
        _refuse_pointer(path, _start(path))
        with path.open("rb") as file:
            start = file.read(2)
        whole = start == b"\x80\x02" or zipfile.is_zipfile(path)
    except FileNotFoundError:
        raise TransfixError(f"{path} does not exist. {AGAIN}") from None
    except OSError as error:
        raise TransfixError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not whole:
        word = "is truncated" if start == b"PK" else "is not a checkpoint of PyTorch"
        raise TransfixError(f"{path} {word} ({path.stat().st_size:,} bytes). {AGAIN}")


def _check_fast_tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer

    read_json(path)
    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise TransfixError(f"{path} is no tokenizer that can be read: {error}. {AGAIN}") from error


def _shards(index: Path) -> list[Path]:
    """The weight files that an index names."""
    content = read_json(index)
    shards = content.get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise TransfixError(f"{index} has no weight_map. {AGAIN}")
    if not isinstance(content.get("metadata"), dict):
        raise TransfixError(f"{index} has no metadata, which transformers needs (it may be empty). {AGAIN}")
    return [index.parent / name for name in sorted({str(shard) for shard in shards.values()})]


def _check_all(directory: Path, what: str, checks: Iterable[tuple[Callable[[Path], object], Path]]) -> None:
    """Make all checks and raise what they found, together."""
    found: list[TransfixError] = []
    for check, path in checks:
        try:
            check(path)
        except TransfixError as error:
            found.append(error)
    if len(found) == 1:
        raise found[0]
    if found:
        raise ProblemsError(f"{directory}: {len(found)} {what}", [Problem("", str(error)) for error in found])


def _refuse_pointer(path: Path, start: bytes) -> None:
    """Git leaves a few lines of text in the place of a large file that it has not fetched."""
    if start.startswith(_LFS_POINTER):
        raise TransfixError(
            f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` in {path.parent}, or download it."
        )


def _start(path: Path) -> bytes:
    """As much of a file as a pointer would begin with."""
    with path.open("rb") as file:
        return file.read(len(_LFS_POINTER))
