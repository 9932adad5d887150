"""Evaluation: rows a second, against lm-evaluation-harness with the same prompts on the same rows.

    python -m benchmarks.evaluation      base model, bfloat16

xnli_de and belebele_deu_Latn are the harness' own tasks: xnli_de scores three whole sentences a row. `xnli, own prompts` is
transfix's prompt, one word after it, given to the harness as a task.

Both sides load the model outside the clock, and do all else inside it: reading rows, prompts, scores, metrics. The harness
gets batches of 16. That scores are the same to the row in float32 is what `pytest -m slow tests/harness` shows; here, in
bfloat16, the share of rows with the same score is printed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import arguments
from benchmarks.measuring import Numbers, in_process, in_turn, middle, spread, table, write

TASKS = {
    "xnli_de": ("xnli", "lm-eval", "nli/xnli/test-{lang}.tsv", 1.0),
    "xnli, own prompts": ("xnli", "default", "nli/xnli/test-{lang}.tsv", 2.0),
    "belebele_deu_Latn": ("belebele", "lm-eval", "choice/belebele/{lang}.jsonl", 0.5),
}
"""The harness' task: ours, the template, its files, and the share of `--rows` that is asked."""


def main() -> None:
    """Runs the benchmark."""
    parser = arguments.parser(__doc__, rows=120)
    parser.add_argument("--batch", type=int, default=16, help="the harness' batch size (default 16)")
    given = parser.parse_args()
    compare(TASKS, given, "rows_per_s", "rows/s", "evaluation")


def compare(tasks: dict[str, tuple[str, str, str, float]], given: Any, key: str, unit: str, name: str) -> None:
    """Runs every task on both sides in turn and prints the table.

    Args:
        tasks: see `TASKS`.
        given: the command line.
        key: what is compared; `tokens_per_s` is made from tokens and seconds.
        unit: how the table calls it.
        name: of the file of results.
    """
    pool, lines, results = arguments.pool(), [], {}
    for task, (ours, template, pattern, share) in tasks.items():
        if given.only not in task:
            continue
        rows = round(given.rows * share)
        with tempfile.TemporaryDirectory() as directory:
            count = iter(range(10**6))

            def fresh(directory: str = directory, count: Any = count) -> str:
                path = Path(directory) / str(next(count))
                path.mkdir()
                return str(path)

            def transfix(
                ours: str = ours, template: str = template, pattern: str = pattern, rows: int = rows
            ) -> Numbers:
                asked: dict[str, Any] = {"task": ours, "template": template, "files": str(pool / pattern), "rows": rows}
                return in_process("transfix_side:evaluate", directory=fresh(), **asked)

            def harness(
                task: str = task, ours: str = ours, template: str = template, pattern: str = pattern, rows: int = rows
            ) -> Numbers:
                where: dict[str, Any] = {
                    "pool": str(pool),
                    "directory": fresh(),
                    "own": (ours, pattern) if template == "default" else None,
                }
                name = task.replace(", ", "_").replace(" ", "_")
                return in_process("harness_side:run", name=name, rows=rows, batch=given.batch, **where)

            found = in_turn({"transfix": transfix, "harness": harness}, given.repetitions)
        for runs in found.values():
            for run in runs:
                run["tokens_per_s"] = run["tokens"] / run["seconds"]  # type: ignore[index]
        results[task] = found
        lines.append(_line(task, rows, found, key))
    headers = (
        "task",
        "rows",
        f"transfix {unit}",
        f"harness {unit}",
        "ratio",
        "score",
        "harness",
        "rows alike",
        "peak GiB",
    )
    print(table(headers, lines))
    if not given.only:
        write(name, {"command": " ".join(sys.argv[1:]), "runs": results})


def _line(task: str, rows: int, found: dict[str, list[Numbers]], key: str) -> Sequence[object]:
    ours, theirs = found["transfix"], found["harness"]
    alike = sum(a == b for a, b in zip(ours[0]["by_row"], theirs[0]["by_row"], strict=True))
    return (
        task,
        rows,
        spread(ours, key),
        spread(theirs, key),
        f"{middle(ours, key) / middle(theirs, key):.1f}",
        ours[0]["score"],
        theirs[0]["score"],
        f"{alike}/{rows}",
        f"{middle(ours, 'peak_gib'):.1f} / {middle(theirs, 'peak_gib'):.1f}",
    )


if __name__ == "__main__":
    main()
