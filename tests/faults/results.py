"""What faults did: noted line by line while they are injected, counted into a file of the repository, shown in a table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults.disturbed import Fault
from tests.faults.fuzzing.fuzz import Finding
from tests.faults.verdicts import BAD, GOOD, Verdict

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN = "<!-- what was injected, by make faults -->"
END = "<!-- end -->"


class Notes:
    """A file with a line for every fault that was injected, or portion of inputs; of two with one name the later counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        whole = (json.loads(line) for line in lines if line.endswith("}"))  # the last one may have been cut
        self.by_name: dict[str, dict[str, Any]] = {line["name"]: line for line in whole}

    def add(self, entry: Mapping[str, Any]) -> None:
        """Notes what came of a fault, or of a portion of inputs."""
        self.by_name[str(entry["name"])] = dict(entry)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=True) + "\n")

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What is noted."""
        return list(self.by_name.values())


def entry_of(fault: Fault, verdict: Verdict) -> dict[str, Any]:
    """What is noted of a fault."""
    entry = {"name": fault.name, "kind": fault.kind, "where": fault.where, "outcome": verdict.outcome}
    return {**entry, "why": verdict.why} if verdict.why else entry


def portion(parser: str, first: int, count: int, findings: Sequence[Finding], slowest: float) -> dict[str, Any]:
    """What is noted of a portion of a parser's inputs."""
    name = f"{parser} {first}+{count}"
    return {
        "name": name,
        "parser": parser,
        "inputs": count,
        "slowest": round(slowest, 2),
        "findings": [{"number": entry.number, "what": entry.what, "input": entry.input} for entry in findings],
    }


def counted(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How often each outcome came of each kind of fault in each place."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for line in lines:
        counts.setdefault((line["kind"], line["where"]), Counter())[line["outcome"]] += 1
    return [{"kind": kind, "where": where, **found} for (kind, where), found in sorted(counts.items())]


def parsed(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How many inputs each parser was given, and what was found."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        entry = found.setdefault(
            line["parser"], {"parser": line["parser"], "inputs": 0, "failures": 0, "slowest_seconds": 0.0}
        )
        entry["inputs"] += line["inputs"]
        entry["failures"] += len(line["findings"])
        entry["slowest_seconds"] = max(entry["slowest_seconds"], line["slowest"])
    return [found[name] for name in sorted(found)]


def write(faults: Sequence[Mapping[str, Any]], inputs: Sequence[Mapping[str, Any]]) -> None:
    """Writes the counts, and the page's tables of them."""
    content = {"faults": counted(faults), "inputs": parsed(inputs)}
    RESULTS.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    show(content)


def show(content: Mapping[str, Any]) -> None:
    """Writes the tables into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(content)}{END}{after}", encoding="utf-8")


def table(content: Mapping[str, Any]) -> str:
    """The counts as Markdown tables."""
    lines = ["", "| fault | injected into | injected | recovered | refused by name | harmless | failures |"]
    lines.append("|---|---|--:|--:|--:|--:|--:|")
    total: Counter[str] = Counter()
    for entry in content.get("faults", []):
        found = Counter({outcome: entry.get(outcome, 0) for outcome in (*GOOD, *BAD)})
        total.update(found)
        lines.append(_line(entry["kind"], entry["where"], found))
    lines.append(_line("**all**", "", total))
    lines += ["", "| parser | inputs | slowest, in s | failures |", "|---|--:|--:|--:|"]
    given = failures = 0
    for entry in content.get("inputs", []):
        given, failures = given + entry["inputs"], failures + entry["failures"]
        lines.append(f"| {entry['parser']} | {entry['inputs']:,} | {entry['slowest_seconds']} | {entry['failures']} |")
    lines.append(f"| **all** | {given:,} | | {failures} |")
    return "\n".join(lines) + "\n\n"


def _line(kind: str, where: str, found: Counter[str]) -> str:
    failures = sum(found[outcome] for outcome in BAD)
    numbers = (found.total(), found["recovered"], found["refused"], found["harmless"], failures)
    return f"| {kind} | {where} | " + " | ".join(f"{number:,}" for number in numbers) + " |"
