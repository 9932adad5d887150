"""Do two checkouts of transfix give the same runs, adapters and predictions, to the byte? For a rebuild that changes nothing.

    python scripts/compare_checkouts.py BEFORE AFTER [--work DIR]

Each does the same work through its command line, in an interpreter of its own: a run of every method on tiny random models,
a study, and the quickstart on a few rows. Then AFTER goes on with what BEFORE wrote: the same tables, no row asked again,
nothing trained anew. Exits with 1 if anything differs.

Of `metrics.json` and `training.json` the values are compared, in the layout of either side, without seconds and rates; of
predictions the rows and what was asked. Checksums, the machine and the commit (`environment.json`) and tensorboard's logs
are not compared. Results stay in `--work`, and those of
BEFORE are used again as long as its files are the same.

AFTER may say more: other metrics of a result, other lines and columns of a table. What BEFORE says has to be there.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from checkout_differences import STORES, Findings, compare, runs_in, unsaid
from checkout_runs import Content, provide, specifications

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",  # both sides run at once, and sums are the same every time
    "COLUMNS": "200",
    "NO_COLOR": "1",
}
TABLES = {
    "runs": (
        "report runs --markdown",
        "report runs --csv",
        "runs runs --csv --columns run,title,seed,task,lang,n,score,low,high,state",
    ),
    "studies/grid": ("report studies/grid --markdown", "study status studies/grid"),
    "quickstart": ("report quickstart/runs --markdown", "evaluate lora --runs quickstart/runs"),
}
"""Commands that print what is there, by the directory that they print of."""

PARTS = ("runs", "study", "quickstart")


@dataclass(frozen=True)
class Told:
    """What the commands of one side said.

    Attributes:
        runs: where the run of each specification is.
        printed: command -> its output, of commands that print the same however often they are called.
        stamp: of what decides all that.
    """

    runs: dict[str, str] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)
    stamp: str = ""

    @classmethod
    def read(cls, path: Path) -> Told:
        """What was kept, or nothing."""
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else cls()

    def write(self, path: Path) -> None:
        """Keeps it."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")


