"""A user's task in a file: trained, measured and asked with no Python written; and everything that can be wrong with it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from transfix import tasks
from transfix.cli.app import app
from transfix.runs.store import RunStore

TOPICS = ("billing", "delivery", "quality")
TEXTS = {
    "train": ("My bill of {n} is wrong", "My parcel {n} is late", "The lamp {n} is broken"),
    "de": ("Rechnung {n} ist falsch", "Paket {n} ist zu spät", "Lampe {n} ist kaputt"),
    "sw": ("Bili {n} si sahihi", "Kifurushi {n} kimechelewa", "Taa {n} imevunjika"),
    "en": ("Bill {n} is wrong!", "Parcel {n} is late!", "Lamp {n} is broken!"),
}
TASK: dict[str, Any] = {
    "name": "complaints",
    "kind": "choice",
    "fields": ["text"],
    "label": "topic",
    "prompt": "{{text}}\nSo?",
    "labels": {"billing": " yes", "delivery": " maybe", "quality": " no"},
    "languages": ["en", "de", "sw"],
    "data": {"train": {"files": "train.csv"}, "test": {"files": "test-{lang}.csv"}},
}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "complaints"
    folder.mkdir()
    for name, texts in TEXTS.items():
        rows = [(text.format(n=n), topic) for n in range(10) for text, topic in zip(texts, TOPICS, strict=True)]
        with (folder / ("train.csv" if name == "train" else f"test-{name}.csv")).open("w", newline="") as file:
            csv.writer(file).writerows([("text", "topic"), *rows])
    write_task()


def write_task(**changes: Any) -> None:
    content = {name: value for name, value in {**TASK, **changes}.items() if value is not None}
    Path("complaints/task.yaml").write_text(yaml.safe_dump(content, allow_unicode=True))


def write_spec(model: Path, **changes: Any) -> None:
    task = "complaints/task.yaml"
    content = {
        "model": str(model),
        "dtype": "float32",
        "device": "cpu",
        "adapter": [{"method": "prefix", "tokens": 3}],
        "train": {"task": task, "rows": 18, "development_rows": 6, "batch_rows": 6, "epochs": 1, **changes},
        "evaluate": [{"task": task, "limit": 9}],
    }
    Path("spec.yaml").write_text(yaml.safe_dump(content))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def test_trained_measured_and_asked(tiny_model: Path) -> None:
    write_spec(tiny_model)
    assert call("train", "spec.yaml").exit_code == 0
    (run,) = RunStore("runs").runs()
    measured = call("evaluate", run.path)
    assert measured.exit_code == 0, measured.output
    assert "Swahili" in measured.output
    assert run.predicted() == [("complaints", code) for code in ("deu_Latn", "eng_Latn", "swh_Latn")]
    frame = run.predictions("complaints", "swh_Latn")
    assert frame is not None
    assert list(frame["gold"]) == list(TOPICS) * 3
    assert set(frame["answer"]) <= set(TOPICS)
    assert list(frame["score"]) == [float(a == g) for a, g in zip(frame["answer"], frame["gold"], strict=True)]
    assert run.metrics is not None
    assert run.metrics["complaints"]["chance"] == pytest.approx(1 / 3)

    Path("rows.jsonl").write_text('{"text": "Wo ist mein Paket?", "number": 7}\n')
    assert call("predict", run.path, "--input", "rows.jsonl", "--output", "out.jsonl").exit_code == 0
    answer = json.loads(Path("out.jsonl").read_text())
    assert answer["number"] == 7
    assert answer["answer"] in TOPICS
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert call("report", "runs").exit_code == 0
    page = Path("runs/report.html").read_text()
    assert "complaints" in page
    assert "Paket 0 ist zu spät" in page, "the page shows the texts of the user's rows"
    assert "has not finished" not in page


def test_changed_rows_or_a_changed_task_make_another_run(tiny_model: Path) -> None:
    write_spec(tiny_model)
    assert call("train", "spec.yaml").exit_code == 0
    write_task(prompt="{{text}}\nWell?")
    assert call("train", "spec.yaml").exit_code == 0
    assert len(RunStore("runs").runs()) == 2


def test_longer_label_words_are_scored_by_likelihood(tiny_model: Path) -> None:
    words = {"billing": " a matter of {{text}}", "delivery": " delivery problems", "quality": " it broke"}
    write_task(labels=words, scoring="likelihood")
    write_spec(tiny_model)
    assert call("train", "spec.yaml").exit_code == 0
    (run,) = RunStore("runs").runs()
    assert call("evaluate", run.path).exit_code == 0
    frame = run.predictions("complaints", "deu_Latn")
    assert frame is not None
    best = [TOPICS[max(range(3), key=list(scores).__getitem__)] for scores in frame["option_scores"]]
    assert list(frame["answer"]) == best
    assert all(score < -1 for scores in frame["option_scores"] for score in scores), "sums over several tokens"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"kind": "essay"}, "kind"),
        ({"colour": "red"}, "colour: unknown key (allowed: prompt, labels"),
        ({"fields": []}, "fields"),
        ({"prompt": "{{text}} {{colour}}"}, "unknown placeholder {{colour}}"),
        ({"prompt": "{{text.__class__}}"}, "attributes are not allowed"),
        ({"prompt": "{% for i in range(999999999) %}{{text}}{% endfor %}"}, "loops are not allowed"),
        ({"labels": {"billing": " yes", "delivery": " {{text.x}}", "quality": " no"}}, "attributes are not allowed"),
        ({"labels": None}, "labels: are missing"),
        ({"labels": {"billing": " yes", "delivery": " yes", "quality": " no"}}, "label word of 'billing' too"),
        ({"languages": ["en", "klingon"]}, "klingon"),
        ({"data": None}, "data: is missing"),
        ({"data": {"test": {"files": "x-{colour}.csv"}}}, "unknown placeholder {colour}"),
        ({"name": "xnli"}, "xnli is the name of a built-in task"),
        ({"name": None}, "name: is missing"),
        ({"name": "../up"}, "name"),
        ({"templates": {"other": {"prompt": "{{nothing}}"}}}, "templates.other"),
    ],
)
def test_what_is_wrong_with_a_task_file_is_said(tiny_model: Path, changes: dict[str, Any], what: str) -> None:
    write_task(**changes)
    assert what in refused(call("task", "check", "complaints/task.yaml"))
    write_spec(tiny_model)
    assert what in refused(call("train", "spec.yaml"))


def test_files_that_are_no_task(tiny_model: Path) -> None:
    assert "does not exist" in refused(call("task", "check", "nothing.yaml"))
    Path("complaints/task.yaml").write_text("a: [")
    assert "is not valid YAML" in refused(call("task", "check", "complaints/task.yaml"))
    Path("complaints/task.yaml").write_text("- a\n")
    assert "holds no mapping" in refused(call("task", "check", "complaints/task.yaml"))
    Path("complaints/task.yaml").write_bytes(b"name: \xff\xfe")
    assert "is not UTF-8 text" in refused(call("task", "check", "complaints/task.yaml"))
    for text in ("[" * 5000, "a: &a [*a, *a]\n", "name: 5\nname: 6\n", "exemplars: {foo: 1}\n"):
        Path("complaints/task.yaml").write_text(text)
        refused(call("task", "check", "complaints/task.yaml"))
        Path("spec.yaml").write_text(text)
        refused(call("train", "spec.yaml"))


def test_bad_rows_stop_training_unless_they_are_to_be_skipped(tiny_model: Path) -> None:
    with Path("complaints/train.csv").open("a") as file:
        file.write("What is this?,nonsense\n,billing\n")
    write_spec(tiny_model)
    message = refused(call("train", "spec.yaml"))
    assert "train.csv:32" in message
    assert "train.csv:33" in message
    assert not list(Path("runs").glob("*/adapter"))
    write_spec(tiny_model, on_bad_rows="skip")
    assert call("train", "spec.yaml").exit_code == 0
    trained = [run for run in RunStore("runs").runs() if (run.path / "adapter").exists()]
    training = trained[0].read_json("training.json")
    assert training is not None
    assert training["skipped_rows"] == 2


def test_a_file_of_another_family_is_not_a_source_of_exemplars() -> None:
    task = tasks.get("complaints/task.yaml")
    assert task.family != tasks.get("xnli").family
    assert task.origin == "complaints/task.yaml"
