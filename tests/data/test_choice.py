"""Multiple choice: the files of each benchmark, options that are missing, answers that are no option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from transfix import data

FIELDS = {"passage": "P.", "question": "Q?", "option_a": "a", "option_b": "b", "option_c": "c", "option_d": "d"}
BELEBELE = {
    "link": "https://example.org/x",
    "question_number": 2,
    "flores_passage": "P.",
    "question": "Q?",
    "mc_answer1": "a",
    "mc_answer2": "b",
    "mc_answer3": "c",
    "mc_answer4": "d",
    "correct_answer_num": "3",
    "dialect": "deu_Latn",
}
MCTEST = {
    "story": "P.",
    "story_id": "mc160.dev.0",
    "question_id": "1",
    "question": "Q?",
    "choices": ["a", "b", "c", "d"],
    "answer": "B",
    "label": "1",
}
RACE = {"example_id": "high1.txt", "article": "P.", "question": "Q?", "options": ["a", "b", "c", "d"], "answer": "D"}


def write(path: Path, *rows: object) -> dict[str, str]:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return {"files": str(path)}


@pytest.mark.parametrize(
    ("benchmark", "row", "identifier", "label"),
    [
        ("belebele", BELEBELE, "https://example.org/x#2", "C"),
        ("belebele", {**BELEBELE, "correct_answer_num": 1}, "https://example.org/x#2", "A"),
        ("mctest", MCTEST, "mc160.dev.0#1", "B"),
        ("mctest", {**MCTEST, "choices": dict(zip("ABCD", "abcd", strict=True))}, "mc160.dev.0#1", "B"),
        ("race", RACE, "test-00000", "D"),
        ("race", {**FIELDS, "label": "A"}, "test-00000", "A"),
    ],
)
def test_layouts(tmp_path: Path, benchmark: str, row: dict[str, Any], identifier: str, label: str) -> None:
    source = write(tmp_path / "x.json", row)
    language = "deu_Latn" if benchmark == "belebele" else "eng_Latn"
    assert data.load(benchmark, source, language, "test") == [data.Example(identifier, language, FIELDS, label)]


def test_plain_table(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("passage,question,option_a,option_b,option_c,label\nP.,Q?,a,b,c,B\n")
    (row,) = data.load("dream", {"files": str(tmp_path / "x.csv")}, "en", "train")
    assert row.fields == {name: text for name, text in FIELDS.items() if name != "option_d"}
    assert row.label == "B"


def dream(*questions: object) -> list[Any]:
    return [[["M: Hi.", "W: Oh."], list(questions), "5-510"]]


def test_dream(tmp_path: Path) -> None:
    first = {"question": "Q?", "choice": ["a", "b", "c"], "answer": "c"}
    second = {"question": "R?", "choice": ["A", "C", "B"], "answer": "C"}  # texts that look like letters are texts
    source = write(tmp_path / "dev.json", dream(first, second))
    rows = data.load("dream", source, "en", "dev")
    fields = {"passage": "M: Hi.\nW: Oh.", "question": "Q?", "option_a": "a", "option_b": "b", "option_c": "c"}
    assert rows[0] == data.Example("5-510#0", "eng_Latn", fields, "C")
    assert (rows[1].id, rows[1].label) == ("5-510#1", "B")


@pytest.mark.parametrize(
    ("benchmark", "changes", "what"),
    [
        ("belebele", {"mc_answer3": ...}, "option_c is missing"),
        ("belebele", {"mc_answer4": ...}, "option_d is missing"),
        ("belebele", {"mc_answer4": ""}, "option_d is missing"),
        ("belebele", {"mc_answer1": None}, "option_a is missing"),
        ("belebele", {"mc_answer2": 5}, "option_b is 5"),
        ("belebele", {"correct_answer_num": "0"}, "the answer '0' is none of the 4 options"),
        ("belebele", {"correct_answer_num": "5"}, "the answer '5' is none of the 4 options"),
        ("belebele", {"correct_answer_num": "a"}, "the answer 'a' is none of the 4 options"),
        ("belebele", {"correct_answer_num": ...}, "'correct_answer_num' is missing"),
        ("belebele", {"correct_answer_num": None}, "empty label"),
        ("belebele", {"correct_answer_num": 1.0}, "label 1.0 is not one of the classes"),
        ("belebele", {"flores_passage": ...}, "'flores_passage' is missing"),
        ("belebele", {"question": " "}, "empty question"),
        ("belebele", {"link": ...}, "'id' is missing"),
        ("mctest", {"choices": ["a", "b", "c"]}, "has 3 options, expected 4"),
        ("mctest", {"choices": ["a", "b", "c", "d", "e"]}, "has 5 options, expected 4"),
        ("mctest", {"choices": ["a", "b", "c", ""]}, "option_d is missing"),
        ("mctest", {"choices": "abcd"}, "options are 'abcd', not a list"),
        ("mctest", {"answer": "E"}, "the answer 'E' is none of the 4 options ('a', 'b', 'c', 'd')"),
        ("mctest", {"answer": "a"}, "the answer 'a' is none of the 4 options"),
        ("race", {"options": ["a", "b", None, "d"]}, "option_c is missing"),
        ("race", {"answer": ["A"]}, "label ['A'] is not one of the classes"),
    ],
)
def test_bad_rows(tmp_path: Path, benchmark: str, changes: dict[str, Any], what: str) -> None:
    row = {"belebele": BELEBELE, "mctest": MCTEST, "race": RACE}[benchmark]
    first = {**row, "question_number": 1, "question_id": "0"}
    bad = {key: value for key, value in {**row, **changes}.items() if value is not ...}
    source = write(tmp_path / "x.jsonl", first, bad)
    with pytest.raises(data.DataError) as error:
        data.load(benchmark, source, "en", "test")
    (problem,) = error.value.problems
    assert problem.where == f"{tmp_path / 'x.jsonl'}:2"
    assert what in problem.what
    rows = data.read(benchmark, source, "en", "test", on_bad_rows="skip")
    assert (len(rows.examples), rows.skipped) == (1, 1)


def test_bad_dialogues(tmp_path: Path) -> None:
    good = {"question": "Q?", "choice": ["a", "b", "c"], "answer": "c"}
    questions = [
        good,
        {**good, "choice": ["a", "b"]},
        {**good, "answer": "e"},
        {**good, "choice": ["a", "c", "c"]},
        {"choice": ["a", "b", "c"], "answer": "c"},
        "Q?",
    ]
    path = tmp_path / "train.json"
    source = write(path, [*dream(*questions), [["M: Hi."], [good]], [[], [good], "7"], [["M", 3], [good], "8"]])
    with pytest.raises(data.DataError) as error:
        data.load("dream", source, "en", "train")
    assert [str(problem).removeprefix(f"{path}: ") for problem in error.value.problems] == [
        "[0][1][1]: has 2 options, expected 3 to 4",
        "[0][1][2]: the answer 'e' is none of the 3 options ('a', 'b', 'c')",
        "[0][1][3]: the answer 'c' stands on more than one option",
        "[0][1][4]: 'question' is missing",
        "[0][1][5]: a JSON str, not an object",
        "[1]: expected [turns, questions, id]",
        "[2][1][0]: passage is [], not a text",
        "[3][1][0]: passage is ['M', 3], not a text",
    ]
    assert data.read("dream", source, "en", "train", on_bad_rows="skip").skipped == 8
    with pytest.raises(data.DataError, match=r"expected a list of \[turns, questions, id\]"):
        data.load("dream", write(path, {"data": []}), "en", "train")


def test_ids_are_parallel_whatever_the_order(tmp_path: Path) -> None:
    rows = [{**BELEBELE, "question_number": number} for number in (1, 2, 3)]
    write(tmp_path / "deu_Latn.jsonl", *rows)
    write(tmp_path / "tha_Thai.jsonl", *rows[::-1])
    source = {"files": str(tmp_path / "{lang}.jsonl")}
    german, thai = (data.load("belebele", source, code, "test") for code in ("de", "th"))
    assert [row.id for row in german] == [row.id for row in thai][::-1]
    write(tmp_path / "deu_Latn.jsonl", rows[0], rows[0])
    with pytest.raises(data.DataError, match=r"the id 'https://example.org/x#1' stands on more than one row"):
        data.load("belebele", source, "de", "test")


def test_own_columns_and_labels(tmp_path: Path) -> None:
    source = {
        **write(tmp_path / "x.jsonl", {**MCTEST, "answer": "second"}),
        "labels": {"second": "B"},
        "columns": {"passage": "story", "id": "story_id"},
    }
    (row,) = data.load("mctest", source, "en", "test")
    assert (row.label, row.id) == ("B", "mc160.dev.0")
