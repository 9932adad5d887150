"""A choice is shown as it was answered and calibrated: tables, claims, CSV, LaTeX and page."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transfix import report

ENGLISH, GERMAN, THAI = LANGUAGES = ("eng_Latn", "deu_Latn", "tha_Thai")
SHIFTS = {GERMAN: (0.0, 3.0, 0.0), THAI: (0.0, 0.0, 0.0)}


def choices(store: Any, seed: int, shift: tuple[float, ...] = (0.0, 0.0, 0.0), rows: int = 120) -> dict[str, list[Any]]:
    """Answers with the log-probabilities that they are the likeliest of, all shifted alike."""
    columns = dict(store.answers(0.5, seed, rows=rows))
    generator = np.random.default_rng(seed)
    golds = [store.meta["classes"].index(gold) for gold in columns["gold"]]
    scores = generator.normal(size=(rows, 3)) - 3 + 2 * np.eye(3)[golds] + np.array(shift)
    answers = [store.meta["classes"][place] for place in scores.argmax(axis=1)]
    right = [float(a == g) for a, g in zip(answers, columns["gold"], strict=True)]
    return columns | {"answer": answers, "score": right, "option_scores": scores.tolist()}


def fill(store: Any, name: str, method: str, codes: tuple[str, ...] = LANGUAGES, rows: int = 120) -> Path:
    folder: Path = store.run(name, method, languages=list(codes))
    for number, code in enumerate(codes):
        columns = choices(store, number, SHIFTS.get(code, (0.0, 0.0, 0.0)), rows)
        store.predictions(folder / "predictions" / "xnli" / f"{code}.parquet", columns)
    return folder


def test_a_shifted_language_comes_back_and_the_others_stay(store: Any) -> None:
    fill(store, "base", "base")
    fill(store, "lora", "lora")
    raw, calibrated = report.collect(store.root).tasks
    assert (raw.name, raw.calibration, calibrated.name, calibrated.calibration) == ("xnli", "", "xnli", "batch")
    scores = [{code: task.methods[1].language(code)["score"] for code in LANGUAGES} for task in (raw, calibrated)]  # type: ignore[index]
    assert scores[0][GERMAN] < 0.5
    assert scores[1][GERMAN] > scores[0][THAI] - 0.1
    assert scores[1][THAI] == pytest.approx(scores[0][THAI], abs=0.05)
    assert scores[1][ENGLISH] == scores[0][ENGLISH]
    assert raw.claims[0] == f"Calibrated on the rows asked: {calibrated.headline}."
    assert any(note.startswith("Calibration: ") for note in calibrated.notes)


def test_every_form_of_a_report_has_both(store: Any) -> None:
    fill(store, "lora", "lora")
    found = report.collect(store.root)
    _, calibrated = found.tasks
    number = f"{100 * calibrated.methods[0].macro('without_english')['score']:.1f}"  # type: ignore[index]
    rows = list(csv.DictReader(io.StringIO(report.csv(found))))
    assert {row["calibration"] for row in rows} == {"", "batch"}
    (row,) = (row for row in rows if (row["calibration"], row["key"]) == ("batch", "without_english"))
    assert f"{100 * float(row['score']):.1f}" == number
    latex = report.latex(found)
    assert r"\label{tab:xnli}" in latex
    assert r"\label{tab:xnli-calibrated}" in latex
    for text in (report.markdown(found), report.page(found)):
        assert "XNLI, calibrated on the rows asked" in text
        assert number in text


@pytest.mark.parametrize("what", ["no English", "few rows", "other answers", "one run has no scores"])
def test_what_cannot_be_calibrated_is_shown_as_it_is(store: Any, what: str) -> None:
    folder = fill(
        store, "lora", "lora", LANGUAGES[1:] if what == "no English" else LANGUAGES, 20 if what == "few rows" else 120
    )
    if what == "other answers":
        columns = choices(store, 1)
        columns["answer"] = columns["answer"][::-1]
        columns["score"] = [float(a == g) for a, g in zip(columns["answer"], columns["gold"], strict=True)]
        store.predictions(folder / "predictions" / "xnli" / f"{GERMAN}.parquet", columns)
    if what == "one run has no scores":
        store.run("base", "base", languages=list(LANGUAGES))
    (task,) = report.collect(store.root).tasks
    assert task.calibration == ""
