"""How far a run's answers to a user's rows can be trusted in each language, without their labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transfix import languages
from transfix.data import DataError, OnBadRows
from transfix.data.by_language import OwnRow, RowsByLanguage, read_by_language
from transfix.data.language_files import LANG
from transfix.errors import TransfixError, shortened
from transfix.runs import records
from transfix.runs.answering import Session
from transfix.runs.own_rows import ask, example_of, optional_fields, own_asked_as, own_task
from transfix.runs.progress import Display
from transfix.statistics.bootstrap import ENGLISH, Floats
from transfix.statistics.label_probabilities import Places
from transfix.statistics.trust import FEWEST, Accuracy, Estimate, Known, estimates

if TYPE_CHECKING:
    from transfix.runs.records import Predictions
    from transfix.runs.store import Run
    from transfix.tasks import Task

ID = "id"
"""The column by which a row is known to be the translation of an English one."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known of a run's answers to rows without labels.

    Attributes:
        classes: the labels.
        english: the accuracy in English, from labels, and its interval.
        english_rows: how many those were.
        languages: FLORES-style code -> estimate.
        too_few: languages with fewer rows than an estimate needs, and how many they have.
        notes: what else there is to say.
    """

    classes: tuple[str, ...]
    english: Accuracy
    english_rows: int
    languages: Mapping[str, Estimate]
    too_few: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def trust(
    run: Run,
    source: str | Path,
    beside: Run | None = None,
    translations: bool = True,
    codes: Collection[str] | None = None,
    display: Display | None = None,
    on_bad_rows: OnBadRows = "error",
) -> Trust:
    """Estimates, for each language, the share of a run's answers that is right, from rows without labels.

    See `statistics.trust` for the estimates and docs/trust.md for how far they were off.

    Args:
        run: whose answers they are: trained on a choice between labels, and measured in English.
        source: a path with `{lang}` for the language's code or name, or a file whose rows have a column `language`;
            jsonl, csv, tsv, parquet or Arrow with the task's fields. Labels in it are not looked at.
        beside: another adapter, trained on the same task and measured on the same English rows.
        translations: a row with the `id` of an English one is its translation.
        codes: only these languages, by any code or name, and the English rows. `None` is all that are there.
        display: where progress is shown.
        on_bad_rows: `skip` leaves bad rows out and says so.

    Returns:
        Estimates from 0 to 1, with 95 % intervals.

    Raises:
        TransfixError: the task is not a choice, no English accuracy is known, no language has `statistics.trust.FEWEST`
            rows, the other run cannot stand beside this one, or rows are bad.
    """
    display = display or Display()
    task = own_task(run)
    runs = [run] if beside is None else [run, beside]
    for one in runs:
        _require_labels(one, task)
    found = _read(source, task, codes, on_bad_rows)
    counts = {code: len(own) for code, own in found.rows.items() if code != ENGLISH}
    if not counts or max(counts.values()) < FEWEST:
        raise TransfixError(_too_few(source, counts))
    for one in runs:
        one.require_trained()
    known, rows_known = _anchor(runs, task)
    asked = {code: own for code, own in found.rows.items() if len(own) >= FEWEST or code == ENGLISH}
    for code in set(asked) - {ENGLISH} if translations else ():  # before minutes of work
        _pairs(source, code, asked)
    asked, scores, left_out = _ask_all(runs, task, asked, display, on_bad_rows)
    few = {code: count for code, count in counts.items() if code not in asked}
    few |= {code: len(own) for code, own in asked.items() if code != ENGLISH and len(own) < FEWEST}
    scores = {code: own for code, own in scores.items() if code not in few}
    if not set(scores) - {ENGLISH}:
        raise TransfixError(_too_few(source, few))
    pairs = {code: _pairs(source, code, asked) for code in scores if code != ENGLISH} if translations else {}
    estimated = estimates(known, scores, pairs)
    skipped = [f"{problem.where}: {problem.what}" for problem in found.problems] + left_out
    notes = [f"{path} was not read: its name has no language where {{lang}} stands" for path in found.no_language]
    if skipped:
        notes.append(f"{len(skipped):,} bad rows were left out; the first: {skipped[0]}")
    return Trust(task.classes, known.interval(), rows_known, estimated, few, tuple(notes))


def _read(source: str | Path, task: Task, codes: Collection[str] | None, on_bad_rows: OnBadRows) -> RowsByLanguage:
    codes = None if codes is None else list(dict.fromkeys(languages.get(code).code for code in codes))

    def read(wanted: Collection[str] | None) -> RowsByLanguage:
        return read_by_language(source, task.benchmark, task.fields, optional_fields(task), wanted, on_bad_rows)

    try:
        found = read(None if codes is None else list(dict.fromkeys([*codes, ENGLISH])))
    except DataError:
        if codes is None or len(codes) != 1 or LANG in str(source):
            raise
        found = read(codes)  # a file that does not say its one language
    if absent := [code for code in codes or () if code not in found.rows]:
        said = ", ".join(languages.get(code).name for code in absent)
        there = ", ".join(languages.get(code).name for code in found.rows)
        raise TransfixError(f"--input {source} has no rows of {said}{f'; it has rows of {there}' if there else ''}.")
    return found


def _require_labels(run: Run, task: Task) -> None:
    own = own_task(run)
    if own.kind != "choice":
        raise TransfixError(
            f"{run.path} answers {own.name} with texts: what it would have right is estimated of choices between labels "
            "only. Measure it on rows with references: `transfix evaluate`."
        )
    if (own.family, own.classes) != (task.family, task.classes):
        raise TransfixError(
            f"{run.path} chooses among the labels of {own.name} ({', '.join(own.classes)}), and not among those of "
            f"{task.name} ({', '.join(task.classes)}): put another run --beside, of the same task."
        )


def _anchor(runs: Sequence[Run], task: Task) -> tuple[Known, int]:
    """The English rows whose labels are known, as all runs have scored them when they were measured."""
    found = [_english(run, task) for run in runs]
    rows = [_by_id(one) for one in found]
    shared = [name for name in rows[0] if all(name in other and other[name][0] == rows[0][name][0] for other in rows)]
    if len(runs) > 1:
        sources = [[one.meta.get(name) for name in ("task", "split", "data")] for one in found]
        if sources[0] != sources[1] or len(shared) < FEWEST:
            count = len(shared) if sources[0] == sources[1] else 0
            raise TransfixError(
                f"{runs[1].path} was measured on {count} of the English rows that {runs[0].path} was measured on, and "
                f"{FEWEST} are needed: measure both on the same ones, `transfix evaluate {runs[1].path} --task "
                f"{found[0].file.parent.name} --languages en --limit {len(rows[0])}`."
            )
    places = {name: place for place, name in enumerate(task.classes)}
    golds = np.array([places[rows[0][name][0]] for name in shared])
    return Known(tuple(np.array([own[name][1] for name in shared]) for own in rows), golds), len(shared)


def _english(run: Run, task: Task) -> Predictions:
    """A run's predictions of English rows with labels, asked as a user's rows are; of several the most."""
    record = records.read(run.path)
    there = {name: own[ENGLISH] for name, own in record.predictions.items() if ENGLISH in own}
    again = _measure(run, task)
    if damaged := [name for name, codes in record.damaged.items() if ENGLISH in codes]:
        raise TransfixError(
            f"{run.path}: predictions of {damaged[0]} in English are damaged: {'; '.join(record.damage)}."
        )
    wanted = own_asked_as(run, task)
    alike = {name: one for name, one in there.items() if not _differences(one, task, wanted)}
    if not alike:
        how = {name: ", ".join(_differences(one, task, wanted)) for name, one in there.items()}
        said = "; ".join(f"{name} was asked otherwise ({what})" for name, what in how.items())
        raise TransfixError(
            f"{run.path}: its accuracy in English is not known{f': {said}' if said else ''}, and every estimate starts "
            f"from it. Measure it on English rows with labels: {again}."
        )
    best = max(alike.values(), key=lambda one: len(_by_id(one)))
    if (count := len(_by_id(best))) < FEWEST:
        raise TransfixError(
            f"{run.path}: its accuracy in English is known from {count} rows with labels, and {FEWEST} are needed (300 are "
            f"better): {again}."
        )
    return best


def _measure(run: Run, task: Task) -> str:
    named = any(entry for entry in run.spec.evaluate if entry.task == task.name or _family(entry.task) == task.family)
    return f"`transfix evaluate {run.path}{'' if named else ' --task TASK'} --languages en --limit 300`"


def _family(name: str) -> str:
    from transfix import tasks

    return tasks.get(name).family


def _differences(predictions: Predictions, task: Task, wanted: Mapping[str, Any]) -> list[str]:
    """What keeps predictions from standing for answers to a user's rows."""
    if predictions.options is None:
        return ["its stored answers are not the likeliest labels"]
    if predictions.meta.get("classes") != list(task.classes):
        return ["other labels"]
    return [name for name, value in wanted.items() if predictions.meta.get(name) != value]


