"""What reaches the disk in which order, as the process asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

NAMED = Path("/proc/self/fd").exists()
"""Whether an open descriptor says which file it is of."""


class Disk:
    """Notes in which order files reach the disk: ("flushed", path) and ("renamed", from, to)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, ...]] = []
        fsync, rename, replace = os.fsync, os.rename, os.replace

        def flushed(descriptor: int) -> None:
            self.events.append(("flushed", os.readlink(f"/proc/self/fd/{descriptor}")))
            fsync(descriptor)

        def renamed(call: Callable[..., None]) -> Callable[..., None]:
            def noted(before: Path, after: Path) -> None:
                self.events.append(("renamed", str(before), str(after)))
                call(before, after)

            return noted

        monkeypatch.setattr(os, "fsync", flushed)
        monkeypatch.setattr(os, "rename", renamed(rename))
        monkeypatch.setattr(os, "replace", renamed(replace))

    def assert_durable(self, path: Path) -> None:
        """That `path` got its name when all that is in it had been flushed, and that its directory was flushed then."""
        place, before = next(
            (place, event[1])
            for place, event in enumerate(self.events)
            if event[0] == "renamed" and event[2] == str(path)
        )
        earlier, later = self.events[:place], self.events[place + 1 :]
        for entry in (path, *path.rglob("*")):
            assert ("flushed", before + str(entry)[len(str(path)) :]) in earlier, entry
        assert ("flushed", str(path.parent)) in later
