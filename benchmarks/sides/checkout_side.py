"""Whichever transfix is on the path, through its command line: its modules may lie elsewhere in another checkout."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MODEL = {"model": "gemma-3-270m", "dtype": "bfloat16", "device": "cpu"}
BATCH = 16
FEW = 4
"""Rows that are asked first, so that libraries are loaded and threads are there."""


def train(adapter: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Trains on English MultiNLI rows, 16 a step: examples a second, as `training.json` has them."""
    with _run({**MODEL, "adapter": adapter, "train": _training(rows), "evaluate": []}) as run:
        facts = json.loads((run / "training.json").read_text(encoding="utf-8"))
    return {"rows_per_s": facts["examples_per_second"], "loss": facts["final_loss"], **_where()}


def evaluate(adapter: Any, asked: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Measures an adapter of one step on German rows: rows a second of one `transfix evaluate`, loading included."""
    trained = {} if adapter == "base" else {"train": _training(BATCH)}
    with _run({**MODEL, "adapter": adapter, **trained, "evaluate": [{"languages": ["de"], **asked}]}) as run:
        _transfix("evaluate", run, "--limit", FEW)
        began = time.perf_counter()
        _transfix("evaluate", run, "--limit", FEW + rows)
        seconds = time.perf_counter() - began
    return {"rows_per_s": round(rows / seconds, 3), **_where()}


def _training(rows: int) -> dict[str, Any]:
    once = {"development_rows": 0, "epochs": 1, "batch_rows": BATCH, "learning_rate": 0.001}
    return {"task": "mnli", "rows": rows, **once}


@contextlib.contextmanager
def _run(content: Mapping[str, Any]) -> Iterator[Path]:
    """The directory of a run that `transfix train` has made."""
    with tempfile.TemporaryDirectory() as directory:
        spec = Path(directory) / "spec.yaml"
        spec.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
        _transfix("train", spec, "--runs", Path(directory) / "runs")
        (run,) = (Path(directory) / "runs").iterdir()
        yield run


def _transfix(*arguments: object) -> None:
    sys.argv = ["transfix", *map(str, arguments)]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_module("transfix", run_name="__main__")
        except SystemExit as ended:
            if ended.code:
                raise SystemExit(f"{' '.join(sys.argv)} ended with {ended.code}:\n{said.getvalue()}") from ended


def _where() -> dict[str, Any]:
    import transfix

    return {"imported": transfix.__file__}
