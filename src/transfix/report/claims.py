"""What the numbers support, in plain words: one headline, and a sentence or two for each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transfix.errors import TransfixError
from transfix.report import labels
from transfix.report.contents import Differences, Method, rank_correlation
from transfix.statistics import one_run
from transfix.statistics.tests import ALPHA

RIVALS = 3
"""How many of the other methods the best one is compared with."""


def best(methods: Sequence[Method]) -> Method | None:
    """The trained method with the highest average without English, of those with all languages; else what there is."""
    ranks = [
        [m for m in methods if m.complete and not m.run.is_base],
        [m for m in methods if m.complete],
        list(methods),
    ]
    candidates = next((found for found in ranks if any(_main(m) for m in found)), [])
    return max(candidates, key=lambda m: main["score"] if (main := _main(m)) else -1.0, default=None)


def _main(method: Method) -> Mapping[str, Any] | None:
    """The number a method is judged by: its average without English, or English if that is all there is."""
    return method.macro("without_english") or method.macro("all")


def claims(
    title: str, methods: Sequence[Method], chance: float | None, differences: Differences
) -> tuple[str, list[str]]:
    """The headline of a task and its further sentences.

    Args:
        title: the task's name.
        methods: the columns of its table.
        chance: score of a guess, or None if it is not known.
        differences: between them.
    """
    top = best(methods)
    main = _main(top) if top else None
    if top is None or main is None:
        return f"{title}: no rows with a gold answer yet", []
    headline = f"{top.label}: {labels.estimate(main['score'], main['interval'])} {_scope(top)}"
    if chance is not None:
        versus = _against(main["interval"], chance)
        level = f"{labels.percent(chance)}{labels.NO_BREAK}%"
        headline += f", chance {level}" if versus > 0 else f", not distinguishable from chance ({level})"
        if versus < 0:
            headline = headline.replace("not distinguishable from", "below")
    sentences = [sentence for method in methods if (sentence := _method(method, chance))]
    rivals = sorted(
        (method for method in methods if method is not top and not method.run.is_base and _main(method)),
        key=lambda method: -(_main(method) or {})["score"],
    )
    return headline, sentences + [sentence for other in rivals[:RIVALS] if (sentence := _pair(top, other, differences))]


def _scope(method: Method) -> str:
    without = method.macro("without_english")
    if without is None:
        return "on English"
    count, other = without["languages"], "other " if method.language(one_run.ENGLISH) else ""
    return f"on the {count} {other}languages" if count > 1 else f"on the one {other}language"


def _against(interval: Sequence[float], chance: float) -> int:
    """1 above chance, -1 below, 0 where the interval holds it."""
    return 1 if interval[0] > chance else -1 if interval[1] < chance else 0


def _method(method: Method, chance: float | None) -> str:
    """What one method does: against chance by language, against the base, and what is lost on the way from English."""
    main = _main(method)
    if main is None:
        return ""
    words = [f"{method.label}: {labels.estimate(main['score'], main['interval'])} {_scope(method)}"]
    if method.seeds > 1 and main["sd"] is not None:
        words.append(f"the mean of {method.seeds} seeds, standard deviation {labels.points(main['sd'])} points")
    others = [
        entry for code in method.summary["languages"] if code != one_run.ENGLISH and (entry := method.language(code))
    ]
    if chance is not None and others:
        above = sum(_against(entry["interval"], chance) > 0 for entry in others)
        words.append(
            f"above chance in {above} of {len(others)}" if above else "not clearly above chance in any of them"
        )
    against = method.against_base and (
        method.against_base["macro"]["without_english"] or method.against_base["macro"]["all"]
    )
    if against:
        fewer = against["languages"] < main["languages"]
        words.append(_relation(against, "the base model") + f" over {against['languages']} languages" * fewer)
        words.extend(_by_language(method.against_base or {}))
    gap = method.summary["transfer_gap"]
    if gap and not method.run.is_base:
        words.append("English is " + _relation(gap, "the mean of the others"))
    return "; ".join(words) + "."


def _pair(top: Method, other: Method, differences: Differences) -> str:
    """The best method against another one, on the rows and languages both have."""
    try:
        found = differences.of(top, other)
    except TransfixError:
        return ""
    macro = found["macro"]["without_english"] or found["macro"]["all"]
    if macro is None:
        return ""
    words = [
        f"On the same rows {top.label} is {_relation(macro, other.label)}, over {macro['languages']} languages",
        *_by_language(found),
    ]
    rho = rank_correlation(top, other, differences.averaged)
    if rho is not None:
        words.append(f"rank correlation of their languages {rho:.2f}".replace("-", labels.MINUS))
    return "; ".join(words) + "."


def _by_language(found: Mapping[str, Any]) -> list[str]:
    """In how many languages a difference is clear, after Holm's correction; nothing where there is only one language."""
    total = len(found.get("languages", ()))
    if total < 2:
        return []
    counts = [f"{what} in {found[key]}" for key, what in (("wins", "better"), ("losses", "worse")) if found[key]]
    if not counts:
        return [f"in none of the {total} languages by itself distinguishable after Holm's correction"]
    return [f"{labels.listing(counts)} of {total} languages after Holm's correction"]


def _relation(found: Mapping[str, Any], to: str) -> str:
    """`11.4 points above the base model [9.9, 13.0]`, or that the data does not say."""
    low, high = found["interval"]
    value = found["difference"]
    few = not low <= 0 <= high and found["p"] >= ALPHA  # the interval alone would say that they differ
    if low <= 0 <= high or few:
        signed = [f"{labels.MINUS if bound < 0 else '+'}{labels.points(bound)}" for bound in (value, low, high)]
        p = f", p = {found['p']:.3f}" if few else ""
        return f"not distinguishable from {to} ({signed[0]} points [{signed[1]}, {signed[2]}]{p})"
    bounds = ", ".join(labels.points(bound) for bound in sorted((abs(low), abs(high))))
    return f"{labels.points(value)} points {'above' if value > 0 else 'below'} {to} [{bounds}]"
