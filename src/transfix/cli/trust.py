"""`transfix trust`: how far a run's answers can be trusted in each language, without labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transfix.cli.failures import reported
from transfix.cli.options import AsJson, OnBadRows, RunName, RunsDir, codes
from transfix.cli.output import console, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from transfix.runs.trusting import Trust
    from transfix.statistics.trust import Accuracy, Estimate


@reported
def trust(
    run: RunName,
    input: Annotated[
        str,
        typer.Option(
            "--input",
            "-i",
            metavar="ROWS",
            help="Rows without labels: a file whose rows have a `language`, or one a language, unlabelled/{lang}.jsonl. "
            "Rows with the id of an English one are its translations.",
        ),
    ],
    beside: Annotated[
        str | None,
        typer.Option(metavar="RUN2", help="Another adapter for the same task, to see where the two agree."),
    ] = None,
    translations: Annotated[
        bool, typer.Option("--translations/--no-translations", help="Whether equal ids mean translations.")
    ] = True,
    languages: Annotated[
        list[str] | None,
        typer.Option(metavar="CODES", help="Only these languages, and the English rows: de,sw,zh-TW."),
    ] = None,
    json: AsJson = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    on_bad_rows: OnBadRows = "error",
    runs: RunsDir = Path("runs"),
) -> None:
    """Estimate, without labels, how many of a run's answers are right in each language, and say where they collapse."""
    from transfix.errors import TransfixError, visible
    from transfix.runs.store import Run

    if json and csv:
        raise TransfixError("--json and --csv: only one of them can be printed; leave one out.")
    chosen = codes(languages)
    if chosen == ["all"]:
        chosen = None
    found, other = Run.find(run, runs), None if beside is None else Run.find(beside, runs)
    if other is not None and other.path.resolve() == found.path.resolve():
        raise TransfixError(f"--beside {beside} is the run itself, which agrees with itself always: name another one.")

    from transfix.runs import run as experiment

    known = experiment.trust(found, input, other, translations, chosen, on_bad_rows=on_bad_rows)
    rows = list(_rows(known))
    if json:
        print_json({"classes": list(known.classes), "languages": rows, "notes": [*_warnings(known), *known.notes]})
        return
    if csv:
        typer.echo(_csv(rows), nl=False)
    else:
        console().print(_table(known))
    for line in (*_warnings(known), *known.notes):
        typer.echo(f"! {visible(line)}", err=csv)


def _rows(known: Trust) -> Iterator[dict[str, Any]]:
    """A line a language, for programs."""
    english = {"lang": "eng_Latn", "rows": known.english_rows, "rests_on": "labels"}
    yield english | _numbers("raw", known.english) | _numbers("calibrated", known.english)
    for code, one in known.languages.items():
        row = {"lang": code, "rows": one.rows, "rests_on": one.kind}
        row |= _numbers("raw", one.raw) | _numbers("calibrated", one.calibrated)
        for form, spread in (("raw", one.raw_spread), ("calibrated", one.calibrated_spread)):
            row[f"{form}_answers"] = spread.spread
            row[f"{form}_most_given"] = known.classes[spread.label]
            row[f"{form}_most_given_share"] = round(spread.share, 4)
            row[f"{form}_distance_to_english"] = round(spread.distance, 4)
        yield row
    for code, count in known.too_few.items():
        yield {"lang": code, "rows": count, "rests_on": "too few rows"}


def _numbers(form: str, found: Accuracy) -> dict[str, float]:
    named = {form: found.value, f"{form}_low": found.low, f"{form}_high": found.high}
    return {name: round(value, 4) for name, value in named.items()}


def _csv(rows: list[dict[str, Any]]) -> str:
    import csv
    import io

    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _warnings(known: Trust) -> Iterator[str]:
    """What a reader must know before she believes a number."""
    from transfix import languages

    for code, one in known.languages.items():
        name = languages.get(code).name
        if one.raw_spread.spread != "as in English":
            yield f"{name}: {_fallen(known, one)}"
        if one.is_guessing:
            yield f"{name}: even calibrated, answers may be no better than guesses ({100 * one.chance:.0f} %)."
        if one.by_chance:
            yield (
                f"{name}: answers are those to the English rows of the same id no more often than by chance. Either "
                "these rows are no translations of those (say --no-translations), or the model understands nothing."
            )
    for code, count in known.too_few.items():
        yield f"{languages.get(code).name}: {count} rows are too few for an estimate; 30 are needed, 100 are better."


def _fallen(known: Trust, one: Estimate) -> str:
    before, after = one.raw_spread, one.calibrated_spread
    label, word = known.classes[before.label], "collapse" if before.spread == "collapsed" else "are shifted"
    said = f"answers {word}: {100 * before.share:.0f} % are {label!r} (in English {100 * before.english:.0f} %)"
    if after.spread == "as in English":
        right = f"about {100 * one.calibrated.value:.0f} % right"
        return f"{said}. Calibrated (`transfix calibrate`) they are spread as in English, and {right}."
    label = known.classes[after.label]
    return f"{said}. So they are calibrated: {100 * after.share:.0f} % are {label!r}. Do not rely on them."


def _table(known: Trust) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from transfix import languages

    def shown(found: Accuracy) -> str:
        return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in (
        ("Language", "left"),
        ("Rows", "right"),
        ("Answers", "left"),
        ("As answered, %", "right"),
        ("Calibrated, %", "right"),
        ("Rests on", "left"),
    ):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    english = shown(known.english)
    table.add_row("English", f"{known.english_rows:,}", "", english, english, "labels")
    for code, one in sorted(known.languages.items(), key=lambda item: -item[1].calibrated.value):
        spread = one.raw_spread
        answers: str = spread.spread
        if answers != "as in English":
            answers += f" ({100 * spread.share:.0f} % {known.classes[spread.label]})"
        table.add_row(
            Text(languages.get(code).name),
            f"{one.rows:,}",
            Text(answers),
            shown(one.raw),
            shown(one.calibrated),
            one.kind,
        )
    for code, count in known.too_few.items():
        table.add_row(Text(languages.get(code).name), f"{count:,}", "", "–", "–", "too few rows")
    return table
