"""Writes reports to files, and never over a file that is not one."""

from __future__ import annotations

from pathlib import Path

from transfix.config import places
from transfix.errors import TransfixError
from transfix.storage import atomic

MARKDOWN_MARK = "<!-- transfix report -->"
"""The first line of a Markdown report in a file; readers of the rendered text do not see it."""

_PAGE_MARK = '<p class="kicker">transfix report</p>'


def require_own(path: Path, otherwise: str) -> None:
    """Refuse a place for a report where something else is.

    Args:
        path: where the report is to go.
        otherwise: what the user can do, as the message says it (`name another file with --html`).

    Raises:
        TransfixError: there is a file that is no report of transfix, or a directory.
    """
    kind = places.kind(path)
    if kind == "directory":
        raise TransfixError(f"{path} is a directory: {otherwise}, or move it away.")
    if kind == "other":
        raise TransfixError(f"{path} {places.NOT_ORDINARY}: {otherwise}.")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise TransfixError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not content.startswith(MARKDOWN_MARK.encode()) and _PAGE_MARK.encode() not in content:
        raise TransfixError(f"{path} exists and is no page of transfix: {otherwise}, or move it away.")


def write(path: Path, text: str, otherwise: str) -> None:
    """Write a page or a Markdown report.

    Args:
        path: where; its directory is made.
        text: what `html.page` or `tables.markdown` gave.
        otherwise: see `require_own`.

    Raises:
        TransfixError: as `require_own` says, or the place cannot be written to.
    """
    require_own(path, otherwise)
    atomic.make_directory(path.parent)
    atomic.write_file(path, text if _PAGE_MARK in text else f"{MARKDOWN_MARK}\n\n{text}")
