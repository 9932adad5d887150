"""Rows that change, are missing, are measured elsewhere, or have fewer options: what is asked, shown and counted then."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from transfix import data, tasks
from transfix.errors import ProblemsError, TransfixError
from transfix.evaluation import scoring
from transfix.runs import few_shot
from transfix.runs import run as experiment
from transfix.runs.settings import Evaluation
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run, RunStore

TASK: dict[str, Any] = {
    "name": "topics",
    "kind": "choice",
    "fields": ["text"],
    "label": "topic",
    "prompt": "{{text}}\nSo?",
    "labels": {"billing": " yes", "delivery": " maybe", "quality": " no"},
    "languages": ["en", "de", "sw"],
    "data": {"train": {"files": "train.csv"}, "test": {"files": "test-{lang}.csv"}},
}
TOPICS = ("billing", "delivery", "quality")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_task()
    write_rows("train.csv", 20)
    for code in ("en", "de", "sw"):
        write_rows(f"test-{code}.csv", 4, code)


def write_task(**changes: Any) -> None:
    content = {name: value for name, value in {**TASK, **changes}.items() if value is not None}
    Path("task.yaml").write_text(yaml.safe_dump(content, allow_unicode=True))


def write_rows(name: str, count: int, mark: str = "", start: int = 0) -> None:
    lines = [f"{mark} number {n} is about {TOPICS[n % 3]},{TOPICS[n % 3]}" for n in range(start, start + count)]
    Path(name).write_text("text,topic\n" + "\n".join(lines) + "\n")


@pytest.fixture
def run(tiny_model: Path) -> Any:
    """Trains (or, for `base`, only opens) a run on the task, and measures it."""

    def go(adapter: str = "base", train: dict[str, Any] | None = None, **evaluation: Any) -> Run:
        settings = {
            "task": "task.yaml",
            "rows": 12,
            "development_rows": 0,
            "batch_rows": 6,
            "epochs": 1,
            **(train or {}),
        }
        content = {
            "model": str(tiny_model),
            "dtype": "float32",
            "device": "cpu",
            "adapter": adapter,
            "train": None if adapter == "base" else settings,
            "evaluate": [{"task": "task.yaml", **evaluation}],
        }
        trained = experiment.train(RunSpec.load(content), RunStore("runs"))
        experiment.evaluate(trained)
        return trained

    return go


def frame(run: Run, code: str = "deu_Latn", name: str = "topics") -> Any:
    found = run.predictions(name, code)
    assert found is not None
    return found


def test_rows_that_are_gone_no_longer_count(run: Any) -> None:
    assert len(frame(run())) == 4
    write_rows("test-de.csv", 2, "de")
    shorter = run()
    assert list(frame(shorter)["id"]) == ["test-00000", "test-00001"]
    assert shorter.metrics["topics"]["languages"]["deu_Latn"]["n"] == 2
    write_rows("test-de.csv", 1, "other", start=7)
    assert len(frame(run())) == 1
    assert len(frame(run(), "swh_Latn")) == 4


def test_a_smaller_limit_keeps_what_is_measured(run: Any) -> None:
    run()
    assert len(frame(run(limit=2))) == 4


def test_a_smaller_part_asked_anew_is_said(run: Any) -> None:
    first = run()
    assert "note" not in first.metrics["topics"]
    write_task(prompt="{{text}}\nWell?")
    second = run(languages=["sw"])
    assert "averages over them mix" in second.metrics["topics"]["note"]
    assert set(second.metrics["topics"]["template"]) == {"deu_Latn", "eng_Latn", "swh_Latn"}


def test_exposure_is_to_rows_of_that_language(run: Any) -> None:
    with pytest.raises(TransfixError, match="one file without a column `language`"):
        run("lora", {"exposure": {"rows": 3, "languages": ["sw"]}})
    with pytest.raises(TransfixError, match=r"3 of the rows in swh_Latn are rows that evaluate\[0\]"):
        run("lora", {"exposure": {"rows": 3, "languages": ["sw"], "data": {"files": "test-{lang}.csv"}}})
    write_rows("more-sw.csv", 5, "sw", start=50)
    exposure = {"rows": 3, "languages": ["sw"], "data": {"files": "more-{lang}.csv"}}
    trained = run("lora", {"exposure": exposure})
    assert trained.read_json("training.json")["exposure_rows"] == 3
    with Path("more-sw.csv").open("a") as file:
        file.write("what,nothing\n")
    with pytest.raises(TransfixError, match=r"more-sw\.csv:7"):
        run("lora", {"exposure": exposure})
    skipped = run("lora", {"exposure": exposure, "on_bad_rows": "skip"})
    assert skipped.read_json("training.json")["skipped_rows"] == 1


@pytest.mark.parametrize(
    ("languages", "what"), [(["sw", "swh_Latn"], "more than once"), (["en"], "is trained on already")]
)
def test_exposure_that_is_none(run: Any, languages: list[str], what: str) -> None:
    with pytest.raises(ProblemsError, match=what):
        run("lora", {"exposure": {"rows": 3, "languages": languages}})


def test_what_exposure_is_said_in_the_report(run: Any) -> None:
    from transfix import report

    write_rows("more-sw.csv", 5, "sw", start=50)
    run("lora", {"exposure": {"rows": 3, "languages": ["sw"], "data": {"files": "more-{lang}.csv"}}})
    assert "and 3 rows each in Swahili" in report.markdown(report.collect("runs"))


def test_options_that_a_row_lacks_cannot_be_chosen(run: Any) -> None:
    labels = {"billing": " yes", "delivery": " maybe", "quality": "{% if third %} {{third}}{% endif %}"}
    write_task(labels=labels, scoring="likelihood", optional=["third"])
    rows = ["text,topic,third", "one,billing,", "two,quality,no", f"{'long ' * 900},delivery,"]
    Path("test-de.csv").write_text("\n".join(rows) + "\n")
    found = frame(run(languages=["de"]))
    scores = [list(row) for row in found["option_scores"]]
    assert [math.isinf(row[2]) for row in scores] == [True, False, True]
    assert all(math.isfinite(value) for row in scores for value in row[:2])
    assert list(found["truncated"]) == [False, False, True], "longer than the model reads"
    cut = frame(run(languages=["de"], max_tokens=16))
    assert list(cut["truncated"]) == [False, False, True]
    assert list(cut["option_scores"][2])[:2] != scores[2][:2]


def test_an_option_is_within_what_may_be_read(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The context makes room for it: of a long one the middle goes, the option stays whole."""
    read: list[int] = []
    whole = scoring.log_likelihoods

    def counted(model: Any, continuations: Any, *more: Any) -> Any:
        read.extend(len(tokens) for tokens, _ in continuations)
        return whole(model, continuations, *more)

    monkeypatch.setattr(scoring, "log_likelihoods", counted)
    write_task(labels={"billing": " yes", "delivery": " a longer option than that"}, scoring="likelihood")
    Path("test-de.csv").write_text(f"text,topic\n{'long ' * 100},delivery\n")
    run(languages=["de"], max_tokens=24)
    assert read == [24, 24]


