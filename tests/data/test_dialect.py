"""Delimited files of one's own, as programs write them: what the marks and delimiters are is seen, or said by the task."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from transfix import data, tasks
from transfix.data.dialect import looks_quoted
from transfix.data.example import DataError
from transfix.data.sources import FilesSource
from transfix.errors import TransfixError
from transfix.runs.specification import RunSpec

TEXTS = ['He said "no" to me', "a plain one", "tab\there", "two\nlines", '"all of it"', "it's; a, b | c", "12"]
LABELS = ["x", "y", "x", "y", "x", "y", "x"]
FRAME = pd.DataFrame({"text": TEXTS, "topic": LABELS, "score": range(len(TEXTS))})


def rows(folder: Path, content: str | bytes, name: str = "rows.tsv", **source: Any) -> list[tuple[str, str | None]]:
    """What a task of one's own reads of a file."""
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    task = {
        "name": "own",
        "kind": "choice",
        "fields": ["text"],
        "label": "topic",
        "prompt": "{{text}}",
        "labels": {"x": " x", "y": " y"},
        "languages": ["en"],
        "data": {"test": {"files": name, **source}},
    }
    (folder / "task.yaml").write_text(yaml.safe_dump(task))
    own = tasks.get(str(folder / "task.yaml"))
    found = data.load(own.benchmark, own.source("test"), "eng_Latn", own.default_split)
    return [(row.fields["text"], row.label) for row in found]


WRITTEN: dict[str, Callable[[pd.DataFrame], str]] = {
    "pandas": lambda frame: frame.to_csv(sep="\t", index=False),
    "pandas with its index": lambda frame: frame.to_csv(sep="\t"),
    "every cell": lambda frame: frame.to_csv(sep="\t", index=False, quoting=csv.QUOTE_ALL),
    "texts": lambda frame: frame.to_csv(sep="\t", index=False, quoting=csv.QUOTE_NONNUMERIC),
    "comma": lambda frame: frame.to_csv(index=False),
    "semicolon": lambda frame: frame.to_csv(sep=";", index=False),
    "bar": lambda frame: frame.to_csv(sep="|", index=False),
    "CR LF": lambda frame: frame.to_csv(sep=";", index=False, lineterminator="\r\n", quoting=csv.QUOTE_ALL),
}


@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize("name", ["rows.tsv", "rows.csv", "rows.txt"])
def test_what_pandas_writes_is_what_was_there(tmp_path: Path, way: str, name: str) -> None:
    assert rows(tmp_path, WRITTEN[way](FRAME), name) == list(zip(TEXTS, LABELS, strict=True))


def test_marks_of_a_text_stay_in_a_tab_separated_file(tmp_path: Path) -> None:
    """A file that no program that quotes would have written so."""
    texts = ['"Hello"', 'she said "no" twice', '"open', 'a "" b', "plain"]
    content = "text\ttopic\n" + "".join(f"{text}\tx\n" for text in texts)
    assert rows(tmp_path, content) == [(text, "x") for text in texts]
    for text in texts[:4]:
        assert rows(tmp_path, f"text\ttopic\n{text}\tx\n") == [(text, "x")]


def test_a_task_may_say_it(tmp_path: Path) -> None:
    content = 'text\ttopic\n"Hello"\tx\n'
    assert rows(tmp_path, content) == [('"Hello"', "x")]
    assert rows(tmp_path, content, quoting=True) == [("Hello", "x")]
    doubled = 'text\ttopic\n"He said ""no"""\tx\n'
    assert rows(tmp_path, doubled) == [('He said "no"', "x")]
    assert rows(tmp_path, doubled, quoting=False) == [('"He said ""no"""', "x")]
    assert rows(tmp_path, "text;topic\na, b;x\n", delimiter=";") == [("a, b", "x")]
    assert rows(tmp_path, 'text;topic\n"a;x\n', delimiter=";", quoting=False) == [('"a', "x")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("sep=;\ntext;topic\na;x\n", "is a line for Excel: delete it"),
        ("text;topic\na;b;x\n", "3 semicolon-separated columns, expected 2"),
        ('text;topic\n"a;x\n', "not valid semicolon-separated csv from here"),
        ("text\ttopic\na\tb\tx\n", "3 tab-separated columns, expected 2"),
        ("text:topic\na:x\n", "in no known layout"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(TransfixError, match=said):
        rows(tmp_path, content)


def test_benchmarks_stay_as_their_authors_wrote_them(tmp_path: Path) -> None:
    """XNLI's tab-separated files hold marks that are text; the same letters in a task of one's own are not."""
    table = FRAME[["text"]].assign(hypothesis="so", label="neutral")
    content = table.iloc[:2].to_csv(sep="\t", index=False, header=["premise", "hypothesis", "label"])
    (tmp_path / "x.tsv").write_text(content)
    found = data.load("xnli", {"files": str(tmp_path / "x.tsv")}, "eng_Latn", "test")
    assert found[0].fields["premise"] == '"He said ""no"" to me"'
    found = data.load("xnli", {"files": str(tmp_path / "x.tsv"), "quoting": True}, "eng_Latn", "test")
    assert found[0].fields["premise"] == 'He said "no" to me'


def test_only_what_a_program_writes_looks_quoted(tmp_path: Path) -> None:
    file = tmp_path / "x.tsv"
    for content, quoted in (
        ('a\tb\n"x ""y"""\t1\n', True),
        ('"a"\t"b"\n"x"\t"1"\n', True),
        ('"a"\t"b"\n"x"\t1\n', True),
        ('a\tb\n"x"\t1\n', False),
        ("a\tb\nx\t1\n", False),
        ('a\tb\n"x ""y"""\t1\nz "w"\t1\n', False),
        ('a\tb\n"x\t1\n', False),
    ):
        file.write_text(content)
        assert looks_quoted(file, "\t") is quoted, content


def test_runs_from_before_keep_their_names(tiny_model: Path, tmp_path: Path) -> None:
    source = FilesSource(files="x.tsv")
    assert source.model_dump(mode="json").keys() == {"files", "format", "columns", "labels"}
    assert FilesSource(files="x.tsv", quoting=True).model_dump(mode="json")["quoting"] is True
    content = {"model": str(tiny_model), "adapter": "prefix", "train": {"task": "mnli", "data": {"files": "x.tsv"}}}
    spec = RunSpec.load(content)
    assert RunSpec.load(yaml.safe_load(spec.to_yaml())) == spec
    other = RunSpec.load({**content, "train": {"task": "mnli", "data": {"files": "x.tsv", "delimiter": ";"}}})
    assert other.identity() != spec.identity()
    assert RunSpec.load(yaml.safe_load(other.to_yaml())) == other


def test_a_wrong_delimiter_is_refused() -> None:
    with pytest.raises(DataError, match="delimiter"):
        data.parse_source({"files": "x.tsv", "delimiter": "::"})
