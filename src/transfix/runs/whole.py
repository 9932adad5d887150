"""A run's adapter, whole: one that is damaged is named in the same words by every command, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transfix.errors import TransfixError
from transfix.runs.store import Run


@contextmanager
def whole_adapter(run: Run) -> Iterator[None]:
    """Says of a run's adapter that is found damaged inside the block what to do: the same for every command."""
    from transfix.adapters.files import DamagedAdapterError

    try:
        yield
    except DamagedAdapterError as error:
        raise TransfixError(f"{error.what} {run.train_anew}") from error


def adapter_digest(run: Run) -> str | None:
    """See `Run.adapter_digest`; what is damaged is named as it is where an adapter is loaded.

    Raises:
        TransfixError: `adapter.json` is damaged.
    """
    try:
        return run.adapter_digest
    except TransfixError:
        from transfix.adapters.files import read_whole

        with whole_adapter(run):
            read_whole(run.adapter_dir)
        raise