class Side:
    """One checkout, and the directory it works in. Seen from there all paths are alike: records hold no others.

    Raises:
        SystemExit: transfix is imported from somewhere else.
    """

    def __init__(self, name: str, checkout: Path, directory: Path) -> None:
        self.name, self.directory = name, directory
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("call_commands.py").resolve())],
            cwd=directory,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(checkout.resolve() / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        if not Path(where := self._answer()).is_relative_to(checkout.resolve()):
            raise SystemExit(f"{checkout}: transfix is imported from {where}")

    def close(self) -> None:
        """Ends its interpreter."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def transfix(self, *arguments: object) -> str:
        """What a command prints.

        Raises:
            SystemExit: it failed; what it said is shown.
        """
        began, words = time.monotonic(), [str(argument) for argument in arguments]
        assert self._process.stdin is not None
        print(json.dumps(words), file=self._process.stdin, flush=True)
        answer = self._answer()
        command = f"transfix {' '.join(words)}"
        print(f"  {self.name}: {command} ({time.monotonic() - began:.1f} s)", file=sys.stderr, flush=True)
        if answer["status"]:
            said = answer["out"] + answer["err"]
            raise SystemExit(f"{self.name}: {command} in {self.directory} ended with {answer['status']}:\n{said}")
        return str(answer["out"])

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: its interpreter ended")
        return json.loads(line)

    def work(self, specs: Mapping[str, Content], given: argparse.Namespace) -> Told:
        """Does all of it: what is trained and measured first, then tables of it."""
        told = Told()
        if "runs" in given.only:
            for name in specs:
                run = told.runs[name] = self.transfix("train", f"specs/{name}.yaml").split()[-1]
                told.printed[f"evaluate {run}"] = self.transfix("evaluate", run)
            self.answer(told)
        if "study" in given.only:
            self.transfix("study", "grid.yaml", "--jobs", 1)
        if "quickstart" in given.only:
            few = ("--rows", given.rows, "--limit", given.limit, "--languages", given.languages)
            self.transfix("quickstart", *few)
        for place, commands in TABLES.items():
            if (self.directory / place).is_dir():
                told.printed.update({command: self.transfix(*command.split()) for command in commands})
        return told

    def answer(self, told: Told) -> None:
        """Answers questions with an adapter that is there, into `answers.jsonl`."""
        (self.directory / "answers.jsonl").unlink(missing_ok=True)
        self.transfix("predict", told.runs["prefix"], "--input", "questions.jsonl", "--output", "answers.jsonl")

    def go_on(self, told: Told, findings: Findings) -> None:
        """Does what another checkout did in this directory once more: nothing may be trained, asked or printed otherwise."""
        before = self._written()
        for command, printed in told.printed.items():
            out = self.transfix(*command.split())
            findings.note("tables", f"transfix {command}", unsaid(printed, out, csv="--csv" in command))
        for name in told.runs:
            self.transfix("train", f"specs/{name}.yaml")
        if (self.directory / "studies").is_dir():
            self.transfix("study", "grid.yaml", "--jobs", 1)
        after = self._written()
        for path in before:
            findings.note("kept", path, None if before[path] == after.get(path) else "was written again")
        if told.runs:
            self.answer(told)

    def _written(self) -> dict[str, tuple[int, int]]:
        """Size and time of every file that need not be written again once it is there."""
        patterns = ("adapter/*", "predictions/*/*.parquet", "training.json")
        runs = [run for store in STORES for run in runs_in(self.directory / store)]
        files = sorted(file for run in runs for pattern in patterns for file in run.glob(pattern))
        states = {file.relative_to(self.directory).as_posix(): file.stat() for file in files}
        return {path: (state.st_size, state.st_mtime_ns) for path, state in states.items()}


def main() -> int:
    """Does the work on both sides and prints what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, metavar="BEFORE", help="a checkout")
    parser.add_argument("after", type=Path, metavar="AFTER", help="another one")
    parser.add_argument("--work", type=Path, default=Path("build/compare"), help="default build/compare")
    parser.add_argument("--rows", type=int, default=24, help="training rows of a run (default 24)")
    parser.add_argument("--limit", type=int, default=3, help="rows a language to measure on (default 3)")
    parser.add_argument("--languages", default="de,sw", help="besides English (default de,sw)")
    parser.add_argument("--only", default=",".join(PARTS), help=f"default {','.join(PARTS)}")
    given = parser.parse_args()
    specs = specifications(given.rows, given.limit, given.languages.split(","))
    work: Path = given.work.resolve()
    stamp, told = _stamp(given), Told.read(work / "before.json")
    checkouts = {"before": given.before, "after": given.after}
    if told.stamp == stamp:
        print("before: its results are there", file=sys.stderr)
        del checkouts["before"]
    else:
        for name in ("before", "given"):
            shutil.rmtree(work / name, ignore_errors=True)
        provide(work / "given", given.before / "src/transfix/data/snapshot", specs)

    def work_of(name: str) -> Told:
        shutil.rmtree(work / name, ignore_errors=True)
        shutil.copytree(work / "given", work / name)
        with closing(Side(name, checkouts[name], work / name)) as side:
            return side.work(specs, given)

    with ThreadPoolExecutor() as pool:
        results = dict(zip(checkouts, pool.map(work_of, checkouts), strict=True))
    if "before" in results:
        told = dataclasses.replace(results["before"], stamp=stamp)
        told.write(work / "before.json")
    findings = Findings()
    compare(work / "before", work / "after", findings)
    shutil.rmtree(work / "went-on", ignore_errors=True)
    shutil.copytree(work / "before", work / "went-on")
    with closing(Side("after, on what before wrote", given.after, work / "went-on")) as side:
        side.go_on(told, findings)
    compare(work / "before", work / "went-on", findings)
    print(findings.table())
    for _, found in findings.differences:
        print(f"DIFFERS {found}")
    total = sum(findings.made.values())
    if findings.differences:
        print(f"{len(findings.differences)} of {total} comparisons differ; what was written is in {work}")
        return 1
    print(f"The same in all {total} comparisons.")
    return 0


def _stamp(given: argparse.Namespace) -> str:
    """A digest of what decides the results of BEFORE: its files, these scripts and their options, the interpreter."""
    options = (given.rows, given.limit, given.languages, given.only, str(given.before.resolve()), sys.version)
    sources = [path for path in (given.before / "src").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    digest = hashlib.sha256(repr(options).encode())
    scripts = [
        Path(__file__).with_name(name) for name in ("compare_checkouts.py", "checkout_runs.py", "call_commands.py")
    ]
    for file in [*sorted(sources), *scripts]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
