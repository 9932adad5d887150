"""Paths that the system refuses, or that are something else than a file, given to every command that takes one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from tests.faults import forks, scenes
from tests.faults.disturbed import Fault, differences
from tests.faults.scenes import Scene, Stage
from tests.faults.verdicts import BADLY, HARMLESS, REFUSED, SILENT, Verdict, badly


def _socket(place: Path) -> str:
    import socket

    with socket.socket(socket.AF_UNIX) as found:
        found.bind("socket")
    return "socket"


def _linked(target: str) -> Callable[[Path], str]:
    def make(place: Path) -> str:
        os.symlink(target, place / "link.yaml")
        return "link.yaml"

    return make


def _pipe(place: Path) -> str:
    os.mkfifo(place / "pipe.yaml")
    return "pipe.yaml"


def _file(content: bytes, name: str = "own.yaml") -> Callable[[Path], str]:
    def make(place: Path) -> str:
        (place / name).write_bytes(content)
        return name

    return make


def _directory(name: str = "folder.yaml") -> Callable[[Path], str]:
    def make(place: Path) -> str:
        (place / name).mkdir()
        return name

    return make


PATHS: Mapping[str, Callable[[Path], str]] = {
    "nothing": lambda _: "",
    "not there": lambda _: "not-there.yaml",
    "a folder that is not there": lambda _: "no/such/folder/x.yaml",
    "a name of 300 letters": lambda _: "x" * 300 + ".yaml",
    "a path of 5,000 letters": lambda _: "/".join(["x" * 99] * 50),
    "below a file": lambda _: "spec.yaml/x.yaml",
    "no such user": lambda _: "~nosuchuser/x.yaml",
    "a NUL": lambda _: "a\0b.yaml",
    "half a character": lambda _: "a\udcffb.yaml",
    "a link to nothing": _linked("nowhere"),
    "a link to itself": _linked("link.yaml"),
    "a link to a folder": _linked("."),
    "a folder": _directory(),
    "an empty file": _file(b""),
    "an archive": _file(b"PK\x03\x04" + bytes(200)),
    "a picture": _file(b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    "a broken gzip": _file(b"\x1f\x8b\x08\x00" + bytes(20), "own.jsonl.gz"),
    "a pipe": _pipe,
    "a socket": _socket,
    "/dev/null": lambda _: "/dev/null",
    "/dev/zero": lambda _: "/dev/zero",
    "/dev/full": lambda _: "/dev/full",
    "/proc/self/mem": lambda _: "/proc/self/mem",
    "the system's": lambda _: "/proc/version",
    "below /proc": lambda _: "/proc/x/y.yaml",
}
"""What a path is -> makes it in a place, and gives it."""

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "train SPEC": ("train", "PATH"),
    "train --runs": ("train", "spec.yaml", "--runs", "PATH"),
    "train --set model": ("train", "spec.yaml", "--set", "model=PATH"),
    "train --set train.data": ("train", "spec.yaml", "--set", "train.data={files: PATH}"),
    "train --set train.task": ("train", "spec.yaml", "--set", "train.task=PATH"),
    "evaluate RUN": ("evaluate", "PATH"),
    "evaluate --runs": ("evaluate", "x", "--runs", "PATH"),
    "calibrate RUN": ("calibrate", "PATH", "-i", "rows.jsonl"),
    "calibrate --input": ("calibrate", "RUN", "-i", "PATH"),
    "trust RUN": ("trust", "PATH", "-i", "rows.jsonl"),
    "trust --input": ("trust", "RUN", "-i", "PATH"),
    "predict RUN": ("predict", "PATH", "-i", "rows.jsonl", "-o", "answers.jsonl"),
    "predict --input": ("predict", "RUN", "-i", "PATH", "-o", "answers.jsonl"),
    "predict --output": ("predict", "RUN", "-i", "rows.jsonl", "-o", "PATH"),
    "report DIR": ("report", "PATH"),
    "report --html": ("report", "RUN", "--html", "PATH"),
    "runs DIR": ("runs", "PATH"),
    "study FILE": ("study", "PATH", "--dir", "study"),
    "study --dir": ("study", "study.yaml", "--dir", "PATH", "--dry-run", "--no-calibration"),
    "study status": ("study", "status", "PATH"),
    "inspect MODEL": ("inspect", "PATH"),
    "task check": ("task", "check", "PATH"),
}
"""What a path is given as."""

ROWS = '{"premise": "A man sleeps.", "hypothesis": "He rests.", "id": "1"}\n'


def faults(made: Stage) -> Iterator[Fault]:
    """Every path in every place that takes one."""
    for where in COMMANDS:
        for what in PATHS:
            yield Fault("refused path", where, what, partial(_inject, made["report"], made["study"], where, what))


def _inject(measured: Scene, study: Scene, where: str, what: str, place: Path) -> Verdict:
    measured.place(place)
    (place / scenes.STUDY).write_bytes((study.start / scenes.STUDY).read_bytes())
    (place / "rows.jsonl").write_text(ROWS)

    def call() -> None:
        from transfix.cli.app import app

        path = PATHS[what](place)
        arguments = [part.replace("PATH", path) for part in COMMANDS[where]]
        app([scenes.run_of(place) if part == "RUN" else part for part in arguments], prog_name="transfix")

    ended = forks.forked(call, place, 60)
    if why := badly(ended):
        return Verdict(BADLY, why)
    if wrong := [name for name in differences(measured, place) if name in measured.kept]:
        return Verdict(SILENT, f"other results: {', '.join(wrong)}")
    return Verdict(REFUSED if ended.status else HARMLESS)
