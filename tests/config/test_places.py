"""A place that cannot be looked at is not called missing; only ordinary files of a bounded size are read."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from transfix.config import places
from transfix.config.places import UnusableFileError

LONG = "n" * 300


def test_what_lies_at_a_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    os.symlink("file", tmp_path / "link")
    found = {name: places.kind(tmp_path / name) for name in ("file", "link", "pipe", ".", "no", "file/below")}
    assert found["file"] == found["link"] == "file"
    assert found["."] == "directory"
    assert found["pipe"] == "other"
    assert found["no"] == found["file/below"] == "missing"
    assert places.missing(tmp_path) == "is a directory"
    assert places.missing(tmp_path / "no") == "does not exist"
    assert "pipe" in places.missing(tmp_path / "pipe")


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Lets the system refuse to look at any path, as it does without the right to (which root always has)."""

    def refused(*args: Any, **kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number), str(args[0]))

    monkeypatch.setattr(os, "open", refused)
    monkeypatch.setattr(Path, "stat", refused)


def test_what_may_not_be_looked_at_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.symlink("loop", tmp_path / "loop")
    for path, why in (
        (tmp_path / LONG, "File name too long"),
        (tmp_path / "loop", "symbolic links"),
        (Path("a\0b"), "null"),
    ):
        with pytest.raises(UnusableFileError, match=why):
            places.kind(path)
        with pytest.raises(UnusableFileError, match=why):
            places.read_bytes(path, 10)
    assert places.refused(tmp_path / LONG) == "File name too long"
    assert places.refused(tmp_path / "no") is None
    refuse(monkeypatch, errno.EACCES)
    for call in (places.kind, places.missing, places.read_json):
        with pytest.raises(UnusableFileError, match=r"secret cannot be read: Permission denied"):
            call(tmp_path / "secret")
    assert places.refused(tmp_path / "secret") == "Permission denied"


def test_homes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    assert places.expanded("~/a") == Path("/home/x/a")
    with pytest.raises(UnusableFileError, match="there is no user 'nosuchuser'"):
        places.expanded("~nosuchuser/a")

    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(UnusableFileError, match="HOME is not set"):
        places.expanded("~/a")


def test_a_deleted_directory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.here() == os.getcwd()

    def gone() -> str:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    assert "deleted" in places.here()


def test_only_ordinary_files_of_a_bounded_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert places.read_bytes(tmp_path / "file", 5) == b"12345"
    with pytest.raises(UnusableFileError, match="larger than 4 bytes"):
        places.read_bytes(tmp_path / "file", 4)
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "pipe", Path("/dev/zero")):
            with pytest.raises(UnusableFileError, match="no ordinary file"):
                places.read_bytes(path, 5)
        with pytest.raises(UnusableFileError):
            places.read_bytes(tmp_path / "socket", 5)
    with pytest.raises(UnusableFileError, match="is a directory"):
        places.read_bytes(tmp_path, 5)
    with pytest.raises(FileNotFoundError):
        places.read_bytes(tmp_path / "no", 5)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[" * 100_000, "nested too deep"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe", "decode"),
        (b"1" * 5_000, "5000 digits"),
    ],
    ids=["deep", "torn", "no text", "digits"],
)
def test_json_that_is_none(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UnusableFileError, match=why):
        places.read_json(path)
    path.write_text('{"a": [1, "ä"]}', encoding="utf-8")
    assert places.read_json(path) == {"a": [1, "ä"]}
