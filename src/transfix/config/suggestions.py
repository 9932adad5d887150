"""The known names that are most like one that is not known: whatever was misspelt is compared here, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 200
"""Characters of what can be a misspelt name: comparing takes time by their square."""


def nearest(given: str, known: Iterable[str], at_most: int, likeness: float = 0.6) -> list[str]:
    """The known names most like a given one, the likest first.

    Args:
        given: what was written.
        known: what could have been meant. Case does not matter, nor whether words are joined by `-`, `_` or a space.
        at_most: how many are wanted.
        likeness: share of the characters that must agree, 0 to 1 (`difflib.SequenceMatcher.ratio`).
    """
    if len(given) > LONGEST:
        return []
    import difflib  # most names are known: nothing is loaded for those

    names = {_folded(name): name for name in known}
    return [names[found] for found in difflib.get_close_matches(_folded(given), names, n=at_most, cutoff=likeness)]


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`; did you mean 'rows' or 'rate'?` for the nearest known names, or nothing."""
    near = nearest(given, known, at_most=2)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def _folded(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")
