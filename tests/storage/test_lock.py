"""One process works in a directory at a time; the others are told who it is, and its death lets them in."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from transfix.storage import atomic, lock

HOLDER = """
import sys
from pathlib import Path
from transfix.storage import lock
with lock.hold(Path(sys.argv[1]), wait=sys.argv[2] == "wait"):
    (Path(sys.argv[1]) / ".half.json.1-aa.tmp").write_text("{")
    (Path(sys.argv[1]) / "inner").mkdir(exist_ok=True)
    (Path(sys.argv[1]) / "inner" / ".half.2-bb.tmp").mkdir()
    print("holding", flush=True)
    sys.stdin.read()
"""

EARLIER = """
import fcntl, json, os, sys
descriptor = os.open(sys.argv[1] + "/.lock", os.O_RDWR | os.O_CREAT, 0o666)
try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("refused", os.pread(descriptor, 4096, 0).decode(), flush=True)
    sys.exit()
os.ftruncate(descriptor, 0)
os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": "here", "since": "2026-01-01"}).encode(), 0)
print("holding", flush=True)
sys.stdin.read()
"""


class Process:
    """A Python process that has the package; killed at the end."""

    def __init__(self, code: str, *arguments: object) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.pid = self.process.pid

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> str:
        """Lets it go on; what it printed to stderr."""
        return self.process.communicate(timeout=30)[1]

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def make(code: str, *arguments: object) -> Process:
        started.append(Process(code, *arguments))
        return started[-1]

    yield make
    for process in started:
        process.kill()


Start = Callable[..., Process]


def temporaries(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if atomic.is_temporary(path)]


def held_by_another(directory: Path, start: Start) -> Process:
    process = start(HOLDER, directory, "wait")
    assert process.line() == "holding"
    return process


# ---- two processes


def test_one_process_holds_a_directory(tmp_path: Path, start: Start) -> None:
    assert not lock.is_locked(tmp_path)
    process = held_by_another(tmp_path, start)
    written = (tmp_path / ".lock").read_bytes()
    for _ in range(2):
        assert lock.is_locked(tmp_path)
        with pytest.raises(lock.LockedError) as caught, lock.hold(tmp_path, wait=False):
            pass
        said = rf"{tmp_path} is being worked on by process {process.pid} on .* since 20.*\. Wait for it to end, or stop"
        assert re.match(said, str(caught.value))
    assert (tmp_path / ".lock").read_bytes() == written, "who asks writes nothing"
    assert len(temporaries(tmp_path)) == 2, "what the holder writes is left alone"


def test_the_dead_hold_nothing_and_leave_nothing(tmp_path: Path, start: Start) -> None:
    process = held_by_another(tmp_path, start)
    process.kill()
    assert not lock.is_locked(tmp_path)
    assert len(temporaries(tmp_path)) == 2
    with lock.hold(tmp_path, wait=False):
        assert temporaries(tmp_path) == []
        assert json.loads((tmp_path / ".lock").read_bytes())["pid"] == os.getpid()
        assert not lock.is_locked(tmp_path), "no other process holds it"


def test_what_has_a_lock_of_its_own_is_left_to_its_holder(tmp_path: Path, start: Start) -> None:
    (tmp_path / "runs" / "run").mkdir(parents=True)
    (tmp_path / "runs" / ".half.3-cc.tmp").write_text("")
    held_by_another(tmp_path / "runs" / "run", start)
    with lock.hold(tmp_path):
        assert len(temporaries(tmp_path)) == 2
        assert not (tmp_path / "runs" / ".half.3-cc.tmp").exists()


def test_who_waits_says_so_once(tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    process = held_by_another(tmp_path, start)
    threading.Timer(0.5, process.end).start()
    with lock.hold(tmp_path):
        assert process.process.wait(10) == 0, "it had ended when we could go on"
    (record,) = [record for record in caplog.records if record.name == "transfix"]
    assert record.levelno == logging.WARNING
    assert re.search(rf"by process {process.pid} on .* since 20.*: waiting for it to end", record.getMessage())


def test_who_does_not_wait_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with lock.hold(tmp_path):
        pass
    assert caplog.records == []


def test_an_earlier_version_and_this_one_exclude_each_other(tmp_path: Path, start: Start) -> None:
    earlier = start(EARLIER, tmp_path)
    assert earlier.line() == "holding"
    assert lock.is_locked(tmp_path)
    with (
        pytest.raises(lock.LockedError, match=f"process {earlier.pid} on here since 2026-01-01"),
        lock.hold(tmp_path, False),
    ):
        pass
    earlier.end()
    with lock.hold(tmp_path, wait=False):  # its lock file is still there
        refused = start(EARLIER, tmp_path)
        word, _, record = refused.line().partition(" ")
        assert (word, json.loads(record)["pid"]) == ("refused", os.getpid())


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"pid": 1, "ho'])
def test_any_lock_file_can_be_taken(tmp_path: Path, start: Start, content: bytes) -> None:
    (tmp_path / ".lock").write_bytes(content)
    assert not lock.is_locked(tmp_path)
    with lock.hold(tmp_path, wait=False):
        (tmp_path / ".lock").write_bytes(content)
        assert "worked on by another process" in start(HOLDER, tmp_path, "refuse").end()


# ---- one process


def test_reentrant_and_let_go(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with lock.hold(tmp_path), lock.hold(Path(), wait=False):
        with lock.hold(tmp_path):
            (tmp_path / ".mine.1-aa.tmp").write_text("")
        with lock.hold(tmp_path):
            assert temporaries(tmp_path), "taken again, nothing is removed: it may be ours"
        assert f"process {os.getpid()}" in start(HOLDER, tmp_path, "refuse").end()
    held_by_another(tmp_path, start)


def test_what_fails_lets_go(tmp_path: Path, start: Start) -> None:
    with pytest.raises(RuntimeError, match="inside"), lock.hold(tmp_path):
        raise RuntimeError("inside")
    held_by_another(tmp_path, start)


def test_threads_share_the_lock_of_their_process(tmp_path: Path, start: Start) -> None:
    """Eight at once, each taking it often: whoever is in, the process has it, and who comes last lets it go."""
    wrong: list[str] = []
    ready = threading.Barrier(8)

    def work(number: int) -> None:
        ready.wait()
        for round_ in range(30):
            with lock.hold(tmp_path, wait=False):
                mine = tmp_path / f".{number}.{round_}.tmp"
                mine.write_text("")
                time.sleep(0.0005)
                if not mine.exists():
                    wrong.append(f"{mine.name} was removed by another thread")
                mine.unlink(missing_ok=True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert not lock.is_locked(tmp_path)
    held_by_another(tmp_path, start)


def test_a_forked_child_holds_nothing(tmp_path: Path) -> None:
    code = """
