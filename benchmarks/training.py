"""Training: examples a second, against PEFT in transformers' Trainer and LitGPT's adapter.

    python -m benchmarks.training                                   Gemma 3 270M, PEFT PrefixTuning and LoRA
    python -m benchmarks.training --model smollm2-135m              SmolLM2 135M (Llama), PEFT AdaptionPrompt
    python -m benchmarks.training --model smollm2-135m --litgpt-python litgpt-venv/bin/python     and LitGPT

English MultiNLI rows, bfloat16, 16 rows a step. `usual` and `best` are explained in `sides/peft_side.py`. The share of the
floor (4 x body parameters x tokens operations) is taken against the machine's own large matrix product, measured in the same
run; tokens are those that transfix computes, after sharing.
"""

from __future__ import annotations

import sys
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
SIDES = {
    "gemma-3-270m": (("prefix", "prefix, unprojected", "lora"), ("prefix", "lora")),
    "smollm2-135m": (("llama_adapter",), ("adaption_prompt",)),
}
"""By model: methods of transfix, methods of PEFT."""


def main() -> None:
    """Runs the benchmark."""
    parser = arguments.parser(__doc__, rows=160)
    parser.add_argument("--model", choices=SIDES, default="gemma-3-270m")
    parser.add_argument("--litgpt-python", default="", help="the interpreter of an environment with litgpt")
    given = parser.parse_args()
    ours, theirs = SIDES[given.model]
    common = {"model": given.model, "rows": given.rows}
    sides: dict[str, Callable[[], Numbers]] = {}
    for name in ours:
        sides[f"transfix {name}"] = bind(
            "transfix_side:train", method=METHODS[name], **{**common, "rows": 3 * given.rows}
        )
    for name in theirs:
        for setting in ("usual", "best"):
            sides[f"PEFT {name}, {setting}"] = bind("peft_side:train", method=name, setting=setting, **common)
    with tempfile.TemporaryDirectory() as directory:
        checks: dict[str, Any] = {theirs[0]: in_process("same_loss:losses", model=given.model, method=theirs[0])}
        if given.litgpt_python:
            written = in_process("same_loss:token_rows", model=given.model, rows=given.rows, directory=directory)
            files = {"rows": written["rows"], "weights": written["weights"]}
            sides["LitGPT adapter"] = bind("litgpt_side:train", python=given.litgpt_python, **files)
            one_step = in_process("litgpt_side:train", python=given.litgpt_python, dtype="float32", **files)
            checks["litgpt"] = {"transfix": written["loss"], "litgpt": one_step["losses"][0]}
        sides = {n: side for n, side in sides.items() if given.only in n or n.startswith("transfix")}
        ceilings = [in_process("transfix_side:ceiling")]
        found = in_turn(sides, given.repetitions)
        ceilings.append(in_process("transfix_side:ceiling"))
    best = max(c["teraflops"] for c in ceilings)
    first = f"transfix {ours[0]}"
    reference = {name: f"transfix {'lora' if 'lora' in name else ours[0]}" for name in found}
    rows = [
        (
            name,
            spread(runs, "rows_per_s"),
            spread(runs, "peak_gib"),
            _ratio(found, reference[name], name, "rows_per_s"),
            f"{middle(runs, 'peak_gib') and middle(found[reference[name]], 'peak_gib') / middle(runs, 'peak_gib'):.2f}",
            f"{middle(runs, 'teraflops') / best:.0%}" if "teraflops" in runs[0] else "",
        )
        for name, runs in found.items()
    ]
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
    if not given.only:
        name = f"training-{given.model}"
        write(name, {"command": " ".join(sys.argv[1:]), "ceiling_teraflops": ceilings, "checks": checks, "runs": found})


def _ratio(found: dict[str, list[Numbers]], ours: str, theirs: str, key: str) -> str:
    return f"{middle(found[ours], key) / middle(found[theirs], key):.1f}" if ours != theirs else ""


if __name__ == "__main__":
    main()
