"""What a task file may say, and that each mistake in one is a problem with its path and no traceback."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from transfix import tasks
from transfix.data import Example
from transfix.tasks import Task, TaskError

CHOICE: dict[str, Any] = {
    "name": "complaints",
    "kind": "choice",
    "fields": ["text"],
    "label": "topic",
    "prompt": "{{text}}\nSo?",
    "labels": {"billing": " yes", "delivery": " no"},
    "data": {"test": {"files": "test.csv"}},
}
WRITTEN: dict[str, Any] = {
    "name": "capitals",
    "kind": "generation",
    "fields": ["country"],
    "label": "capital",
    "prompt": "{{country}}?",
    "data": {"test": {"files": "test.csv"}},
}


def task(directory: Path, content: dict[str, Any], **changes: Any) -> Task:
    path = directory / "task.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return tasks.get(str(path))


def with_text(directory: Path, text: str) -> Task:
    """The choice with these lines in place of its keys."""
    path = directory / "task.yaml"
    lines = textwrap.dedent(text)
    kept = {key: value for key, value in CHOICE.items() if not re.search(rf"^{key}:", lines, re.MULTILINE)}
    path.write_text(yaml.safe_dump(kept) + lines, encoding="utf-8")
    return tasks.get(str(path))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ('{yes: " yes", no: " no"}', ("yes", "no")),
        ('{1: " one", 2: " two"}', ("1", "2")),
        ('{true: " true", false: " false"}', ("true", "false")),
        ('{0x1: " one", null: " none", 1.50: " more"}', ("0x1", "null", "1.50")),
    ],
)
def test_classes_are_what_is_written(tmp_path: Path, labels: str, classes: tuple[str, ...]) -> None:
    assert with_text(tmp_path, f"labels: {labels}\n").classes == classes


def test_natural_texts(tmp_path: Path) -> None:
    made = with_text(tmp_path, "languages: [en, no]\ndescription: 2020-13-45\n")
    assert made.languages == ("eng_Latn", "nob_Latn")
    assert task(tmp_path, CHOICE, fields="text", languages="sw").languages == ("swh_Latn",)
    assert task(tmp_path, WRITTEN, prompt_language="German").prompt_template.prompt_language == "deu_Latn"
    assert task(tmp_path, WRITTEN, prompt_language="native").prompt_template.prompt_language == "native"


def test_forms_by_language(tmp_path: Path) -> None:
    labels = {"default": CHOICE["labels"], "de": {"billing": " ja", "delivery": " nein"}}
    templates = {"short": {"prompt": {"default": "{{text}}?", "sw": "{{text}}!"}}}
    made = task(tmp_path, CHOICE, labels=labels, templates=templates)
    row = Example("x", "deu_Latn", {"text": "Rechnung"}, "billing")
    short = made.with_options(template="short")
    assert (made.target(row), made.prompt(row), short.prompt(row)) == (" ja", "Rechnung\nSo?", "Rechnung?")
    written = task(tmp_path, WRITTEN, stop="\n\n", templates={"long": {"stop": {"de": ["x", "y"]}}})
    assert written.stops(row) == ("\n\n",)
    assert written.with_options(template="long").stops(row) == ("x", "y")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name: a\nname: b\n", "the key 'name' is given a second time"),
        ("labels: {a: ' x', a: ' y'}\n", "the key 'a' is given a second time"),
        ("exemplars: {foo: 1}\n", "exemplars.foo: unknown key"),
        ("exemplars: {task: xnli}\n", "exemplars.split: is missing"),
        ("exemplars: {task: 3, split: train}\n", "exemplars.task: 3 is not text"),
        ("exemplars: [1]\n", "exemplars: [1] is not allowed"),
        ("description: " + "[" * 5000 + "\n", "nested too deeply"),
        ("description: " + "{a: " * 900 + "1" + "}" * 900 + "\n", "nested too deeply"),
        ("description: !!bool maybe\n", "is not valid YAML"),
        ("description: !!timestamp x\n", "is not valid YAML"),
        ("max_tokens: " + "9" * 5001 + "\n", "is not valid YAML"),
        ("max_tokens: true\n", "max_tokens: true is not a number"),
        ('description: "\\ud800"\n', "holds half a character"),
        ("labels: {billing: 1, delivery: ' no'}\n", "labels.billing: 1 is not text"),
        ("labels: {en: {billing: ' x'}, de: 3}\n", "labels.de: 3 is not a mapping"),
        ("prompt: [a]\n", "prompt: ['a'] is not allowed (allowed: a text, or a mapping from language to text)"),
        ("prompt: {de: 5}\n", "prompt.de: 5 is not text"),
        ("templates: {x: 5}\n", "templates.x: 5 is not a mapping"),
        ("templates: {x: {colour: red}}\n", "templates.x.colour: unknown key"),
        ("data: {test: 5}\n", "data.test: 5 is not a data source"),
        ("? [a]\n: b\n", "is not valid YAML"),
    ],
)
def test_mistakes_of_form(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(TaskError) as error:
        with_text(tmp_path, text)
    assert what in str(error.value)
    assert len(str(error.value)) < 2000
    where = [problem.where for problem in error.value.problems]
    assert len(where) == len(set(where)), "one problem a value"


def test_aliases_that_would_write_out_a_huge_document(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 36))]
    with pytest.raises(TaskError, match="would write out more than 10,000 values"):
        with_text(tmp_path, "\n".join(lines) + "\n")
    with pytest.raises(TaskError, match="contains itself"):
        with_text(tmp_path, "description: &a [*a, *a, *a]\n")
    assert with_text(tmp_path, "stop: &s ['x']\ntemplates: {b: {stop: *s}}\n").name == "complaints"


@pytest.mark.parametrize(
    ("content", "changes", "what"),
    [
        (CHOICE, {"fields": ["text", "text"]}, "fields: 'text' is given twice"),
        (CHOICE, {"optional": ["note", "note"]}, "optional: 'note' is given twice"),
        (CHOICE, {"optional": ["text"]}, "optional: 'text' is one of the fields"),
        (CHOICE, {"fields": ["text", "topic"]}, "fields: 'topic' is the label's column"),
        (CHOICE, {"fields": ["text", "label"]}, "fields: 'label' means the reference answer here"),
        (WRITTEN, {"fields": ["country", "answer"]}, "fields: 'answer' means the reference answer here"),
        (CHOICE, {"fields": ["my text"]}, "fields: no template can name 'my text'"),
        (CHOICE, {"fields": ["true"]}, "columns: {NAME: 'true'}"),
        (CHOICE, {"optional": ["if"]}, "optional: no template can name 'if'"),
        (
            CHOICE,
            {"prompt_language": "klingon"},
            "prompt_language: unknown language 'klingon' (allowed: english, native",
        ),
        (CHOICE, {"languages": ["en", "klingon"]}, "languages[1]: "),
        (CHOICE, {"answer": "number"}, "answer: number does not go with kind choice"),
        (CHOICE, {"judge": "text"}, "judge: is for written answers"),
        (WRITTEN, {"answer": "class"}, "answer: class does not go with kind generation"),
        (WRITTEN, {"judge": "number"}, "judge: number compares numbers, and the answers are texts: set answer: number"),
        (WRITTEN, {"templates": {"n": {"judge": "harness_number"}}}, "templates.n.judge: harness_number compares"),
        (WRITTEN, {"stop": ""}, "stop: '' is not allowed"),
        (WRITTEN, {"stop": ["x", ""]}, "stop[1]: '' is not allowed"),
        (WRITTEN, {"stop": {"de": ""}}, "stop.de: ''"),
        (CHOICE, {"templates": {"default": {"prompt": "{{text}}"}}}, "templates.default: the default template is what"),
        (CHOICE, {"exemplars": {"task": "nope", "split": "train"}}, "exemplars.task: there is no task 'nope'"),
        (
            CHOICE,
            {"exemplars": {"task": "no.yaml", "split": "train"}},
            "exemplars.task: there is no task file 'no.yaml'",
        ),
        (CHOICE, {"exemplars": {"task": "xnli", "split": "devtest"}}, "exemplars.split: xnli has no split 'devtest'"),
        (CHOICE, {"needs": {"x": "note"}, "optional": ["note"]}, "needs.x: 'x' is not a class"),
        (CHOICE, {"needs": {"billing": "text"}}, "needs.billing: 'text' is not optional"),
        (CHOICE, {"tasks": {}}, "tasks: is for the built-in files"),
    ],
)
def test_mistakes_of_sense(tmp_path: Path, content: dict[str, Any], changes: dict[str, Any], what: str) -> None:
    with pytest.raises(TaskError) as error:
        task(tmp_path, content, **changes)
    assert what in str(error.value)


def test_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(TaskError) as error:
        task(tmp_path, CHOICE, languages=["klingon"], prompt="{{nothing}}", optional=["text"], prompt_language="x")
    assert [problem.where for problem in error.value.problems] == [
        "optional",
        "prompt_language",
        "languages[0]",
        "prompt",
    ]


def test_exemplars_of_the_task_itself_and_of_a_file_beside_it(tmp_path: Path) -> None:
    own = task(tmp_path, CHOICE, exemplars={"task": "complaints", "split": "train"}).exemplars
    assert own is not None
    assert own.task == str(tmp_path / "task.yaml")
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({**CHOICE, "name": "other"}))
    other = task(tmp_path, CHOICE, exemplars={"task": "other.yaml", "split": "train"}).exemplars
    assert other is not None
    assert tasks.get(other.task).name == "other"


def test_classes_on_offer(tmp_path: Path) -> None:
    fields = dict.fromkeys(("passage", "question", "option_a", "option_b", "option_c"), "x")
    three, four = (Example("r", "eng_Latn", {**fields, **more}, "A") for more in ({}, {"option_d": "y"}))
    for name in ("belebele", "dream"):
        for template in ("default", "lm-eval"):
            choice = tasks.get(name).with_options(template=template)
            assert choice.offered(three) == (True, True, True, False)
            assert choice.offered(four) == (True,) * 4
    assert tasks.get("xnli").offered(Example("r", "eng_Latn", {"premise": "a", "hypothesis": "b"}, None)) == (True,) * 3
    own = task(
        tmp_path,
        CHOICE,
        optional=["second", "third"],
        labels={"a": " {{text}}", "b": " {{second}}", "c": "{{third}} or so", "d": "{% if text == 'x' %} d{% endif %}"},
        scoring="likelihood",
    )
    row = {"text": "x", "second": "y"}
    assert own.offered(Example("r", "eng_Latn", row, None)) == (True, True, False, True)
    assert own.offered(Example("r", "eng_Latn", {"text": "z", "third": "t"}, None)) == (True, False, True, False)
