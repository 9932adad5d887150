"""Tasks by name, their prompts, and everything that can be wrong with a template or a verbaliser."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfix import tasks
from transfix.data import Example
from transfix.tasks import templates

WORDS = {"entailment": " true", "neutral": " unknown", "contradiction": " false"}


def test_the_tasks() -> None:
    assert tasks.names()[:3] == ("mnli", "xnli", "afrixnli")
    assert {"xquad", "mgsm", "belebele", "flores_to_english", "xlsum"} < set(tasks.names())
    mnli, xnli, afrixnli = (tasks.get(name) for name in tasks.names()[:3])
    assert {task.family for task in (mnli, xnli, afrixnli)} == {"nli"}
    assert {task.kind for task in (mnli, xnli, afrixnli)} == {"choice"}
    assert xnli.classes == ("entailment", "neutral", "contradiction")
    assert mnli.languages == ("eng_Latn",)
    assert (len(xnli.languages), len(afrixnli.languages)) == (15, 18)
    assert (mnli.train_split, mnli.default_split) == ("train", "validation_matched")
    assert (xnli.default_split, afrixnli.default_split, afrixnli.train_split) == ("test", "test", None)
    assert mnli.default_prompt == xnli.default_prompt == afrixnli.default_prompt


@pytest.mark.parametrize("name", tasks.names())
def test_every_built_in_task_can_ask_in_all_its_languages(name: str) -> None:
    task = tasks.get(name)
    fields = {field: f"<{field}>" for field in task.fields} | {
        "target_language": "German",
        "source_language": "English",
    }
    for template in task.prompt_templates:
        asked = task.with_options(template=template)
        codes = [
            code
            for code in task.languages
            if template == "default" or code in {*asked.prompt_template.prompt, *asked.prompt_template.labels}
        ]
        assert (
            codes
            or task.name in ("mnli", "afrixnli", "gsm8k", "afrimgsm", "squad", "squadshifts", "tydiqa", "mlqa")
            or ("default" in asked.prompt_template.prompt)
        )
        for code in codes:
            reference = task.classes[0] if task.classes else "7"
            example = Example("x", code, {key: fields[key] for key in task.fields}, reference)
            whole = asked.prompt(example) + asked.target(example)
            assert all(fields[key] in whole for key in task.fields if "language" not in key), (template, code)
            assert "{" not in whole


def test_splits_of_the_built_in_tasks_are_the_benchmarks() -> None:
    for name in tasks.names():
        task = tasks.get(name)
        assert task.benchmark.split(task.default_split)
        assert task.train_split is None or task.benchmark.split(task.train_split)
        assert set(task.fields) == set(task.benchmark.fields)


def test_unknown_task(tmp_path: Path) -> None:
    with pytest.raises(tasks.UnknownTaskError, match=r"unknown task 'nope': \(allowed: mnli, xnli, afrixnli,"):
        tasks.get("nope")
    with pytest.raises(tasks.UnknownTaskError, match="did you mean xnli"):
        tasks.get("XNLi")
    with pytest.raises(tasks.UnknownTaskError, match="does not exist"):
        tasks.get(str(tmp_path / "task.yaml"))


def test_a_directory_is_no_task_file(tmp_path: Path) -> None:
    def said(name: Path) -> str:
        with pytest.raises(tasks.UnknownTaskError) as caught:
            tasks.get(str(name))
        return str(caught.value)

    folder = tmp_path / "complaints"
    folder.mkdir()
    assert said(folder) == f"{folder} is a directory, without a task file (task.yaml) in it"
    (folder / "task.yaml").touch()
    assert said(folder) == f"{folder} is a directory: name the task file in it, {folder / 'task.yaml'}"
    (folder / "task.json").touch()
    assert said(folder / "task.json") == f"{folder / 'task.json'} is no task file: those end in .yaml or .yml"
    (folder / "other.yaml").mkdir()
    assert "is a directory, without a task file" in said(folder / "other.yaml")


def test_prompt() -> None:
    fields = {"premise": "It {rained}.", "hypothesis": "It was dry."}
    prompt = tasks.get("xnli").prompt(Example("x", "eng_Latn", fields, None))
    assert prompt == "It {rained}.\nIt was dry.?"
    with pytest.raises(tasks.TaskError, match="x: field 'hypothesis' is missing"):
        tasks.get("xnli").prompt(Example("x", "eng_Latn", {"premise": "a"}, None))


def test_options() -> None:
    task = tasks.get("xnli")
    other = task.with_options(template="{ {{premise}} } => {{hypothesis}}?", verbaliser=WORDS)
    assert other.prompt(Example("x", "eng_Latn", {"premise": "a", "hypothesis": "b"}, None)) == "{ a } => b?"
    assert other.verbaliser == WORDS
    assert (task.with_options(), task.with_options(template="{{premise}}{{hypothesis}}").verbaliser) == (
        task,
        task.verbaliser,
    )
    assert tasks.get("xnli") is task


def test_nothing_asked_for_is_the_same_task_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tasks.get("xnli")
    other = task.with_options("lm-eval")
    checked: list[str] = []
    monkeypatch.setattr(templates, "problems", lambda text, fields: checked.append(text) or [])
    assert task.with_options(None, None) is task
    assert task.with_options("default") is task
    assert other.with_options() is other
    assert not checked, "templates that were checked already"
    assert task.with_options("lm-eval") == other
    assert checked


@pytest.mark.parametrize(
    ("template", "what"),
    [
        (
            "{{premise}}",
            "placeholder {{hypothesis}} is missing in '{{premise}}' (allowed: {{premise}}, {{hypothesis}})",
        ),
        ("{premise} {hypothesis}", "placeholder {{premise}} is missing"),
        ("{{premise}} {{hypotheses}} {{hypothesis}}", "unknown placeholder {{hypotheses}}"),
        ("{{premise}} {{}} {{hypothesis}}", "is no template"),
        ("{{premise}} {{hypothesis", "is no template"),
        ("{{premise.__class__}} {{hypothesis}}", "attributes are not allowed in a template"),
        ("{{premise['__class__']}} {{hypothesis}}", "subscripts are not allowed in a template"),
        ("{{premise.upper()}} {{hypothesis}}", "calls are not allowed in a template"),
        ("{{premise|attr('__class__')}} {{hypothesis}}", "unknown filter 'attr'"),
        ("{{premise|format(hypothesis)}}", "unknown filter 'format'"),
        (
            "{% for i in range(1000000000) %}{{premise}}{{hypothesis}}{% endfor %}",
            "loops are not allowed in a template",
        ),
        ("{{premise * 1000000000}} {{hypothesis}}", "arithmetic is not allowed in a template"),
        ("{% set x = premise %}{{x}} {{hypothesis}}", "assignments are not allowed in a template"),
        ("{% macro m() %}{{premise}}{% endmacro %}{{hypothesis}}", "macros are not allowed in a template"),
        ("{% include 'task.yaml' %}{{premise}} {{hypothesis}}", "includes are not allowed in a template"),
        ("{% import 'os' as os %}{{premise}} {{hypothesis}}", "imports are not allowed in a template"),
        ("{{self}} {{premise}} {{hypothesis}}", "unknown placeholder {{self}}"),
        ("{{cycler}} {{premise}} {{hypothesis}}", "unknown placeholder {{cycler}}"),
        ("{{premise}} {{hypothesis}}" + "x" * 200_000, "more than the 100,000 that are allowed"),
        ("{{premise}} {{hypothesis}}" + "{{" + "(" * 5000 + "premise" + ")" * 5000 + "}}", "is no template"),
        ("no-such-form", "xnli has no template 'no-such-form' (allowed: default, lm-eval)"),
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
        tasks.get("xnli").with_options(template="{{a}}", verbaliser={"b": "c"})
    assert len(error.value.problems) == 1 + 4
    problems = tasks.get("xnli").problems("{{a}}", {"b": "c"})
    assert tuple(problems) == error.value.problems
    assert tasks.get("xnli").problems() == []
