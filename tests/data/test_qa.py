"""SQuAD's layout in its forms, and everything that can be wrong with a question in it."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transfix import data

CONTEXT = "Berlin ist die Hauptstadt. Sie liegt an der Spree."
Question = dict[str, Any]


def question(identifier: str, text: str, *answers: tuple[str, int]) -> Question:
    found = [{"text": answer, "answer_start": start} for answer, start in answers]
    return {"id": identifier, "question": text, "answers": found}


def document(*questions: Question) -> dict[str, Any]:
    """Two articles; the questions are the second's, in its second paragraph."""
    first = {"title": "A", "paragraphs": [{"context": "Rot ist es.", "qas": [question("r", "Wie?", ("Rot", 0))]}]}
    second = {"title": "B", "paragraphs": [{"context": "x", "qas": []}, {"context": CONTEXT, "qas": list(questions)}]}
    return {"version": "1.1", "data": [first, second]}


GOOD = (
    question("b1", "Was ist Berlin?", ("die Hauptstadt", 11), ("Hauptstadt", 15), ("die Hauptstadt", 11)),
    question("b2", "Woran liegt sie?", ("der Spree", 40)),
)


def load(path: Path, content: object, benchmark: str = "squad", language: str = "en", **options: Any) -> data.Rows:
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return data.read(benchmark, {"files": str(path)}, language, "train", **options)


def test_squad(tmp_path: Path) -> None:
    rows = load(tmp_path / "train-v1.1.json", document(*GOOD))
    assert rows.layout == "json document"
    assert rows.examples == [
        data.Example("r", "eng_Latn", {"context": "Rot ist es.", "question": "Wie?"}, "Rot", ("Rot",)),
        data.Example(
            "b1",
            "eng_Latn",
            {"context": CONTEXT, "question": "Was ist Berlin?"},
            "die Hauptstadt",
            ("die Hauptstadt", "Hauptstadt"),
        ),
        data.Example(
            "b2", "eng_Latn", {"context": CONTEXT, "question": "Woran liegt sie?"}, "der Spree", ("der Spree",)
        ),
    ]
    assert load(tmp_path / "limited.json", document(*GOOD), limit=2).examples == rows.examples[:2]


def flat(answers: Callable[[list[dict[str, Any]]], object]) -> str:
    """The same questions, one a line, as the hub's exports are."""
    lines = [{**each, "context": CONTEXT, "answers": answers(each["answers"])} for each in GOOD]
    return "\n".join(map(json.dumps, lines))


@pytest.mark.parametrize(
    "answers",
    [
        lambda answers: answers,
        lambda answers: {key: [answer[key] for answer in answers] for key in ("text", "answer_start")},
        lambda answers: {"text": [answer["text"] for answer in answers]},
        lambda answers: [answer["text"] for answer in answers],
    ],
    ids=["objects", "hub", "hub without places", "texts"],
)
def test_one_question_a_line(tmp_path: Path, answers: Callable[[list[dict[str, Any]]], object]) -> None:
    rows = load(tmp_path / "x.jsonl", flat(answers))
    assert rows.layout == "jsonl"
    assert rows.examples == load(tmp_path / "x.json", document(*GOOD)).examples[1:]


def test_a_single_line_is_a_row_or_a_document(tmp_path: Path) -> None:
    assert len(load(tmp_path / "row", flat(lambda answers: answers).splitlines()[0]).examples) == 1
    path = tmp_path / "document.json.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps(document(*GOOD)).encode()))
    for source in ({"files": str(path)}, {"files": str(path), "format": "json"}):
        assert [row.id for row in data.load("squad", source, "en", "train")] == ["r", "b1", "b2"]


