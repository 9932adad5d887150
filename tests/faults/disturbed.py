"""Kills and errors at the file operations of a command."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults import operations, scenes
from tests.faults.operations import Operation
from tests.faults.scenes import Scene
from tests.faults.verdicts import BADLY, HARMLESS, LOST, RECOVERED, REFUSED, SILENT, Verdict, badly

KILLED = -9
ERRORS = {
    "full disk": errno.ENOSPC,
    "quota exceeded": errno.EDQUOT,
    "read-only file system": errno.EROFS,
    "no permission": errno.EACCES,
    "input/output error": errno.EIO,
}
SIZES = (0, 1, 100, 1000, 3000, 5000, 10_000, 20_000, 30_000, 50_000, 100_000)
"""Bytes that no file may be larger than."""


@dataclass(frozen=True)
class Fault:
    """One fault: its kind, what it is injected into, and which of its kind it is."""

    kind: str
    where: str
    which: str
    inject: Callable[[Path], Verdict]

    @property
    def name(self) -> str:
        """What it is known by, without the hashes in the names of runs, which are others wherever the model lies."""
        return re.sub(r"-[0-9a-f]{12}\b", "", f"{self.kind} | {self.where} | {self.which}")


def noted(scene: Scene, place: Path) -> list[Operation]:
    """The file operations of an undisturbed scene."""
    with tempfile.NamedTemporaryFile("w+", encoding="utf-8", errors="surrogateescape") as out:

        def note(directory: Path) -> None:
            def act(operation: Operation) -> None:
                os.write(out.fileno(), f"{operation.kind}\0{operation.path}\n".encode("utf-8", "surrogateescape"))

            operations.watch(directory, act)

        ended = scene.run(scene.place(place), note)
        assert ended.status == 0, ended.output
        out.seek(0)
        return [Operation(*line.rstrip("\n").split("\0")) for line in out]


def faults(scene: Scene, place: Path) -> Iterator[Fault]:
    """Every kill, and every error of every kind, that the operations of a scene can meet."""
    found = noted(scene, place)
    changes = sum(operation.kind in operations.CHANGES for operation in found)
    for kind, lost in (("kill", False), ("power loss", True)):
        for number in range(changes):
            yield Fault(kind, scene.name, str(number), partial(killed, scene, number, lost))
    for kind, code in ERRORS.items():
        for number in range(sum(operations.can_be_refused(operation, code) for operation in found)):
            yield Fault(kind, scene.name, str(number), partial(refused, scene, number, code))
    for size in SIZES:
        yield Fault("full disk", scene.name, f"{size} bytes", partial(too_small, scene, size))


def killed(scene: Scene, number: int, unflushed_is_lost: bool, place: Path) -> Verdict:
    """Kills a scene before one of its changes, and does it again."""
    scene.place(place)
    ended = scene.run(place, lambda at: operations.kill_at(at, number, unflushed_is_lost))
    if ended.status != KILLED:
        if why := badly(ended):
            return Verdict(BADLY, why)
        if ended.status == 0:  # fewer operations than when they were counted
            return _same(scene, place, ended.output, HARMLESS)
    return _again(scene, place, RECOVERED, tidy=True)


def refused(scene: Scene, number: int, code: int, place: Path) -> Verdict:
    """Refuses one of a scene's operations, and does it again."""
    return _with_errors(scene, place, lambda at: operations.refuse_at(at, number, code))


def too_small(scene: Scene, size: int, place: Path) -> Verdict:
    """Runs a scene where no file can become larger than `size`, and does it again."""
    return _with_errors(scene, place, lambda at: operations.limited(size))


def _with_errors(scene: Scene, place: Path, disturb: Callable[[Path], object]) -> Verdict:
    scene.place(place)
    ended = scene.run(place, disturb)
    if why := badly(ended):
        return Verdict(BADLY, why)
    if ended.status == 0:
        now = _same(scene, place, ended.output, HARMLESS)
        if now.outcome != HARMLESS:
            return now
    return _again(scene, place, REFUSED if ended.status else HARMLESS)


def _again(scene: Scene, place: Path, outcome: str, tidy: bool = False) -> Verdict:
    ended = scene.run(place)
    if why := badly(ended):
        return Verdict(BADLY, f"done again: {why}")
    if ended.status:
        return Verdict(LOST, f"done again: {ended.output[-500:]}")
    if wrong := differences(scene, place):
        return Verdict(LOST, f"done again: other results: {', '.join(wrong)}")
    # what could not be removed while nothing could be removed there stays until the run is worked on again
    if tidy and (left := scenes.left(place)):
        return Verdict(LOST, f"left over: {', '.join(left)}")
    return _same(scene, place, ended.output, outcome)


def _same(scene: Scene, place: Path, output: str, outcome: str) -> Verdict:
    if wrong := differences(scene, place):
        return Verdict(SILENT, f"other results: {', '.join(wrong)}")
    if scene.said is not None and not scenes.says(output, scene.said):
        return Verdict(SILENT, f"other numbers: {output[-500:]}")
    return Verdict(outcome)


def differences(scene: Scene, place: Path) -> Sequence[str]:
    """The results that are not what they are without a fault."""
    now = scenes.kept(place)
    return sorted(name for name in now.keys() | scene.kept.keys() if now.get(name) != scene.kept.get(name))
