"""All faults, in an order in which those that are far apart come first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults import damage, disturbed, paths
from tests.faults.disturbed import Fault
from tests.faults.scenes import Stage

DISTURBED = ("train", "evaluate", "calibrate", "report", "study", "report of a study", "runs", "study status")


def all_faults(made: Stage, home: Path) -> Iterator[Fault]:
    """Every fault, made ready below an empty directory.

    Of the operations of a scene first every 16th is disturbed, then those between: who stops has seen all of it, coarsely.
    """
    groups: dict[tuple[str, str], list[Fault]] = {}
    for name in DISTURBED:
        for fault in disturbed.faults(made[name], home / "place"):
            groups.setdefault((fault.kind, fault.where), []).append(fault)
    for kept in damage.all_kept(made):
        groups[("damage", kept.where)] = list(damage.faults(kept))
    (home / "packaged").mkdir()
    groups[("damage", "the converted model")] = list(damage.Cache(home / "packaged").faults())
    for fault in paths.faults(made):
        groups.setdefault((fault.kind, fault.where), []).append(fault)
    spread = {key: coarse_first(found) for key, found in groups.items()}
    for part in range(8):
        for found in spread.values():
            yield from found[len(found) * part // 8 : len(found) * (part + 1) // 8]


def coarse_first(found: Sequence[Fault], step: int = 16) -> list[Fault]:
    """The same, those that are far apart first."""
    order = []
    while step >= 1:
        order += [number for number in range(0, len(found), step) if not order or number % (2 * step)]
        step //= 2
    return [found[number] for number in dict.fromkeys(order)]