def test_questions_with_three_options(tiny_model: Path) -> None:
    rows = [
        {"passage": "a b", "question": "c", "option_a": "x", "option_b": "y", "option_c": "z", "answer": letter}
        for letter in "ABC"
    ]
    rows.append({**rows[0], "option_d": "w", "answer": "D"})
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = {"A": " yes", "B": " maybe", "C": " no", "D": "?"}
    evaluation = {
        "task": "dream",
        "data": {"files": "rows.jsonl", "format": "jsonl", "columns": {"label": "answer"}},
        "verbaliser": words,
    }
    content = {"model": str(tiny_model), "dtype": "float32", "adapter": "base", "evaluate": [evaluation]}
    opened = experiment.train(RunSpec.load(content), RunStore("runs"))
    metrics = experiment.evaluate(opened)["dream"]
    assert metrics["chance"] == pytest.approx((1 + 1 + 1 + 0.75) / 4 / 3)
    scores = [list(row) for row in frame(opened, "eng_Latn", "dream")["option_scores"]]
    assert [math.isinf(row[3]) for row in scores] == [True, True, True, False]
    assert all(sum(map(math.exp, row)) == pytest.approx(1, abs=1e-4) for row in scores)


def test_predictions_are_asked_as_the_evaluation_asks(run: Any) -> None:
    opened = run(few_shot={"shots": 4, "task": "task.yaml", "split": "train"}, languages=["en"], limit=2)
    measured = frame(opened, "eng_Latn")
    rows = data.load(tasks.get("task.yaml").benchmark, {"files": "test-{lang}.csv"}, "en", "test", 2)
    Path("in.jsonl").write_text("".join(json.dumps({"text": row.fields["text"]}) + "\n" for row in rows))
    experiment.predict(opened, Path("in.jsonl"), Path("out.jsonl"))
    answers = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    for answer, scores in zip(answers, measured["option_scores"], strict=True):
        assert list(answer["probabilities"].values()) == pytest.approx([math.exp(s) for s in scores], abs=1e-4)


