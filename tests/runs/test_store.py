"""A run's record: whoever was killed while writing, a file that exists is whole; and one process writes at a time."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from transfix.errors import TransfixError
from transfix.runs.environment import describe
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run, RunStore
from transfix.storage import atomic, lock

META = {"task": "xnli", "split": "test", "template": "{premise}\n{hypothesis}", "verbaliser": {"entailment": " yes"}}


def spec(**changes: Any) -> RunSpec:
    return RunSpec.load({"model": "tiny", "dtype": "float32", "adapter": "lora", "train": {"task": "mnli"}, **changes})


def frame(rows: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [str(row) for row in range(rows)],
            "language": "deu_Latn",
            "prompt_hash": "abc",
            "answer": "neutral",
            "gold": ["neutral", None, "entailment"] * (rows // 3),
            "score": np.array([1.0, np.nan, 0.0] * (rows // 3)),
            "truncated": False,
            "option_scores": [[-0.1, -2.5, -3.0]] * rows,
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(store: RunStore) -> Run:
    return store.open(spec())


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts a Python process that has the package."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def temporaries(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if atomic.is_temporary(path)]


# ---- the record


def test_open(store: RunStore) -> None:
    wanted = spec(evaluate=[{"task": "xnli", "limit": 5}])
    run = store.open(wanted)
    assert run.path == store.root / wanted.name
    assert Run(run.path).spec == wanted
    environment = run.environment
    assert environment["dtype"] == "float32"
    assert set(environment) >= {"started", "python", "versions", "git", "platform", "processor", "cores", "device"}
    assert set(environment["versions"]) >= {"transfix", "torch", "transformers", "peft"}

    more = spec(evaluate=[{"task": "afrixnli"}], device="cpu")
    again = store.open(more)
    assert again.path == run.path
    assert Run(run.path).spec == more, "what is evaluated may change"
    assert again.environment == environment, "where it was started may not"
    assert [found.path for found in store.runs()] == [run.path]


def test_an_unresolved_specification_has_no_run(store: RunStore) -> None:
    with pytest.raises(ValueError, match="dtype"):
        store.open(spec(dtype="auto"))


def test_environment_imports_nothing() -> None:
    code = (
        "import sys, json; from transfix.runs.environment import describe\n"
        "found = describe('cuda:0', 'bfloat16'); loaded = [m for m in ('torch', 'pandas') if m in sys.modules]\n"
        "print(json.dumps([found['versions']['torch'], found['accelerator'], loaded]))"
    )
    process = start(code)
    assert json.loads(line(process)) == [describe("cpu", "x")["versions"]["torch"], None, []]
    process.communicate()


def test_predictions(run: Run) -> None:
    assert run.predictions("xnli", "deu_Latn") is None
    assert run.predictions_meta("xnli", "deu_Latn") is None
    given = frame().assign(extra=[1, 2, 3])
    run.write_predictions("xnli", "deu_Latn", given, META)
    found = run.predictions("xnli", "deu_Latn")
    assert found is not None
    assert list(found["id"]) == ["0", "1", "2"]
    assert found["gold"].isna().tolist() == [False, True, False]
    assert found["score"].isna().tolist() == [False, True, False]
    assert found["truncated"].dtype == bool
    assert list(found["option_scores"][0]) == [-0.1, -2.5, -3.0]
    assert list(found["extra"]) == [1, 2, 3]
    assert run.predictions_meta("xnli", "deu_Latn") == META
    assert run.predicted() == [("xnli", "deu_Latn")]
    with pq.ParquetFile(run.predictions_path("xnli", "deu_Latn")) as file:
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert temporaries(run.path) == []


def test_predictions_that_are_wrong_are_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="lack gold"):
        run.write_predictions("xnli", "deu_Latn", frame().drop(columns="gold"), META)
    with pytest.raises(ValueError, match="twice"):
        run.write_predictions("xnli", "deu_Latn", frame().assign(id="same"), META)
    with pytest.raises(ValueError, match="name of a file"):
        run.write_predictions("../xnli", "deu_Latn", frame(), META)
    assert run.predicted() == []


def test_metrics(run: Run) -> None:
    assert run.metrics is None
    run.write_metrics({"accuracy": 0.5, "name": "नहीं"})
    assert run.metrics == {"accuracy": 0.5, "name": "नहीं"}
    with pytest.raises(ValueError, match="JSON"):
        run.write_metrics({"accuracy": float("nan")})
    assert run.metrics == {"accuracy": 0.5, "name": "नहीं"}


def test_facts_of_the_training(run: Run) -> None:
    assert run.training is None
    run.write_training({"steps": 3})
    assert run.training == {"steps": 3}
    (run.path / "training.json").write_text("{")
    with pytest.raises(TransfixError, match=r"training\.json is damaged.*Delete it, then run the same command again"):
        _ = run.training


def test_the_adapter_is_whole_or_not_there(run: Run) -> None:
    def half(directory: Path) -> None:
        (directory / "adapter.json").write_text("{}")
        raise RuntimeError("stopped in the middle")

    def whole(directory: Path) -> None:
        (directory / "adapter.json").write_text("{}")
        (directory / "inner").mkdir()
        (directory / "inner" / "adapter.safetensors").write_bytes(b"x")

    with pytest.raises(RuntimeError, match="middle"):
        run.write_adapter(half)
    assert not run.adapter_dir.exists()
    assert not run.has_adapter
    for _ in range(2):
        run.write_adapter(whole)
        assert run.has_adapter
        found = sorted(path.name for path in run.adapter_dir.rglob("*"))
        assert found == ["adapter.json", "adapter.safetensors", "inner"]
    assert temporaries(run.path) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(TransfixError, match=r"runs.*cannot be written"):
        RunStore(tmp_path / "runs").open(spec())


# ---- damage


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1", None])
def test_damaged_predictions(run: Run, content: bytes | None) -> None:
    run.write_predictions("xnli", "deu_Latn", frame(), META)
    path = run.predictions_path("xnli", "deu_Latn")
    path.write_bytes(path.read_bytes()[:-20] if content is None else content)
    for read in (run.predictions, run.predictions_meta):
        with pytest.raises(TransfixError) as caught:
            read("xnli", "deu_Latn")
        assert str(path) in str(caught.value)
        assert "Delete it" in str(caught.value)
        assert f"transfix evaluate {run.path}" in str(caught.value)


def test_predictions_of_another_program(run: Run) -> None:
    path = run.predictions_path("xnli", "deu_Latn")
    path.parent.mkdir(parents=True)
    pd.DataFrame({"id": ["1"]}).to_parquet(path)
    with pytest.raises(TransfixError, match="no column language"):
        run.predictions("xnli", "deu_Latn")
    frame().to_parquet(path)
    with pytest.raises(TransfixError, match="does not say what was asked"):
        run.predictions_meta("xnli", "deu_Latn")


@pytest.mark.parametrize("content", ["", "{", "[1]", "\xff"])
def test_damaged_metrics(run: Run, content: str) -> None:
    (run.path / "metrics.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(TransfixError, match=r"metrics\.json is damaged.*Delete it"):
        _ = run.metrics


def test_damaged_specification(store: RunStore, run: Run) -> None:
    path = run.path / "spec.yaml"
    whole = path.read_text()
    path.write_text(whole[: whole.index("task")])
    with pytest.raises(TransfixError, match=r"spec\.yaml(?s:.*)Delete the damaged file"):
        _ = Run(run.path).spec
    with pytest.raises(TransfixError, match="Delete"):
        store.open(spec())
    path.unlink()
    assert store.open(spec()).spec == spec()


def test_a_task_file_that_is_elsewhere(store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is whole: nobody is told to delete anything."""
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own"
    own.mkdir()
    (own / "rows.jsonl").write_text('{"text": "a", "topic": "x"}')
    (own / "task.yaml").write_text(
        "name: own\nkind: choice\nfields: [text]\nlabel: topic\nprompt: '{{text}}'\nlabels: {x: ' x', y: ' y'}\n"
        "languages: [en]\ndata: {train: {files: rows.jsonl}, test: {files: rows.jsonl}}\n"
    )
    run = store.open(spec(train={"task": "own/task.yaml"}))
    own.rename(tmp_path / "moved")
    with pytest.raises(TransfixError, match="The run is whole: put the file back, or go to the directory") as caught:
        _ = Run(run.path).spec
    assert "elete" not in str(caught.value)


