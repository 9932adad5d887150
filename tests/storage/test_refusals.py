"""What the machine refuses is told from the errors of any library; faults of programs are not taken for it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from transfix.storage import atomic, refusals

FULL = [
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 640 vs 598"),  # torch.save
    RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
    Exception("Error while serializing: I/O error: No space left on device (os error 28)"),  # safetensors
    Exception("Error while serializing: I/O error: File too large (os error 27)"),
    OSError("1000000 requested and 24968 written"),  # numpy
]


def chained(error: BaseException) -> Exception:
    """An error that a library raised from another."""
    try:
        raise RuntimeError("could not save") from error
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize("error", FULL, ids=str)
def test_a_full_disk(error: Exception, tmp_path: Path) -> None:
    assert refusals.full(error)
    assert refusals.refusal(error)
    assert refusals.full(chained(error))

    def write(path: Path) -> None:
        raise error

    with pytest.raises(atomic.StorageError, match=r"out cannot be written: .*make room there, or name another place"):
        atomic.write_file(tmp_path / "out", write)
    with pytest.raises(atomic.StorageError, match="out cannot be written"):
        atomic.write_directory(tmp_path / "out", write)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "amount"),
    [
        (MemoryError(), ""),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
                "allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
            ),
            " for another 4,000.0 GB",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0"), " of the GPU for another 2.00 GiB"),
        (RuntimeError("std::bad_alloc"), ""),
    ],
    ids=str,
)
def test_memory(error: Exception, amount: str) -> None:
    for found in (refusals.refusal(error), refusals.refusal(chained(error))):
        assert found is not None
        assert found.startswith(f"There was not enough memory{amount}: ")
        assert "train.batch_tokens" in found


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "right"),
        (errno.EROFS, "can be written"),
        (errno.ENAMETOOLONG, "shorter"),
        (errno.ENOTDIR, "is a file"),
        (errno.ELOOP, "link"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENOENT, "name"),
    ],
)
def test_a_path_with_the_reason_and_what_to_do(number: int, advice: str) -> None:
    found = refusals.refusal(OSError(number, os.strerror(number), "runs/x"))
    assert found is not None
    assert found.startswith(f"runs/x: {os.strerror(number)}: ")
    assert advice in found


def test_other_refusals() -> None:
    assert "current directory" in str(refusals.refusal(FileNotFoundError(errno.ENOENT, "No such file or directory")))
    assert "set HOME" in str(refusals.refusal(RuntimeError("Could not determine home directory.")))
    assert "nested too deep" in str(refusals.refusal(RecursionError("maximum recursion depth exceeded")))
    assert "NUL" in str(refusals.refusal(ValueError("embedded null byte")))
    assert "UTF-8" in str(refusals.refusal(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")))
    assert "half a character" in str(refusals.refusal(UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates")))


def after(handled: BaseException, fault: Exception) -> Exception:
    """A fault that was raised while another error was being handled."""
    try:
        try:
            raise handled
        except type(handled):
            raise fault  # noqa: B904 (as a fault of a program does)
    except type(fault) as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        RuntimeError("shapes do not match"),
        ValueError("a row about being out of memory"),
        OSError("Can't load the tokenizer"),
        OSError(errno.EBADF, "Bad file descriptor"),
        after(FileNotFoundError(errno.ENOENT, "no", "cache.json"), TypeError("a fault")),
        after(RecursionError(), TypeError("a fault")),
    ],
    ids=repr,
)
def test_a_fault_stays_a_fault(error: Exception) -> None:
    assert refusals.refusal(error) is None


def test_a_fault_while_writing_stays_a_fault(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        atomic.write_file(tmp_path / "out", write)
