"""What to do when a dataset of the hub cannot be loaded: the true reason of each failure, and an advice that helps."""

from __future__ import annotations

import errno

from transfix.data.sources import HubSource

CONVERTED = "refs/convert/parquet"
"""The branch in which the hub keeps its own conversion of a dataset."""


def advice(error: Exception, source: HubSource, config: str | None, instead: str | None) -> str:
    """A sentence for the end of the message.

    Args:
        error: what `datasets` raised.
        source: what was asked for.
        config: the configuration that was asked for.
        instead: for a known script, what of the same benchmark can be read.
    """
    from datasets.exceptions import DataFilesNotFoundError, DatasetGenerationError, DatasetNotFoundError

    text = str(error)
    if isinstance(error, RuntimeError) and "scripts are no longer supported" in text:
        return _about_scripts(source, config, instead)
    if isinstance(error, DatasetNotFoundError):
        return "Check its name; a gated one needs `hf auth login`; without a network use `data: snapshot` or files."
    if isinstance(error, ValueError) and ("BuilderConfig" in text or "Config name" in text):
        return "Name one of the dataset's configurations with `config:`."
    if isinstance(error, ValueError) and "split" in text.lower():
        return "Name one of the dataset's splits with `split:`."
    if isinstance(error, DataFilesNotFoundError):
        return "It holds no files of rows that can be read (csv, json, parquet); another `revision:` of it may."
    if isinstance(error, DatasetGenerationError):
        return "Its files are no table with the same columns in every row: take those you need, and name them as files."
    if type(error) is FileNotFoundError:
        return "Check the dataset's path."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk of its cache is full: make room, or set HF_HOME to a place with more."
    return "If this machine is offline, use `data: snapshot` or local files (`data: {files: ...}`)."


def _about_scripts(source: HubSource, config: str | None, instead: str | None) -> str:
    said = "It is a program and no files of rows; programs of datasets are not run, with or without a network. "
    if instead is not None:
        return f"{said}{instead}."
    if config is None:
        return f"{said}If the hub has converted it, `revision: {CONVERTED}` reads that; else name its rows as files."
    return (
        f"{said}If the hub has converted it, get the files with `hf download {source.hub} --repo-type dataset --revision "
        f"{CONVERTED} --include '{config}/*' --local-dir DIR` and name them with `data: {{files: DIR/...}}`."
    )
