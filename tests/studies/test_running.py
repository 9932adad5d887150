"""Running a study: what is done once, failed, retried, edited; and what its directory says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from transfix.errors import TransfixError
from transfix.studies.directory import StudyDirectory
from transfix.studies.running import Summary, resolved, status

Make = Callable[..., dict[str, Any]]


def states(summary: Summary) -> list[str]:
    return list(summary.states.values())


def test_a_study_is_done_once_and_growing_it_does_only_what_is_new(
    mine: Any, study: Make, three: dict[str, Any]
) -> None:
    content = study(matrix={"seed": [0], **three})
    summary = mine.run(content, jobs=2)
    assert summary.done
    assert mine.launch.most == 2
    names = sorted(summary.states)
    trained = [name for name in names if not name.startswith("base")]
    assert mine.noted("trained") == trained
    assert mine.noted("asked") == [f"{name} deu_Latn 3" for name in names]
    assert [run.name for run in mine.directory.store.runs()] == names
    assert mine.said[0] == "3 runs: 0 done, 0 running, 0 failed, 3 left"
    assert any("3 done, 0 running, 0 failed, 0 left" in line for line in mine.said)
    assert sum(line.startswith("done: ") for line in mine.said) == 3

    mine.run(content)
    assert mine.noted("trained") == mine.noted("asked") == []
    assert mine.said == ["3 runs: 3 done, 0 running, 0 failed, 0 left"]

    content["matrix"]["seed"] = [0, 1]  # a seed more: base has none
    summary = mine.run(content)
    new = sorted(set(summary.states) - set(names))
    assert len(new) == 2
    assert mine.noted("trained") == new
    assert mine.noted("asked") == [f"{name} deu_Latn 3" for name in new]

    content["base"]["evaluate"][0].update(languages=["de", "fr"], limit=6)  # a language and rows more
    summary = mine.run(content)
    assert summary.done
    assert mine.noted("trained") == []
    everything = sorted(summary.states)
    assert mine.noted("asked") == sorted(
        f"{name} {code}" for name in everything for code in ("deu_Latn 3", "fra_Latn 6")
    )

    content["matrix"]["seed"] = [0]  # less again: nothing is lost
    assert mine.run(content).done
    assert mine.noted("trained") == mine.noted("asked") == []
    assert len(mine.directory.store.runs()) == 5


def test_a_failed_run_is_recorded_and_retried_when_asked(mine: Any, study: Make, three: dict[str, Any]) -> None:
    content = study(matrix=three)
    mine.directory.root.mkdir()
    (mine.directory.root / "broken").write_text("prefix")
    summary = mine.run(content)
    assert states(summary) == ["done", "failed", "done"]
    ((name, error),) = summary.errors.items()
    assert error.startswith("MemoryError: nothing left\nThere was not enough memory: lower train.batch_tokens")
    assert "Traceback" in mine.directory.log(name).read_text()
    assert any(line.strip().startswith("MemoryError: nothing left") for line in mine.said)
    mine.noted("trained")

    assert states(mine.run(content)) == ["done", "failed", "done"]  # not again by itself
    assert mine.noted("trained") == []
    assert status(mine.directory, mine.plan(content))["failed"] == 1

    assert states(mine.run(content, retry_failed=True)) == ["done", "failed", "done"]
    assert mine.noted("trained") == [name]
    record = mine.directory.record(name)
    assert record is not None
    assert record.attempts == 2

    (mine.directory.root / "broken").unlink()
    assert mine.run(content, retry_failed=True).done
    found = status(mine.directory, mine.plan(content))
    assert (found["done"], found["failed"], found["runs"][1]["attempts"], found["runs"][1]["error"]) == (3, 0, 3, None)


def test_a_mistake_that_only_the_model_shows(mine: Any, study: Make) -> None:
    content = study(matrix={"adapter.layers": [[9], [1]]})
    summary = mine.run(content)
    assert states(summary) == ["failed", "done"]
    (error,) = summary.errors.values()
    assert "9" in error
    assert "Error" not in error


def test_what_a_finished_run_left_must_still_be_there(mine: Any, study: Make) -> None:
    content = study()
    mine.run(content)
    _, prefix = mine.directory.store.runs()
    prefix.predictions_path("xnli", "deu_Latn").unlink()
    mine.noted("trained")
    mine.noted("asked")
    assert mine.run(content).done
    assert (mine.noted("trained"), mine.noted("asked")) == ([], [f"{prefix.name} deu_Latn 3"])
    (mine.directory.work(prefix.name) / "record.json").write_text("{")  # a damaged record is begun again, at no cost
    assert mine.run(content).done
    assert mine.noted("trained") == mine.noted("asked") == []


def test_a_directory_of_something_else_is_left_alone(mine: Any, study: Make, tmp_path: Path) -> None:
    mine.plan(study())
    with pytest.raises(TransfixError, match="holds the study tiny: name another directory"):
        mine.plan(study(name="other"))
    (tmp_path / "study" / "resolved.yaml").write_text("mine: 1\n")
    with pytest.raises(TransfixError, match="was not written by transfix"):
        mine.plan(study())
    with pytest.raises(TransfixError, match="is not the directory of a study"):
        StudyDirectory(tmp_path).study()


def test_rows_that_are_not_there_are_said_before_anything_is_run(mine: Any, study: Make) -> None:
    files = {"a": {"train.data": {"files": "no/{lang}.tsv"}}, "b": {"train.data": {"files": "none/{lang}.tsv"}}}
    with pytest.raises(TransfixError) as caught:
        mine.plan(study(matrix={"rows": files}))
    assert "no/" in str(caught.value)
    assert "run rows a: train.data" in str(caught.value)
    assert "none/" in str(caught.value)


def test_the_copy_of_the_study_says_what_was_run(mine: Any, study: Make) -> None:
    planned = mine.plan(study())
    kept = yaml.safe_load((mine.directory.root / "resolved.yaml").read_text())
    assert kept["matrix"] == study()["matrix"]
    assert [run.name for run in resolved(mine.directory.study())] == [run.name for run in planned]


def test_how_a_study_does_is_known_without_its_rows_and_its_model(mine: Any, study: Make, tmp_path: Path) -> None:
    rows = [{"premise": f"{n} birds", "hypothesis": "birds", "label": n % 3} for n in range(8)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    content = study()
    content["base"]["train"]["data"] = {"files": str(tmp_path / "train.jsonl")}
    mine.run(content)
    planned = mine.plan(content)
    mine.directory.keep_plan(planned)
    before = status(mine.directory, planned)
    assert before["done"] == 2

    (tmp_path / "train.jsonl").unlink()
    with pytest.raises(TransfixError):
        mine.plan(content)
    kept = StudyDirectory(mine.directory.root).plan()
    assert kept is not None
    assert status(mine.directory, kept) == before
    assert mine.directory.planned(kept) == ({run.name for run in planned}, 0)

    (mine.directory.root / "plan.json").write_text('["an older form"]')
    assert mine.directory.plan() is None
