"""An adapter on disk: `adapter.json` says what it is and for which base, `adapter.safetensors` holds its tensors.

The record has a digest of its tensors, and a checksum over all it says, the digest with it (`storage.checksums`): what is
read is what was saved, or is refused. Adapters of before had no checksum, those before them no digest either.

Whenever a save is interrupted, the directory holds the adapter before it or the new one, never a mix. Replacing the record
is the one step that counts:

    1. the new tensors are written beside the old ones, as `adapter.safetensors.DIGEST`
    2. the new record takes the place of `adapter.json`   <- from here on it is the new adapter
    3. the new tensors take the place of `adapter.safetensors`

A reader who comes between 2 and 3 finds the tensors of the record under the name of step 1.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field
from transformers import PreTrainedModel

from transfix.adapters import architecture
from transfix.adapters.methods.part import Part
from transfix.adapters.methods.registry import METHODS, AnyPart
from transfix.config import places
from transfix.config.validation import checked
from transfix.errors import Problem, TransfixError
from transfix.storage import checksums
from transfix.storage.atomic import StorageError, write_file

RECORD = "adapter.json"
TENSORS = "adapter.safetensors"
FORMAT = 1
_SHAPE_KEYS = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "vocab_size",
    "rope_parameters",
    "sliding_window",
    "tie_word_embeddings",
)
_SAMPLES = 32
_WAITING = re.compile(re.escape(TENSORS) + r"\.[0-9a-f]{16}")


class AdapterFileError(TransfixError):
    """A saved adapter that cannot be read, or that belongs to another base model."""


class DamagedAdapterError(AdapterFileError):
    """A saved adapter whose files are not what was saved.

    Attributes:
        what: what is wrong, without what to do about it.
    """

    def __init__(
        self, what: str, then: str = "Copy both files from where they are whole, or train the adapter again."
    ) -> None:
        self.what = what
        super().__init__(f"{what} {then}")


def _shape(model: PreTrainedModel) -> dict[str, Any]:
    """What the configuration says about the model's shape."""
    config = model.config.to_dict()
    return {key: config.get(key) for key in _SHAPE_KEYS}


def config_hash(model: PreTrainedModel) -> str:
    """A hash of what the configuration says about the model's shape (12 hex digits), whatever its dtype or device."""
    return hashlib.sha256(json.dumps(_shape(model), sort_keys=True, default=str).encode()).hexdigest()[:12]


def weight_samples(model: PreTrainedModel) -> list[float]:
    """A few of the base's own weights, which tell two models of one shape apart (base from instruct, say)."""
    table = architecture.embedding_table(model).detach().flatten()
    index = torch.linspace(0, table.numel() - 1, _SAMPLES, dtype=torch.float64).long()
    return [round(float(value), 8) for value in table[index.to(table.device)].float().cpu()]


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and values of tensors, in the order of their names (64 hex digits)."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def save(
    model: PreTrainedModel,
    name: str,
    parts: Sequence[Part],
    learned: Mapping[str, torch.Tensor],
    directory: str | Path,
) -> Path:
    """Writes an adapter, in the place of one that is there. Other files of the directory are left alone.

    Args:
        model: the base model.
        name: the adapter's.
        parts: its settings.
        learned: its tensors by name, on any device.
        directory: made if it is not there.

    Raises:
        AdapterFileError: if the directory cannot be written.
    """
    from safetensors.torch import save as to_bytes

    target = Path(directory)
    tensors = {name: parameter.detach().contiguous().cpu() for name, parameter in learned.items()}
    own = digest(tensors)
    record = {
        "format": FORMAT,
        "name": name,
        "parts": [part.model_dump(mode="json") for part in parts],
        "base": {
            "name": str(model.config._name_or_path),
            "class": type(model).__name__,
            "config_hash": config_hash(model),
            "shape": json.loads(json.dumps(_shape(model), default=str)),
            "weights": None if any(part.trains_base for part in parts) else weight_samples(model),
        },
        "shapes": {name: list(tensor.shape) for name, tensor in tensors.items()},
        "digest": own,
        "versions": {package: _version(package) for package in ("transfix", "torch", "transformers", "peft")},
    }
    try:
        target.mkdir(parents=True, exist_ok=True)
        waiting = _waiting(target, own)
        write_file(waiting, to_bytes(tensors))
        write_file(target / RECORD, json.dumps(checksums.sealed(record), indent=2, ensure_ascii=False))
        with suppress(FileNotFoundError):  # another process, that saved the same adapter, was first
            os.replace(waiting, target / TENSORS)
        for left in target.glob(f"{TENSORS}.*"):  # of saves that were killed
            if _WAITING.fullmatch(left.name) and left != waiting:
                left.unlink(missing_ok=True)
    except StorageError as error:
        raise AdapterFileError(f"{target}: the adapter could not be written: {error.reason}.") from error
    except OSError as error:
        raise AdapterFileError(f"{target}: the adapter could not be written: {error.strerror or error}.") from error
    return target


