"""The commands on a real, tiny model: the whole way through, and every mistake a message and exit status 2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.calling import done, refused

from transfix.adapters.methods.registry import METHODS

LABELS = ("entailment", "neutral", "contradiction")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test in an empty directory, without colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSFIX_CACHE", str(tmp_path / "cache"))
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write(tiny_model: Path) -> Callable[..., None]:
    """Writes `spec.yaml`: `write(adapter="lora", train={"rows": 6})`."""

    def make(**changes: Any) -> None:
        training = {"task": "mnli", "rows": 12, "development_rows": 3, "batch_rows": 6, "epochs": 1}
        content: dict[str, Any] = {
            "model": str(tiny_model),
            "dtype": "float32",
            "device": "cpu",
            "adapter": [{"method": "prefix", "tokens": 3}],
            "evaluate": {"task": "xnli", "languages": ["de", "sw"], "limit": 3},
            **changes,
        }
        if "train" not in changes or changes["train"] is not None:
            content["train"] = {**training, **changes.get("train", {})}
        Path("spec.yaml").write_text(yaml.safe_dump(content))

    return make


def only_run() -> Path:
    (run,) = Path("runs").iterdir()
    return run


def test_the_whole_way(write: Callable[..., None], tiny_model: Path) -> None:
    write(adapter=[{"method": "prefix", "tokens": 3}, {"method": "lora", "rank": 2}])
    result = done("train", "spec.yaml", "--set", "train.epochs=2", "--set", "adapter.0.tokens=4")
    run = only_run()
    assert result.stdout == f"The adapter is in {run}/adapter\nMeasure it: transfix evaluate {run}\n"
    assert "Training Prefix tuning, 4 tokens + LoRA r=2: 24/24 rows" in result.stderr
    assert yaml.safe_load((run / "spec.yaml").read_text())["train"]["epochs"] == 2

    result = done("evaluate", run)
    for text in ("German", "Swahili", "LoRA"):
        assert text in result.stdout
    assert set(json.loads((run / "metrics.json").read_text())["results"]["xnli"]["languages"]) == {
        "deu_Latn",
        "swh_Latn",
    }
    assert "Swahili" in done("evaluate", run.name[:8], "--languages", "en,fr", "--limit", 2).stdout

    Path("rows.jsonl").write_text('{"premise": "Es regnet.", "hypothesis": "Die Sonne scheint.", "mine": 7}\n')
    done("predict", run, "--input", "rows.jsonl", "--output", "out.jsonl")
    row = json.loads(Path("out.jsonl").read_text())
    assert row["mine"] == 7
    assert row["answer"] in LABELS
    assert "out.jsonl exists already" in refused("predict", run, "--input", "rows.jsonl", "--output", "out.jsonl")

    done("report", "runs")
    assert "Swahili" in Path("runs/report.html").read_text()
    assert "4, hidden size 32" in done("inspect", tiny_model).stdout


def test_languages_of_an_evaluation(write: Callable[..., None]) -> None:
    write(adapter="base", train=None, evaluate={"task": "xnli", "languages": ["de"], "limit": 1})
    done("train", "spec.yaml")
    run = only_run()
    message = refused("evaluate", run, "--languages", "yo")
    assert "languages" in message
    assert "xnli has no rows in yor_Latn" in message
    done("evaluate", run, "--languages", "all")
    assert len(list((run / "predictions" / "xnli").glob("*.parquet"))) == 15


def test_a_page_does_not_replace_a_file_of_the_user(write: Callable[..., None]) -> None:
    write(adapter="base", train=None, evaluate={"task": "xnli", "languages": ["de"], "limit": 1})
    done("train", "spec.yaml")
    done("evaluate", only_run())
    before = Path("spec.yaml").read_bytes()
    assert "exists and is no page of transfix" in refused("report", "runs", "--html", "spec.yaml")
    assert Path("spec.yaml").read_bytes() == before
    done("report", "runs", "--html", "page.html")
    done("report", "runs", "--html", "page.html")


@pytest.fixture
def quickstart(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The quickstart on the tiny model, on a few rows."""
    from transfix.models import registry

    monkeypatch.setattr(registry, "ensure", lambda model, say=None: tiny_model)
    return lambda *options: done("quickstart", "--dir", "here", "--limit", 3, "--languages", "de", *options)


