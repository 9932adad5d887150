"""Checks a model directory before anything is loaded from it, so that a damaged file is named as such."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from transfix.errors import Problem, ProblemsError, TransfixError

CONFIG = "config.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_LARGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors format


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        TransfixError: the file is missing, is not JSON (with line and column), or is no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TransfixError(f"{path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TransfixError(f"{path} cannot be read: {error}") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise TransfixError(f"{path} is not valid JSON: {error.msg} ({where}).") from error
    if not isinstance(content, dict):
        raise TransfixError(f"{path} holds a JSON {type(content).__name__}, expected an object.")
    return content


def read_config(directory: Path) -> dict[str, Any]:
    """The directory's config.json.

    Raises:
        TransfixError: it is missing, not JSON, or does not name a model type.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise TransfixError(
            f"{directory} holds no {CONFIG}, so it is no model directory. Give the directory that save_pretrained "
            "wrote, or that was downloaded from the hub."
        )
    config = read_json(path)
    if not isinstance(config.get("model_type"), str):
        raise TransfixError(f"{path} has no model_type, so the architecture is unknown. Is it another program's file?")
    return config


def check_directory(directory: Path) -> None:
    """Check that a local model is whole: configuration, every weight file, each as long as its header says.

    Raises:
        TransfixError: with all damaged or missing files at once.
    """
    read_config(directory)
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        shards = read_json(index).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise TransfixError(f"{index} has no weight_map. Download or save the model again.")
        names = sorted({str(shard) for shard in shards.values()})
    else:
        names = [name for name in _WEIGHTS if (directory / name).is_file()][:1]
        if not names and not (directory / "pytorch_model.bin.index.json").is_file():
            raise TransfixError(
                f"{directory} has a {CONFIG} but no weights (model.safetensors, or an index with its parts). "
                "`transfix inspect` needs none; everything else does."
            )
    problems = []
    for name in names:
        if name.endswith(".safetensors"):
            try:
                check_safetensors(directory / name)
            except TransfixError as error:
                problems.append(Problem("", str(error)))
    if len(problems) == 1:
        raise TransfixError(problems[0].what)
    if problems:
        raise ProblemsError(f"{directory}: {len(problems)} weight files are damaged or missing", problems)


def check_safetensors(path: str | Path) -> None:
    """Check a safetensors file's header against the length of the file, without reading its tensors.

    Args:
        path: the file.

    Raises:
        TransfixError: the file is missing, is not safetensors, or is shorter or longer than its header says.
    """
    path = Path(path)
    again = "Download or save it again."
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else None
            if length is None or length > _LARGEST_HEADER:
                raise TransfixError(f"{path} is not a safetensors file ({size:,} bytes, no header). {again}")
            if 8 + length > size:
                raise TransfixError(f"{path} is truncated inside its header: {size:,} of {8 + length:,} bytes. {again}")
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except FileNotFoundError:
        raise TransfixError(f"{path} does not exist. {again}") from None
    except OSError as error:
        raise TransfixError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise TransfixError(f"{path} is not a safetensors file: its header is damaged ({error}). {again}") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        word = "truncated" if size < expected else "damaged"
        raise TransfixError(f"{path} is {word}: it has {size:,} bytes, its header says {expected:,}. {again}")
