"""How a command ends when something goes wrong: one message on stderr and an exit status, never a traceback.

| status | meaning |
|---|---|
| 1 | a fault of transfix or a library: one line, and where the traceback was written |
| 2 | something the user can put right, or that the machine refused (room, memory, a path): what, where and how |
| 130 | stopped with Ctrl-C |
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

import typer

from transfix.errors import TransfixError, shortened, visible
from transfix.storage import atomic, refusals

LONGEST = 10_000
"""Characters of the command in the file of a traceback."""

P = ParamSpec("P")
R = TypeVar("R")


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Wraps a command so that whatever it raises ends it as this module says."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            os.getcwd()  # where it was deleted, torch's libraries abort the process without a word that helps
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except TransfixError as error:
            say("Error", str(error))
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            say("Stopped", "what is finished is kept: run the same command again to continue.")
            raise typer.Exit(130) from None
        except Exception as error:
            if refused := refusals.refusal(error):
                say("Error", refused)
                raise typer.Exit(2) from None
            first = (str(error).strip() or "no message").splitlines()[0]
            written = write_traceback(error)
            where = f"The full traceback is in {written}" if written else "The traceback could not be written"
            say("Unexpected error", f"{type(error).__name__}: {first[:300]}\n{where}; please report it.")
            raise typer.Exit(1) from None

    return run


def say(what: str, message: str) -> None:
    """Prints a message on stderr, its first word in red where there are colours."""
    from rich.console import Console
    from rich.text import Text

    text = Text.assemble((f"{what}: ", "bold red"), visible(message))
    with contextlib.suppress(OSError):  # nobody can be told: the status says it
        Console(stderr=True, soft_wrap=True, highlight=False).print(text)


def write_traceback(error: Exception) -> Path | None:
    """Writes what is needed to find a fault into a file; None if there is nowhere to write.

    It is in the user's cache, else in the current directory, else in the directory for temporary files. In a container each
    of them may be missing, and then even asking for it fails.
    """
    from transfix import __version__
    from transfix.models.registry import cache_root

    now = datetime.now()
    name = f"error-{now:%Y%m%d-%H%M%S}-{os.getpid()}.log"
    head = f"transfix {__version__}, Python {sys.version.split()[0]}, {now.isoformat(timespec='seconds')}\n"
    text = f"{head}{shortened(' '.join(sys.argv), LONGEST)}\n\n{''.join(traceback.format_exception(error))}"
    places: tuple[Callable[[], Path], ...] = (
        lambda: cache_root() / "logs",
        Path.cwd,
        lambda: Path(tempfile.gettempdir()),
    )
    for place in places:
        try:
            directory = place()
            atomic.make_directory(directory)
            atomic.write_file(directory / name, text.encode(errors="backslashreplace"))
        except Exception:  # the fault itself must be told, whatever happens here
            continue
        return directory / name
    return None
