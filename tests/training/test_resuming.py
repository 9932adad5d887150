"""An interrupted training that is started again ends as the unbroken one, bit for bit, wherever it was interrupted."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.storage.damages import damaged, overwrite
from tests.storage.disk import NAMED, Disk
from torch import Tensor
from transformers import TrainerCallback

from transfix import LoRA, PrefixTuning
from transfix.batches import Tree
from transfix.errors import TransfixError
from transfix.training import AdapterTrainer, checkpoints, trainer

Prepared = Callable[..., AdapterTrainer]
Steps = Callable[..., list[list[list[Tree]]]]
Tensors = Callable[[AdapterTrainer], dict[str, Tensor]]

# Start values that learning rates are relative to, and dropout, which draws random numbers at every step.
PARTS = (PrefixTuning(tokens=3, learning_rate_scale="relative"), LoRA(rank=2, dropout=0.3, learning_rate=0.01))
FILES = {"adapter.json", "adapter.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json"}
MEASURED = [0.1, 0.5, 0.3, 0.4, 0.9, 0.9, 0.9, 0.9]  # by step: patience 2 ends it after step 4


class Archive(TrainerCallback):
    """Copies the directory of checkpoints each time one has been written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        shutil.copytree(args.output_dir, self.directory / str(state.global_step))


@pytest.fixture
def start(prepared: Prepared, steps: Steps) -> Callable[..., AdapterTrainer]:
    """A trainer of eight steps that writes a checkpoint after each and measures itself after each."""

    def make(output: Path, **changes: Any) -> AdapterTrainer:
        box: list[AdapterTrainer] = []

        def develop() -> dict[str, float]:
            return {"accuracy": MEASURED[box[0].state.global_step - 1], "loss": 1.0}

        options: dict[str, Any] = {"checkpoint_every": 1, "evaluate_every": 1, "warmup": 0.2} | changes
        box.append(prepared(*PARTS, steps=steps(2), output=output, develop=develop, **options))
        return box[0]

    return make


def assert_same_end(first: AdapterTrainer, second: AdapterTrainer) -> None:
    assert first.state.global_step == second.state.global_step
    for (name, tensor), other in zip(first.adapter.tensors().items(), second.adapter.tensors().values(), strict=True):
        assert torch.equal(tensor, other), name
    measured = [[e for e in made.state.log_history if "eval_accuracy" in e] for made in (first, second)]
    assert [(e["step"], e["eval_accuracy"]) for e in measured[0]] == [
        (e["step"], e["eval_accuracy"]) for e in measured[1]
    ]
    logged = [[(e["step"], e["loss"]) for e in made.state.log_history if "loss" in e] for made in (first, second)]
    assert logged[0] == logged[1], "the mean of a log is over all steps since the one before, whoever made them"


@pytest.mark.parametrize("every", [1, 3])
def test_from_each_checkpoint(start: Callable[..., AdapterTrainer], tmp_path: Path, every: int) -> None:
    unbroken = start(tmp_path / "unbroken", callbacks=[Archive(tmp_path / "archive")], checkpoint_every=every)
    unbroken.run()
    archived = sorted(int(path.name) for path in (tmp_path / "archive").iterdir())
    assert archived == [step for step in range(1, 9) if step % every == 0 or step == 8]
    for step in archived:
        output = tmp_path / "archive" / str(step)
        assert [path.name for path in output.iterdir()] == [f"checkpoint-{step}"], "older checkpoints are removed"
        assert {path.name for path in (output / f"checkpoint-{step}").iterdir()} >= FILES
        torch.manual_seed(step)  # whatever state the process is in
        resumed = start(output, checkpoint_every=every)
        resumed.run()
        assert_same_end(unbroken, resumed)


def test_from_each_checkpoint_of_a_training_that_stops_early(
    start: Callable[..., AdapterTrainer], tmp_path: Path
) -> None:
    unbroken = start(tmp_path / "unbroken", callbacks=[Archive(tmp_path / "archive")], early_stopping=2)
    unbroken.run()
    assert unbroken.state.global_step == 4
    best = (unbroken.best_dir / "adapter.safetensors").read_bytes()
    for step in range(1, 5):
        resumed = start(tmp_path / "archive" / str(step), early_stopping=2)
        resumed.run()
        assert_same_end(unbroken, resumed)
        assert (resumed.best_dir / "adapter.safetensors").read_bytes() == best


