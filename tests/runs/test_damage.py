"""Every file of a finished run, damaged: what is read is what was written, or is refused by name. The advice helps."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.storage.damages import damaged, overwrite
from typer.testing import CliRunner, Result

from transfix import report
from transfix.adapters import AdapterFileError, files
from transfix.cli.app import app
from transfix.errors import TransfixError
from transfix.runs import records
from transfix.runs import run as experiment
from transfix.runs.metrics import compute_metrics
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run, RunStore
from transfix.runs.store.counts import kept
from transfix.statistics.metrics import Counted

LANGUAGES = ["eng_Latn", "deu_Latn", "swh_Latn"]


@pytest.fixture(scope="module")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is trained and measured. To be read only."""
    content = {
        "model": str(tiny_model),
        "dtype": "float32",
        "device": "cpu",
        "adapter": {"method": "lora", "rank": 2},
        "train": {"task": "mnli", "rows": 12, "development_rows": 3, "epochs": 1, "batch_rows": 6, "max_tokens": 64},
        "evaluate": [{"task": "xnli", "languages": LANGUAGES, "limit": 6, "calibration": {"rows": 4}}],
    }
    run = experiment.train(RunSpec.load(content), RunStore(tmp_path_factory.mktemp("finished") / "runs"))
    experiment.evaluate(run)
    means = run.label_means("xnli")
    assert means is not None
    run.write_own_label_means(means)
    return run.path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Run:
    """A copy that may be damaged; a run of before the files had checksums is `bare` of it."""
    shutil.copytree(finished, tmp_path / "runs" / finished.name)
    return Run(tmp_path / "runs" / finished.name)


# ---- what is read of each file


def _spec(path: Path) -> Any:
    return Run(path).spec.model_dump(mode="json")


def _of_json(name: str) -> Callable[[Path], Any]:
    return lambda path: Run(path).read_json(name)


def _metrics(path: Path) -> Any:
    return Run(path).metrics


def _adapter(path: Path) -> Any:
    record, tensors = files._read(path / "adapter")
    return record.model_dump(mode="json"), files.digest(tensors)


def _predictions(path: Path) -> Any:
    found = Run(path).predictions("xnli", "deu_Latn")
    assert found is not None
    return found.to_json(), Run(path).predictions_meta("xnli", "deu_Latn")


def _label_means(path: Path) -> Any:
    return Run(path).label_means("xnli")


def _own_label_means(path: Path) -> Any:
    return Run(path).own_label_means()


READERS: dict[str, Callable[[Path], Any]] = {
    "spec.yaml": _spec,
    "environment.json": _of_json("environment.json"),
    "training.json": _of_json("training.json"),
    "metrics.json": _metrics,
    "adapter/adapter.json": _adapter,
    "adapter/adapter.safetensors": _adapter,
    "predictions/xnli/deu_Latn.parquet": _predictions,
    "calibration/xnli.json": _label_means,
    "label_means.json": _own_label_means,
}
SEEN_BY_REPORTS = {name for name in READERS if not name.startswith(("adapter", "metrics", "label_means"))}


def _facts(record: records.RunRecord) -> Any:
    """What reports take from a run."""
    answers = {
        f"{task}/{code}": ({name: list(map(str, cells)) for name, cells in found.columns.items()}, dict(found.meta))
        for task, codes in record.predictions.items()
        for code, found in codes.items()
    }
    return record.spec, record.environment, record.training, answers, dict(record.label_means)


@pytest.mark.parametrize("name", list(READERS))
def test_damage_is_refused_by_name_or_changes_nothing(run: Run, name: str) -> None:
    file, read = run.path / name, READERS[name]
    whole, expected, facts = file.read_bytes(), read(run.path), _facts(records.read(run.path))
    refused = tried = 0
    for number, (what, content) in enumerate(damaged(whole)):
        file.write_bytes(content)
        tried += 1
        message = ""
        try:
            assert read(run.path) == expected, what
        except TransfixError as error:
            message = str(error)
        assert not message or Path(name).name in message or str(file.parent) in message, what
        refused += bool(message)
        if name in SEEN_BY_REPORTS and not number % 3:
            record = records.read(run.path)
            assert any(str(file) in line for line in record.damage) or _facts(record) == facts, what
    assert tried > 40
    assert refused > 0.9 * tried, "a checksum sees nearly all"
    file.write_bytes(whole)
    assert read(run.path) == expected


