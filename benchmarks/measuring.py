"""Both sides in turn, each in a process of its own; medians, ratios, and the machine they were taken on."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "transformers", "peft", "accelerate", "lm_eval", "transfix")

Numbers = Mapping[str, Any]


def in_process(
    function: str, python: str = sys.executable, environment: Mapping[str, str] | None = None, **arguments: Any
) -> dict[str, Any]:
    """Calls `module:function` of `benchmarks.sides` in a new process and gives what it returns.

    `environment` is set there besides. `peak_gib`, the highest resident memory of the process (on a GPU of its tensors),
    and `wall_s` are added.

    Raises:
        SystemExit: the process failed; what it said is shown.
    """
    began = time.monotonic()
    command = [python, "-m", "benchmarks.sides.call", function, json.dumps(arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env={**_environment(), **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{function} {arguments} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "wall_s": round(time.monotonic() - began, 2)}


def bind(function: str, **arguments: Any) -> Callable[[], Numbers]:
    """`in_process`, to be called later."""
    return lambda: in_process(function, **arguments)


def in_turn(sides: Mapping[str, Callable[[], Numbers]], repetitions: int) -> dict[str, list[Numbers]]:
    """Runs every side once, then every side again ...: what the machine does meanwhile falls on all of them alike."""
    found: dict[str, list[Numbers]] = {name: [] for name in sides}
    for number in range(repetitions):
        for name, side in sides.items():
            found[name].append(side())
            shown = ", ".join(
                f"{key} {value}" for key, value in found[name][-1].items() if isinstance(value, int | float)
            )
            print(f"  {number + 1}/{repetitions} {name}: {shown}", file=sys.stderr, flush=True)
    return found


def middle(runs: Sequence[Numbers], key: str) -> float:
    """The median over repetitions."""
    return float(median(run[key] for run in runs))


def spread(runs: Sequence[Numbers], key: str) -> str:
    """The median and, in brackets, the lowest and highest."""
    values = [run[key] for run in runs]
    return f"{middle(runs, key):.3g} [{min(values):.3g}, {max(values):.3g}]"


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [headers, ["---", *["---:"] * (len(headers) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def machine() -> dict[str, Any]:
    """What it was measured on, and with which versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip(),
        "taken": time.strftime("%Y-%m-%d"),
    }


def write(name: str, given: argparse.Namespace, content: Mapping[str, Any]) -> None:
    """Writes `results/NAME.json` beside the machine's description, unless `--only` left something out."""
    if given.only:
        return
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(
        json.dumps({"machine": machine(), "command": " ".join(sys.argv[1:]), **content}, indent=1, ensure_ascii=False)
        + "\n",
        encoding="utf-8",
    )
    print(f"written to {path.relative_to(ROOT)}", file=sys.stderr)


def _environment() -> dict[str, str]:
    return {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def _processor() -> str:
    """The processor's name and those of its instructions that matter here."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    name = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return " ".join([name, *(flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags)])


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
