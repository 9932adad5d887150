"""A user's own rows, in whatever file: asked, kept as they are, in their order; bad ones named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from transformers import AutoTokenizer
from typer.testing import CliRunner

from transfix.cli.app import app
from transfix.data import DataError
from transfix.errors import TransfixError
from transfix.runs import run as experiment
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run, RunStore

TASK: dict[str, Any] = {
    "name": "topics",
    "kind": "choice",
    "fields": ["text"],
    "optional": ["note"],
    "label": "topic",
    "prompt": "{{text}}{% if note %} ({{note}}){% endif %}\nSo?",
    "labels": {"billing": " yes", "delivery": " maybe", "quality": " no"},
    "data": {"test": {"files": "test.csv"}},
}
TEXTS = ["=1+1 is 2", 'he said "no"', "one\ttwo", "a\nb", "zebra, ü"]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    Path("task.yaml").write_text(yaml.safe_dump(TASK))
    Path("test.csv").write_text("text,topic\na,billing\n")


@pytest.fixture
def run(tiny_model: Path) -> Run:
    return opened(tiny_model)


def opened(model: Path) -> Run:
    content = {"model": str(model), "dtype": "float32", "adapter": "base", "evaluate": {"task": "task.yaml"}}
    return experiment.train(RunSpec.load(content), RunStore("runs"))


def answers(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_ids_and_labels_are_the_users_own(run: Run) -> None:
    rows = [{"id": n, "label": n % 2, "topic": None, "text": text, "note": None} for n, text in enumerate(TEXTS)]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert experiment.predict(run, Path("in.jsonl"), Path("out.jsonl")) == 5
    found = answers("out.jsonl")
    assert [{name: row[name] for name in rows[0]} for row in found] == rows


@pytest.mark.parametrize("form", ["csv", "tsv", "parquet"])
def test_every_form_has_the_same_answers(run: Run, form: str) -> None:
    frame = pd.DataFrame({"n": range(5, 0, -1), "text": TEXTS, "note": ["", "x", "", "", ""]})
    Path("in.jsonl").write_text(frame.to_json(orient="records", lines=True, force_ascii=False))
    experiment.predict(run, Path("in.jsonl"), Path("out.jsonl"))
    if form == "parquet":
        frame.to_parquet("in.parquet")
    else:
        frame.to_csv(f"in.{form}", sep="," if form == "csv" else "\t", index=False)
    experiment.predict(run, Path(f"in.{form}"), Path(f"out.{form}"))
    read = pd.read_parquet if form == "parquet" else lambda path: pd.read_csv(path, sep=None, engine="python")
    found = read(f"out.{form}")
    assert list(found["text"]) == TEXTS
    assert list(found["n"]) == [5, 4, 3, 2, 1]
    expected = answers("out.jsonl")
    assert list(found["answer"]) == [row["answer"] for row in expected]
    shares = (
        [row["billing"] for row in found["probabilities"]] if form == "parquet" else list(found["probability_billing"])
    )
    assert shares == pytest.approx([row["probabilities"]["billing"] for row in expected], abs=1e-6)
    experiment.predict(run, Path(f"in.{form}"), Path("across.jsonl"))
    assert [row["answer"] for row in answers("across.jsonl")] == list(found["answer"])


def test_bad_rows_stop_all_or_are_named(run: Run) -> None:
    lines = ['{"text": "one"}', "{", '{"text": ""}', '{"text": "two", "language": "Klingon"}', '{"text": "three"}']
    Path("in.jsonl").write_text("\n".join([*lines, '{"text": "four", "note": 4}']))
    with pytest.raises(DataError, match="4 bad lines"):
        experiment.predict(run, Path("in.jsonl"), Path("out.jsonl"))
    assert not Path("out.jsonl").exists()
    assert experiment.predict(run, Path("in.jsonl"), Path("out.jsonl"), on_bad_rows="skip") == 2
    assert [row["text"] for row in answers("out.jsonl")] == ["one", "three"]
    skipped = answers("out.jsonl.skipped.jsonl")
    assert [row["row"] for row in skipped] == [f"in.jsonl:{line}" for line in (2, 3, 4, 6)]
    assert "unknown language 'Klingon'" in skipped[2]["problem"]
    with pytest.raises(TransfixError, match=r"out\.jsonl exists already"):
        experiment.predict(run, Path("in.jsonl"), Path("out.jsonl"), on_bad_rows="skip")
    Path("out.jsonl").unlink()
    with pytest.raises(TransfixError, match=r"out\.jsonl\.skipped\.jsonl exists already"):
        experiment.predict(run, Path("in.jsonl"), Path("out.jsonl"), on_bad_rows="skip")


def test_rows_that_the_model_cannot_read(tiny_model: Path, tmp_path: Path) -> None:
    """A token without an embedding is found when rows are asked; the answers of the others are what they were."""
    shutil.copytree(tiny_model, "model")
    tokenizer = AutoTokenizer.from_pretrained("model")
    tokenizer.add_tokens(["zzz"])
    tokenizer.save_pretrained("model")
    run = opened(tmp_path / "model")
    frame = pd.DataFrame({"text": ["one", "two zzz", "three", ""]})
    frame.to_parquet("in.parquet")
    with pytest.raises(DataError, match=r"in\.parquet, row 3"):
        experiment.predict(run, Path("in.parquet"), Path("out.parquet"))
    frame[:3].to_parquet("three.parquet")
    with pytest.raises(TransfixError, match=r"three\.parquet, row 1: the text .*zzz"):
        experiment.predict(run, Path("three.parquet"), Path("out.parquet"))
    assert experiment.predict(run, Path("in.parquet"), Path("out.parquet"), on_bad_rows="skip") == 2
    found = pd.read_parquet("out.parquet")
    assert list(found["text"]) == ["one", "three"]
    assert sorted(row["row"] for row in answers("out.parquet.skipped.jsonl")) == [
        "in.parquet, row 1",
        "in.parquet, row 3",
    ]
    Path("good.jsonl").write_text('{"text": "one"}\n{"text": "three"}\n')
    experiment.predict(run, Path("good.jsonl"), Path("good-out.jsonl"))
    assert list(found["answer"]) == [row["answer"] for row in answers("good-out.jsonl")]
    Path("none.jsonl").write_text('{"text": "zzz"}\n')
    with pytest.raises(TransfixError, match="none of its rows can be asked"):
        experiment.predict(run, Path("none.jsonl"), Path("n.jsonl"), on_bad_rows="skip")
    assert not Path("n.jsonl.skipped.jsonl").exists()


def test_columns_that_would_be_overwritten(run: Run) -> None:
    Path("in.csv").write_text("text,probability_billing\na,1\n")
    with pytest.raises(TransfixError, match="have probability_billing already"):
        experiment.predict(run, Path("in.csv"), Path("out.csv"))
    assert experiment.predict(run, Path("in.csv"), Path("out.jsonl")) == 1


def test_the_command(run: Run) -> None:
    Path("in.csv").write_text("text\tn\none\t1\n\t2\n")
    arguments = ["predict", str(run.path), "-i", "in.csv", "-o", "out.csv"]
    stopped = CliRunner().invoke(app, arguments)
    assert stopped.exit_code == 2
    assert "in.csv:3" in stopped.stderr
    done = CliRunner().invoke(app, [*arguments, "--on-bad-rows", "skip"])
    assert done.exit_code == 0, done.output
    assert "Rows that were left out are in out.csv.skipped.jsonl" in done.stdout
    assert Path("out.csv").read_text().startswith("text,n,answer,probability_billing,")
