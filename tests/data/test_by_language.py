"""Unlabelled rows of several languages: whose file is whose, which rows of one file, and what is in doubt."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from transfix.data import DataError
from transfix.data.benchmarks import get
from transfix.data.by_language import RowsByLanguage, read_by_language

XNLI = get("xnli")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def texts(found: RowsByLanguage) -> dict[str, list[object]]:
    return {code: [row.values["text"] for row in rows] for code, rows in found.rows.items()}


def read(source: str, wanted: list[str] | None = None, skip: bool = False) -> RowsByLanguage:
    return read_by_language(source, XNLI, ["text"], (), wanted, "skip" if skip else "error")


def test_a_file_a_language_in_any_form_and_spelling() -> None:
    Path("English").mkdir()
    Path("English/rows.csv").write_text("text,n\none,1\n")
    Path("pt-BR").mkdir()
    Path("pt-BR/rows.csv").write_text("text,n\num,1\n")
    Path("old").mkdir()
    Path("old/rows.csv").write_text("text,n\nx,1\n")
    found = read("{lang}/rows.csv")
    assert texts(found) == {"eng_Latn": ["one"], "por_Latn": ["um"]}
    assert found.no_language == [Path("old/rows.csv")]
    assert texts(read(f"{Path.cwd()}/{{lang}}/rows.csv", ["por_Latn", "deu_Latn"])) == {"por_Latn": ["um"]}
    pd.DataFrame({"text": ["eins"]}).to_parquet("de.parquet")
    assert texts(read("{lang}.parquet")) == {"deu_Latn": ["eins"]}
    Path("de.jsonl.gz").write_bytes(gzip.compress(lines({"text": "zwei"}).encode()))
    assert texts(read("{lang}.jsonl.gz")) == {"deu_Latn": ["zwei"]}


def test_a_file_with_a_column() -> None:
    pd.DataFrame({"text": ["one", "eins", "zwei"], "language": ["en", "German", "deu"]}).to_parquet("all.parquet")
    assert texts(read("all.parquet")) == {"eng_Latn": ["one"], "deu_Latn": ["eins", "zwei"]}
    assert texts(read("all.parquet", ["eng_Latn"])) == {"eng_Latn": ["one"]}
    Path("{lang}.jsonl").write_text(lines({"text": "one", "language": "en"}))  # a file that is called so
    assert texts(read("{lang}.jsonl")) == {"eng_Latn": ["one"]}


def test_a_file_without_one_is_of_the_language_that_is_named() -> None:
    Path("rows.jsonl").write_text(lines({"text": "eins"}))
    assert texts(read("rows.jsonl", ["deu_Latn"])) == {"deu_Latn": ["eins"]}
    for wanted in (None, ["deu_Latn", "eng_Latn"]):
        with pytest.raises(DataError, match="its rows do not say their language"):
            read("rows.jsonl", wanted)


def test_rows_that_are_bad_are_named_or_left_out() -> None:
    rows: tuple[dict[str, object], ...] = (
        {"text": "one", "language": "en"},
        {"text": "", "language": "en"},
        {"text": "two"},
        {"text": "x", "language": 3},
    )
    Path("all.jsonl").write_text(lines(*rows))
    with pytest.raises(DataError, match=r"all\.jsonl:2"):
        read("all.jsonl")
    found = read("all.jsonl", skip=True)
    assert texts(found) == {"eng_Latn": ["one"]}
    assert [problem.where for problem in found.problems] == ["all.jsonl:2", "all.jsonl:4", "all.jsonl:3"]


def test_a_language_in_doubt() -> None:
    Path("all.jsonl").write_text(lines({"text": "um", "language": "pt-BR"}, {"text": "dois", "language": "pt-PT"}))
    with pytest.raises(DataError, match="are one language here, por_Latn"):
        read("all.jsonl")
    for name in ("de", "deu"):
        Path(f"{name}.jsonl").write_text(lines({"text": "eins"}))
    with pytest.raises(DataError, match=r"de\.jsonl and deu\.jsonl are all files of deu_Latn"):
        read("{lang}.jsonl")
    Path("deu.jsonl").unlink()
    Path("deu.jsonl").symlink_to("de.jsonl")  # one file with two names
    found = read("{lang}.jsonl")
    assert texts(found)["deu_Latn"] == ["eins"]
