"""Which label a run prefers, measured on rows that it is not measured on, kept with it, and used by reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transfix import data, report, tasks
from transfix.errors import ProblemsError, TransfixError
from transfix.runs import answering
from transfix.runs import run as experiment
from transfix.runs.answering import Session
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run, RunStore
from transfix.storage import checksums

Spec = Callable[..., RunSpec]
ENGLISH, GERMAN = CODES = ("eng_Latn", "deu_Latn")


def measured(spec: Spec, store: RunStore, limit: int = 40, rows: int = 8, **how: Any) -> Run:
    evaluation = {"task": "xnli", "languages": ["en", "de"], "limit": limit, "calibration": {"rows": rows, **how}}
    run = store.open(experiment.resolve(spec("base", None, evaluate=[evaluation])))
    experiment.evaluate(run)
    return run


def test_means_are_of_parallel_rows_that_share_nothing_with_those_asked(spec: Spec, store: RunStore) -> None:
    run = measured(spec, store)
    means = run.label_means("xnli")
    assert means is not None
    found = means.by_form["unlabelled"]
    assert found.keys() == set(CODES)
    assert found[ENGLISH].ids == found[GERMAN].ids
    for code in CODES:
        rows = {row.id: row for row in data.load("xnli", "snapshot", code, "test")}
        asked = list(rows.values())[:40]
        chosen = [rows[name] for name in found[code].ids]
        assert len(chosen) == found[code].rows == 8
        assert {row.fields["premise"] for row in asked}.isdisjoint(row.fields["premise"] for row in chosen)
        scores = np.array([answer.scores for answer in Session(run).answers(tasks.get("xnli"), chosen)])
        assert found[code].mean == pytest.approx(scores.mean(axis=0) - scores.mean(), abs=1e-5)


def test_what_is_measured_is_kept(spec: Spec, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run = measured(spec, store, content_free=True)
    file = run.path / "calibration" / "xnli.json"
    before = file.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(answering, "load_model", lambda _: pytest.fail("a model is loaded"))
        experiment.evaluate(run)
        assert file.read_bytes() == before
    predictions = run.predictions_path("xnli", GERMAN).read_bytes()
    experiment.evaluate(run, calibration_rows=10)
    means = run.label_means("xnli")
    assert means is not None
    assert means.by_form["unlabelled"][GERMAN].rows == 10
    assert means.by_form["content_free"] == json_means(before)["content_free"]
    assert run.predictions_path("xnli", GERMAN).read_bytes() == predictions
    experiment.evaluate(run, limit=1400)  # now most of the rows behind the mean would be asked too
    later = run.label_means("xnli")
    asked = run.predictions("xnli", GERMAN)
    assert later is not None
    assert asked is not None
    assert set(later.by_form["unlabelled"][GERMAN].ids).isdisjoint(asked["id"])


def json_means(content: bytes) -> Any:
    from transfix.runs.store.label_means import _mean

    found = json.loads(content)["means"]
    return {form: {code: _mean(entry, 3) for code, entry in means.items()} for form, means in found.items()}


def sealed(text: str) -> str:
    """The content of a file with the checksum that it then has."""
    return json.dumps(checksums.sealed(json.loads(text)), ensure_ascii=False)


def test_a_report_takes_the_rows_apart_before_those_asked(spec: Spec, store: RunStore) -> None:
    run = measured(spec, store, content_free=True)
    raw, found = report.collect(run.path).tasks
    assert (raw.calibration, found.calibration) == ("", "unlabelled")
    means = run.label_means("xnli")
    assert means is not None
    own, english = (np.array(means.by_form["unlabelled"][code].mean) for code in (GERMAN, ENGLISH))
    frame = run.predictions("xnli", GERMAN)
    assert frame is not None
    places = (np.stack(list(frame["option_scores"])) - own + english).argmax(axis=1)
    right = np.array(tasks.get("xnli").classes)[places] == frame["gold"]
    entry = found.methods[0].language(GERMAN)
    assert entry is not None
    assert entry["score"] == pytest.approx(right.mean())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-20], "calibration/xnli.json cannot be read"),
        (lambda text: text.replace('"format": 1', '"format": 9'), "calibration/xnli.json cannot be read"),
        (lambda text: text.replace('"mean": [', '"mean": [7.0, '), "calibration/xnli.json cannot be read"),
        (lambda text: sealed(text.replace('"prompt_language": "eng_Latn"', '"prompt_language": "deu_Latn"')), ""),
    ],
)
def test_what_is_damaged_or_of_other_prompts_is_not_used(
    spec: Spec, store: RunStore, change: Callable[[str], str], said: str
) -> None:
    run = measured(spec, store)
    file: Path = run.path / "calibration" / "xnli.json"
    text = file.read_text()
    file.write_text(change(text))
    assert file.read_text() != text
    found = report.collect(run.path)
    assert found.tasks[-1].calibration == "batch"
    assert any(said in note for note in found.notes) or not said
    if said:
        with pytest.raises(TransfixError, match="Delete it, then run `transfix evaluate"):
            run.label_means("xnli")
        file.unlink()
    experiment.evaluate(run)
    assert report.collect(run.path).tasks[-1].calibration == "unlabelled"


def test_only_choices_are_calibrated(spec: Spec, store: RunStore) -> None:
    texts = {"task": "xquad", "languages": ["en"], "limit": 1, "max_new_tokens": 2}
    with pytest.raises(ProblemsError, match=r"evaluate\[0\].calibration: xquad has no labels to choose from"):
        spec("base", None, evaluate=[{**texts, "calibration": {"rows": 2}}])
    run = store.open(experiment.resolve(spec("base", None, evaluate=[texts])))
    experiment.evaluate(run, calibration_rows=2)
    assert run.label_means("xquad") is None


def test_metrics_hold_both(spec: Spec, store: RunStore) -> None:
    found = measured(spec, store, content_free=True).metrics
    assert found is not None
    calibrated = found["xnli"]["calibrated"]
    assert list(calibrated) == ["unlabelled", "batch", "content_free"]
    shown = report.collect(store.root).tasks[-1].methods[0]
    assert calibrated["unlabelled"]["macro"]["all"]["score"] == shown.macro("all")["score"]  # type: ignore[index]
    assert calibrated["batch"]["languages"][ENGLISH]["score"] == found["xnli"]["languages"][ENGLISH]["score"]
