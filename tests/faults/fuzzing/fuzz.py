"""Gives parsers inputs, each reproducible by its number, in children with little memory and no patience."""

from __future__ import annotations

import mmap
import random
import resource
import signal
import struct
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import forks
from tests.faults.fuzzing.parsers import Parser

from transfix.errors import TransfixError

PATIENCE = 20
"""Seconds that one input may take."""
MEMORY = 2 << 30
"""Bytes that a child may take, beyond what it has."""
LONGEST_MESSAGE = 20_000
"""Characters of a message."""


@dataclass(frozen=True)
class Finding:
    """An input that a parser did not keep its word with."""

    parser: str
    number: int
    what: str
    input: str


class _TooLongError(BaseException):
    pass


def fuzz(parser: Parser, first: int, count: int) -> tuple[list[Finding], float]:
    """Gives a parser the inputs `first` to `first + count`; returns what was found, and the seconds that the slowest took."""
    findings: list[Finding] = []
    slowest = 0.0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place, mmap.mmap(-1, 16) as shared:
        at = first
        while at < first + count:
            start = at

            def work(start: int = start) -> None:
                _limit()
                for number in range(start, first + count):
                    shared[:8] = struct.pack("q", number)
                    began = time.process_time()
                    if what := look(parser, number, Path(place)):
                        print(f"{number}\t{what}", flush=True)  # it may die of the next one
                    took = time.process_time() - began
                    if took > struct.unpack("d", shared[8:])[0]:
                        shared[8:] = struct.pack("d", took)

            ended = forks.forked(work, Path(place), 60 + count * PATIENCE)
            for line in ended.output.splitlines():
                number, tab, what = line.partition("\t")
                if tab and number.isdigit():
                    findings.append(_finding(parser, int(number), what))
            slowest = max(slowest, struct.unpack("d", shared[8:])[0])
            if ended.status == 0:
                break
            at = struct.unpack("q", shared[:8])[0]  # the one that it died of
            findings.append(_finding(parser, at, f"the process ended with {ended.status}: {ended.output[-300:]}"))
            at += 1
    return findings, slowest


def made(parser: Parser, number: int) -> Any:
    """The input of a number."""
    return parser.make(random.Random(f"{parser.name} {number}"))


def look(parser: Parser, number: int, place: Path) -> str:
    """Gives a parser one input; what is wrong with what it does, or nothing."""
    content = made(parser, number)
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        parser.parse(content, place)
    except TransfixError as error:
        if len(str(error)) > LONGEST_MESSAGE:
            return f"a message of {len(str(error)):,} characters"
        return ""
    except (Exception, _TooLongError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "/transfix/" in frame.filename]
        place_of = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}" if ours else ""
        return f"{type(error).__name__} in {place_of}: {str(error)[:200]!r}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return ""


def batches(parser: Parser, total: int) -> Iterator[tuple[int, int]]:
    """The inputs of a parser in portions that one child is given."""
    wanted = round(total * parser.share)
    for first in range(0, wanted, parser.batch):
        yield first, min(parser.batch, wanted - first)


def _finding(parser: Parser, number: int, what: str) -> Finding:
    return Finding(parser.name, number, what, repr(made(parser, number))[:2000])


def _too_long(*_: object) -> None:
    raise _TooLongError(f"it took more than {PATIENCE} seconds")


def _limit() -> None:
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * mmap.PAGESIZE + MEMORY, resource.RLIM_INFINITY))
