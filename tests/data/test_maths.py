"""Word problems: what GSM8K's and MGSM's files mean, and what is no answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from transfix import data
from transfix.data.references import number

SOLUTION = "He buys 48/2 = <<48/2=24>>24.\nTogether 48+24 = <<48+24=72>>72.\n#### 1,072"


def write(path: Path, *rows: dict[str, Any]) -> dict[str, str]:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return {"files": str(path)}


def test_gsm8k(tmp_path: Path) -> None:
    source = write(tmp_path / "train.jsonl", {"question": "How many?", "answer": SOLUTION})
    fields = {"question": "How many?", "reasoning": "He buys 48/2 = 24.\nTogether 48+24 = 72."}
    assert data.load("gsm8k", source, "en", "train") == [
        data.Example("train-00000", "eng_Latn", fields, "1072", ("1072",))
    ]


def test_gsm8k_without_reasoning(tmp_path: Path) -> None:
    source = write(tmp_path / "train.jsonl", {"question": "How many?", "answer": "#### -3.50"})
    (row,) = data.load("gsm8k", source, "en", "train")
    assert (row.fields, row.label) == ({"question": "How many?"}, "-3.50")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"question": "q", "answer": "It is 72."}, "the answer has no #### before its number"),
        ({"question": "q", "answer": "It is 72.\n####"}, "the answer has no number after ####"),
        ({"question": "q", "answer": "It is 72.\n#### many"}, "the answer ' many' is not a number"),
        ({"question": "q", "answer": "#### 7 apples"}, "is not a number"),
        ({"question": "q", "answer": 72}, "the answer has no ####"),
        ({"question": "", "answer": "#### 2"}, "empty question"),
        ({"answer": "#### 2"}, "'question' is missing"),
        ({"question": "q"}, "'answer' is missing"),
        ({"question": "q", "answer": None}, "empty label"),
        ({"question": ["q"], "answer": "#### 2"}, "question is ['q'], not a text"),
    ],
)
def test_bad_gsm8k_rows(tmp_path: Path, row: dict[str, Any], what: str) -> None:
    good = {"question": "q", "answer": "a\n#### 1"}
    source = write(tmp_path / "train.jsonl", good, row, good)
    with pytest.raises(data.DataError) as error:
        data.load("gsm8k", source, "en", "train")
    (problem,) = error.value.problems
    assert problem.where == f"{tmp_path / 'train.jsonl'}:2"
    assert what in problem.what
    rows = data.read("gsm8k", source, "en", "train", on_bad_rows="skip")
    assert [row.id for row in rows.examples] == ["train-00000", "train-00002"]
    assert (rows.skipped, rows.problems) == (1, (problem,))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1,000", "1000"),
        ("1,234,567.89", "1234567.89"),
        ("3.50", "3.50"),
        (" 18 ", "18"),
        ("-5", "-5"),
        ("\N{MINUS SIGN}5", "-5"),
        ("+5", "5"),
        ("0", "0"),
        (18, "18"),
        (18.0, "18"),
        (2.5, "2.5"),
    ],
)
def test_numbers(value: object, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    "value",
    ["", "many", "1,00", "1.000,5", "1,0000", "$5", "5%", "1e3", "٣", True, None, [1], float("nan"), float("inf")],
)
def test_no_numbers(value: object) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        number(value)


def exemplars(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "exemplars.json"
    texts = {
        "de": {
            "1": {
                "q": "Frage: Roger hat 5 Bälle.",
                "a": "Schritt-für-Schritt-Antwort: Roger begann. Die Antwort ist 11.",
            },
            "2": {"q": "Frage: Und 9?", "a": "Schritt-für-Schritt-Antwort: 29."},
        },
        "zh": {
            "1": {"q": "问题：罗杰有 5 个网球。", "a": "逐步解答：答案是 11。"},
            "2": {"q": "问题：9?", "a": "逐步解答：29。"},
        },
    }
    content = {"EXEMPLAR_NUMBER_ANSWERS": [11, 29], "MGSM_EXEMPLARS": texts, **changes}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_mgsm(tmp_path: Path) -> None:
    (tmp_path / "mgsm_de.tsv").write_text('Wie "viel"?\t18\nWas?\t70,000\n', encoding="utf-8")
    exemplars(tmp_path)
    source = {"files": str(tmp_path / "mgsm_{lang}.tsv")}
    assert data.load("mgsm", source, "de", "test") == [
        data.Example("test-00000", "deu_Latn", {"question": 'Wie "viel"?'}, "18", ("18",)),
        data.Example("test-00001", "deu_Latn", {"question": "Was?"}, "70000", ("70000",)),
    ]
    german = {"question": "Roger hat 5 Bälle.", "reasoning": "Roger begann. Die Antwort ist 11."}
    rows = data.load("mgsm", source, "de", "train")
    assert rows[0] == data.Example("train-00000", "deu_Latn", german, "11", ("11",))
    assert [(row.id, row.label) for row in rows] == [("train-00000", "11"), ("train-00001", "29")]
    named = data.load("mgsm", {"files": str(tmp_path / "exemplars.json")}, "zh", "train")
    assert named[0].fields == {"question": "罗杰有 5 个网球。", "reasoning": "答案是 11。"}
    data.check("mgsm", {"files": str(tmp_path / "exemplars.json")}, ["de", "zh"], "train")
    with pytest.raises(data.DataError, match=r"no rows in fra_Latn; the languages of its rows: de \(2\), zh \(2\)"):
        data.load("mgsm", source, "fr", "train")


def test_test_rows_are_never_exemplars(tmp_path: Path) -> None:
    (tmp_path / "mgsm_de.tsv").write_text("Was?\t18\n", encoding="utf-8")
    with pytest.raises(data.DataError, match=r"exemplars\.json: does not exist"):
        data.load("mgsm", {"files": str(tmp_path / "mgsm_{lang}.tsv")}, "de", "train")
    (tmp_path / "train-de.tsv").write_text("Meine?\t1\n", encoding="utf-8")
    (own,) = data.load("mgsm", {"files": str(tmp_path / "{split}-{lang}.tsv")}, "de", "train")
    assert own.fields == {"question": "Meine?"}


def test_bad_exemplars(tmp_path: Path) -> None:
    texts = {"de": {"1": {"q": "Frage: a", "a": "b"}, "2": {"a": "b"}, "3": {"q": "c", "a": "d"}, "x": {}}}
    path = exemplars(tmp_path, MGSM_EXEMPLARS=texts)
    with pytest.raises(data.DataError) as error:
        data.load("mgsm", {"files": str(path)}, "de", "train")
    assert [str(problem).removeprefix(f"{path}: ") for problem in error.value.problems] == [
        "MGSM_EXEMPLARS.de.2: 'question' is missing",
        "MGSM_EXEMPLARS.de.3: expected an object under a number that has an answer",
        "MGSM_EXEMPLARS.de.x: expected an object under a number that has an answer",
    ]
    with pytest.raises(data.DataError, match="expected an object with MGSM_EXEMPLARS and EXEMPLAR_NUMBER_ANSWERS"):
        data.load("mgsm", {"files": str(exemplars(tmp_path, MGSM_EXEMPLARS=None))}, "de", "train")


def test_afrimgsm_quotes_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "test-kin.tsv"
    path.write_text('question\tanswer\n"Ni ""zingahe""?\n"\t240\nNi $5 cyangwa 5" ?\t1,000\n', encoding="utf-8")
    rows = data.load("afrimgsm", {"files": str(tmp_path / "{split}-{lang}.tsv")}, "kin", "test")
    assert [(row.id, row.fields["question"], row.label) for row in rows] == [
        ("test-00000", 'Ni "zingahe"?\n', "240"),
        ("test-00001", 'Ni $5 cyangwa 5" ?', "1000"),
    ]
    path.write_text('question\tanswer\nA?\t1\n"B?\t2\nC?\t3\n', encoding="utf-8")
    for on_bad_rows in ("error", "skip"):  # what follows an open quotation mark cannot be told
        with pytest.raises(data.DataError, match=r"test-kin\.tsv:3: not valid tsv from here"):
            data.load("afrimgsm", {"files": str(path)}, "kin", "test", on_bad_rows=on_bad_rows)
    path.write_text("question\tanswer\nA?\t1\nB?\nC?\t3\t4\nD?\tfive\n", encoding="utf-8")
    with pytest.raises(data.DataError) as error:
        data.load("afrimgsm", {"files": str(path)}, "kin", "test")
    assert [problem.where for problem in error.value.problems] == [f"{path}:{line}" for line in (3, 4, 5)]
