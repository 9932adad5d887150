"""Injects faults, notes what each did as it goes, and writes the table: `make faults`.

    python -m tests.faults                  all faults and inputs that are not noted yet, then the table
    python -m tests.faults --kinds damage   only these kinds of faults, and no inputs
    python -m tests.faults --only fuzz      only inputs of the parsers
    python -m tests.faults --only table     only the table, of what is noted

Stopped and started again it goes on; what failed is injected again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}

from tests.faults import injected, results, scenes
from tests.faults.verdicts import BAD

ROOT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=ROOT / "build" / "faults", help="where what was done is noted")
    parser.add_argument("--kinds", help="only kinds that hold one of these words, separated by commas")
    parser.add_argument("--where", help="only what is injected into a scene that holds this word")
    parser.add_argument("--most", type=int, help="stop after so many faults")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all parsers together")
    parser.add_argument("--only", choices=("faults", "fuzz", "table"), help="one half, or only the table")
    arguments = parser.parse_args()
    arguments.dir.mkdir(parents=True, exist_ok=True)
    faults = results.Notes(arguments.dir / "faults.jsonl")
    inputs = results.Notes(arguments.dir / "inputs.jsonl")
    if arguments.only in (None, "faults"):
        inject(arguments, faults)
    if arguments.only in (None, "fuzz") and not arguments.kinds:
        fuzz(arguments, inputs)
    results.write(faults.lines, inputs.lines)
    bad = [line for line in faults.lines if line["outcome"] in BAD]
    findings = sum(len(line["findings"]) for line in inputs.lines)
    given = sum(line["inputs"] for line in inputs.lines)
    print(f"{len(faults.lines):,} faults, {len(bad)} failures; {given:,} inputs, {findings} failures", flush=True)
    return bool(bad or findings)


def inject(arguments: argparse.Namespace, notes: results.Notes) -> None:
    """Injects the faults that are not noted yet."""
    end = time.monotonic() + 60 * (arguments.minutes or 1e9)
    done = 0
    with tempfile.TemporaryDirectory(prefix="faults-") as home, scenes.settled(Path(home)) as model:
        for fault in injected.all_faults(scenes.Stage(Path(home), model), Path(home)):
            if arguments.kinds and not any(word in fault.kind for word in arguments.kinds.split(",")):
                continue
            if arguments.where and arguments.where not in fault.where:
                continue
            if (known := notes.by_name.get(fault.name)) and known["outcome"] not in BAD:
                continue
            verdict = fault.inject(Path(home) / "place")
            notes.add(results.entry_of(fault, verdict))
            done += 1
            if verdict.outcome in BAD:
                print(f"{fault.name}: {verdict.outcome}: {verdict.why}", flush=True)
            if done == arguments.most or time.monotonic() > end:
                return


def fuzz(arguments: argparse.Namespace, notes: results.Notes) -> None:
    """Gives the parsers the inputs that are not noted yet, each of them a portion in turn."""
    from tests.faults.fuzzing import fuzz as fuzzing
    from tests.faults.fuzzing import parsers

    end = time.monotonic() + 60 * (arguments.minutes or 1e9)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        every = parsers.all_parsers(Path(home))
        portions = {name: list(fuzzing.batches(parser, arguments.inputs)) for name, parser in every.items()}
        order = sorted(
            ((number + 1) / len(found), name, first, count)
            for name, found in portions.items()
            for number, (first, count) in enumerate(found)
        )
        for _, name, first, count in order:
            known = notes.by_name.get(f"{name} {first}+{count}")
            if known and not known["findings"]:
                continue
            if known:  # what failed alone, once more
                again = [fuzzing.fuzz(every[name], entry["number"], 1) for entry in known["findings"]]
                findings, slowest = [entry for part, _ in again for entry in part], float(known["slowest"])
            else:
                findings, slowest = fuzzing.fuzz(every[name], first, count)
            notes.add(results.portion(name, first, count, findings, slowest))
            for entry in findings:
                print(f"{name} {entry.number}: {entry.what}", flush=True)
            if time.monotonic() > end:
                return


if __name__ == "__main__":
    sys.exit(main())
