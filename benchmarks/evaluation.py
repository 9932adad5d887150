"""Evaluation: rows a second, against lm-evaluation-harness with the same prompts on the same rows.

    python -m benchmarks.evaluation      base model, bfloat16

xnli_de and belebele_deu_Latn are the harness' own tasks: xnli_de scores three whole sentences a row. `xnli_own_prompts` is
transfix's prompt, one word after it, given to the harness as a task.

Both sides load the model outside the clock, and do all else inside it: reading rows, prompts, scores, metrics. The harness
gets batches of 16. That scores are the same to the row in float32 is what `pytest -m slow tests/harness` shows; here, in
bfloat16, the share of rows with the same score is printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import arguments
from benchmarks.measuring import Numbers, bind, in_turn, middle, spread, table, write

TASKS = {
    "xnli_de": ("xnli", "lm-eval", "nli/xnli/test-{lang}.tsv", 1.0),
    "xnli_own_prompts": ("xnli", "default", "nli/xnli/test-{lang}.tsv", 2.0),
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
        key: what is compared, `rows_per_s` or `tokens_per_s`.
        unit: how the table calls it.
        name: of the file of results.
    """
    pool, lines, results = str(arguments.pool()), [], {}
    for task, (ours, template, pattern, share) in arguments.chosen(tasks, given.only).items():
        rows = round(given.rows * share)
        asked = {"task": ours, "template": template, "files": f"{pool}/{pattern}", "rows": rows}
        own = {"own": (ours, pattern)} if template == "default" else {}
        compared = {
            "transfix": bind("transfix_side:evaluate", **asked),
            "harness": bind("harness_side:run", name=task, pool=pool, rows=rows, batch=given.batch, **own),
        }
        found = in_turn(compared, given.repetitions)
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
    write(name, given, {"runs": results})


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
