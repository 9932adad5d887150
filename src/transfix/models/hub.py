"""Finds what a model name means, and turns every way a download can fail into one message."""

from __future__ import annotations

import errno
import os
import socket
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from transfix.config import places
from transfix.config.suggestions import nearest
from transfix.errors import TransfixError
from transfix.models import files
from transfix.models.registry import MODELS, PackagedModel
from transfix.storage import refusals

Part = Literal["model", "tokenizer", "weights"]

LOCAL = "A local directory with config.json, model.safetensors and tokenizer.json can be given instead."

OTHERS = "Take a model that transformers has itself, or a newer transformers if that has it."
_OF: dict[Part, str] = {"model": "", "tokenizer": "the tokenizer of ", "weights": ""}
_CHECKS: dict[Part, Callable[[Path], None]] = {"tokenizer": files.check_tokenizer, "weights": files.check_weights}


def resolve(name: str | Path) -> PackagedModel | Path | str:
    """What `name` means: a packaged model, a local directory, or (a string) a model on the hub.

    Raises:
        TransfixError: it looks like a path and there is no such directory, or can be no hub id either.
    """
    text = str(name)
    if text in MODELS:
        return MODELS[text]
    path = places.expanded(text)
    found = places.kind(path)
    if found == "directory":
        return path
    if found != "missing":
        raise TransfixError(f"model {text!r} is a file: give the directory that holds it.")
    foreign = os.sep != "/" and os.sep in text
    if isinstance(name, Path) or text.startswith(("/", ".", "~")) or text.count("/") > 1 or foreign:
        raise TransfixError(f"model {text!r}: there is no such directory.{_close(text)}")
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(text)
    except HFValidationError:
        raise TransfixError(
            f"model {text!r} is neither a directory nor a possible hub id (owner/name), nor one of "
            f"{', '.join(MODELS)}.{_close(text)}"
        ) from None
    return text


def unreachable() -> bool:
    """True if the hub certainly cannot be asked: switched off, or its name cannot be resolved and no proxy is set.

    huggingface_hub itself tries for more than 20 s before it says so, and again for each file of a cached model.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return True
    endpoint = urlsplit(constants.ENDPOINT)
    if urllib.request.getproxies() or not endpoint.hostname:
        return False
    try:
        socket.getaddrinfo(endpoint.hostname, endpoint.port or 443)
    except OSError:
        return True
    return False


def explain(
    name: str, revision: str | None, error: Exception, part: Part = "model", directory: Path | None = None
) -> TransfixError:
    """The user's message for anything transformers raised while it looked for or read the model `name`.

    Args:
        name: as the user gave it.
        revision: of a hub model.
        error: what was raised.
        part: what was being read; its files are looked at for what is wrong with them.
        directory: where the model is, if it is not the hub's.
    """
    from huggingface_hub import constants, errors

    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)

    def is_a(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    model = f"model {name!r}" + (f" (revision {revision})" if revision else "")
    if is_a(errors.GatedRepoError):
        return TransfixError(
            f"{model} is gated: accept its licence on its hub page, then log in with `hf auth login` or set HF_TOKEN."
        )
    if is_a(errors.RevisionNotFoundError):
        return TransfixError(f"{model}: the model exists on the hub, this revision does not.")
    if is_a(errors.RepositoryNotFoundError):
        return TransfixError(f"{model} is not on the hub, or is private (log in with `hf auth login`).{_close(name)}")
    if short := refusals.no_memory(error) or refusals.full(error):
        return TransfixError(f"{_OF[part]}{model} cannot be loaded: {short.rstrip('.')}.")
    if is_a(errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError, socket.gaierror):
        return TransfixError(
            f"{model} is not in the local cache ({constants.HF_HUB_CACHE}), and the hub at {constants.ENDPOINT} cannot "
            f"be reached. Connect, or set HF_HOME to a cache that has it. {LOCAL}{_close(name)}"
        )
    if is_a(errors.EntryNotFoundError):
        return TransfixError(f"{model} lacks a file that transformers needs: {_first_lines(error)} {LOCAL}")
    if found := _in_files(name, revision, part, directory):
        return found
    if "trust_remote_code" in str(error):
        return TransfixError(f"{_OF[part]}{model} needs code from its own files, which transfix never runs. {OTHERS}")
    if any(isinstance(cause, OSError) and cause.errno not in (None, errno.ENOENT) for cause in causes):
        refused = refusals.refusal(error)
        if refused is not None:
            return TransfixError(f"{_OF[part]}{model} cannot be loaded: {refused}")
    # what is not installed is said, with how to install it
    advice = "" if is_a(ImportError) else _advice(part)
    return TransfixError(f"{_OF[part]}{model} cannot be loaded: {_first_lines(error).rstrip('.')}. {advice}".strip())


def require_architecture(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a configuration that transformers could not read, if it is plain why.

    Args:
        name: of the model, as the user gave it.
        config: what its config.json holds.

    Raises:
        TransfixError: transformers does not know the architecture, or sizes are none.
    """
    import transformers
    from transformers import CONFIG_MAPPING

    kind = config.get("model_type")
    if kind in CONFIG_MAPPING:
        return files.check_sizes(config, f"the configuration of model {name!r}")
    if "auto_map" in config:
        raise TransfixError(
            f"model {name!r} ({kind}) needs code from its own files, which transfix never runs. {OTHERS}"
        )
    near = nearest(str(kind), CONFIG_MAPPING, at_most=1, likeness=0.7)
    raise TransfixError(
        f"model {name!r}: its {files.CONFIG} names the architecture {kind!r} (model_type), which transformers "
        f"{transformers.__version__} does not know.{f' Did you mean {near[0]!r}?' if near else ''} {OTHERS}"
    )


def _in_files(name: str, revision: str | None, part: Part, directory: Path | None) -> TransfixError | None:
    """What is wrong with the files of a part of a model, or None if they do not show it."""
    from huggingface_hub import try_to_load_from_cache

    if part not in _CHECKS:
        return None
    again = ""
    if directory is None:
        cached = try_to_load_from_cache(name, files.CONFIG, revision=revision)
        if not isinstance(cached, str):
            return None
        directory = Path(cached).parent
        again = f" To download it again, delete {directory.parents[1]} first."
    try:
        _CHECKS[part](directory)
    except TransfixError as found:
        return TransfixError(f"{found}{again}")
    return None


def _advice(part: Part) -> str:
    import transformers

    if part == "tokenizer":
        return "Its files may be damaged: copy those of the base model, or download it again."
    return (
        f"Its {files.CONFIG} may be damaged, or made for another version of transformers ({transformers.__version__} "
        "here)."
    )


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:3])[:600]
    # a KeyError's text is the key alone
    return text if " " in text else f"{type(error).__name__}: {text}" if text else type(error).__name__


def _close(name: str) -> str:
    """A hint at packaged models of similar name."""
    near = nearest(name.rpartition("/")[2], MODELS, at_most=1)
    return f" Did you mean {near[0]!r}?" if near else ""