def _by_id(predictions: Predictions) -> dict[str, tuple[str, Floats]]:
    """The label and the scores of each row that has a label."""
    assert predictions.options is not None
    columns = predictions.columns
    rows = zip(columns["id"], columns["gold"], predictions.options, strict=True)
    return {name: (gold, scores) for name, gold, scores in rows if gold is not None}


def _too_few(source: str | Path, counts: Mapping[str, int]) -> str:
    there = ", ".join(f"{languages.get(code).name} has {count}" for code, count in counts.items())
    if not there:
        return (
            f"--input {source} has rows in English only, whose accuracy is known. Add rows in the languages to be trusted, "
            f"at least {FEWEST} each."
        )
    return (
        f"--input {source}: an estimate needs {FEWEST} rows of a language (100 are better), and {there}. Add rows: they need "
        "no labels."
    )


def _ask_all(
    runs: Sequence[Run],
    task: Task,
    rows: Mapping[str, Sequence[OwnRow]],
    display: Display,
    on_bad_rows: OnBadRows,
) -> tuple[dict[str, list[OwnRow]], dict[str, list[Floats]], list[str]]:
    """The rows that all runs could read, the scores of each run (n, k), and what is wrong with the others."""
    answered: list[dict[str, dict[int, Floats]]] = []
    bad: dict[str, str] = {}
    for run in runs:
        session, own, total = Session(run), own_task(run), sum(map(len, rows.values()))
        answered.append({})
        session.load()
        with display.bar(f"Asking {run.spec.title}", total) as bar:
            for code, spoken in rows.items():
                examples = {place: example_of(own, place, row.values, code) for place, row in enumerate(spoken)}
                names = {place: row.name for place, row in enumerate(spoken)}
                found, unread = ask(session, own, code, examples, names, bar.advance, on_bad_rows)
                bad |= {names[place]: what for place, what in unread.items()}
                answered[-1][code] = {place: np.array(answer.scores) for place, answer in found.items()}
        del session
    kept: dict[str, list[OwnRow]] = {}
    scores: dict[str, list[Floats]] = {}
    for code, spoken in rows.items():
        places = [place for place in range(len(spoken)) if all(place in one[code] for one in answered)]
        if places:
            kept[code] = [spoken[place] for place in places]
            scores[code] = [np.array([one[code][place] for place in places]) for one in answered]
    return kept, scores, [f"{name}: {what}" for name, what in bad.items()]


def _pairs(source: str | Path, code: str, rows: Mapping[str, Sequence[OwnRow]]) -> tuple[Places, Places]:
    """The places of the rows of a language that have the id of an English one, and that one's places."""
    english, own = _ids(rows.get(ENGLISH, ())), _ids(rows[code])
    both = [name for name in own if name in english]
    for spoken, named in ((ENGLISH, english), (code, own)):
        if twice := [name for name in both if len(named[name]) > 1]:
            places = " and ".join(rows[spoken][place].name for place in named[twice[0]][:2])
            raise TransfixError(
                f"--input {source}: the id {shortened(twice[0])!r} is that of two {languages.get(spoken).name} rows "
                f"({places}), and it has to say which row is a translation of which. Give rows ids of their own; or, "
                "where equal ids do not mean translations, say --no-translations."
            )
    found = [(own[name][0], english[name][0]) for name in both]
    pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _ids(rows: Sequence[OwnRow]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if name := str(row.values.get(ID) if row.values.get(ID) is not None else "").strip():
            found.setdefault(name, []).append(place)
    return found
