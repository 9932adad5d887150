"""The main job on a small real model, in minutes on a laptop: adapt on English, measure in the 15 languages of XNLI.

Three runs on Gemma 3 270M (pretrained, never instructed): the base model, prefix tuning and LoRA, trained on the
English rows that ship with the package. They are ordinary runs of an ordinary store, so a quickstart that is killed goes on
where it was, and every command that works on runs works on these.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transfix.runs import run as experiment
from transfix.runs.progress import Display
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run, RunStore
from transfix.storage import atomic

MODEL = "gemma-3-270m"
LIMIT = 102
"""Rows a language: 34 premises with their three hypotheses."""

ADAPTERS: tuple[dict[str, Any], ...] = (
    {
        "adapter": {
            "method": "prefix",
            "tokens": 10,
            "norm": "layer",
            "init": "text",
            "learning_rate_scale": "relative",
        },
        "train": {"learning_rate": 0.01},
    },
    {"adapter": {"method": "lora", "rank": 4}, "train": {"learning_rate": 0.002}},
)
"""Each method with its learning rate, on the same rows; docs/quickstart.md has what was tried."""

ROWS = {"float32": 2000, "bfloat16": 3000}
"""Rows of every method, seen once, by the dtype that the machine is fast in: what its two cores do in a few minutes."""

CALIBRATION_ROWS = 32
"""Unlabelled rows a language, not among those measured."""


def specifications(
    rows: int | None, limit: int, languages: Sequence[str] | None, dtype: str = "float32"
) -> list[RunSpec]:
    """The three runs: base, prefix tuning, LoRA.

    Args:
        rows: see `main`.
        limit: see `main`.
        languages: see `main`.
        dtype: of the base weights.
    """
    common = {
        "model": MODEL,
        "evaluate": [
            {
                "task": "xnli",
                "limit": limit,
                "languages": list(languages) if languages else "all",
                "calibration": {"rows": CALIBRATION_ROWS},
            }
        ],
    }
    training = {
        "task": "mnli",
        "rows": ROWS.get(dtype, max(ROWS.values())),
        "development_rows": 90,
        "epochs": 1,
        "batch_rows": 9,
        "batch_tokens": 2048,
    }
    given = {} if rows is None else {"rows": rows, "development_rows": min(90, rows)}
    trained = [
        {**common, "adapter": settings["adapter"], "train": {**training, **settings["train"], **given}}
        for settings in ADAPTERS
    ]
    return [RunSpec.load(content) for content in ({**common, "adapter": "base"}, *trained)]


def main(
    directory: Path, rows: int | None = None, limit: int = LIMIT, languages: Sequence[str] | None = None
) -> list[Run]:
    """Runs the quickstart in `directory`, prints the table and writes the page.

    Args:
        directory: where runs and page go; started again, what is there is kept.
        rows: English rows to train each adapter on; `None` is what two cores do in minutes.
        limit: rows a language to measure on.
        languages: codes; `None` is all 15.

    Raises:
        TransfixError: if the packaged model is not installed, or the directory cannot be written or has a
            `report.html` or `report.md` of the user's own.
    """
    from rich.console import Console

    from transfix import data, report
    from transfix.models import loading, registry

    began = time.monotonic()
    display = Display()
    dtype = str(loading.automatic_dtype(loading.choose_device("auto"))).removeprefix("torch.")
    specs = specifications(rows, limit, languages, dtype)
    store = RunStore(directory / "runs")
    page, table = directory / "report.html", directory / "report.md"
    otherwise = "name another directory with --dir"
    atomic.make_directory(directory)
    for path in (page, table):  # before the minutes of training, not after them
        report.require_own(path, otherwise)
    packaged = registry.MODELS[MODEL]
    display.say(f"Base model: {packaged.title}. {packaged.licence}")
    display.say(
        "Rows: MultiNLI development rows (English, for training) and XNLI test rows, both shipped with transfix."
    )
    registry.ensure(packaged, display.say)
    runs = []
    for number, spec in enumerate(specs, start=1):
        display.say(f"[{number}/{len(specs)}] {spec.title}")
        run = experiment.train(spec, store, display)
        experiment.evaluate(run, display=display)
        runs.append(run)

    def texts(task: str, language: str, meta: Any) -> dict[str, Any]:
        return {row.id: row.fields for row in data.load(task, meta["data"], language, meta["split"], limit)}

    # runs of other settings may be in the directory too: one table compares the same ones only
    found = report.collect(store.root, texts, only={run.name for run in runs})
    report.write(page, report.page(found), otherwise)
    report.write(table, report.markdown(found), otherwise)
    Console(highlight=False).print(report.terminal(found))
    display.say(f"Page: {page.resolve()}")
    display.say(f"Took {(time.monotonic() - began) / 60:.1f} minutes. Runs: {store.root}")
    return runs
