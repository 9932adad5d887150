"""What differs between what two checkouts of transfix have written and printed (see `compare_checkouts.py`)."""

from __future__ import annotations

import json
import math
from collections import Counter
from csv import DictReader
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

STORES = ("runs", "studies/grid/runs", "quickstart/runs")
UNCOMPARED = ("environment.json", "logs")
"""What lies in a run's directory and tells of the machine and the time. Hidden files are not compared either."""


@dataclass(frozen=True)
class Findings:
    """Comparisons: how many of each kind there were, and what differs."""

    made: Counter[str] = field(default_factory=Counter)
    differences: list[tuple[str, str]] = field(default_factory=list)

    def note(self, kind: str, where: str, difference: str | None) -> None:
        """Takes one comparison down; `difference` is None where there is none."""
        self.made[kind] += 1
        if difference is not None:
            self.differences.append((kind, f"{where}: {difference}"))

    def table(self) -> str:
        """How many comparisons of each kind, and how many of them differ."""
        other = Counter(kind for kind, _ in self.differences)
        rows = [(kind, str(count), str(other[kind] or "–")) for kind, count in self.made.items()]
        lines = [("what", "compared", "differ"), *rows]
        return "\n".join(f"{kind:16}{count:>10}{differ:>8}" for kind, count, differ in lines)


def runs_in(store: Path) -> list[Path]:
    """The run directories of a store."""
    return sorted(path for path in store.iterdir() if path.is_dir()) if store.is_dir() else []


def compare(before: Path, after: Path, findings: Findings) -> None:
    """Compares everything that two sides have written."""
    for store in STORES:
        names = [{run.name for run in runs_in(side / store)} for side in (before, after)]
        for name in sorted(names[0] | names[1]):
            run = f"{store}/{name}"
            findings.note("names of runs", run, _one_side((before / run).is_dir(), (after / run).is_dir()))
            if name in names[0] & names[1]:
                files = {file for side in (before, after) for file in _files(side / run)}
                for file in sorted(files):
                    compare_files(before, after, f"{run}/{file}", findings)
    for file in ("answers.jsonl", "studies/grid/plan.json", "studies/grid/resolved.yaml"):
        if (before / file).exists():
            compare_files(before, after, file, findings)


def compare_files(before: Path, after: Path, file: str, findings: Findings) -> None:
    """Compares one file of two directories."""
    one, other = before / file, after / file
    kind = {"adapter": "adapters", ".parquet": "predictions"}
    named = kind.get(one.parent.name) or kind.get(one.suffix) or one.name
    findings.note(named, file, _one_side(one.exists(), other.exists()) or difference(one, other))


def difference(before: Path, after: Path) -> str | None:
    """How the contents of two files differ."""
    if before.name in ("metrics.json", "training.json"):
        return apart(*(plain(json.loads(path.read_text(encoding="utf-8"))) for path in (before, after)))
    if before.read_bytes() == after.read_bytes():
        return None
    if before.suffix == ".parquet":
        return _columns(before, after)
    if before.suffix == ".safetensors":
        return "other bytes"
    texts = [path.read_text(encoding="utf-8") for path in (before, after)]
    if before.suffix == ".json" and len({json.dumps(_unsealed(json.loads(text))) for text in texts}) == 1:
        return None
    return _first_line(*(text.rpartition("# checksum: ")[0] or text for text in texts))


def _unsealed(content: Any) -> Any:
    """What a JSON file says, without its checksum; a plan was a list of runs before it had one."""
    if not isinstance(content, dict):
        return content
    plain = {key: value for key, value in content.items() if key != "checksum"}
    return plain["runs"] if plain.keys() == {"runs"} else plain


