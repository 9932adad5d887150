"""What exists is whole: killed or not, on a full disk, and after the machine lost its power."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.storage.disk import NAMED, Disk

from transfix.storage import atomic, lock


def temporaries(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if atomic.is_temporary(path)]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.mark.skipif(not NAMED, reason="descriptors have no names here")
def test_files_are_flushed_before_they_get_their_name(tmp_path: Path, disk: Disk) -> None:
    atomic.write_file(tmp_path / "text", "नहीं")
    assert (tmp_path / "text").read_text("utf-8") == "नहीं"
    disk.assert_durable(tmp_path / "text")
    atomic.write_file(tmp_path / "own", lambda temporary: temporary.write_bytes(b"x"))
    disk.assert_durable(tmp_path / "own")


@pytest.mark.skipif(not NAMED, reason="descriptors have no names here")
def test_directories_are_flushed_before_they_get_their_name(tmp_path: Path, disk: Disk) -> None:
    def fill(directory: Path) -> None:
        (directory / "inner").mkdir()
        (directory / "inner" / "file").write_text("x")
        (directory / "file").write_text("x")

    for _ in range(2):  # new, and replaced
        disk.events.clear()
        atomic.write_directory(tmp_path / "made", fill)
        disk.assert_durable(tmp_path / "made")
    disk.events.clear()
    atomic.make_directory(tmp_path / "a" / "b")
    assert {("flushed", str(tmp_path)), ("flushed", str(tmp_path / "a"))} == set(disk.events)


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    def half(path: Path) -> None:
        if path.is_dir():
            (path / "part").write_text("new")
        else:
            path.write_text("new")
        raise OSError(errno.ENOSPC, "No space left on device")

    file, directory = tmp_path / "file", tmp_path / "directory"
    for there in (False, True):
        if there:
            atomic.write_file(file, "old")
            atomic.write_directory(directory, lambda place: (place / "part").write_text("old"))
        for write, path in ((atomic.write_file, file), (atomic.write_directory, directory)):
            with pytest.raises(atomic.StorageError, match="cannot be written: No space left on device") as caught:
                write(path, half)
            assert caught.value.reason == "No space left on device"
            assert path.exists() == there
    assert (file.read_text(), (directory / "part").read_text()) == ("old", "old")
    assert temporaries(tmp_path) == []


def test_a_directory_that_cannot_be_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, rename = tmp_path / "directory", os.rename
    atomic.write_directory(path, lambda place: (place / "part").write_text("old"))

    def refused(before: Path, after: Path) -> None:
        if after == path and (before / "new").exists():
            raise OSError(errno.EIO, "Input/output error")
        rename(before, after)

    monkeypatch.setattr(os, "rename", refused)
    with pytest.raises(atomic.StorageError, match="Input/output error"):
        atomic.write_directory(path, lambda place: (place / "new").write_text("new"))
    assert [entry.name for entry in path.iterdir()] == ["part"], "the old one is put back"
    assert temporaries(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for call in (
        lambda: atomic.make_directory(tmp_path / "file"),
        lambda: atomic.make_directory(tmp_path / "file" / "inside"),
        lambda: atomic.write_file(tmp_path / "file" / "inside", "x"),
        lambda: atomic.write_file(tmp_path / "nowhere" / "x", "x"),
        lambda: atomic.write_directory(tmp_path / "nowhere" / "x", lambda place: None),
    ):
        with pytest.raises(atomic.StorageError, match=r"cannot be written: (File exists|Not a directory|No such file)"):
            call()


# ---- killed processes

WRITER = """
import json, sys
from pathlib import Path
from transfix.storage import atomic, lock
place = Path(sys.argv[1])
def fill(directory):
    for part in range(20):
        (directory / str(part)).write_text(str(number) * 5000)
print("ready", flush=True)
number = 0
while True:
    number += 1
    with lock.hold(place):
        if sys.argv[2] == "directory":
            atomic.write_directory(place / "made", fill)
        else:
            atomic.write_file(place / "made", json.dumps({"number": number, "filling": [number] * 5000}))
    if number == 1:
        print("written", flush=True)
