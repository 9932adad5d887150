"""How far a run's answers can be trusted: from a user's rows to the table, and everything that cannot be estimated."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from transfix import data, tasks
from transfix.cli.app import app
from transfix.errors import TransfixError
from transfix.runs import answering
from transfix.runs import run as experiment
from transfix.runs.answering import Session
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run, RunStore
from transfix.statistics.trust import Known, estimates

Spec = Callable[..., RunSpec]
ENGLISH, GERMAN, SWAHILI = "eng_Latn", "deu_Latn", "swh_Latn"
CLASSES = tasks.get("xnli").classes


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(spec: Spec, store: RunStore) -> Run:
    return measured(spec, store)


def measured(spec: Spec, store: RunStore, limit: int = 40, **changes: Any) -> Run:
    evaluation = {"task": "xnli", "languages": ["en"], "limit": limit, **changes}
    run = store.open(experiment.resolve(spec("base", None, evaluate=[evaluation])))
    experiment.evaluate(run)
    return run


def rows(*codes: str, start: int = 40, count: int = 32, ids: bool = True) -> Path:
    """Parallel rows without labels, in one file."""
    lines = []
    for code in codes:
        for number, row in enumerate(data.load("xnli", "snapshot", code, "test")[start : start + count]):
            name = row.id if ids else f"{code}-{number}"
            lines.append(json.dumps({"id": name, "language": code, **row.fields}, ensure_ascii=False))
    path = Path("rows.jsonl")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def scores(run: Run, code: str, start: int, count: int) -> Any:
    chosen = data.load("xnli", "snapshot", code, "test")[start : start + count]
    found = np.array([answer.scores for answer in Session(run).answers(tasks.get("xnli"), chosen)])
    return found, np.array([CLASSES.index(str(row.label)) for row in chosen])


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["trust", *map(str, arguments)])


def said(result: Result) -> str:
    assert (result.exit_code, result.stdout) == (2, "")
    return " ".join(result.stderr.split())


@pytest.mark.parametrize("kind", ["translations", "rows alone"])
def test_the_estimate_is_that_of_the_scores_and_of_the_labels_in_english(run: Run, kind: str) -> None:
    found = experiment.trust(run, rows(ENGLISH, GERMAN, ids=kind == "translations"))
    anchor, golds = scores(run, ENGLISH, 0, 40)
    asked = {code: [scores(run, code, 40, 32)[0]] for code in (ENGLISH, GERMAN)}
    places = np.arange(32)
    pairs = {GERMAN: (places, places)} if kind == "translations" else None
    want = estimates(Known((anchor,), golds), asked, pairs)[GERMAN]
    assert found.languages.keys() == {GERMAN}
    assert found.languages[GERMAN].kind == want.kind == kind
    assert found.languages[GERMAN].raw.value == pytest.approx(want.raw.value, abs=1e-4)
    assert found.languages[GERMAN].calibrated.low == pytest.approx(want.calibrated.low, abs=1e-3)
    assert found.english_rows == 40
    assert found.english.value == pytest.approx((anchor.argmax(axis=1) == golds).mean())


def test_labels_are_not_looked_at_and_the_run_stays_as_it_is(run: Run) -> None:
    path = rows(ENGLISH, GERMAN)
    files = {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}
    before = experiment.trust(run, path)
    assert {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()} == files
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("\n".join(json.dumps({**line, "label": CLASSES[n % 3]}) for n, line in enumerate(lines)))
    assert experiment.trust(run, path) == before


def test_translations_are_found_by_their_ids_in_any_order(run: Run) -> None:
    path = rows(ENGLISH, GERMAN)
    before = experiment.trust(run, path).languages[GERMAN]
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:31:-1], *lines[:32]]))
    after = experiment.trust(run, path).languages[GERMAN]
    assert after.raw.value == pytest.approx(before.raw.value, abs=1e-4)
    others = [{**json.loads(line), "id": n} for n, line in enumerate(lines[:32])]
    others += [{**json.loads(line), "id": (n + 1) % 32} for n, line in enumerate(lines[32:])]
    path.write_text("\n".join(map(json.dumps, others)))
    assert experiment.trust(run, path).languages[GERMAN].raw.value != pytest.approx(before.raw.value, abs=1e-6)


def test_another_adapter_beside(spec: Spec, store: RunStore, run: Run) -> None:
    other = store.open(experiment.resolve(spec("base", None, seed=5, evaluate=[{"task": "xnli", "languages": ["en"]}])))
    experiment.evaluate(other, limit=40)
    path = rows(ENGLISH, GERMAN)
    assert experiment.trust(run, path, other).languages[GERMAN].kind == "translations and another adapter"
    alone = experiment.trust(run, path, other, translations=False).languages[GERMAN]
    assert alone.kind == "another adapter"
    assert "is the run itself" in said(call(run.path, "--input", path, "--beside", run.path))


def test_a_file_a_language(run: Run) -> None:
    lines = [json.loads(line) for line in rows(ENGLISH, GERMAN).read_text().splitlines()]
    for code in ("en", "de"):
        own = [line for line in lines if line.pop("language", code) in (code, {"en": ENGLISH, "de": GERMAN}[code])]
        Path(f"rows.{code}.jsonl").write_text("\n".join(map(json.dumps, own)))
        lines = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    one = experiment.trust(run, "rows.jsonl")
    assert experiment.trust(run, "rows.{lang}.jsonl").languages == one.languages


def test_languages_that_are_named(run: Run) -> None:
    whole = experiment.trust(run, rows(ENGLISH, GERMAN, SWAHILI))
    shown = call(run.path, "--input", "rows.jsonl", "--languages", "de", "--json")
    listed = {row["lang"]: row for row in json.loads(shown.stdout)["languages"]}
    assert listed.keys() == {ENGLISH, GERMAN}
    assert listed[GERMAN]["raw"] == pytest.approx(whole.languages[GERMAN].raw.value, abs=1e-3)
    assert listed[GERMAN]["rests_on"] == "translations"
    told = said(call(run.path, "--input", "rows.jsonl", "--languages", "th"))
    assert "has no rows of Thai; it has rows of English" in told
    lines = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()[32:64]]
    Path("one.jsonl").write_text("\n".join(json.dumps({**line, "language": None}) for line in lines))
    assert "--languages" in said(call(run.path, "--input", "one.jsonl"))
    shown = call(run.path, "--input", "one.jsonl", "--languages", "de", "--json")
    assert [row["rests_on"] for row in json.loads(shown.stdout)["languages"]] == ["labels", "rows alone"]


def test_the_command(run: Run) -> None:
    path = rows(ENGLISH, GERMAN)
    lines = path.read_text().splitlines()
    few = [json.dumps({**json.loads(line), "language": "sw"}) for line in lines[:5]]
    path.write_text("\n".join([*lines, *few]))
    shown = call(run.path, "--input", path)
    assert shown.exit_code == 0, shown.stderr
    assert ["German", "32"] in [line.split()[:2] for line in shown.stdout.splitlines()]
    assert "Swahili: 5 rows are too few for an estimate" in shown.stdout
    as_json = json.loads(call(run.path, "--input", path, "--json").stdout)
    by_code = {row["lang"]: row for row in as_json["languages"]}
    assert (by_code[ENGLISH]["rests_on"], by_code[SWAHILI]["rests_on"]) == ("labels", "too few rows")
    german = by_code[GERMAN]
    assert german["raw_low"] <= german["raw"] <= german["raw_high"]
    assert german["raw_most_given"] in CLASSES
    listed = list(csv.DictReader(io.StringIO(call(run.path, "--input", path, "--csv").stdout)))
    assert [row["lang"] for row in listed] == [ENGLISH, GERMAN, SWAHILI]
    assert float(listed[1]["calibrated"]) == german["calibrated"]
    assert "only one of them" in said(call(run.path, "--input", path, "--json", "--csv"))


def test_english_that_was_not_measured(spec: Spec, store: RunStore) -> None:
    run = store.open(experiment.resolve(spec("base", None)))
    path = rows(ENGLISH, GERMAN)
    told = said(call(run.path, "--input", path))
    assert "its accuracy in English is not known" in told
    assert f"`transfix evaluate {run.path} --languages en --limit 300`" in told
    experiment.evaluate(run, codes=["eng_Latn"], limit=12)
    assert "known from 12 rows with labels, and 30 are needed" in said(call(run.path, "--input", path))
    experiment.evaluate(run, codes=["eng_Latn"], limit=30)
    assert call(run.path, "--input", path).exit_code == 0


def test_english_that_was_asked_otherwise(spec: Spec, store: RunStore) -> None:
    changed = [
        {"task": "xnli", "languages": ["de"], "limit": 3},
        {"task": "xnli", "name": "other", "languages": ["en"], "limit": 30, "template": "lm-eval"},
    ]
    run = store.open(experiment.resolve(spec("base", None, evaluate=changed)))
    experiment.evaluate(run, ["other"])
    told = said(call(run.path, "--input", rows(ENGLISH, GERMAN)))
    assert "other was asked otherwise" in told
    assert "Measure it" in told


def test_rows_that_are_too_few(run: Run) -> None:
    assert "in English only" in said(call(run.path, "--input", rows(ENGLISH)))
    told = said(call(run.path, "--input", rows(ENGLISH, GERMAN, count=29)))
    assert "an estimate needs 30 rows of a language" in told
    assert "German has 29" in told


def test_ids_that_say_two_things(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = rows(ENGLISH, GERMAN)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[33]["id"] = lines[32]["id"]
    path.write_text("\n".join(map(json.dumps, lines)))
    with monkeypatch.context() as patched:
        patched.setattr(answering, "load_model", lambda _: pytest.fail("a model is loaded"))
        told = said(call(run.path, "--input", path))
    assert f"the id {lines[32]['id']!r} is that of two German rows (rows.jsonl:33 and rows.jsonl:34)" in told
    assert call(run.path, "--input", path, "--no-translations").exit_code == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"language": "de", "premise": "a"}', "'hypothesis' is missing"),
        ('{"language": "xx", "premise": "a", "hypothesis": "b"}', "xx"),
        ('{"premise": "a", "hypothesis": "b"}', "`language`"),
        ("{", "rows.jsonl:65"),
    ],
)
def test_bad_rows_are_named(run: Run, line: str, told: str) -> None:
    path = rows(ENGLISH, GERMAN)
    path.write_text(f"{path.read_text()}{line}\n")
    assert told in said(call(run.path, "--input", path))
    skipped = call(run.path, "--input", path, "--on-bad-rows", "skip")
    assert skipped.exit_code == 0, skipped.stderr
    assert "1 bad rows were left out" in skipped.stdout


def test_files_that_are_not_there(run: Run) -> None:
    assert "there.jsonl" in said(call(run.path, "--input", "there.jsonl"))
    assert "{lang}" in said(call(run.path, "--input", "there/{lang}.jsonl"))


def test_texts_are_not_estimated(spec: Spec, store: RunStore) -> None:
    run = store.open(experiment.resolve(spec("base", None, evaluate=[{"task": "xquad", "languages": ["en"]}])))
    told = said(call(run.path, "--input", rows(ENGLISH, GERMAN)))
    assert "answers xquad with texts" in told


def test_another_run_that_cannot_stand_beside(spec: Spec, store: RunStore, run: Run) -> None:
    path = rows(ENGLISH, GERMAN)
    other = store.open(experiment.resolve(spec("base", None, seed=3)))
    with pytest.raises(TransfixError, match=f"{other.path}: its accuracy in English is not known"):
        experiment.trust(run, path, other)
    experiment.evaluate(other, codes=["eng_Latn"], limit=35)
    assert experiment.trust(run, path, other).english_rows == 35
    task = {"name": "topics", "kind": "choice", "fields": ["premise", "hypothesis"], "label": "topic",
            "prompt": "{{premise}} {{hypothesis}}\nSo?", "labels": {"a": " yes", "b": " maybe", "c": " no"},
            "data": {"test": {"files": "test.csv"}}}  # fmt: skip
    Path("task.yaml").write_text(yaml.safe_dump(task))
    Path("test.csv").write_text("premise,hypothesis,topic\na,b,a\n")
    foreign = store.open(experiment.resolve(spec("base", None, evaluate=[{"task": "task.yaml"}])))
    with pytest.raises(TransfixError, match="chooses among the labels of topics"):
        experiment.trust(run, path, foreign)


def test_damaged_predictions_are_named(run: Run) -> None:
    file = run.predictions_path("xnli", ENGLISH)
    file.write_bytes(file.read_bytes()[:100])
    told = said(call(run.path, "--input", rows(ENGLISH, GERMAN)))
    assert f"{file}: delete it, then run" in told