def plain(content: Any) -> Any:
    """The values of a JSON file in either layout.

    Without the format's number, seconds and rates; accuracies are scores; corpus metrics, in percent beside the others, are
    shares among them.
    """
    if isinstance(content, dict):
        if "format" in content and "results" in content:
            return plain(content["results"])
        timed = ("seconds", "examples_per_second")
        values = {key: plain(value) for key, value in content.items() if key not in (*timed, "checksum")}
        for code, scores in values.pop("corpus", {}).items():
            for name in ("bleu", "chrf"):
                languages = values["metrics"].setdefault(f"corpus_{name}", {}).setdefault("languages", {})
                languages[code] = {"score": scores[name] / 100, "signature": scores[f"{name}_signature"]}
        return {("score" if key == "accuracy" else key): value for key, value in values.items()}
    return [plain(item) for item in content] if isinstance(content, list) else content


def apart(before: Any, after: Any, where: str = "") -> str | None:
    """Where two plain values first differ. Inside `metrics` the later side may have more."""
    inside = ".metrics" in where
    if isinstance(before, dict) and isinstance(after, dict):
        if inside:
            after = {key: value for key, value in after.items() if key in before}
        elif "metrics" in after:
            before = {"metrics": {}, **before}
        if before.keys() != after.keys():
            return f"{where}: {', '.join(sorted(before.keys() ^ after.keys()))} on one side only"
        pairs = [(before[key], after[key], f"{where}.{key}".lstrip(".")) for key in before]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(*pair, f"{where}[{index}]") for index, pair in enumerate(zip(before, after, strict=True))]
    elif isinstance(before, float) and isinstance(after, float) and ".corpus_" in where:
        return None if math.isclose(before, after, rel_tol=1e-12) else f"{where}: {before!r} was, {after!r} is"
    else:
        return None if type(before) is type(after) and before == after else f"{where}: {before!r} was, {after!r} is"
    return next((found for pair in pairs if (found := apart(*pair)) is not None), None)


def unsaid(before: str, after: str, csv: bool) -> str | None:
    """The first thing in a table that the later side does not say: its lines in their order, or its cells by column."""
    if csv:
        rows = [list(DictReader(text.splitlines())) for text in (before, after)]
        if len(rows[0]) != len(rows[1]):
            return f"{len(rows[0])} rows were, {len(rows[1])} are"
        for number, (one, other) in enumerate(zip(*rows, strict=True), start=1):
            for name, cell in one.items():
                if other.get(name) != cell:
                    return f"row {number}, {name}: {cell!r} was, {other.get(name)!r} is"
        return None
    said = iter(after.splitlines())
    missing = next((line for line in before.splitlines() if line.strip() and line not in said), None)
    return None if missing is None else f"{missing!r} is not there, or not in its place"


def _one_side(before: bool, after: bool) -> str | None:
    return None if before and after else "is there before only" if before else "is there after only"


def _files(run: Path) -> list[str]:
    paths = [path.relative_to(run) for path in run.rglob("*") if path.is_file()]
    return [path.as_posix() for path in paths if path.parts[0] not in UNCOMPARED and not path.name.startswith(".")]


def _columns(before: Path, after: Path) -> str | None:
    """What differs between two files of predictions; None where it is only their bytes, as with a checksum or without."""
    first, second = pq.read_table(before), pq.read_table(after)
    asked = [json.loads((table.schema.metadata or {}).get(b"transfix", b"null")) for table in (first, second)]
    if asked[0] != asked[1]:
        return f"what was asked: {apart(*asked)}"
    if first.column_names != second.column_names:
        return f"columns {first.column_names} were, {second.column_names} are"
    other = [name for name in first.column_names if not first[name].equals(second[name])]
    return f"columns {', '.join(other)}" if other else None


def _first_line(before: str, after: str) -> str | None:
    """The first line that differs between two texts."""
    if before == after:
        return None
    lines = zip_longest(before.splitlines(), after.splitlines(), fillvalue="(nothing)")
    return next((f"{one!r} was, {other!r} is" for one, other in lines if one != other), "line ends")
