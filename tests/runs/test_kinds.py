"""Every kind of task from its shipped rows to its metrics on a tiny model; exemplars and exposure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from transfix import data, tasks
from transfix.errors import TransfixError
from transfix.runs import answering, few_shot
from transfix.runs import run as experiment
from transfix.runs.settings import Evaluation
from transfix.runs.specification import RunSpec
from transfix.runs.store import RunStore

Spec = Callable[..., RunSpec]


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "xquad": ({"task": "squadshifts"}, {"task": "xquad", "languages": ["en", "zh", "th"], "max_new_tokens": 4}),
    "mgsm": ({"task": "gsm8k"}, {"task": "mgsm", "languages": ["en", "bn"], "max_new_tokens": 4}),
    "belebele": ({"task": "mnli"}, {"task": "belebele", "languages": ["eng_Latn", "khm_Khmr"]}),
    "flores": (
        {"task": "gsm8k"},
        {"task": "flores_from_english", "languages": ["de", "hi"], "max_new_tokens": 4},
    ),
}


@pytest.mark.parametrize("method", ["prefix", "lora"])
@pytest.mark.parametrize("kind", ["xquad", "mgsm"])
def test_texts_are_learned_and_measured(spec: Spec, store: RunStore, kind: str, method: str) -> None:
    train, evaluation = KINDS[kind]
    settings = {**train, "rows": 8, "development_rows": 3, "batch_rows": 4, "max_tokens": 64}
    run = experiment.train(spec(method, settings, evaluate=[{**evaluation, "limit": 3, "max_tokens": 96}]), store)
    training = run.read_json("training.json")
    assert training is not None
    assert training["steps"] == 2
    assert training["target_tokens_per_epoch"] > 8
    assert 0 < training["final_loss"] < 12
    (measured,) = training["development"]
    assert 0 <= measured["accuracy"] <= 1
    metrics = experiment.evaluate(run)[evaluation["task"]]
    task = tasks.get(evaluation["task"])
    assert metrics["metric"] == task.metric
    assert metrics["chance"] is None
    assert set(metrics["metrics"]) == set(task.judge.metrics[1:])
    for code, entry in metrics["languages"].items():
        frame = run.predictions(evaluation["task"], code)
        assert frame is not None
        rows = data.load(evaluation["task"], "snapshot", code, task.default_split, 3)
        assert list(frame["id"]) == [row.id for row in rows]
        assert [list(golds) for golds in frame["golds"]] == [list(row.answers) or [row.label] for row in rows]
        judged = [task.judged(text, row) for text, row in zip(frame["text"], rows, strict=True)]
        assert list(frame["answer"]) == [found.answer for found in judged]
        assert list(frame["score"]) == [found.scores[task.metric] for found in judged]
        assert entry["score"] == pytest.approx(sum(frame["score"]) / 3)
        assert metrics["unparsable"][code] == sum(not found.parsed for found in judged)
    again = experiment.evaluate(run)
    assert again[evaluation["task"]] == metrics


def test_letters_and_translations_of_the_base_model(spec: Spec, store: RunStore) -> None:
    measured = [{**KINDS[name][1], "limit": 3, "max_tokens": 96} for name in ("belebele", "flores")]
    measured[0] |= {"verbaliser": {"A": " yes", "B": " no", "C": " maybe", "D": "?"}}
    run = experiment.train(spec("base", None, evaluate=measured), store)
    metrics = experiment.evaluate(run)
    assert metrics["belebele"]["chance"] == pytest.approx(1 / 4)
    translations = metrics["flores_from_english"]
    assert translations["metric"] == "chrf"
    for code in ("deu_Latn", "hin_Deva"):
        for name in ("corpus_bleu", "corpus_chrf"):
            entry = translations["metrics"][name]["languages"][code]
            assert 0 <= entry["interval"][0] <= entry["score"] <= entry["interval"][1] <= 1
            assert "version" in entry["signature"]
    assert translations["metrics"]["corpus_chrf"]["macro"]["without_english"]["languages"] == 2
    letters = metrics["belebele"]["metrics"]["macro_f1"]
    assert set(letters["languages"]) == {"eng_Latn", "khm_Khmr"}
    assert 0 <= letters["macro"]["all"]["score"] <= 1


def test_a_task_measured_in_two_ways(spec: Spec, store: RunStore) -> None:
    ways = [
        {"task": "xnli", "languages": ["de"], "limit": 6},
        {"task": "xnli", "languages": ["de"], "limit": 6, "name": "xnli-harness", "template": "lm-eval"},
        {"task": "xnli", "languages": ["de"], "limit": 6, "name": "xnli-3-shots", "few_shot": {"shots": 3}},
    ]
    run = experiment.train(spec("base", None, evaluate=ways), store)
    metrics = experiment.evaluate(run)
    assert set(metrics) == {"xnli", "xnli-harness", "xnli-3-shots"}
    assert [metrics[name]["few_shot"] for name in sorted(metrics)] == [0, 3, 0]
    hashes = [set(run.predictions(name, "deu_Latn")["prompt_hash"]) for name in metrics]  # type: ignore[index]
    assert not hashes[0] & hashes[2]
    with pytest.raises(TransfixError, match="a name of its own"):
        spec("base", None, evaluate=[ways[0], ways[0]])


def test_exemplars_are_balanced_and_never_measured_rows() -> None:
    task = tasks.get("xnli")
    evaluation = Evaluation.model_validate({"task": "xnli", "few_shot": {"shots": 6}})
    asked = data.load("xnli", "snapshot", "deu_Latn", "test", 6)
    text = few_shot.shots(evaluation, task, "deu_Latn", asked)
    assert text == few_shot.shots(evaluation, task, "tha_Thai", asked), "English ones for every language"
    assert [text.count(f"?{word}\n\n") for word in (" yes", " maybe", " no")] == [2, 2, 2]
    other = evaluation.model_copy(update={"few_shot": evaluation.few_shot.model_copy(update={"seed": 1})})  # type: ignore[union-attr]
    assert few_shot.shots(other, task, "deu_Latn", asked) != text
    measured = Evaluation.model_validate({"task": "xnli", "few_shot": {"shots": 3, "task": "xnli", "split": "test"}})
    with pytest.raises(TransfixError, match="exemplars must come from another one"):
        few_shot.shots(measured, task, "deu_Latn", asked)
    foreign = Evaluation.model_validate({"task": "xnli", "few_shot": {"shots": 3, "task": "gsm8k"}})
    with pytest.raises(TransfixError, match="other fields or answers"):
        few_shot.shots(foreign, task, "deu_Latn", asked)
    hidden = data.load("mnli", "snapshot", "eng_Latn", "train")
    with pytest.raises(TransfixError, match="has 0 in eng_Latn"):
        few_shot.shots(evaluation, task, "deu_Latn", hidden)


def test_exemplars_are_read_before_every_question(spec: Spec, store: RunStore) -> None:
    session = answering.Session(experiment.train(spec("base", None), store))
    task, rows = tasks.get("xnli"), data.load("xnli", "snapshot", "deu_Latn", "test", 3)
    shown = "It rains. It is wet? yes\n\n"
    found = session.answers(task, rows, None, answering.InferenceSettings(shots=shown))
    written = [replace(row, fields=row.fields | {"premise": shown + row.fields["premise"]}) for row in rows]
    for answer, same, bare in zip(found, session.answers(task, written), session.answers(task, rows), strict=True):
        assert answer.prompt_hash == same.prompt_hash != bare.prompt_hash
        assert answer.scores == pytest.approx(same.scores, abs=1e-5)
        assert answer.scores != pytest.approx(bare.scores, abs=1e-3)


@pytest.mark.parametrize("language", ["english", "target"])
def test_mgsm_comes_with_its_eight_exemplars(language: str) -> None:
    task = tasks.get("mgsm").with_options(template="native")
    few = {"shots": 8, "language": language}
    evaluation = Evaluation.model_validate({"task": "mgsm", "template": "native", "few_shot": few})
    text = few_shot.shots(evaluation, task, "deu_Latn", data.load("mgsm", "snapshot", "deu_Latn", "test", 3))
    assert text.count("####") == 8
    assert text.count("Frage:" if language == "target" else "Question:") == 8
    assert text.endswith("\n\n")


def test_exposure_adds_rows_of_other_languages(spec: Spec, store: RunStore, tmp_path: Path) -> None:
    rows = data.load("xnli", "snapshot", "swh_Latn", "test", 30)  # changed, since these are measured
    lines = [f"{row.fields['premise']}\t{row.fields['hypothesis']} Kweli.\t{row.label}" for row in rows]
    (tmp_path / "dev-sw.tsv").write_text("\n".join(lines) + "\n")
    exposure = {"rows": 6, "languages": ["sw"], "task": "xnli", "split": "dev"}
    exposure["data"] = {"files": str(tmp_path / "dev-{lang}.tsv")}
    run = experiment.train(spec(train={"exposure": exposure}), store)
    training = run.read_json("training.json")
    assert training is not None
    assert (training["rows"], training["exposure_rows"]) == (24, 6)
    assert set(training["class_balance"].values()) != {0}
    with pytest.raises(TransfixError, match="40 rows were asked for, xnli has 30"):
        experiment.train(spec(train={"exposure": {**exposure, "rows": 40}}), store)
    with pytest.raises(TransfixError, match="the split of xnli that is reported"):
        experiment.train(spec(train={"exposure": {**exposure, "split": "test", "data": "snapshot"}}), store)


def test_predictions_of_texts(spec: Spec, store: RunStore, tmp_path: Path) -> None:
    evaluation = [{**KINDS["mgsm"][1], "limit": 2}]
    run = experiment.train(spec("base", None, evaluate=evaluation), store)
    source, target = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"question": "2 + 2?", "language": "de"}\n{"question": "3 + 3?"}\n')
    assert experiment.predict(run, source, target) == 2
    lines = target.read_text().splitlines()
    assert all('"answer"' in line and '"generated_text"' in line for line in lines)


def test_a_drawn_text_is_the_rows_own(spec: Spec, store: RunStore) -> None:
    """Whatever rows are asked with it, and in whatever order: a resumed measurement draws the same."""
    evaluation = [{**KINDS["mgsm"][1], "limit": 2}]
    session = answering.Session(experiment.train(spec("base", None, evaluate=evaluation), store))
    task, rows = tasks.get("mgsm"), data.load("mgsm", "snapshot", "deu_Latn", "test", 4)
    how = answering.InferenceSettings(max_tokens=64, max_new_tokens=6, temperature=2.0, seed=1)
    texts = [answer.text for answer in session.answers(task, rows, None, how)]
    assert [answer.text for answer in session.answers(task, rows[:0:-1], None, how)] == texts[:0:-1]
    assert len(set(texts)) == 4


def test_probabilities_are_shares() -> None:
    answer = answering.Answer("a", "", False, (-700.0, -701.0), ("a", "b"))
    assert answer.probabilities == {"a": pytest.approx(0.731059, abs=1e-5), "b": pytest.approx(0.268941, abs=1e-5)}


def test_a_prompt_at_the_end_of_what_the_model_reads(spec: Spec, store: RunStore) -> None:
    """Cut so that a soft prompt and the answer still fit, and counted."""
    evaluation = [
        {"task": "xquad", "languages": ["th"], "limit": 2, "max_new_tokens": 4}
    ]  # longer than 512 tokens here
    training = {"task": "squadshifts", "rows": 2, "development_rows": 0, "max_tokens": 32}
    run = experiment.train(spec({"method": "soft_prompt", "tokens": 3}, training, evaluate=evaluation), store)
    metrics = experiment.evaluate(run)["xquad"]
    assert metrics["languages"]["tha_Thai"]["truncated"] == 2