def changed(**changes: Any) -> Question:
    """The second question with other values; `...` leaves the key out."""
    values = {**copy.deepcopy(GOOD[1]), **changes}
    return {key: value for key, value in values.items() if value is not ...}


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (changed(answers=[{"text": "der Spree", "answer_start": 39}]), "does not stand at answer_start 39"),
        (changed(answers=[{"text": "der Spree", "answer_start": 39}]), "it stands at 40"),
        (changed(answers=[{"text": "die Elbe", "answer_start": 40}]), "it does not stand in the context"),
        (changed(answers=[{"text": "der Spree", "answer_start": 400}]), "where '' is"),
        (changed(answers=[{"text": "der Spree", "answer_start": -1}]), "answer_start is -1, not a position"),
        (changed(answers=[{"text": "der Spree", "answer_start": "40"}]), "answer_start is '40', not a position"),
        (
            changed(answers=[{"text": "der Spree", "answer_start": 40}, {"text": "Sie", "answer_start": 0}]),
            "the answer 'Sie' does not stand at answer_start 0",
        ),
        (changed(answers=[{"text": "der Spree"}]), "has no 'answer_start'"),
        (changed(answers=[{"answer_start": 40}]), "has no 'text'"),
        (changed(answers=[{"text": "", "answer_start": 40}]), "empty answer"),
        (changed(answers=[{"text": 7, "answer_start": 40}]), "the answer 7 is not a text"),
        (changed(answers={"text": ["der Spree"], "answer_start": []}), "1 answers but 0 values of answer_start"),
        (changed(answers={"text": "der Spree"}), "are not {text: [...], answer_start: [...]}"),
        (changed(answers=5), "the answer 5 is not a text or a list of texts"),
        (changed(answers=[]), "has no answer (questions without one, as in SQuAD 2"),
        (changed(answers=[], is_impossible=True), "has no answer (is_impossible)"),
        (changed(answers=...), "'answers' is missing"),
        (changed(answers=None), "empty label"),
        (changed(question=...), "'question' is missing"),
        (changed(question=" "), "empty question"),
        (changed(question=["Was?"]), "question is ['Was?'], not a text"),
        (changed(id=...), "'id' is missing"),
        (changed(id=2.5), "id is 2.5, not a text"),
        (changed(id="r"), "the id 'r' stands on more than one row (first: data[0].paragraphs[0].qas[0])"),
        ("Was?", "a JSON str, not an object"),
    ],
)
def test_bad_questions(tmp_path: Path, bad: Any, what: str) -> None:
    path = tmp_path / "squad.json"
    content = document(GOOD[0], bad, changed(id="b3"))
    with pytest.raises(data.DataError) as error:
        load(path, content)
    (problem,) = error.value.problems
    assert problem.where == f"{path}: data[1].paragraphs[1].qas[1]"
    assert what in str(problem)
    assert "expected context, question (not empty) and label (the text of the answer" in str(error.value)
    rows = load(path, content, on_bad_rows="skip")
    assert [row.id for row in rows.examples] == ["r", "b1", "b3"]
    assert rows.skipped == 1
    assert rows.problems == (problem,)


def test_bad_paragraphs_and_articles(tmp_path: Path) -> None:
    content = document(*GOOD)
    content["data"] += [{"title": "C"}, 5, {"paragraphs": [{"context": "c"}, {"qas": [GOOD[0]]}, None]}]
    with pytest.raises(data.DataError) as error:
        load(tmp_path / "squad.json", content)
    prefix = f"{tmp_path / 'squad.json'}: "
    assert [(problem.where.removeprefix(prefix), problem.what) for problem in error.value.problems] == [
        ("data[2]", "'paragraphs' is missing"),
        ("data[3]", "expected an object with a list 'paragraphs'"),
        ("data[4].paragraphs[0]", "'qas' is missing"),
        ("data[4].paragraphs[1].qas[0]", "'context' is missing"),
        ("data[4].paragraphs[2]", "a JSON NoneType, not an object"),
    ]
    rows = load(tmp_path / "squad.json", content, on_bad_rows="skip")
    assert ([row.id for row in rows.examples], rows.skipped) == (["r", "b1", "b2"], 5)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"data": [', ":1: not valid JSON"),
        ('{"data": [\n1,\n]}', ":3: not valid JSON"),
        ('{"data": {}}', 'in no known layout: expected an object with a list "data"'),
        ("[1, 2]", "in no known layout"),
        ('{"data": []}', "columns are missing"),
        ("", "is empty"),
        ("Prose.", "in no known layout"),
    ],
)
@pytest.mark.parametrize("on_bad_rows", ["error", "skip"])
def test_unreadable_files_are_errors_always(tmp_path: Path, content: str, what: str, on_bad_rows: str) -> None:
    with pytest.raises(data.DataError, match=r"squad\.json") as error:
        load(tmp_path / "squad.json", content, on_bad_rows=on_bad_rows)
    assert what in str(error.value)


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'{"data":\n["\xff"]}')
    with pytest.raises(data.DataError, match=r"x\.json:2: not UTF-8: byte 0xff"):
        data.load("squad", {"files": str(path)}, "en", "train")