def test_a_start_that_failed_is_not_meant(store: RunStore) -> None:
    first, second = store.open(spec()), store.open(spec(seed=1))
    with pytest.raises(TransfixError, match="'lora' may mean 2 runs"):
        store.find("lora")
    second.adapter_dir.mkdir()
    assert store.find("lora").path == second.path
    first.checkpoints_dir.mkdir()
    with pytest.raises(TransfixError, match="'lora' may mean 2 runs"):
        store.find("lora")


def test_an_edited_specification(run: Run) -> None:
    path = run.path / "spec.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 5"))
    with pytest.raises(TransfixError, match="not what its run was made with"):
        _ = Run(run.path).spec
    # another version may have other defaults: its records stay readable
    path.write_text(path.read_text().rpartition("# checksum")[0])
    environment = {**run.environment, "versions": {"transfix": "0.0.1"}}
    run.write_json("environment.json", environment)
    assert Run(run.path).spec.seed == 5


# ---- finding


def test_find(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = store.open(spec()), store.open(spec(seed=1))
    other = store.open(spec(adapter="prefix"))
    for text in (first.path, str(first.path), f"{first.path}/", first.name, first.name[-12:], first.name[-12:-4]):
        assert store.find(text).path == first.path
    assert store.find("prefix").path == other.path
    with pytest.raises(TransfixError) as caught:
        store.find("lora")
    assert first.name in str(caught.value)
    assert second.name in str(caught.value)
    with pytest.raises(TransfixError, match=rf"no run 'prefiks'(?s:.*){other.name}"):
        store.find("prefiks")
    with pytest.raises(TransfixError, match=rf"no spec\.yaml.*{first.name}"):
        store.find(store.root)
    with pytest.raises(TransfixError, match="is a file"):
        store.find(first.path / "spec.yaml")
    monkeypatch.chdir(first.path)
    assert Run.find(".").name == first.name


def test_find_in_nothing(tmp_path: Path) -> None:
    with pytest.raises(TransfixError, match="holds no runs"):
        Run.find("x", tmp_path / "nowhere")
    with pytest.raises(TransfixError, match="is not a run"):
        Run.find(tmp_path)
    (tmp_path / ".hidden").mkdir()
    assert RunStore(tmp_path).runs() == []


# ---- killed processes

PREDICTOR = """
import sys
from pathlib import Path
import pandas as pd
from transfix.runs.store import COLUMNS, Run
run, number = Run(Path(sys.argv[1])), 0
print("ready", flush=True)
while True:
    number += 1
    frame = pd.DataFrame({name: [f"{number}-{row}" for row in range(2000)] for name in COLUMNS[:5]})
    frame = frame.assign(score=1.0, truncated=False, option_scores=[[float(number)]] * 2000)
    run.write_predictions("xnli", "deu_Latn", frame, {"number": number})
    if number == 1:
        print("written", flush=True)
"""


def test_a_killed_writer_leaves_whole_predictions(run: Run) -> None:
    for attempt in range(2):
        process = start(PREDICTOR, run.path)
        assert line(process) == "ready", process.communicate()
        if attempt:
            assert line(process) == "written"
        time.sleep(0.01 + 0.017 * attempt)
        kill(process)
        found, meta = run.predictions("xnli", "deu_Latn"), run.predictions_meta("xnli", "deu_Latn")
        assert attempt == 0 or found is not None
        if found is not None and meta is not None:
            assert len(found) == 2000
            assert found["id"][0] == f"{meta['number']}-0"


HOLDER = """
import sys
from pathlib import Path
from transfix.storage import atomic, lock
with lock.hold(Path(sys.argv[1])):
    (Path(sys.argv[1]) / ".half.json.1-aa.tmp").write_text("{")
    (Path(sys.argv[1]) / "predictions").mkdir(exist_ok=True)
    (Path(sys.argv[1]) / "predictions" / ".half.2-bb.tmp").mkdir()
    print("holding", flush=True)
    sys.stdin.read() if len(sys.argv) < 3 else __import__("time").sleep(float(sys.argv[2]))
"""


def test_what_the_dead_left_is_removed_by_the_next_holder(run: Run) -> None:
    process = start(HOLDER, run.path, 60)
    assert line(process) == "holding"
    assert len(temporaries(run.path)) == 2
    assert run.predicted() == []
    kill(process)
    with run.lock(wait=False):
        assert temporaries(run.path) == []


# ---- two processes


def test_a_run_is_held_by_one_process(run: Run) -> None:
    process = start(HOLDER, run.path, 60)
    assert line(process) == "holding"
    with pytest.raises(lock.LockedError) as caught, run.lock(wait=False):
        pass
    assert re.search(rf"{run.name} is being worked on by process {process.pid} on .* since 20", str(caught.value))
    assert len(temporaries(run.path)) == 2, "what the holder writes is left alone"
    kill(process)


def test_the_second_process_waits_and_says_so(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    process = start(HOLDER, run.path, 0.5)
    assert line(process) == "holding"
    run.write_metrics({"a": 1})
    assert process.wait(10) == 0, "it had ended when we could write"
    assert f"process {process.pid}" in caplog.text
    process.communicate()


def test_the_lock_is_reentrant_and_let_go(run: Run) -> None:
    with run.lock(), Run(run.path).lock(wait=False):
        run.write_metrics({"a": 1})
        with run.lock():
            pass
        process = start(HOLDER.replace("lock.hold(Path(sys.argv[1]))", "lock.hold(Path(sys.argv[1]), False)"), run.path)
        _, message = process.communicate()
        assert f"process {os.getpid()}" in message
    process = start(HOLDER, run.path, 0)
    assert line(process) == "holding"
    assert process.wait(10) == 0
    process.communicate()


def test_two_processes_open_one_run(store: RunStore, run: Run) -> None:
    shutil.rmtree(store.root)
    code = (
        "import sys; from transfix.runs.specification import RunSpec; from transfix.runs.store import RunStore\n"
        "spec = RunSpec.load({'model': 'tiny', 'dtype': 'float32', 'adapter': 'lora', 'train': {'task': 'mnli'}})\n"
        "for _ in range(3): RunStore(sys.argv[1]).open(spec).write_metrics({'a': 1})"
    )
    for process in [start(code, store.root) for _ in range(2)]:
        _, message = process.communicate()
        assert process.returncode == 0, message
    assert [found.spec for found in store.runs()] == [run.spec]
