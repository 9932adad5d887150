"""What is shown of a training, and what becomes of it where it cannot be written."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from transfix.runs import callbacks


def test_curves_that_cannot_be_written_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """TensorBoard writes in a thread of its own, whose traceback nobody can act upon."""
    pytest.importorskip("tensorboard")
    from tensorboard.summary.writer.record_writer import RecordWriter

    printed: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    callbacks._quiet_threads.cache_clear()
    (curves,) = callbacks.tensorboard(tmp_path / "logs")
    state, arguments = TrainerState(), TrainingArguments(str(tmp_path / "out"), report_to=[])
    curves.on_train_begin(arguments, state, TrainerControl())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", full)
    monkeypatch.setattr(RecordWriter, "flush", full)
    with caplog.at_level(logging.WARNING, "transfix"):
        for step in range(30):  # more than the writer's queue holds
            curves.on_log(arguments, state, TrainerControl(), logs={"loss": float(step)})
        curves.on_train_end(arguments, state, TrainerControl())
    (said,) = caplog.messages
    assert "are written no more" in said
    assert "No space left on device" in said
    assert not printed

    failing = threading.Thread(target=full)
    failing.start()
    failing.join()
    assert [type(one.exc_value) for one in printed] == [OSError]  # other threads' errors are not held back
    callbacks._quiet_threads.cache_clear()