def read(directory: Path, model: PreTrainedModel) -> tuple[SavedAdapter, dict[str, torch.Tensor]]:
    """What is saved in a directory: the record, and the tensors by name.

    Raises:
        AdapterFileError: if a file is missing, torn or not an adapter's, or it belongs to another base than `model`.
    """
    record, tensors = _read(directory)
    _check_base(directory, record.base, model)
    return record, tensors


def read_whole(directory: Path) -> dict[str, torch.Tensor]:
    """The tensors saved in a directory by name, whatever base they are for.

    Raises:
        AdapterFileError: as `read`.
    """
    return _read(directory)[1]


def require_fit(own: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], source: Path) -> None:
    """Compares saved tensors with an adapter's own.

    Raises:
        AdapterFileError: if names or shapes differ, or a number is not finite.
    """
    if own.keys() != tensors.keys():
        missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
        raise AdapterFileError(
            f"{source}: tensors do not fit the method. Missing: {missing[:5]}. Unknown: {extra[:5]}."
        )
    for name, parameter in own.items():
        if parameter.shape != tensors[name].shape:
            raise AdapterFileError(
                f"{source}: {name} has shape {tuple(tensors[name].shape)}, this model needs {tuple(parameter.shape)}."
            )
        if not bool(tensors[name].isfinite().all()):
            raise DamagedAdapterError(f"{source}: {name} holds values that are not finite.")


def fill(own: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], source: Path) -> None:
    """Writes saved tensors into an adapter's own.

    Raises:
        AdapterFileError: if names or shapes differ, or a number is not finite.
    """
    require_fit(own, tensors, source)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[name])


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file.

    Raises:
        AdapterFileError: if it is missing or torn.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except FileNotFoundError as error:  # safetensors says so of a file that may not be read, too
        if (why := places.refused(path)) is not None:
            raise AdapterFileError(f"{path}: cannot be read: {why}.") from error
        raise _missing(path) from error
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedAdapterError(
            f"{path}: not a whole safetensors file ({path.stat().st_size} bytes: {error}).", "Copy or train it again."
        ) from error


class _Base(BaseModel):
    """The base model that an adapter was trained on. Adapters of before had no shape."""

    name: str
    kind: str = Field(alias="class")
    config_hash: str
    shape: dict[str, Any] | None = None
    weights: Annotated[list[float], Field(min_length=_SAMPLES, max_length=_SAMPLES)] | None


class SavedAdapter(BaseModel):
    """What adapter.json says of an adapter.

    Attributes:
        name: its name on the model it was saved from.
        parts: its settings.
        base: the model that it was trained on.
        digest: of its tensors; adapters of before had none.
    """

    name: str
    parts: Annotated[list[AnyPart], Field(min_length=1)]
    base: _Base
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


def _waiting(directory: Path, of: str) -> Path:
    """Where the tensors with the digest `of` are until their record has taken its place."""
    return directory / f"{TENSORS}.{of[:16]}"


def _read(directory: Path) -> tuple[SavedAdapter, dict[str, torch.Tensor]]:
    """The record and the tensors of one save, even while another process saves into the same directory."""
    record = _record(directory / RECORD)
    while True:
        settled = directory / TENSORS
        places = [settled]
        if record.digest:  # twice the first, because step 3 may come between the two looks
            places += [_waiting(directory, record.digest), settled]
        for path in places:
            try:
                tensors = read_tensors(path)
            except AdapterFileError as error:
                wrong = error
                continue
            if record.digest in (None, digest(tensors)):
                return record, tensors
            wrong = DamagedAdapterError(
                f"{directory}: {RECORD} and {TENSORS} are not of the same save.",
                "Copy both from one place, or train the adapter again.",
            )
        before, record = record, _record(directory / RECORD)
        if record == before:
            raise wrong