def test_the_quickstart_compares_the_runs_it_was_asked_for(quickstart: Callable[..., None]) -> None:
    """Runs with other settings stay in the same directory, and out of the table."""
    quickstart("--rows", 6)
    first = Path("here/report.md").read_text()
    assert "| Language | n | Base model | Prefix tuning | LoRA |" in first
    quickstart("--rows", 9)
    assert len(list(Path("here/runs").iterdir())) == 5
    second = Path("here/report.md").read_text()
    assert "| Language | n | Base model | Prefix tuning | LoRA |" in second
    assert "| Rows seen in training |  | 0 | 9 | 9 |" in second
    quickstart("--rows", 6)
    assert "| Rows seen in training |  | 0 | 6 | 6 |" in Path("here/report.md").read_text()
    page = Path("here/report.html").read_text()
    for run in Path("here/runs").iterdir():
        asked = (yaml.safe_load((run / "spec.yaml").read_text())["train"] or {}).get("rows", 6) == 6
        assert (run.name in page) == asked


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_the_quickstart_does_not_replace_a_file_of_the_user(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It says so at once, before it looks for the model."""
    from transfix.models import registry

    monkeypatch.setattr(registry, "ensure", lambda model, say=None: pytest.fail("too late"))
    Path("here").mkdir()
    Path("here", name).write_text("mine")
    message = refused("quickstart", "--dir", "here")
    assert f"here/{name} exists and is no page of transfix: name another directory with --dir" in message
    assert Path("here", name).read_text() == "mine"
    assert "cannot be written" in refused("quickstart", "--dir", f"here/{name}")


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "transfix", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, **options)


def test_a_real_process(write: Callable[..., None]) -> None:
    """What a shell sees: the status, the message, and nothing of the libraries' own."""
    write()
    found = process("train", "spec.yaml", "--set", "train.rows=6")
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("The adapter is in runs/prefix-tiny-gemma-")
    (line,) = found.stderr.splitlines()
    assert line.startswith("Training Prefix tuning, 3 tokens: 6/6 rows")
    (only_run() / "adapter" / "adapter.safetensors").write_bytes(b"\x00" * 20)
    found = process("evaluate", str(only_run()))
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("Error: ")
    assert "not a whole safetensors file (20 bytes" in found.stderr


# ---- what goes wrong


def test_a_model_that_is_not_there(write: Callable[..., None]) -> None:
    write(model="gemma-3-27om")
    assert "gemma-3-27om" in (message := refused("train", "spec.yaml"))
    assert "Did you mean 'gemma-3-270m'?" in message
    write(model="nowhere/tiny")
    assert "nowhere" in refused("train", "spec.yaml")
    write(model="./no-directory")
    assert "no-directory" in refused("train", "spec.yaml")


def test_every_problem_of_a_specification_at_once(write: Callable[..., None]) -> None:
    write(
        adapter=[{"method": "prefx"}],
        sead=3,
        evaluate=[{"task": "xnli", "languages": ["klingon"]}, {"task": "xlni"}],
        train={"learning_rate": -1, "schedule": "cosin", "epoch": 3},
    )
    message = refused("train", "spec.yaml", "--set", "train.warmup=2")
    for part in (
        "spec.yaml has 8 problems",
        "adapter[0].method",
        f"(allowed: {', '.join(METHODS)})",
        "sead",
        "'klingon'",
        "'xlni'",
        "train.learning_rate: -1",
        "train.schedule: 'cosin'",
        "constant, linear",
        "train.epoch:",
        "train.warmup: 2",
    ):
        assert part in message


def test_more_layers_than_the_model_has(write: Callable[..., None]) -> None:
    for layers in (5, [0, 4]):
        write(adapter=[{"method": "prefix", "layers": layers}])
        message = refused("train", "spec.yaml")
        assert "layers" in message
        assert "has 4" in message or "0 to 3" in message
    assert not list(Path("runs").glob("*/adapter"))


def test_label_words_that_are_not_one_token(write: Callable[..., None]) -> None:
    write(train={"verbaliser": {"entailment": " undoubtedly", "neutral": " maybe", "contradiction": " no"}})
    message = refused("train", "spec.yaml")
    assert "verbaliser.entailment" in message
    assert "' undoubtedly' is" in message
    assert "tokens after the prompt" in message


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ([], ["rows.jsonl", "empty"]),
        (['{"premise": "a", "hypothesis": "b", "label": "perhaps"}'], ["rows.jsonl:1", "perhaps", "entailment"]),
        (['{"premise": "a", "label": "neutral"}', "{"], ["rows.jsonl", "column hypothesis"]),
        (['{"premise": "a", "hypothesis": "", "label": "neutral"}'], ["rows.jsonl:1", "hypothesis"]),
    ],
)
def test_rows_that_are_wrong(write: Callable[..., None], lines: list[str], parts: list[str]) -> None:
    Path("rows.jsonl").write_text("".join(line + "\n" for line in lines))
    write(train={"data": {"files": "rows.jsonl"}})
    message = refused("train", "spec.yaml")
    for part in parts:
        assert part in message
    write(adapter="base", train=None, evaluate={"task": "xnli", "languages": ["de"], "data": {"files": "rows.jsonl"}})
    done("train", "spec.yaml")
    run = next(path for path in Path("runs").iterdir() if path.name.startswith("base"))
    message = refused("evaluate", run)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ([], ["has no rows"]),
        (
            ['{"premise": "a"}', '{"premise": 1, "hypothesis": "b"}', "x"],
            ["rows.jsonl:1", "rows.jsonl:2", "rows.jsonl:3"],
        ),
        (['{"premise": "a", "hypothesis": "b", "answer": 1}'], ["rows have answer already"]),
    ],
)
def test_rows_to_predict_that_are_wrong(write: Callable[..., None], lines: list[str], parts: list[str]) -> None:
    write(adapter="base", train=None)
    done("train", "spec.yaml")
    Path("rows.jsonl").write_text("".join(line + "\n" for line in lines))
    message = refused("predict", only_run(), "--input", "rows.jsonl", "--output", "out.jsonl")
    for part in parts:
        assert part in message
    assert not Path("out.jsonl").exists()


