"""A misspelt name is answered with the names it may have meant, in one place for every kind of name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import transfix
from transfix.config.suggestions import did_you_mean, nearest


@pytest.mark.parametrize("given", ["gated-bert", "Gated BERT", "gated_bret", "GATED_BERT"])
def test_case_and_what_joins_words_do_not_matter(given: str) -> None:
    assert nearest(given, ["gated_bert", "llama"], at_most=1) == ["gated_bert"]
    assert nearest(given, ["Gated-Bert", "llama"], at_most=1) == ["Gated-Bert"]


def test_the_likest_first_and_no_more_than_wanted() -> None:
    known = ["rate", "rates", "rows", "tokens"]
    assert nearest("rate", known, at_most=3) == ["rate", "rates"]
    assert nearest("rate", known, at_most=1) == ["rate"]
    assert nearest("rosw", known, at_most=3, likeness=0.9) == []
    assert nearest("rosw", known, at_most=3) == ["rows"]
    assert nearest("rosw", [], at_most=3) == []


def test_in_words() -> None:
    assert did_you_mean("rosw", ["rows", "tokens"]) == "; did you mean 'rows'?"
    assert did_you_mean("rats", ["rate", "rates", "tokens", "rats-"]) == "; did you mean 'rats-' or 'rates'?"
    assert did_you_mean("colour", ["rows", "tokens"]) == ""


def test_nothing_else_compares_names() -> None:
    """One module imports difflib, and with it decides what is alike."""
    source = Path(transfix.__file__).parent
    modules = {path.relative_to(source).as_posix(): ast.parse(path.read_bytes()) for path in source.rglob("*.py")}
    assert len(modules) > 100
    comparing = {
        name
        for name, module in modules.items()
        for node in ast.walk(module)
        if (isinstance(node, ast.Import) and any(alias.name == "difflib" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "difflib")
    }
    assert comparing == {"config/suggestions.py"}
