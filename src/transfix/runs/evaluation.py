"""Measuring one run on one task: what is missing is asked, language by language, and written; see `metrics` for the rest."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transfix import data, languages
from transfix.data import Example, Rows
from transfix.runs import classifying
from transfix.runs.answering import Answer, InferenceSettings, Session, hash_of, merged_said
from transfix.runs.continuing import as_begun
from transfix.runs.few_shot import shots
from transfix.runs.progress import Bar, Display
from transfix.runs.settings import Evaluation
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run
from transfix.runs.training import task_of
from transfix.runs.whole import adapter_digest
from transfix.statistics.one_run import METRIC
from transfix.tasks import Task
from transfix.tasks.judges import answer_language, references

if TYPE_CHECKING:
    import pandas as pd

    from transfix.runs.store import Run


def measure(session: Session, evaluation: Evaluation, display: Display) -> None:
    """Predicts what is missing of one evaluation.

    Raises:
        TransfixError: rows cannot be read, or the run is not trained.
    """
    run, task, name = session.run, task_of(evaluation), evaluation.result
    split = evaluation.split or task.default_split
    codes = evaluation.codes
    read = {code: _read(task, evaluation, code, split) for code in codes}
    wanted = {code: rows.examples for code, rows in read.items()}
    before = {code: shots(evaluation, task, code, rows) for code, rows in wanted.items()}
    asked = described(run, evaluation, task, split)
    own = {"adapter": digest} if (digest := adapter_digest(run)) else {}
    metas = {code: asked | _of_rows(task, rows) | own for code, rows in read.items()}
    before_that = {code: run.predictions_meta(name, code) for code in codes}
    alike = {code: was for code, was in before_that.items() if was is not None and _alike(was, metas[code])}
    metas |= alike
    stored = {code: run.predictions(name, code) if code in alike else None for code in codes}
    kept = {code: _kept(stored[code], evaluation, task, code, wanted[code], before[code]) for code in codes}
    missing = {code: rows for code in codes if (rows := _unanswered(wanted[code], kept[code]))}
    for code in codes:  # rows that are gone from their file no longer count
        frame, was = kept[code], stored[code]
        if code not in missing and frame is not None and was is not None and len(frame) < len(was):
            run.write_predictions(name, code, frame, metas[code])
    total = sum(len(rows) for rows in wanted.values())
    if not missing:
        return
    done = total - sum(len(rows) for rows in missing.values())
    merged = 0
    with as_begun(run, display):
        session.load()
        with display.bar(f"Measuring {run.spec.title} on {name}", total, done) as bar:
            for code, rows in missing.items():
                spoken = languages.get(code).name
                settings = inference_settings(evaluation, before[code])
                answers = session.answers(task, rows, functools.partial(_told, bar, spoken), settings)
                merged += sum(answer.merged for answer in answers)
                run.write_predictions(name, code, _frame(task, rows, answers, kept[code]), metas[code])
    if merged:
        display.say(merged_said(evaluation.task, merged, total - done, run.spec.model))


def inference_settings(evaluation: Evaluation, shots_before: str) -> InferenceSettings:
    """How an evaluation asks, with the exemplars of one language."""
    return InferenceSettings(
        shots=shots_before,
        max_tokens=evaluation.max_tokens,
        max_new_tokens=evaluation.max_new_tokens,
        temperature=evaluation.temperature,
        top_p=evaluation.top_p,
        seed=evaluation.generation_seed,
    )


def _told(bar: Bar, note: str, rows: int) -> None:
    bar.advance(rows, note)


def described(run: Run, evaluation: Evaluation, task: Task, split: str) -> dict[str, Any]:
    """`describe`, as this run's model is asked: an encoder reads no prompt, no label words and no examples."""
    content = describe(run.spec, evaluation, task, split)
    if not classifying.asks_classes(run):
        return content
    return {key: value for key, value in content.items() if key not in _OF_PROMPTS} | {"scoring": "classes of the head"}


_OF_PROMPTS = ("template", "form", "verbaliser", "prompt_language", "few_shot", "few_shot_source")


