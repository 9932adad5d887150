"""What a dry run tells: trainable parameters, rows, and an estimate from a few real steps, kept and used again."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from rich.console import Console

from transfix import data
from transfix.adapters.methods import METHODS, Part
from transfix.runs.specification import RunSpec
from transfix.studies import plan
from transfix.studies.calibration import Calibration, Calibrator, few, kind_of, measure
from transfix.studies.directory import Record, StudyDirectory, asked
from transfix.studies.running import resolved
from transfix.studies.specification import StudySpec

Make = Callable[..., dict[str, Any]]
KNOWN = Calibration(
    overhead=5.0, training=0.5, asking={"xnli": 0.25}, available=12, asked={"xnli": 40}, memory=3_000_000_000
)


class Here:
    """A worker that has done its task when it is made, in this process."""

    made = 0

    def __init__(self, task: Any, log: Path, environment: Any) -> None:
        Here.made += 1
        self.told: list[Any] = []
        self.status = measure(RunSpec.load(task["spec"]), Path(task["root"]), self.told.append)

    def poll(self) -> int:
        return self.status

    def messages(self) -> list[Any]:
        return self.told

    def stop(self) -> None:
        pass


def rendered(planned: list[plan.PlannedRun], jobs: int = 1) -> str:
    console = Console(width=200, file=io.StringIO())
    with console.capture() as capture:
        console.print(plan.plan_table(planned, jobs))
    return capture.get()


def test_a_few_real_steps_are_tried_once_and_kept(study: Make, tmp_path: Path) -> None:
    directory = StudyDirectory(tmp_path / "study")
    matrix = {"seed": [0, 1], "method": {"base": {"adapter": "base"}, "prefix": {}, "bad": {"adapter.layers": [9]}}}
    planned = resolved(StudySpec.load(study(matrix=matrix)))
    said: list[str] = []
    Here.made = 0
    found = plan.dry_run(directory, planned, Calibrator(directory, said.append, Here))
    assert Here.made == len(said) == 3  # not once for each seed
    base, prefix, bad, *_ = found
    assert (base.trainable, base.rows, base.asked) == (0, 0, 3)
    assert (prefix.trainable, prefix.rows, prefix.asked) == (4 * 2 * 32, 6, 3)
    kept = Calibrator(directory, said.append, Here).kept(prefix.run.spec)
    assert kept is not None
    assert kept.available > 1000  # all there are, whatever was tried
    assert kept.asked == {"xnli": len(data.load("xnli", "snapshot", "de", "test"))}
    assert plan.known(planned[:3], Calibrator(directory, said.append, Here)) == {
        base.run.name: base.seconds,
        prefix.run.name: prefix.seconds,
    }
    assert base.seconds
    assert prefix.seconds
    assert prefix.memory
    assert prefix.memory > 50_000_000
    assert (bad.seconds, bad.trainable) == (None, None)
    assert bad.problem
    assert not directory.store.root.exists()  # nothing is run
    table = rendered(found)
    assert "256" in table
    assert "Not tried: " in table
    assert "of unknown length" in table

    again = plan.dry_run(directory, planned[:2], Calibrator(directory, said.append, Here))
    assert Here.made == 3
    assert [entry.seconds for entry in again] == [base.seconds, prefix.seconds]
    (directory.root / "calibration.json").write_text("{")  # damaged: measured again
    plan.dry_run(directory, planned[:1], Calibrator(directory, said.append, Here))
    assert Here.made == 4


def test_what_is_tried_is_a_few_rows_of_the_run_itself(study: Make) -> None:
    content = study(matrix={"seed": [0]})
    content["base"]["train"] |= {
        "rows": 4000,
        "epochs": 3,
        "batch_rows": 5,
        "development_rows": 50,
        "early_stopping": 2,
    }
    content["base"]["evaluate"] = [{"task": "xnli", "limit": 300}, {"task": "xquad", "languages": ["de"], "limit": 2}]
    (run,) = resolved(StudySpec.load(content))
    tried = few(run.spec)
    assert tried.train is not None
    assert (tried.train.rows, tried.train.epochs, tried.train.batch_rows) == (20, 1, 5)
    assert [(len(entry.codes), entry.limit) for entry in tried.evaluate] == [(4, 6), (1, 2)]
    assert tried.adapter == run.spec.adapter


def test_the_kind_of_a_run(study: Make) -> None:
    values = [
        {"train.learning_rate": 0.5, "seed": 3, "adapter.init": "zero", "train.rows": 9, "evaluate.0.limit": 1},
        {"adapter.tokens": 7},
        {"train.batch_tokens": 99},
        {"dtype": "bfloat16"},
        {"evaluate.0.languages": ["sw"], "seed": 4},  # of the same seed it would be one run with the usual
    ]
    matrix = {"all": {str(index): value for index, value in enumerate([{}, *values])}}
    usual, same, *others = [kind_of(run.spec) for run in resolved(StudySpec.load(study(matrix=matrix)))]
    assert usual == same
    assert len({usual, *others}) == 5


def test_a_method_says_which_of_its_settings_change_no_speed(study: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by the names that settings of other methods have."""

    class Sparse(METHODS["lora"]):  # type: ignore[misc]
        method: Literal["sparse"] = "sparse"
        same_speed: ClassVar = Part.same_speed | {"seed"}
        init: Literal["few", "many"] = "few"
        seed: int = 0

    monkeypatch.setitem(METHODS, "sparse", Sparse)
    values: list[dict[str, Any]] = [{}, {"seed": 3}, {"learning_rate": 0.5}, {"init": "many"}, {"dropout": 0.5}]
    matrix = {"all": {str(index): {"adapter": {"method": "sparse"} | value} for index, value in enumerate(values)}}
    usual, seed, rate, *others = [kind_of(run.spec) for run in resolved(StudySpec.load(study(matrix=matrix)))]
    assert usual == seed == rate
    assert len({usual, *others}) == 3