import os, sys, time
from pathlib import Path
from transfix.storage import lock
place = Path(sys.argv[1])
with lock.hold(place):
    if os.fork() == 0:
        os.close(1)  # or the test would wait for it
        os.close(2)
        time.sleep(60)
    print("holding", flush=True)
    os.kill(os.getpid(), 9)
"""
    process = Process(code, tmp_path)
    assert process.line() == "holding"
    process.end()
    with lock.hold(tmp_path, wait=False):  # its child lives on
        pass


# ---- asking


def test_asking_needs_no_right_to_write(start: Start) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        process = held_by_another(place, start)
        before = {path: path.stat().st_mtime_ns for path in (place, place / ".lock")}
        (place / ".lock").chmod(0o444)
        place.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)  # to root nothing is forbidden
        try:
            with pytest.raises(OSError, match="denied"):
                os.open(place / ".lock", os.O_RDWR)
            assert lock.is_locked(place)
            with pytest.raises(atomic.StorageError, match="cannot be written: Permission denied"), lock.hold(place):
                pass
            assert lock.is_locked(place)
        finally:
            if root:
                os.seteuid(0)
            place.chmod(0o755)
        assert {path: path.stat().st_mtime_ns for path in before} == before
        process.kill()
        assert not lock.is_locked(place)


def test_asking_takes_nothing_away(tmp_path: Path) -> None:
    """Two who ask do not see each other, and who wants the lock gets it although somebody is asking."""
    with lock.hold(tmp_path):
        pass
    asking = os.open(tmp_path / ".lock", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    assert not lock.is_locked(tmp_path)
    threading.Timer(lock.INSTANT / 4, os.close, (asking,)).start()
    with lock.hold(tmp_path, wait=False):
        pass


def test_asking_where_nothing_is(tmp_path: Path) -> None:
    assert not lock.is_locked(tmp_path / "nowhere")
    assert not lock.is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---- places without locks


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):

        def refused(*_: object, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(fcntl, "flock", refused)
            said = rf"{tmp_path} cannot be locked \({os.strerror(number)}: its file system has no file locks\)"
            with pytest.raises(atomic.StorageError, match=said), lock.hold(tmp_path):
                pass
            assert not lock.is_locked(tmp_path), "nobody can hold it"
    with lock.hold(tmp_path, wait=False):
        pass


def test_a_full_disk_does_not_keep_the_lock_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with lock.hold(tmp_path, wait=False):
        assert (tmp_path / ".lock").read_bytes() == b""


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(atomic.StorageError, match=r"nowhere cannot be written: No such file"),
        lock.hold(tmp_path / "nowhere"),
    ):
        pass
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(atomic.StorageError, match="cannot be written"), lock.hold(tmp_path / "file"):
        pass
