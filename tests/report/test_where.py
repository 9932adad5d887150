"""The condition of `transfix runs --where`: what it selects, and that nothing else can be said in it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from transfix.errors import TransfixError
from transfix.report.where import select

ROWS: list[dict[str, Any]] = [
    {"run": "a", "task": "xnli", "lang": "swh_Latn", "score": 0.41, "adapter.layers": "all", "train.rows": 500},
    {"run": "b", "task": "xnli", "lang": "deu_Latn", "score": 0.55, "adapter.layers": 10},
    {"run": "c", "task": "mgsm", "lang": "swh_Latn", "score": 0.05, "adapter.layers": 30, "train.rows": 4000},
    {"run": "d", "task": "mgsm", "lang": "tha_Thai", "score": None, "train.rows": 4000},
]
COLUMNS = list(ROWS[0])


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("task == 'xnli' and lang == 'swh_Latn'", "a"),
        ('task != "xnli" or score >= .55', "bcd"),
        ("lang in ('swh_Latn', 'tha_Thai')", "acd"),
        ("lang not in ['swh_Latn']", "bd"),
        ("'Latn' in lang", "abc"),
        ("lang == 'sw'", "ac"),
        ("lang in ('Swahili', 'th')", "acd"),
        ("'de' == lang", "b"),
        ("'de' in lang", "b"),
        ("0.4 < score < 0.5", "a"),
        ("not (task == 'xnli' or score < 0.1)", "d"),
        ("score == None", "d"),
        ("score > -1", "abc"),
        ("train.rows > 1000", "cd"),
        ("adapter.layers >= 10", "bc"),
        ("adapter.layers in ('all', 10)", "ab"),
        ("not train.rows", "b"),
        ("  True  ", "abcd"),
        ("1 > 2", ""),
    ],
)
def test_selects(condition: str, expected: str) -> None:
    assert "".join(row["run"] for row in select(ROWS, condition, COLUMNS)) == expected


@pytest.mark.parametrize(
    "condition",
    [
        "__import__('os').system('true')",
        "lang.upper() == 'X'",
        "open('x')",
        "[x for x in lang]",
        "(lambda: 1)()",
        "lang[0] == 's'",
        "score + 1 > 1",
        "2 ** 9999999 > 1",
        "f'{lang}' == 'x'",
        "(x := 3) == 3",
        "score is None",
        "b'x' == lang",
        "'a' if True else 'b'",
        "'x'.join == lang",
        "{**{}} == 1",
    ],
)
def test_anything_else_is_refused(condition: str) -> None:
    with pytest.raises(TransfixError, match="Allowed: columns"):
        select(ROWS, condition, COLUMNS)


@pytest.mark.parametrize("condition", ["", "task = 'xnli'", "task ==", "(" * 300, "not " * 3000 + "True", "a\0"])
def test_what_cannot_be_read_is_said(condition: str) -> None:
    with pytest.raises(TransfixError, match=r"--where"):
        select(ROWS, condition, COLUMNS)


def test_one_equals_sign_gets_a_hint() -> None:
    with pytest.raises(TransfixError, match=r"= is written =="):
        select(ROWS, "task = 'xnli'", COLUMNS)


def test_unknown_columns_name_the_near_ones() -> None:
    for condition, near in (("langg == 'x'", "lang"), ("rows > 1", "train.rows")):
        with pytest.raises(TransfixError, match=rf"there is no column .*did you mean .*{near}"):
            select(ROWS, condition, COLUMNS)
    with pytest.raises(TransfixError, match=r"no column 'lang.__class__'"):  # a name, not an attribute
        select(ROWS, "lang.__class__ == 'x'", COLUMNS)
    with pytest.raises(TransfixError, match=r"'zzzzz'; there are adapter.layers, lang"):
        select(ROWS, "zzzzz == 1", COLUMNS)


def test_text_and_numbers_have_no_order() -> None:
    with pytest.raises(TransfixError, match="compares text with numbers"):
        select(ROWS, "task > 3", COLUMNS)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("score > 20", "score is a share of 1, which no row has beyond 1: 20 % is 0.2, and is written so"),
        ("not score < 41.5", "41.5 % is 0.415"),
        ("task == 'xnli' and 55 == score", "55 % is 0.55"),
        ("score in (0.41, 41)", "41 % is 0.41"),
        ("0 < score <= 50", "50 % is 0.5"),
        ("20 < low", "low is a share of 1"),
        ("high != 20", "high is a share of 1"),
        ("score > 1", "1 % is 0.01"),
        ("score > 4000", "100 % is 1"),
    ],
)
def test_shares_are_not_compared_with_per_cent(condition: str, says: str) -> None:
    with pytest.raises(TransfixError, match=re.escape(says)):
        select([{"low": 0.1, "high": 1.0, **row} for row in ROWS], condition, ["low", "high", *COLUMNS])


@pytest.mark.parametrize(
    ("condition", "expected"), [("score <= 1", "abc"), ("score >= 1", ""), ("train.rows > 20", "acd")]
)
def test_what_a_share_can_be_is_compared(condition: str, expected: str) -> None:
    assert "".join(row["run"] for row in select(ROWS, condition, COLUMNS)) == expected


def test_scores_that_go_beyond_one_are_compared() -> None:
    rows = [*ROWS, {"run": "e", "score": 23.5}]
    assert [row["run"] for row in select(rows, "score > 20", COLUMNS)] == ["e"]
