"""Loads a model's tokenizer alone, where nothing has to be computed."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from transfix.models import hub, registry
from transfix.models.loading import explained, quiet, source_options


def load_tokenizer(name: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a packaged model, a local directory or a hub model.

    Raises:
        TransfixError: there is no such model, or its tokenizer cannot be read.
    """
    found = hub.resolve(name)
    directory: Path | None = None
    if not isinstance(found, str):
        directory = registry.ensure(found) if isinstance(found, registry.PackagedModel) else found
    source = str(directory or found)
    with quiet(), explained(str(name), revision, "tokenizer", directory):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source, **source_options(source, revision))
    return tokenizer