"""


def killed_often(place: Path, kind: str, times: int) -> Iterator[int]:
    """Starts a writer and kills it after a different time each time, every other time not in its first writing."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    for attempt in range(times):
        command = [sys.executable, "-c", WRITER, str(place), kind]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
        if attempt % 2:
            assert process.stdout.readline() == "written\n"
        time.sleep(0.01 + 0.017 * attempt)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        yield attempt


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    seen = 0
    for _ in killed_often(tmp_path, "file", 8):
        if (tmp_path / "made").exists():
            content = json.loads((tmp_path / "made").read_text())
            assert content["filling"] == [content["number"]] * 5000
            seen += 1
    assert seen > 3
    with lock.hold(tmp_path):
        assert temporaries(tmp_path) == []


def test_a_killed_writer_leaves_a_whole_directory(tmp_path: Path) -> None:
    seen = 0
    for _ in killed_often(tmp_path, "directory", 8):
        if (tmp_path / "made").exists():
            contents = {path.read_text() for path in (tmp_path / "made").iterdir()}
            assert len(list((tmp_path / "made").iterdir())) == 20
            assert len(contents) == 1, "all files are of one writing"
            seen += 1
    assert seen > 1
    with lock.hold(tmp_path):
        assert temporaries(tmp_path) == []


def test_a_removed_directory_is_gone_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while its files are deleted leaves no part of it under its name."""
    place = tmp_path / "checkpoint-5"
    place.mkdir()
    (place / "adapter.safetensors").write_bytes(b"x")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(atomic.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            atomic.remove_directory(place)
    assert not place.exists()
    assert len(temporaries(tmp_path)) == 1
    atomic.remove_directory(place)  # nothing to remove
    place.mkdir()
    atomic.remove_directory(place)
    assert not place.exists()


# ---- what one kill leaves

REPLACER = """
import os, sys
from pathlib import Path
from transfix.storage import atomic
rename, left = os.rename, int(sys.argv[2])
def until(before, after):
    global left
    if left == 0:
        os._exit(9)
    left -= 1
    rename(before, after)
os.rename = until
atomic.write_directory(Path(sys.argv[1]) / "best", lambda place: (place / "part").write_text("new"))
"""


@pytest.mark.parametrize(("renames", "there"), [(0, "old"), (1, "old"), (2, "new")])
def test_a_kill_while_a_directory_is_replaced_loses_nothing(tmp_path: Path, renames: int, there: str) -> None:
    """Between the two renames neither the old nor the new one has its name."""
    atomic.write_directory(tmp_path / "best", lambda place: (place / "part").write_text("old"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", REPLACER, str(tmp_path), str(renames)], env=environment)
    assert done.returncode == (9 if renames < 2 else 0)
    assert (tmp_path / "best").exists() == (renames != 1)
    with lock.hold(tmp_path):
        assert (tmp_path / "best" / "part").read_text() == there
    assert temporaries(tmp_path) == []


def test_what_is_being_removed_does_not_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkpoint-5").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(atomic.shutil, "rmtree", lambda *_, **__: None)  # killed here
        atomic.remove_directory(tmp_path / "checkpoint-5")
    assert len(temporaries(tmp_path)) == 1
    atomic.clean(tmp_path)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
from transfix.storage import atomic
os.replace = lambda *_: os._exit(9)
atomic.write_file(Path(sys.argv[1]), "half")
"""


def test_who_writes_a_file_next_removes_what_a_killed_writer_left(tmp_path: Path) -> None:
    """Without a lock on the directory: reports are written where anything may be."""
    page = tmp_path / "report.html"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", KILLED, str(page)], env=environment).returncode == 9
    assert len(temporaries(tmp_path)) == 2
    (tmp_path / ".other.html.1-00000000.tmp").write_text("of another file")

    def write(temporary: Path) -> None:
        temporary.write_text("whole")
        atomic.write_file(page, "first")  # meanwhile somebody else has written it
        assert temporary.exists(), "whoever lives is left alone"

    atomic.write_file(page, write)
    assert page.read_text() == "whole"
    assert [path.name for path in temporaries(tmp_path)] == [".other.html.1-00000000.tmp"]
