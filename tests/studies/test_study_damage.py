"""What a study keeps on disk, damaged: it is refused by name or made again, and no other run is counted."""

from __future__ import annotations

import errno
import fcntl
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.storage.damages import damaged
from typer.testing import CliRunner

from transfix.cli.app import app
from transfix.errors import TransfixError
from transfix.storage import checksums
from transfix.studies.calibration import Calibration, Calibrator, kind_of
from transfix.studies.directory import Record, StudyDirectory, asked
from transfix.studies.running import resolved
from transfix.studies.specification import StudySpec


@pytest.fixture
def kept(study: Callable[..., dict[str, Any]], tmp_path: Path) -> StudyDirectory:
    """The directory of a study that was begun, with a record and a calibration."""
    found = StudyDirectory(tmp_path / "study")
    loaded = StudySpec.load(study())
    found.open(loaded)
    planned = resolved(loaded)
    found.keep_plan(planned)
    for run in planned:
        found.store.open(run.spec)
        found.work(run.name).mkdir(parents=True)
        found.write_record(run.name, Record(state="done", attempts=1, asked=asked(run.spec), seconds=12.5))
    return found


def test_a_plan_that_is_gone_counts_no_other_runs(kept: StudyDirectory, study: Callable[..., dict[str, Any]]) -> None:
    plan = kept.plan()
    assert plan is not None
    before = resolved(StudySpec.load(study(), ["train.rows=3"]))
    other = next(run for run in before if run.name not in {own.name for own in plan})
    kept.store.open(other.spec)

    def report(*form: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["report", str(kept.root), *form])
        return result.exit_code, result.stdout, result.stderr

    status, whole, said = report("--csv")
    assert (status, "Left out, from before the study was changed: 1 run" in said) == (0, True)
    (kept.root / "plan.json").unlink()
    status, again, said = report("--csv")
    assert (status, again) == (0, whole)
    assert "plan.json is missing: the study's runs are those of resolved.yaml" in said
    assert "Left out, from before the study was changed: 1 run" in said

    resolved_yaml = (kept.root / "resolved.yaml").read_bytes()
    (kept.root / "resolved.yaml").write_bytes(resolved_yaml.replace(b"rows: 6", b"rows: 5"))
    for form in ((), ("--markdown",), ("--csv",), ("--latex",)):
        status, shown, said = report(*form)
        assert status == 2, (form, said)
        assert "plan.json is missing, and cannot be made again from resolved.yaml" in said
        assert "every run beside it is counted" in said
        assert form != ("--markdown",) or "every run beside it is counted" in shown
    (kept.root / "resolved.yaml").write_bytes(resolved_yaml)
    kept.keep_plan(plan)
    assert report("--csv")[0] == 0


def test_no_run_of_a_study_has_begun(kept: StudyDirectory, study: Callable[..., dict[str, Any]]) -> None:
    changed = study(matrix={})
    changed["base"]["train"]["rows"] = 3
    kept.keep_plan(resolved(StudySpec.load(changed)))
    result = CliRunner().invoke(app, ["report", str(kept.root), "--csv"])
    assert result.exit_code == 2
    assert "no run of the study as it is now has begun; transfix report" in result.stderr
    assert result.stdout == ""


def test_a_damaged_plan_counts_no_other_runs(kept: StudyDirectory) -> None:
    plan, file = kept.plan(), kept.root / "plan.json"
    assert plan is not None
    whole = file.read_bytes()
    for what, content in damaged(whole):
        file.write_bytes(content)
        message = ""
        try:
            assert StudyDirectory(kept.root).plan() == plan, what
        except TransfixError as error:
            message = str(error)
        assert not message or re.search(
            r"plan\.json is damaged: .+ Delete it, then run the study's command again", message
        )
    content = json.loads(whole)
    for entries in (content["runs"][:1], [{**content["runs"][0], "run": "lora-tiny-0123456789ab"}]):
        file.write_text(json.dumps({**content, "runs": entries}))
        with pytest.raises(TransfixError, match="damaged"):
            kept.plan()
        result = CliRunner().invoke(app, ["report", str(kept.root), "--csv"])
        assert result.exit_code == 2
        assert "plan.json is damaged" in result.stderr
    file.write_text(json.dumps(content["runs"]))
    assert kept.plan() == plan, "of before it had a checksum"
    file.write_text(json.dumps([{**content["runs"][0], "run": "lora-tiny-0123456789ab"}]))
    with pytest.raises(TransfixError, match="is not the run of its specification"):
        kept.plan()
    file.unlink()
    assert kept.plan() is None
    kept.keep_plan(plan)  # as the study's command does
    assert file.read_bytes() == whole


def test_damage_to_what_a_study_keeps_besides(kept: StudyDirectory, caplog: pytest.LogCaptureFixture) -> None:
    study, file = kept.study(), kept.root / "resolved.yaml"
    whole = file.read_bytes()
    for what, content in damaged(whole):
        file.write_bytes(content)
        message = ""
        try:
            assert kept.study() == study, what
        except TransfixError as error:
            message = str(error)
        assert not message or "resolved.yaml" in message, what
    file.write_bytes(whole.replace(b"rows: 6", b"rows: 7"))
    with pytest.raises(
        TransfixError, match=r"resolved\.yaml is damaged: .+Delete it, then run the study's command again"
    ):
        kept.study()
    file.write_bytes(whole[: whole.index(b"\n") + 1])
    with pytest.raises(TransfixError, match=r"resolved\.yaml is damaged: .+Delete it, then run the study's command"):
        kept.study()
    file.unlink()
    kept.open(study)
    assert file.read_bytes() == whole

    name = next((kept.root / "work").iterdir()).name
    record, file = kept.record(name), kept.work(name) / "record.json"
    for what, content in damaged(file.read_bytes()):
        file.write_bytes(content)
        assert kept.record(name) in (None, record), what
    assert [line.getMessage().split(" is damaged")[0] for line in caplog.records] == [str(file)], "said once"

    calibrator = Calibrator(kept, lambda line: None)
    made = Calibration(overhead=1.5, training=0.25, asking={"xnli": 0.5}, available=9, asked={"xnli": 3}, memory=10**6)
    (plan, *_) = kept.plan() or ()
    calibrator.path.write_text(json.dumps(checksums.sealed({kind_of(plan.spec): made.model_dump()})))
    assert calibrator.kept(plan.spec) == made
    for what, content in damaged(calibrator.path.read_bytes()):
        calibrator.path.write_bytes(content)
        assert calibrator.kept(plan.spec) in (None, made), what


def test_finished_runs_are_finished_where_there_are_no_locks(
    kept: StudyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run, *_) = kept.plan() or ()
    (kept.work(run.name) / ".lock").touch()
    monkeypatch.setattr(StudyDirectory, "whole", lambda *_: True)
    assert kept.state(run.spec) == "done"

    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    assert kept.state(run.spec) == "done"
