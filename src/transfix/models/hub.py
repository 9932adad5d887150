"""Finds what a model name means, and turns every way a download can fail into one message."""

from __future__ import annotations

import difflib
import os
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from transfix.errors import TransfixError
from transfix.models.registry import MODELS, PackagedModel

LOCAL = "A local directory with config.json, model.safetensors and tokenizer.json can be given instead."


def resolve(name: str | Path) -> PackagedModel | Path | str:
    """What `name` means: a packaged model, a local directory, or (a string) a model on the hub.

    Raises:
        TransfixError: it looks like a path and there is no such directory, or can be no hub id either.
    """
    text = str(name)
    if text in MODELS:
        return MODELS[text]
    path = Path(text).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
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


def explain(name: str, revision: str | None, error: Exception) -> TransfixError:
    """The user's message for anything transformers raised while it looked for or read the model `name`."""
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
    if is_a(errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError, socket.gaierror):
        return TransfixError(
            f"{model} is not in the local cache ({constants.HF_HUB_CACHE}), and the hub at {constants.ENDPOINT} cannot "
            f"be reached. Connect, or set HF_HOME to a cache that has it. {LOCAL}{_close(name)}"
        )
    if is_a(errors.EntryNotFoundError):
        return TransfixError(f"{model} lacks a file that transformers needs: {_first_lines(error)} {LOCAL}")
    return TransfixError(f"{model} cannot be loaded: {_first_lines(error)}")


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])[:600] or type(error).__name__


def _close(name: str) -> str:
    """A hint at packaged models of similar name."""
    near = difflib.get_close_matches(name.rpartition("/")[2].lower(), MODELS, n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
