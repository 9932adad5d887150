"""Keeps what runs answered, small, in `results/`, and makes the tables of the documentation from it: `make results`.

    python scripts/kept_results.py keep DIR NAME      the runs of a study or of a directory, without adapters
    python scripts/kept_results.py unpack NAME DIR    the run directories again: `transfix report DIR` reads them
    python scripts/kept_results.py tables             every table of docs/results.md that stands between its marks

A table stands between `<!-- results: NAME -->` and `<!-- end -->`; what `transfix report --markdown` prints of the runs.
Of every answer its id, gold, score and log-probabilities are kept, of every run its specification, the facts of its training
and its label means.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from transfix import report
from transfix.runs.store import Run, RunStore, files, label_means

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "results"
PAGE = ROOT / "docs" / "results.md"
BLOCK = re.compile(r"<!-- results: (?P<name>[\w.-]+) -->\n.*?<!-- end -->", re.DOTALL)
OPTIONS = "option_scores"
BY = ["result", "language", "id", "run"]
"""The order of rows: what does not differ between runs stands together, and takes no room."""


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep")
    keeping.add_argument("directory", type=Path)
    keeping.add_argument("name")
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("name")
    unpacking.add_argument("directory", type=Path)
    commands.add_parser("tables")
    arguments = parser.parse_args()
    if arguments.command == "keep":
        print(f"{keep(arguments.directory, KEPT / arguments.name):,} bytes")
    elif arguments.command == "unpack":
        unpack(KEPT / arguments.name, arguments.directory)
    else:
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def keep(directory: Path, place: Path) -> int:
    """Writes `runs.json` and `predictions.parquet` of all runs below a directory; returns their size in bytes."""
    runs: dict[str, dict[str, Any]] = {}
    asked: list[dict[str, Any]] = []
    frames = []
    for path in files.run_directories(directory / "runs" if (directory / "runs").is_dir() else directory):
        run = Run(path)
        if not run.predicted():  # not measured yet
            continue
        runs[run.name] = {
            "spec": (path / files.SPEC).read_text(encoding="utf-8"),
            "training": run.training,
            "asked": {},
        }
        means = {task: run.label_means(task) for task in dict.fromkeys(task for task, _ in run.predicted())}
        runs[run.name]["label_means"] = {task: found.content() for task, found in means.items() if found}
        for task, language in run.predicted():
            frame, meta = run.predictions(task, language), run.predictions_meta(task, language)
            assert frame is not None
            assert meta is not None
            if meta not in asked:
                asked.append(meta)
            runs[run.name]["asked"].setdefault(task, {})[language] = asked.index(meta)
            frames.append(frame.assign(run=run.name, result=task))
    place.mkdir(parents=True, exist_ok=True)
    (place / "runs.json").write_text(
        json.dumps({"runs": runs, "asked": asked}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    whole = pd.concat(frames, ignore_index=True)
    whole["order"] = whole.groupby(["run", "result", "language"], sort=False).cumcount()
    pq.write_table(
        table_of(whole.sort_values(BY)), place / "predictions.parquet", compression="zstd", compression_level=19
    )
    return sum(path.stat().st_size for path in place.iterdir())


def table_of(whole: pd.DataFrame) -> pa.Table:
    """The answers as Arrow. Log-probabilities are of float32: as such they are kept, to the last bit."""
    options = [None if row is None else np.asarray(row, dtype=np.float64) for row in whole[OPTIONS]]
    if any(row is not None and not np.array_equal(row, row.astype(np.float32), equal_nan=True) for row in options):
        raise SystemExit(f"{OPTIONS}: numbers that float32 does not hold")
    table = pa.Table.from_pandas(whole.drop(columns=OPTIONS), preserve_index=False)
    return table.append_column(OPTIONS, pa.array(options, type=pa.list_(pa.float32())))


def unpack(place: Path, directory: Path) -> None:
    """Writes the run directories, as commands read them."""
    kept = json.loads((place / "runs.json").read_text(encoding="utf-8"))
    whole = pq.read_table(place / "predictions.parquet").to_pandas()
    own = dict(iter(whole.groupby(["run", "result", "language"], sort=False)))
    for name, found in kept["runs"].items():
        path = directory / name
        path.mkdir(parents=True)
        (path / files.SPEC).write_text(found["spec"], encoding="utf-8")
        run = RunStore(directory).find(name)
        if found["training"] is not None:
            run.write_training(found["training"])
        for task, content in found["label_means"].items():
            label_means.path_of(path, task).parent.mkdir(exist_ok=True)
            run.write_json(str(label_means.path_of(path, task).relative_to(path)), content)
        for task, by_language in found["asked"].items():
            for language, number in by_language.items():
                frame = own[name, task, language].sort_values("order")
                frame = frame.drop(columns=["run", "result", "order"]).dropna(axis="columns", how="all")
                for column in ("gold", OPTIONS):  # may hold nothing
                    frame[column] = frame.get(column)
                run.write_predictions(task, language, frame, kept["asked"][number])


def with_tables(text: str) -> str:
    """A page whose tables are what the kept runs give."""

    def table(found: re.Match[str]) -> str:
        return f"<!-- results: {found['name']} -->\n\n{markdown(found['name'])}\n<!-- end -->"

    return BLOCK.sub(table, text)


def markdown(name: str) -> str:
    """What `transfix report --markdown` prints of kept runs."""
    with tempfile.TemporaryDirectory() as home:
        unpack(KEPT / name, Path(home))
        return report.markdown(report.collect(Path(home)), None)


if __name__ == "__main__":
    main()
