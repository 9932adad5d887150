"""Trains and measures the rows that are not there yet, and prints the table.

    python -m benchmarks.hypotheses                         all rows, Gemma 3 270M, 3,000 English rows
    python -m benchmarks.hypotheses --only memory,lora      rows with one of these words
    python -m benchmarks.hypotheses --model smollm2-135m

The runs are in `--dir` (every command that takes runs takes them); what is there is not done again. The table is kept in
`benchmarks/results/hypotheses-MODEL-ROWS.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.hypotheses import methods as methods  # registers them
from benchmarks.hypotheses.rows import ROWS, specification
from transfix.runs import run as experiment
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run, RunStore

RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=Path("hypotheses"))
    parser.add_argument("--model", default="gemma-3-270m")
    parser.add_argument("--rows", type=int, default=3000, help="English training rows")
    parser.add_argument("--limit", type=int, default=60, help="rows a language")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="rows with one of these words, separated by commas")
    arguments = parser.parse_args()
    chosen = [row for row in ROWS if any(word in row for word in arguments.only.split(","))]
    store = RunStore(arguments.dir)
    table: dict[str, dict[str, Any]] = {}
    for row in chosen:
        spec = RunSpec.load(specification(row, arguments.model, arguments.rows, arguments.limit, arguments.seed))
        run = experiment.train(spec, store)
        table[row] = measured(run, experiment.evaluate(run))
        print(line(row, table[row]), flush=True)
    kept = RESULTS / f"hypotheses-{arguments.model}-{arguments.rows}.json"
    before = json.loads(kept.read_text()) if kept.exists() else {}
    kept.write_text(
        json.dumps(before | {f"{row}, seed {arguments.seed}": found for row, found in table.items()}, indent=1)
    )
    print(markdown(table))


def measured(run: Run, metrics: dict[str, Any]) -> dict[str, Any]:
    """A row's numbers: trained parameters, loss and accuracy on English development rows, the 14 other languages."""
    training = run.training or {}
    last = training.get("development", [{}])[-1]
    xnli = metrics["results"]["xnli"]
    return {
        "parameters": training.get("trainable_parameters", 0),
        "development_loss": last.get("loss"),
        "development_accuracy": last.get("accuracy"),
        **{form: transfer(found) for form, found in {"raw": xnli, **xnli["calibrated"]}.items()},
    }


def transfer(found: dict[str, Any]) -> dict[str, float]:
    """English, and the average of the others."""
    scores = {code: entry["score"] for code, entry in found["languages"].items()}
    english = scores.pop("eng_Latn")
    return {"english": round(english, 4), "others": round(statistics.fmean(scores.values()), 4)}


def line(row: str, found: dict[str, Any]) -> str:
    """A row of the table."""
    numbers = [found["raw"]["others"], found["unlabelled"]["others"], found["batch"]["others"]]
    scores = " | ".join(f"{100 * number:.1f}" for number in numbers)
    loss, accuracy = found["development_loss"], found["development_accuracy"]
    english = "– | –" if loss is None else f"{loss:.3f} | {100 * accuracy:.1f}"
    return f"| {row} | {found['parameters']:,} | {english} | {scores} |"


def markdown(table: dict[str, dict[str, Any]]) -> str:
    """The whole table."""
    head = "| tried | parameters | English: loss | accuracy | 14 others: raw | calibrated (unlabelled) | calibrated (batch) |"
    return "\n".join([head, "|---" + "|--:" * 6 + "|", *(line(row, found) for row, found in table.items())])


if __name__ == "__main__":
    main()