def test_a_learning_rate_that_is_far_too_high(write: Callable[..., None]) -> None:
    write(adapter="full", train={"learning_rate": 1e39, "schedule": "constant"})
    assert "Lower the learning rate" in refused("train", "spec.yaml")
    assert not list(Path("runs").glob("*/adapter"))
    assert "not trained yet" in refused("evaluate", only_run())


def test_a_device_that_is_not_there(write: Callable[..., None]) -> None:
    write(device="cuda:77")
    assert "device 'cuda:77' cannot be used here" in refused("train", "spec.yaml")


@pytest.fixture
def trained(write: Callable[..., None]) -> Path:
    write()
    done("train", "spec.yaml")
    return only_run()


def test_a_truncated_adapter(trained: Path) -> None:
    file = trained / "adapter" / "adapter.safetensors"
    whole = file.read_bytes()
    for size in (0, 5, 100, len(whole) - 1):
        file.write_bytes(whole[:size])
        message = refused("evaluate", trained)
        assert "adapter.safetensors: not a whole safetensors file" in message
        assert f"{size} bytes" in message
    file.unlink()
    assert "adapter.safetensors: no such file" in refused("evaluate", trained)
    assert not (trained / "metrics.json").exists()


def test_an_adapter_of_another_base(trained: Path, tiny_model: Path) -> None:
    from transfix import PrefixTuning, attach, models

    for change, words in ((0, "but other weights"), (1, "configuration")):
        loaded = models.load(tiny_model, dtype="float32", device="cpu")
        if change:
            loaded.model.config.intermediate_size += 1
        else:
            torch.nn.init.normal_(loaded.model.get_input_embeddings().weight)
        shutil.rmtree(trained / "adapter")
        attach(loaded.model, PrefixTuning(tokens=3)).save(trained / "adapter")
        message = refused("evaluate", trained)
        assert words in message
        assert "Load the base it was trained on" in message


def test_a_damaged_run(trained: Path) -> None:
    (trained / "adapter" / "adapter.json").write_text("{")
    assert "adapter.json: not valid JSON" in refused("evaluate", trained)
    (trained / "spec.yaml").write_text("model: [")
    assert "spec.yaml" in refused("evaluate", trained)