@pytest.mark.parametrize(
    ("rows", "epochs", "limit", "seconds"),
    [
        (6, 1, 3, 5 + 3 + 0.75),
        (6, 2, 30, 5 + 6 + 7.5),
        (None, 1, None, 5 + 5 + 10),  # all there are: 12 less 2 for development, 40
        (100, 1, 100, 5 + 5 + 10),  # more than there are
    ],
)
def test_an_estimate_grows_with_rows(
    study: Make, rows: int | None, epochs: int, limit: int | None, seconds: float
) -> None:
    content = study(matrix={"seed": [0]})
    content["base"]["train"] |= {"rows": rows, "epochs": epochs, "development_rows": 2}
    content["base"]["evaluate"][0]["limit"] = limit
    (run,) = resolved(StudySpec.load(content))
    assert plan.estimate(run.spec, KNOWN) == seconds
    assert plan.training_rows(run.spec) == (None if rows is None else rows * epochs)
    assert plan.asked_rows(run.spec) == limit


def test_what_is_done_takes_no_time(study: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = StudyDirectory(tmp_path / "study")
    planned = resolved(StudySpec.load(study()))
    monkeypatch.setattr(Calibrator, "of", lambda self, spec: KNOWN)
    monkeypatch.setattr(StudyDirectory, "whole", lambda self, spec: True)
    calibrator = Calibrator(directory, lambda line: None)
    before = plan.dry_run(directory, planned, calibrator)
    assert [entry.seconds for entry in before] == [5.75, 8.75]
    with directory.claim(planned[1].name):
        directory.write_record(planned[1].name, Record(state="done", asked=asked(planned[1].spec)))
    after = plan.dry_run(directory, planned, calibrator)
    assert [(entry.state, entry.seconds) for entry in after] == [("waiting", 5.75), ("done", 0.0)]
    assert "2 runs, 6 s with 1 at once." in rendered(after)
    without = plan.dry_run(directory, planned[:1], None)
    assert without[0].seconds is None
    assert "1 run, time not known." in rendered(without)
