"""Training: examples a second, against PEFT in transformers' Trainer and LitGPT's adapter.

    python -m benchmarks.training                                   Gemma 3 270M, PEFT PrefixTuning and LoRA
    python -m benchmarks.training --model smollm2-135m              SmolLM2 135M (Llama), PEFT AdaptionPrompt
    python -m benchmarks.training --model smollm2-135m --litgpt-python litgpt-venv/bin/python     and LitGPT
    python -m benchmarks.training --model llama-3.1-8b              Llama 3.1 8B's shape with random weights, on a GPU

English MultiNLI rows, bfloat16, 16 rows a step (on the random weights 8 random rows of 512 tokens). `usual` and `best` are
explained in `sides/peft_side.py`. The share of the floor (4 x body parameters x tokens operations) is taken against the
machine's own large matrix product, measured in the same run; tokens are those that transfix computes, after sharing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks import arguments
from benchmarks.measuring import Numbers, bind, in_process, in_turn, middle, spread, table, write

METHODS: dict[str, dict[str, Any]] = {
    "prefix": {"method": "prefix", "tokens": 10},
    "prefix, unprojected": {"method": "prefix", "tokens": 10, "projection": "none"},
    "lora": {"method": "lora", "rank": 4},
    "llama_adapter": {"method": "llama_adapter", "tokens": 10, "gate": "per_layer"},
}
COMPILED = ", compiled"
LEAST = 48
"""Rows of three steps: the first two are not timed."""

SIDES = {
    "gemma-3-270m": (("prefix", "prefix, unprojected", "prefix, compiled", "lora"), ("prefix", "lora")),
    "smollm2-135m": (("llama_adapter",), ("adaption_prompt",)),
    "llama-3.1-8b": (("prefix", "prefix, compiled", "lora"), ("prefix", "lora")),
}
"""By model: methods of transfix (`compiled`: with `compile: true`), methods of PEFT."""

BATCHES = {"llama-3.1-8b": {"batch_rows": 8}}
"""Rows a step where they are not the usual 16."""


def sides(model: str, rows: int) -> dict[str, Callable[[], Numbers]]:
    """The methods of transfix and PEFT on a model, by their names in the table. transfix gets three times the rows.

    It would be done with as many before the clock says much; a rate is taken over all steps but the first two.
    """
    ours, theirs = SIDES[model]
    train = "transfix_side:train"
    batch = BATCHES.get(model, {})
    forward = {"batch_tokens": 4096} if batch else {}
    made = {}
    for name in ours:
        method, compiled = METHODS[name.removesuffix(COMPILED)], name.endswith(COMPILED)
        made[f"transfix {name}"] = bind(
            train, model=model, method=method, rows=3 * rows, compile=compiled, **batch, **forward
        )
    for name in theirs:
        for setting in ("usual", "best"):
            made[f"PEFT {name}, {setting}"] = bind(
                "peft_side:train", model=model, method=name, setting=setting, rows=rows, **batch
            )
    return made


def main() -> None:
    """Runs the benchmark."""
    parser = arguments.parser(__doc__, rows=160, least=LEAST)
    parser.add_argument("--model", choices=SIDES, default="gemma-3-270m")
    parser.add_argument("--litgpt-python", default="", help="the interpreter of an environment with litgpt")
    given = parser.parse_args()
    compared = sides(given.model, given.rows)
    first = next(iter(compared))
    checks: dict[str, Any] = {
        method: in_process("same_loss:losses", model=given.model, method=method)
        for method in SIDES[given.model][1]
        if method != "lora"  # PEFT's own layers, on both sides
    }
    with tempfile.TemporaryDirectory() as directory:
        if given.litgpt_python:
            written = in_process("same_loss:token_rows", model=given.model, rows=given.rows, directory=directory)
            files = {"rows": written["rows"], "weights": written["weights"]}
            compared["LitGPT adapter"] = bind("litgpt_side:train", python=given.litgpt_python, **files)
            one_step = in_process("litgpt_side:train", python=given.litgpt_python, dtype="float32", **files)
            checks["litgpt"] = {"transfix": written["loss"], "litgpt": one_step["losses"][0]}
        ceilings = [in_process("transfix_side:ceiling", gpu=given.model in BATCHES)]
        found = in_turn(arguments.chosen(compared, given.only), given.repetitions)
        ceilings.append(in_process("transfix_side:ceiling", gpu=given.model in BATCHES))
    best = max(ceiling["teraflops"] for ceiling in ceilings)
    rows = []
    for name, runs in found.items():
        reference = found["transfix lora" if "lora" in name else first]
        faster = "" if runs is reference else f"{middle(reference, 'rows_per_s') / middle(runs, 'rows_per_s'):.1f}"
        share = f"{middle(reference, 'peak_gib') / middle(runs, 'peak_gib'):.2f}"
        floor = f"{middle(runs, 'teraflops') / best:.0%}" if "teraflops" in runs[0] else ""
        rows.append((name, spread(runs, "rows_per_s"), spread(runs, "peak_gib"), faster, share, floor))
    headers = (
        "side",
        "examples/s",
        "peak GiB",
        "transfix is faster by",
        "transfix's share of its peak",
        "of the floor",
    )
    print(table(headers, rows))
    print(
        f"matrix product, bfloat16: {best} TFLOP/s; {first}: {found[first][0]['tokens']} tokens computed of "
        f"{found[first][0]['tokens_unshared']}; same loss: {checks}"
    )
    write(f"training-{given.model}", given, {"ceiling_teraflops": ceilings, "checks": checks, "runs": found})


if __name__ == "__main__":
    main()
