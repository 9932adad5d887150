"""A template without problems can be filled in for every row; one that could fail, or run for long, has a problem."""

from __future__ import annotations

import pytest

from transfix.tasks import templates

FIELDS = ("text", "note")


@pytest.mark.parametrize(
    ("template", "what"),
    [
        (
            "{% if text < 5 %}a{% endif %}",
            "comparing by order is not allowed in a template (allowed: ==, !=, in, not in)",
        ),
        ("{% if text in 5 %}a{% endif %}", "5 is not allowed in a template: only texts in quotes are"),
        ("{% if text == true %}a{% endif %}", "True is not allowed in a template"),
        ("{% if text in (note == text) %}a{% endif %}", "only placeholders and texts in quotes can be compared"),
        ("{{text|trim(5)}}", "the filter 'trim' takes no arguments"),
        ("{{text|trim('x')}}", "the filter 'trim' takes no arguments"),
        ("{{text|capitalize(3)}}", "the filter 'capitalize' takes no arguments"),
        ("{{text|default(1,2,3,4,5)}}", "the filter 'default' needs one text in quotes"),
        ("{{text|default}}", "the filter 'default' needs one text in quotes"),
        ("{{text|default(note)}}", "the filter 'default' needs one text in quotes"),
        ("{{(text == note)|upper}}", "the filter 'upper' needs a placeholder or a text before it"),
        ("{% if text is none(3) %}a{% endif %}", "the test 'none' takes no arguments"),
        ("{{ 'a' if text }}", "an `if` inside {{ }} needs an `else`"),
        ("{% if text %}" * 99 + "{% endif %}" * 99, "parts inside each other, more than the 40"),
        ("{{" + " and ".join(["text"] * 500) + "}}", "parts, more than the 200"),
        ("{{text" + "|trim" * 1000 + "}}", "parts, more than the 200"),
        ("{{text" + "|trim" * 100 + "}}", "parts inside each other, more than the 40"),
        ("{{" + "9" * 5001 + "}}", "is no template"),
        ("{{text * 3}}", "arithmetic is not allowed in a template"),
        ("{{text ~ note}}", "joining with ~ is not allowed in a template"),
        ("{{text.x}}", "attributes are not allowed in a template"),
        ("{% extends 'x' %}", "inheritance is not allowed in a template"),
    ],
)
def test_what_could_fail_is_a_problem(template: str, what: str) -> None:
    found = templates.problems(template, FIELDS)
    assert any(what in problem for problem in found), found
    assert all(len(problem) < 400 for problem in found), "a message quotes the start of a long template"


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{{text}}{% if note %} ({{note|trim}}){% endif %}", "Ja"),
        ("{{text|lower}} {{note|default('none')}}", "ja none"),
        ("{{ 'y' if text == 'Ja' else 'n' }}{% if 'x' not in text and not note %}!{% endif %}", "y!"),
        ("{% if note is defined %}{{text}}{% else %}-{% endif %}", "Ja"),
    ],
)
def test_what_is_allowed(template: str, filled: str) -> None:
    assert templates.problems(template, FIELDS) == []
    assert templates.render(template, {"text": "Ja"}, optional=("note",)) == filled


UNUSABLE = ["true", "none", "None", "and", "or", "in", "is", "else", "if", "self", "not", "1st", "a-b", "x}}"]


@pytest.mark.parametrize("name", ["my text", "", *UNUSABLE])
def test_names_that_no_template_can_write(name: str) -> None:
    assert not templates.can_be_placeholder(name)


@pytest.mark.parametrize("name", ["text", "option_d", "Frage", "प्रश्न", "loop", "name", "context"])
def test_names_that_templates_can_write(name: str) -> None:
    assert templates.can_be_placeholder(name)