def interrupted(made: AdapterTrainer, owner: Any, name: str, number: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Runs until the `number`-th call of a function, which raises in its place; whether it came to that."""
    whole, calls = getattr(owner, name), iter(range(number))

    def broken(*args: Any, **kwargs: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, broken)
        try:
            made.run()
        except KeyboardInterrupt:
            return True
        return False


# Where a checkpoint can be interrupted: in each file that it writes, when it is put in its place, when old ones go.
PLACES = [
    *(pytest.param(torch, "save", number, id=f"save-{number}") for number in (0, 1, 2, 4)),
    *(pytest.param(os, "rename", number, id=f"rename-{number}") for number in (0, 1, 2, 3, 6, 9, 16, 18, 25)),
    *(pytest.param(shutil, "rmtree", number, id=f"rmtree-{number}") for number in (1, 4, 5, 7)),
]


STOPPING = {"early_stopping": 4, "checkpoint_every": 2}


@pytest.fixture(scope="module")
def kept() -> dict[str, AdapterTrainer]:
    """Trainings that several tests look at."""
    return {}


@pytest.fixture
def unbroken(
    start: Callable[..., AdapterTrainer], kept: dict[str, AdapterTrainer], tmp_path_factory: pytest.TempPathFactory
) -> AdapterTrainer:
    """One training with `STOPPING` that nothing interrupts."""
    if not kept:
        kept["unbroken"] = start(tmp_path_factory.mktemp("unbroken"), **STOPPING)
        kept["unbroken"].run()
    return kept["unbroken"]


@pytest.mark.parametrize(("owner", "name", "number"), PLACES)
def test_interrupted_while_writing(
    start: Callable[..., AdapterTrainer],
    unbroken: AdapterTrainer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    number: int,
) -> None:
    output = tmp_path / "broken"
    assert interrupted(start(output, **STOPPING), owner, name, number, monkeypatch)
    for path in output.glob("checkpoint-*"):
        assert {file.name for file in path.iterdir()} >= FILES, "a checkpoint is whole or absent"
    again = start(output, **STOPPING)
    again.run()
    assert_same_end(unbroken, again)
    first, second = (made.best_dir / "adapter.safetensors" for made in (unbroken, again))
    assert first.read_bytes() == second.read_bytes()
    assert not list(output.glob(".*"))


@pytest.mark.skipif(not NAMED, reason="descriptors have no names here")
def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(
    start: Callable[..., AdapterTrainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And before the one it replaces goes: a machine that loses its power in between has one of them whole."""
    disk = Disk(monkeypatch)

    class Durable(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            disk.assert_durable(Path(args.output_dir) / f"checkpoint-{state.global_step}")
            disk.assert_durable(Path(args.output_dir) / "best")

    output = tmp_path / "checkpoints"
    start(output, callbacks=[Durable()], checkpoint_every=4, early_stopping=8).run()
    renamed = next(i for i, event in enumerate(disk.events) if event[::2] == ("renamed", str(output / "checkpoint-8")))
    flushed = disk.events.index(("flushed", str(output)), renamed)
    moved_away = [i for i, event in enumerate(disk.events) if event[:2] == ("renamed", str(output / "checkpoint-4"))]
    assert flushed < moved_away[-1]


def test_what_is_left_of_a_torn_checkpoint_is_removed(start: Callable[..., AdapterTrainer], tmp_path: Path) -> None:
    torn = tmp_path / "torn" / ".checkpoint-3.7-ab.tmp"
    torn.mkdir(parents=True)
    (torn / "adapter.safetensors").write_bytes(b"half")
    unbroken, again = start(tmp_path / "unbroken"), start(tmp_path / "torn")
    unbroken.run()
    again.run()
    assert_same_end(unbroken, again)
    assert {path.name for path in (tmp_path / "torn").iterdir()} == {"checkpoint-8"}


def test_the_time_of_every_process_counts(
    start: Callable[..., AdapterTrainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(trainer.time, "monotonic", lambda: now[0])

    class Ticks(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            now[0] += 10

    unbroken = start(tmp_path / "unbroken", callbacks=[Ticks(), Archive(tmp_path / "archive")])
    unbroken.run()
    assert unbroken.seconds == 80
    now[0] += 1000  # nobody works
    resumed = start(tmp_path / "archive" / "5", callbacks=[Ticks()])
    resumed.run()
    assert resumed.seconds == 80


# ---- damage

WRITTEN = [*sorted(FILES), "seconds.json", "loss.json", "digests.json"]


@pytest.fixture
def two(start: Callable[..., AdapterTrainer], tmp_path: Path) -> tuple[AdapterTrainer, Path]:
    """An unbroken training, and a place where its checkpoints 3 and 5 stand side by side, as a kill leaves them."""
    unbroken = start(tmp_path / "unbroken", callbacks=[Archive(tmp_path / "archive")])
    unbroken.run()
    output = tmp_path / "archive" / "5"
    (tmp_path / "archive" / "3" / "checkpoint-3").rename(output / "checkpoint-3")
    return unbroken, output


def test_a_damaged_checkpoint_is_named_and_the_newest_whole_one_used(
    start: Callable[..., AdapterTrainer], two: tuple[AdapterTrainer, Path]
) -> None:
    unbroken, output = two
    assert {path.name for path in (output / "checkpoint-5").iterdir()} == set(WRITTEN)
    assert checkpoints.newest(output) == output / "checkpoint-5"
    for name in WRITTEN:
        file = output / "checkpoint-5" / name
        whole = file.read_bytes()
        for what, content in damaged(whole, flips=12):
            file.write_bytes(content)
            said: list[str] = []
            found = checkpoints.newest(output, said.append)
            if (
                name == "digests.json" and found == output / "checkpoint-5"
            ):  # its own layout, or the name of its checksum
                continue
            assert found == output / "checkpoint-3", (name, what)
            (line,) = said
            assert str(file.parent) in line
            assert name in line
            assert line.endswith("training goes on from checkpoint-3, and ends with the same adapter.")
        file.unlink()
        assert (name == "digests.json") == (checkpoints.newest(output) == output / "checkpoint-5"), (
            "of before it had digests"
        )
        file.write_bytes(whole)
    overwrite(output / "checkpoint-5" / "optimizer.pt", 900, b"\x01\x02\x03")

    class Stays(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 4:
                assert (output / "checkpoint-5").exists(), "what is damaged is not deleted"

    resumed = start(output, callbacks=[Stays()])
    resumed.run()
    assert_same_end(unbroken, resumed)
    assert [path.name for path in output.iterdir()] == ["checkpoint-8"]


def test_without_a_whole_checkpoint_it_starts_again(
    start: Callable[..., AdapterTrainer], two: tuple[AdapterTrainer, Path]
) -> None:
    unbroken, output = two
    for step in (3, 5):
        (output / f"checkpoint-{step}" / "trainer_state.json").write_text("{")
    said: list[str] = []
    assert checkpoints.newest(output, said.append) is None
    assert all(line.endswith("training begins from the start, and ends with the same adapter.") for line in said)
    assert len(said) == 2
    again = start(output)
    again.run()
    assert_same_end(unbroken, again)


def test_checkpoints_of_before_they_had_digests(two: tuple[AdapterTrainer, Path]) -> None:
    _, output = two
    (output / "checkpoint-5" / "digests.json").unlink()
    for name in sorted(FILES):
        assert checkpoints.newest(output) == output / "checkpoint-5"
        file = output / "checkpoint-5" / name
        whole = file.read_bytes()
        for content in (whole[: len(whole) // 2], b""):
            file.write_bytes(content)
            assert checkpoints.newest(output) == output / "checkpoint-3", name
        file.write_bytes(whole)
    file = output / "checkpoint-5" / "optimizer.pt"
    whole, before = file.read_bytes(), members(file)
    for what, content in damaged(whole, flips=60):  # torch's archives have sums of their own
        file.write_bytes(content)
        assert checkpoints.newest(output) == output / "checkpoint-3" or members(file).items() <= before.items(), what


def members(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_best_adapter_is_damaged(start: Callable[..., AdapterTrainer], tmp_path: Path) -> None:
    """It is told before the rest of the training; deleted as advised, the training ends as the unbroken one."""
    unbroken = start(tmp_path / "unbroken", callbacks=[Archive(tmp_path / "archive")], early_stopping=2)
    unbroken.run()
    output = tmp_path / "archive" / "3"
    file = output / "best" / "adapter.safetensors"
    overwrite(file, file.stat().st_size - 8, b"\x01\x02\x03")
    for _ in range(2):
        with pytest.raises(
            TransfixError, match=rf"not of the same save(?s:.*)Delete {output}, then run the same command"
        ):
            start(output, early_stopping=2).run()
    shutil.rmtree(output)
    again = start(output, early_stopping=2)
    again.run()
    assert_same_end(unbroken, again)
    for name, tensor in again.best().items():
        assert torch.equal(tensor, unbroken.best()[name])
    shutil.rmtree(again.best_dir)
    with pytest.raises(TransfixError, match="no such file"):
        again.best()