def test_a_flipped_bit_in_predictions_is_never_other_data(run: Run) -> None:
    """Each byte of a file once: without a checksum one in thirteen flips was read as other data."""
    file = run.predictions_path("xnli", "deu_Latn")
    whole = file.read_bytes()
    for place in range(0, len(whole), 5):
        overwrite(file, place, bytes([whole[place] ^ 1 << place % 8]))
        with pytest.raises(TransfixError, match=r"deu_Latn\.parquet is damaged"):
            run.predictions("xnli", "deu_Latn")
        overwrite(file, place, whole[place : place + 1])
    assert run.predictions("xnli", "deu_Latn") is not None


def test_a_specification_that_broke_off_is_never_taken_for_a_whole_one(run: Run) -> None:
    """What breaks off before its last line has lost its checksum too, as a file has that an earlier version wrote."""
    file = run.path / "spec.yaml"
    whole = file.read_bytes()
    end = whole.index(b"# checksum: ")
    lines = [place + 1 for place in range(end - 2) if whole[place : place + 1] == b"\n"]
    for place in sorted({*lines[::3], *lines[-40:], *range(7, end - 2, 97)}):
        file.write_bytes(whole[:place])
        with pytest.raises(TransfixError):
            _spec(run.path)
        assert any(str(file) in line for line in records.read(run.path).damage), whole[:place][-60:]
    file.write_bytes(whole[:end])
    assert records.read(run.path).damage == ()
    file.write_bytes(whole[:end].replace(b"  limit: 6\n", b"  limit: 5\n"))  # may be edited
    assert Run(run.path).spec.evaluate[0].limit == 5
    assert records.read(run.path).damage == ()


def test_damaged_counts_are_counted_again(tmp_path: Path) -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    counted = kept(tmp_path / "deu_Latn.parquet", "corpus_bleu", 1, lambda: Counted(values, "v1"))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for what, content in damaged(whole, flips=100):
        file.write_bytes(content)
        found = kept(tmp_path / "deu_Latn.parquet", "corpus_bleu", 1, lambda: counted)
        assert (found.values.tolist(), found.signature) == (values.tolist(), "v1"), what


def test_runs_of_before_there_were_checksums_are_read(run: Run, finished: Path) -> None:
    expected = {name: read(run.path) for name, read in READERS.items()}
    for name in READERS:
        file = run.path / name
        if file.suffix == ".json":
            content = json.loads(file.read_text())
            del content["checksum"]
            file.write_text(json.dumps(content))
        elif file.suffix == ".yaml":
            text, line, _ = file.read_text().rpartition("# checksum: ")
            assert line
            file.write_text(text)
        elif file.suffix == ".parquet":
            import pyarrow.parquet as pq

            table = pq.read_table(file)
            pq.write_table(table.replace_schema_metadata({b"transfix": table.schema.metadata[b"transfix"]}), file)
    assert {name: read(run.path) for name, read in READERS.items()} == expected
    assert records.read(run.path).damage == ()
    text = report.csv(report.collect(run.path))
    assert text == report.csv(report.collect(finished))


