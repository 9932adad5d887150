"""Loads what a model makes of texts, where nothing has to be computed: its tokenizer, and how many tokens it reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from transfix.models import files, hub, reach, registry, vocabulary
from transfix.models.loading import explained, quiet, read_config, source_options


@dataclass(frozen=True, slots=True)
class TextSide:
    """A model without its weights.

    Attributes:
        tokenizer: as it was saved.
        size: how many tokens have embeddings; None if there is no configuration that says it.
        reads: how many tokens the model reads; None if that has no bound or is not known.
        generates: how many it reads and writes where texts are generated; None likewise.
    """

    tokenizer: PreTrainedTokenizerBase
    size: int | None = None
    reads: int | None = None
    generates: int | None = None


def load(name: str | Path, revision: str | None = None, check: bool = True) -> TextSide:
    """The tokenizer of a packaged model, a local directory or a hub model, and what the model's configuration says of texts.

    Args:
        name: of the model.
        revision: branch, tag or commit of a hub model.
        check: refuse a tokenizer that does not fit the model.

    Raises:
        TransfixError: there is no such model, its tokenizer cannot be read, or puts tokens into texts that the model lacks.
    """
    found = hub.resolve(name)
    directory: Path | None = None
    if not isinstance(found, str):
        directory = registry.ensure(found) if isinstance(found, registry.PackagedModel) else found
    source = str(directory or found)
    options = source_options(source, revision)
    with quiet(), explained(str(name), revision, "tokenizer", directory):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source, **options)
    vocabulary.require_words(str(name), tokenizer)
    if directory is not None and not (directory / files.CONFIG).is_file():
        return TextSide(tokenizer)
    config = read_config(str(name), source, options)
    size = getattr(config.get_text_config(decoder=True), "vocab_size", None)
    if check and isinstance(size, int):
        vocabulary.require_embeddings(str(name), tokenizer, size)
    return TextSide(tokenizer, size if isinstance(size, int) else None, reach.reads(config), reach.generated(config))