def test_a_field_called_text_in_a_task_that_writes_texts(run: Any) -> None:
    write_task(kind="generation", labels=None, target=" {{answer}}", max_new_tokens=3)
    opened = run(languages=["en"], limit=1)
    Path("in.jsonl").write_text('{"text": "one"}\n')
    assert experiment.predict(opened, Path("in.jsonl"), Path("out.jsonl")) == 1
    assert set(json.loads(Path("out.jsonl").read_text())) == {"text", "answer", "generated_text"}


def test_a_prompt_for_each_language_needs_to_know_it(run: Any) -> None:
    write_task(labels={"en": TASK["labels"], "de": {"billing": " no", "delivery": " maybe", "quality": " yes"}})
    opened = run(languages=["en", "de"])
    Path("in.jsonl").write_text('{"text": "one"}\n')
    with pytest.raises(TransfixError, match=r"give the row its\s+`language` \(deu_Latn, eng_Latn\)"):
        experiment.predict(opened, Path("in.jsonl"), Path("out.jsonl"))
    Path("in.jsonl").write_text('{"text": "one", "language": "de"}\n{"text": "one", "language": "en"}\n')
    assert experiment.predict(opened, Path("in.jsonl"), Path("out.jsonl")) == 2
    first, second = (json.loads(line)["probabilities"] for line in Path("out.jsonl").read_text().splitlines())
    assert first["billing"] == pytest.approx(second["quality"], abs=1e-5)


def test_measured_rows_are_no_exemplars_whatever_else_they_carry() -> None:
    write_task(optional=["note"])
    Path("train.csv").write_text("text,topic,note\n" + "".join(f"same {n},{TOPICS[n % 3]},x\n" for n in range(6)))
    Path("test-de.csv").write_text("text,topic\n" + "".join(f"same {n},{TOPICS[n % 3]}\n" for n in range(3)))
    task = tasks.get("task.yaml")
    rows = data.load(task.benchmark, task.source("test"), "de", "test")
    few = {"shots": 3, "task": "task.yaml", "split": "train"}
    text = few_shot.shots(Evaluation.model_validate({"task": "task.yaml", "few_shot": few}), task, "deu_Latn", rows)
    assert all(f"same {n}\n" not in text for n in range(3))
    assert all(f"same {n}\n" in text for n in range(3, 6))
    shown = Evaluation.model_validate({"task": "task.yaml", "few_shot": {**few, "language": "target"}})
    with pytest.raises(TransfixError, match="one file without a column `language`"):
        few_shot.shots(shown, task, "deu_Latn", rows)


def test_parallel_rows_are_no_exemplars_in_another_language() -> None:
    """AfriXNLI's English rows are rows of XNLI: measured in German, they must not be shown in English."""
    task = tasks.get("xnli")
    few = {"shots": 300, "task": "afrixnli", "split": "test", "language": "english"}
    asked = data.load("xnli", "snapshot", "deu_Latn", "test")
    with pytest.raises(TransfixError, match=r"300 exemplars were asked for, afrixnli test has 219"):
        few_shot.shots(Evaluation.model_validate({"task": "xnli", "few_shot": few}), task, "deu_Latn", asked)


def test_exemplars_are_looked_for_before_training(run: Any) -> None:
    with pytest.raises(TransfixError, match="no usual source of exemplars"):
        run("lora", few_shot={"shots": 2})
    with pytest.raises(TransfixError, match="99 exemplars were asked for"):
        run("lora", few_shot={"shots": 99, "task": "task.yaml", "split": "train"})
    assert not list(Path("runs").glob("*/adapter"))