def describe(spec: RunSpec, evaluation: Evaluation, task: Task, split: str) -> dict[str, Any]:
    """What is asked and how: predictions are kept as long as it stays the same."""
    form = task.prompt_template
    few = evaluation.few_shot
    content = {
        "task": task.name,
        "task_file": task.origin,
        "kind": task.kind,
        "split": split,
        "data": evaluation.model_dump(mode="json")["data"],
        "classes": list(task.classes),
        "template": task.template_name if task.template_name not in ("default", "custom") else task.default_prompt,
        "form": hash_of(json.dumps(dataclasses.asdict(form), sort_keys=True, ensure_ascii=False)),
        "verbaliser": dict(task.verbaliser),
        "prompt_language": form.prompt_language,
        "few_shot": few.shots if few else 0,
        "few_shot_source": None if few is None else few.model_dump(mode="json"),
        "model": spec.model,
        "dtype": spec.dtype,
        "max_tokens": evaluation.max_tokens,
        "metric": task.metric,
    }
    if spec.quantization != "none":
        content["quantization"] = spec.quantization
    if task.kind == "choice":
        return content | {"scoring": form.scoring}
    return content | {
        "judge": form.judge,
        "metric_title": task.judge.title,
        "max_new_tokens": evaluation.max_new_tokens or form.max_new_tokens,
        "temperature": evaluation.temperature,
        "top_p": evaluation.top_p,
        "generation_seed": evaluation.generation_seed if evaluation.temperature else None,
    }


def _of_rows(task: Task, rows: Rows) -> dict[str, Any]:
    """What the record of one language says of its rows."""
    facts: dict[str, Any] = {"skipped_rows": rows.skipped} if rows.skipped else {}
    if task.kind == "choice" and rows.examples:
        offers = [sum(task.offered(row)) for row in rows.examples]
        if min(offers) < len(task.classes):
            facts["chance"] = sum(1 / max(1, count) for count in offers) / len(offers)
    elif rows.examples:
        facts["answer_language"] = answer_language(rows.examples[0])
    return facts


def _read(task: Task, evaluation: Evaluation, code: str, split: str) -> Rows:
    return data.read(task.benchmark, evaluation.data, code, split, evaluation.limit, on_bad_rows=evaluation.on_bad_rows)


def _unanswered(rows: Sequence[Example], before: pd.DataFrame | None) -> list[Example]:
    """The rows that have no prediction yet."""
    answered = set() if before is None else set(before["id"])
    return [row for row in rows if row.id not in answered]


def _frame(task: Task, rows: Sequence[Example], answers: Sequence[Answer], before: pd.DataFrame | None) -> pd.DataFrame:
    """Predictions as a table, after those made before."""
    import pandas as pd

    columns: dict[str, Any] = {
        "id": [row.id for row in rows],
        "language": [row.language for row in rows],
        "prompt_hash": [answer.prompt_hash for answer in answers],
        "answer": [answer.answer for answer in answers],
        "gold": [row.label for row in rows],
        "score": [answer.judged.get(task.metric) for answer in answers],
        "truncated": [answer.truncated for answer in answers],
        "option_scores": [list(answer.scores) for answer in answers],
    }
    if task.kind != "choice":
        columns |= {METRIC + name: [answer.judged.get(name) for answer in answers] for name in task.judge.metrics[1:]}
        columns |= {
            "text": [answer.text for answer in answers],
            "golds": [list(references(row)) for row in rows],
            "parsed": [answer.parsed for answer in answers],
            "finished": [answer.finished for answer in answers],
        }
    new = pd.DataFrame(columns)
    return new if before is None else pd.concat([before, new], ignore_index=True)


def _alike(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether predictions were asked in the same way, of the same adapter.

    Those of an earlier version do not say of which; and where the adapter is gone, nobody can tell.
    """
    if "adapter" in was and "adapter" in now:
        return was == now
    return {**was, "adapter": ""} == {**now, "adapter": ""}


def _kept(
    frame: pd.DataFrame | None,
    evaluation: Evaluation,
    task: Task,
    code: str,
    wanted: Sequence[Example],
    before: str,
) -> pd.DataFrame | None:
    """Predictions made before, as far as they answer the same questions: a file's rows may have changed since."""
    if frame is None:
        return None
    rows = wanted
    if not set(frame["id"]) <= {row.id for row in wanted}:  # measured with a larger limit, or gone since
        split = evaluation.split or task.default_split
        rows = _read(task, evaluation.model_copy(update={"limit": None}), code, split).examples
    asked = {row.id: (hash_of(before + task.prompt(row)), row.label, list(references(row))) for row in rows}
    same = []
    for row in frame.to_dict("records"):
        gold = row["gold"] if isinstance(row["gold"], str) else None
        now = asked.get(row["id"])
        alike = now is not None and now[:2] == (row["prompt_hash"], gold)
        same.append(alike and now is not None and list(row.get("golds", now[2])) == now[2])
    return frame[same] if any(same) else None