def test_document_format_is_for_documents(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(flat(lambda answers: answers), encoding="utf-8")
    with pytest.raises(data.DataError, match="not valid JSON: Extra data"):
        data.load("squad", {"files": str(path), "format": "json"}, "en", "train")
    with pytest.raises(data.DataError, match="`format: json` is for benchmarks whose files are one JSON document"):
        data.load("xnli", {"files": str(path), "format": "json"}, "en", "test")


def test_tydiqa_in_one_file(tmp_path: Path) -> None:
    """The official files have all languages together; an id says which it is in."""
    questions = [{**GOOD[0], "id": f"{name}-{i}-1"} for i, name in enumerate(("english", "swahili", "english"))]
    path = tmp_path / "tydiqa-goldp-v1.1-train.json"
    path.write_text(json.dumps({"data": document(*questions)["data"][1:]}), encoding="utf-8")
    source = {"files": str(path)}
    data.check("tydiqa", source, ["en", "sw"], "train")
    assert [row.id for row in data.load("tydiqa", source, "en", "train")] == ["train-00000", "train-00001"]
    assert [row.language for row in data.load("tydiqa", source, "sw", "train")] == ["swh_Latn"]
    with pytest.raises(data.DataError, match=r"no rows in fin_Latn; .*english \(2\), swahili \(1\)"):
        data.load("tydiqa", source, "fi", "train")


def test_tydiqa_ids_that_are_not_unique(tmp_path: Path) -> None:
    rows = load(tmp_path / "train-en.json", document(*({**each, "id": "0"} for each in GOOD)), "tydiqa")
    assert [row.id for row in rows.examples] == ["train-00000", "train-00001", "train-00002"]
    with pytest.raises(data.DataError, match="no column says which row is in which language"):
        data.check("tydiqa", {"files": str(tmp_path / "train-en.json")}, ["en", "sw"], "train")


def test_official_file_names(tmp_path: Path) -> None:
    names = ("new_wiki_v1.0.json", "nyt_v1.0.json", "dev-context-de-question-de.json", "tydiqa-goldp-dev-swahili.json")
    for name in names:
        (tmp_path / name).write_text(json.dumps(document(*GOOD)), encoding="utf-8")
    wanted = [
        ("squadshifts", "{split}_v1.0.json", "en", "train"),
        ("squadshifts", "{split}_v1.0.json", "en", "nyt"),
        ("mlqa", "{split}-context-{lang}-question-{lang}.json", "de", "validation"),
        ("tydiqa", "tydiqa-goldp-{split}-{lang}.json", "sw", "validation"),
    ]
    for (benchmark, pattern, language, split), name in zip(wanted, names, strict=True):
        rows = data.read(benchmark, {"files": str(tmp_path / pattern)}, language, split)
        assert rows.origin == str(tmp_path / name)
    assert data.read("squadshifts", {"files": str(tmp_path / names[0])}, "en", "new_wiki").examples[1].id == "b1"
