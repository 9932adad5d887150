"""Tasks by name, their prompts, and everything that can be wrong with a template or a verbaliser."""

from __future__ import annotations

import pytest

from transfix import tasks
from transfix.data import Example

WORDS = {"entailment": " true", "neutral": " unknown", "contradiction": " false"}


def test_the_tasks() -> None:
    assert tasks.names() == ("mnli", "xnli", "afrixnli")
    mnli, xnli, afrixnli = (tasks.get(name) for name in tasks.names())
    assert {task.family for task in (mnli, xnli, afrixnli)} == {"nli"}
    assert {task.kind for task in (mnli, xnli, afrixnli)} == {"choice"}
    assert xnli.classes == ("entailment", "neutral", "contradiction")
    assert mnli.languages == ("eng_Latn",)
    assert (len(xnli.languages), len(afrixnli.languages)) == (15, 18)
    assert (mnli.train_split, mnli.default_split) == ("train", "validation_matched")
    assert (xnli.default_split, afrixnli.default_split, afrixnli.train_split) == ("test", "test", None)
    assert mnli.template == xnli.template == afrixnli.template


def test_unknown_task() -> None:
    with pytest.raises(tasks.UnknownTaskError, match=r"unknown task 'nope': \(allowed: mnli, xnli, afrixnli\)"):
        tasks.get("nope")
    with pytest.raises(tasks.UnknownTaskError, match="did you mean xnli"):
        tasks.get("XNLi")


def test_prompt() -> None:
    fields = {"premise": "It {rained}.", "hypothesis": "It was dry."}
    prompt = tasks.get("xnli").prompt(Example("x", "eng_Latn", fields, None))
    assert prompt == "It {rained}.\nIt was dry.?"
    with pytest.raises(tasks.TaskError, match="x: field 'hypothesis' is missing"):
        tasks.get("xnli").prompt(Example("x", "eng_Latn", {"premise": "a"}, None))


def test_options() -> None:
    task = tasks.get("xnli")
    other = task.with_options(template="{{{premise}}} => {hypothesis}?", verbaliser=WORDS)
    assert other.prompt(Example("x", "eng_Latn", {"premise": "a", "hypothesis": "b"}, None)) == "{a} => b?"
    assert other.verbaliser == WORDS
    assert (task.with_options(), task.with_options(template="{premise}{hypothesis}").verbaliser) == (
        task,
        task.verbaliser,
    )
    assert tasks.get("xnli") is task


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{premise}", "placeholder {hypothesis} is missing in '{premise}' (allowed: {premise}, {hypothesis})"),
        ("{premise} {hypotheses} {hypothesis}", "unknown placeholder {hypotheses}"),
        ("{premise} {} {hypothesis}", "unknown placeholder {}"),
        ("{premise.__class__} {hypothesis} {premise}", "unknown placeholder {premise.__class__}"),
        ("{premise!r} {hypothesis}", "{premise} has a format or conversion"),
        ("{premise} {hypothesis:>9}", "{hypothesis} has a format or conversion"),
        ("{premise} {hypothesis", "is not a template: expected '}' before end of string"),
    ],
)
def test_bad_templates(template: str, what: str) -> None:
    with pytest.raises(tasks.TaskError) as error:
        tasks.get("xnli").with_options(template=template)
    assert what in str(error.value)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"neutral": None}, "class 'neutral' has no label word (allowed: a word for each of entailment, neutral"),
        ({"maybe": " x"}, "verbaliser.maybe: 'maybe' is not a class of xnli (allowed: entailment, neutral"),
        ({"neutral": " "}, "verbaliser.neutral: the label word ' ' is empty"),
        ({"neutral": " true"}, "verbaliser.neutral: ' true' is the label word of 'entailment' too"),
    ],
)
def test_bad_verbalisers(change: dict[str, str | None], what: str) -> None:
    words = {name: word for name, word in {**WORDS, **change}.items() if word is not None}
    with pytest.raises(tasks.TaskError) as error:
        tasks.get("xnli").with_options(verbaliser=words)
    assert what in str(error.value)


def test_all_problems_at_once() -> None:
    with pytest.raises(tasks.TaskError) as error:
        tasks.get("xnli").with_options(template="{a}", verbaliser={"b": "c"})
    assert len(error.value.problems) == 3 + 4
    problems = tasks.get("xnli").problems("{a}", {"b": "c"})
    assert tuple(problems) == error.value.problems
    assert tasks.get("xnli").problems() == []