# ---- what is advised


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, (result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


def _advised(message: str) -> Iterator[list[str]]:
    """The commands in a message."""
    for command in re.findall(r"`transfix ([^`]+)`", message):
        yield command.split()


@pytest.mark.parametrize("name", ["adapter.json", "adapter.safetensors"])
def test_a_damaged_adapter(run: Run, name: str) -> None:
    """The same is said by both commands; deleted and trained again the run is what it was."""
    metrics = run.metrics
    whole = {file: (run.adapter_dir / file).read_bytes() for file in ("adapter.json", "adapter.safetensors")}
    for task, code in run.predicted():
        run.predictions_path(task, code).unlink()
    overwrite(run.adapter_dir / name, len(whole[name]) // 2, b"\x11\x12")
    said = refusal("evaluate", run.path)
    assert said == refusal("train", run.path / "spec.yaml", "--runs", run.path.parent)
    assert f"Delete {run.adapter_dir}, then train it anew" in said
    shutil.rmtree(run.adapter_dir)
    for command in _advised(said):
        assert call(*command).exit_code == 0
    assert {file: (run.adapter_dir / file).read_bytes() for file in whole} == whole
    assert call("evaluate", run.path).exit_code == 0
    assert run.metrics == metrics


def test_a_setting_of_an_adapter_that_was_changed(run: Run) -> None:
    """With another alpha the same tensors would answer otherwise."""
    record = json.loads((run.adapter_dir / "adapter.json").read_text())
    record["parts"][0]["alpha"] = 64.0
    (run.adapter_dir / "adapter.json").write_text(json.dumps(record))
    with pytest.raises(AdapterFileError, match=r"adapter\.json: its content is not what was written"):
        files.read_whole(run.adapter_dir)
    run.predictions_path("xnli", "deu_Latn").unlink()
    assert "its content is not what was written" in refusal("evaluate", run.path)


def test_damaged_predictions_in_a_report(run: Run, tmp_path: Path) -> None:
    """They are named, the command fails, averages over fewer languages are marked; what is advised brings all back."""
    before = {form: call("report", run.path, form).stdout for form in ("--csv", "--latex", "--markdown")}
    file = run.predictions_path("xnli", "deu_Latn")
    overwrite(file, file.stat().st_size // 2, b"\x11\x12")
    for form in before:
        result = call("report", run.path, form)
        assert result.exit_code == 2
        assert f"{file}: delete it, then run `transfix evaluate {run.path}`" in " ".join(result.stderr.split())
        if form == "--csv":
            lines = list(csv.DictReader(io.StringIO(result.stdout)))
            assert {line["missing"] for line in lines if line["level"] == "average"} == {"deu_Latn"}
            assert {line["missing"] for line in lines if line["level"] == "language"} == {""}
        else:
            assert {"--latex": r"$^{\dagger}$", "--markdown": "†"}[form] in result.stdout
    page = (run.path / "report.html").read_text()
    assert "predictions of xnli in deu_Latn cannot be read" in page
    assert "†" in page
    message = refusal("report", run.path)
    file.unlink()
    for command in _advised(message):
        assert call(*command).exit_code == 0
    for form, text in before.items():
        result = call("report", run.path, form)
        assert (result.exit_code, result.stdout) == (0, text)


@pytest.mark.parametrize(
    "name", ["environment.json", "metrics.json", "training.json", "spec.yaml", "calibration/xnli.json"]
)
def test_a_damaged_record_is_deleted_as_advised(run: Run, finished: Path, name: str) -> None:
    """Then the commands go through, and the numbers are the same."""
    own = finished.parent / "own.yaml"
    own.write_text((finished / "spec.yaml").read_text())
    file = run.path / name
    file.write_bytes(file.read_bytes().replace(b":", b";", 1))
    if name != "metrics.json":  # which only Python reads
        refusal("report", run.path, "--csv")
    with pytest.raises(TransfixError, match=r"[Dd]elete"):
        READERS[name](run.path)
    file.unlink()
    assert call("train", own, "--runs", run.path.parent).exit_code == 0
    assert call("evaluate", run.path).exit_code == 0
    found = call("report", run.path, "--csv")
    assert found.exit_code == 0
    assert found.stdout == report.csv(report.collect(finished))
    assert run.metrics == Run(finished).metrics


def test_a_damaged_specification_does_not_train_another_run(run: Run) -> None:
    text = (run.path / "spec.yaml").read_text()
    (run.path / "spec.yaml").write_text(text.replace("rank: 2", "rank: 3"))
    said = refusal("train", run.path / "spec.yaml", "--runs", run.path.parent)
    assert "is not what its run was made with" in said
    assert "If nobody has edited it, it is damaged. Delete the damaged file" in said
    (run.path / "spec.yaml").write_text(text.replace("limit: 6", "limit: 5"))
    said = refusal("train", run.path / "spec.yaml", "--runs", run.path.parent)
    assert "If you have edited it yourself, take out its last line." in said
    (run.path / "spec.yaml").write_text("".join((run.path / "spec.yaml").read_text().splitlines(keepends=True)[:-1]))
    assert call("train", run.path / "spec.yaml", "--runs", run.path.parent).exit_code == 0
    assert list(run.path.parent.iterdir()) == [run.path]


def test_a_specification_that_is_another_file(run: Run) -> None:
    """Without a checksum it is of an earlier version, which had a model."""
    (run.path / "spec.yaml").write_text('{"pid": 12, "host": "here"}')
    assert str(run.path / "spec.yaml") in refusal("report", run.path, "--csv")


@pytest.mark.parametrize("refused", ["predictions", "predictions/xnli"])
def test_a_folder_that_cannot_be_read_is_none_that_is_empty(
    run: Run, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def scanned(path: Any) -> Any:
        if str(path) == str(run.path / refused):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    whole = run.metrics
    monkeypatch.setattr(os, "scandir", scanned)
    assert f"{run.path / refused} cannot be read: Permission denied" in refusal("evaluate", run.path)
    assert run.metrics == whole
    assert f"{run.path / refused} cannot be read: Permission denied" in refusal("report", run.path, "--csv")


@pytest.mark.parametrize("name", ["predictions/xnli/deu_Latn.parquet", "calibration/xnli.json"])
def test_metrics_are_of_all_that_is_there(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be read once and not again is missing in no metrics without a word."""
    record = records.read(run.path)
    line = f"{run.path / name}: delete it, then run `transfix evaluate {run.path}`"
    monkeypatch.setattr(records, "read", lambda _: replace(record, damage=(line,)))
    with pytest.raises(TransfixError, match=re.escape(line)):
        compute_metrics(run)
