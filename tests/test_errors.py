"""Messages stay short and harmless, whatever they quote."""

from __future__ import annotations

import pytest

from transfix import errors
from transfix.errors import Problem, ProblemsError, TransfixError, shortened, visible


def test_a_short_text_is_quoted_as_it_is() -> None:
    assert shortened("train.rows") == "train.rows"
    assert shortened("x" * 80) == "x" * 80


def test_of_a_long_text_both_ends_are_quoted() -> None:
    found = shortened("begin" + "x" * 200_000 + "end")
    assert len(found) == errors.LONGEST_VALUE
    assert found.startswith("begin")
    assert found.endswith("end")
    assert "..." in found


@pytest.mark.parametrize(
    "char", ["\x00", "\x1b", "\r", "\x7f", "\x9b", "\u2028", "\u202a", "\u202e", "\u2066", "\u2069", "\udcff"]
)
def test_what_a_reader_would_obey_is_shown(char: str) -> None:
    assert visible(f"a{char}b") == "a" + char.encode("unicode_escape").decode() + "b"
    assert char not in str(TransfixError(f"model {char}"))
    assert char not in str(ProblemsError("title", [Problem(f"x{char}", f"y{char}", f"z{char}")]))


@pytest.mark.parametrize("text", ["नहीं", "می‌خواهم", "\u200fעברית", "a\tb\nc", "é 中文 −3"])
def test_letters_and_what_scripts_need_stay(text: str) -> None:
    assert visible(text) == text


def test_no_message_is_long() -> None:
    assert len(str(TransfixError("x" * 200_000))) <= errors.LONGEST_LINE
    lines = str(TransfixError("\n".join("abc" for _ in range(50_000)))).splitlines()
    assert len(lines) == errors.MOST_LINES + 1
    assert lines[-1] == f"... and {50_000 - errors.MOST_LINES:,} more lines"
    many = ProblemsError("title", [Problem(f"key{index}", "unknown key") for index in range(20_000)])
    assert len(many.problems) == 20_000
    assert str(many).splitlines()[-1] == f"  ... and {20_000 - errors.MOST_PROBLEMS:,} more"
    one = str(Problem("w" * 10_000, "value " + "v" * 10_000, "a" * 10_000))
    assert len(one) < 5_000
    assert "(allowed: " in one
