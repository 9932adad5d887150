"""One `path=value` changes one value of plain data, and a path that leads nowhere is a problem with its place."""

from __future__ import annotations

from typing import Any

import pytest

from transfix.config import paths
from transfix.errors import Problem


def changed(data: dict[str, Any], setting: str) -> tuple[dict[str, Any], list[str]]:
    problems: list[Problem] = []
    paths.override(data, setting, problems)
    return data, list(map(str, problems))


@pytest.mark.parametrize(
    ("setting", "data"),
    [
        ("a=1e3", {"a": 1000, "b": [{"c": 1}, {"c": 2}]}),
        (" b[1].c = no", {"a": {}, "b": [{"c": 1}, {"c": "no"}]}),
        ("b.0.c={x: [1, 2]}", {"a": {}, "b": [{"c": {"x": [1, 2]}}, {"c": 2}]}),
        ("a.new.inside=null", {"a": {"new": {"inside": None}}, "b": [{"c": 1}, {"c": 2}]}),
        ("b=", {"a": {}, "b": None}),
    ],
)
def test_settings(setting: str, data: dict[str, Any]) -> None:
    assert changed({"a": {}, "b": [{"c": 1}, {"c": 2}]}, setting) == (data, [])


def test_the_index_of_an_only_entry_may_be_left_out() -> None:
    assert changed({"b": [{"c": 1}]}, "b.c=2") == ({"b": [{"c": 2}]}, [])


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("a", "--set a: is not of the form path=value (allowed: for example train.rows=500)"),
        ("a..b=1", "--set a..b=1: is not of the form path=value (allowed: for example train.rows=500)"),
        ("b.c=1", "b.c: b has 2 entries: say which one is meant (allowed: b.0.c, b.1.c)"),
        ("b[2].c=1", "b[2].c: b has no entry 2: it has 2, counted from 0"),
        ("e.c=1", "e.c: e is empty"),
        ("t.x=1", "t.x: t is 'text', which has no keys"),
        ("n.x=1", "n.x: n[0] is [[]], which has no keys"),
        ("n.x.y=1", "n.x.y: n[0] is [[]], which has no keys"),
        ("n.0.x.y=1", "n.0.x.y: n[0][0] is [], which has no keys"),
        ("a={x: 1, x: 2}", "line 1, column 8: the key 'x' is given a second time (first in line 1)"),
        ("a=.inf", "a: inf is not a finite number"),
    ],
)
def test_paths_that_lead_nowhere(setting: str, problem: str) -> None:
    data: dict[str, Any] = {"a": {}, "b": [{"c": 1}, {"c": 2}], "e": [], "t": "text", "n": [[[]]]}
    assert changed(data, setting)[1] == [problem]