def _record(path: Path) -> SavedAdapter:
    try:
        record = places.read_json(path)
    except FileNotFoundError as error:
        raise _missing(path) from error
    except places.UnusableFileError as error:
        if isinstance(error.__cause__, ValueError | RecursionError):
            again = "Copy or train the adapter again."
            raise DamagedAdapterError(f"{path}: not valid JSON: {error.reason}.", again) from error
        raise AdapterFileError(f"{path}: cannot be read: {error.reason}.") from error
    try:
        if isinstance(record, dict):
            record = checksums.opened(record)
    except (checksums.ChecksumError, RecursionError) as error:
        raise DamagedAdapterError(f"{path}: {error}.") from error
    if not isinstance(record, dict) or not {"format", "parts", "base", "name"} <= record.keys():
        raise AdapterFileError(f"{path}: not an adapter of transfix (format, name, parts and base are expected).")
    if record["format"] != FORMAT:
        raise AdapterFileError(f"{path}: format {record['format']!r}; this version of transfix reads format {FORMAT}.")
    problems: list[Problem] = []
    saved = checked(SavedAdapter, record, problems, lambda where: _model_at(where, record))
    if saved is None:
        unknown = any(problem.where.endswith(".method") for problem in problems)
        hint = " If another package brings the method, install it." if unknown else ""
        raise AdapterFileError(f"{path}: {'; '.join(map(str, problems))}.{hint}")
    return saved


def _model_at(where: tuple[str | int, ...], record: Mapping[str, Any]) -> type[BaseModel] | None:
    """The model that governs the mapping at a path of adapter.json."""
    match where:
        case ():
            return SavedAdapter
        case ("base",):
            return _Base
        case ("parts", int(index)):
            part = record["parts"][index]
            return METHODS.get(str(part.get("method"))) if isinstance(part, Mapping) else None
    return None


def _missing(path: Path) -> DamagedAdapterError:
    inside = sorted(record.parent.name for record in path.parent.glob(f"*/{RECORD}"))
    hint = f" There are adapters in its folders {', '.join(inside)}: name one of them." if inside else ""
    return DamagedAdapterError(
        f"{path}: no such file.", f"An adapter is a directory with {RECORD} and {TENSORS}.{hint}"
    )


def _check_base(source: Path, base: _Base, model: PreTrainedModel) -> None:
    there = base.name or base.kind
    here = str(model.config._name_or_path) or type(model).__name__
    if base.config_hash != config_hash(model):
        raise AdapterFileError(
            f"{source}: this adapter was trained on {there!r} (configuration {base.config_hash}), "
            f"the model here is {here!r} (configuration {config_hash(model)}). {_difference(base.shape, model)}"
        )
    table = architecture.embedding_table(model)
    if base.weights is not None and table.is_floating_point() and not table.is_meta:
        pairs = zip(base.weights, weight_samples(model), strict=True)
        if not all(math.isclose(a, b, rel_tol=0.02, abs_tol=1e-4) for a, b in pairs):
            raise AdapterFileError(
                f"{source}: the model here, {here!r}, has the shape of the base this adapter was trained on, "
                f"{there!r}, but other weights. Load the base it was trained on (rows that resize_token_embeddings adds are "
                "random: as it was saved after that)."
            )


def _difference(there: Mapping[str, Any] | None, model: PreTrainedModel) -> str:
    """What distinguishes a model from the one that an adapter was trained on, and what to do."""
    here = json.loads(json.dumps(_shape(model), default=str))
    keys = [key for key in _SHAPE_KEYS if there is not None and there.get(key) != here[key]]
    if there is None or not keys:
        return "Load the base it was trained on; if its vocabulary was resized, resize this one alike."
    said = ", ".join(f"{key} was {there.get(key)} and is {here[key]} here" for key in keys)
    if keys != ["vocab_size"]:
        return f"{said}. Load the base it was trained on."
    rows = there["vocab_size"]
    if isinstance(rows, int) and rows < here["vocab_size"]:
        todo = f"or call model.resize_token_embeddings({rows}) on this one first"
    else:
        todo = "as it was saved after that: the rows that are added are random"
    return f"The vocabulary was resized: {said}. Load the base it was trained on, {todo}."


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
