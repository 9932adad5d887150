"""What `task check` says of rows that can be read and may not mean what was meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from transfix.tasks import check

Check = Callable[..., check.Findings]


@pytest.fixture
def found(tmp_path: Path) -> Check:
    def go(name: str = "rows.csv", content: str | None = None, **changes: Any) -> check.Findings:
        if content is not None:
            (tmp_path / name).write_text(content)
        task = {
            "name": "own",
            "kind": "choice",
            "fields": ["text"],
            "label": "topic",
            "prompt": "{{text}}",
            "labels": {"x": " x", "y": " y"},
            "data": {"test": {"files": name}},
            **changes,
        }
        (tmp_path / "task.yaml").write_text(yaml.safe_dump({k: v for k, v in task.items() if v is not None}))
        return check.check(str(tmp_path / "task.yaml"))

    return go


def test_empty_cells_that_became_texts(found: Check) -> None:
    made = found(content="text,topic\nnan,x\nNone,y\nNancy,x\n<NA>,y\n")
    assert made.notes == [
        "test eng_Latn: 3 texts are what a program writes for an empty cell (`nan`, `None`) and are asked as texts"
    ]
    assert found(content="text,topic\nNancy,x\nnone of it,y\n").notes == []


def test_lists_that_are_one_text(found: Check) -> None:
    settings: dict[str, Any] = {"kind": "generation", "labels": None}
    made = found(content='text,topic\na,"[""x"", ""y""]"\nb,"[\'x\', \'y\']"\nc,[1]\nd,[sic]\ne,x\n', **settings)
    assert made.notes == [
        "test eng_Latn: 3 reference answers look like a list and are taken for one text each: write rows with several "
        "answers as jsonl"
    ]
    made = found("rows.jsonl", '{"text": "a", "topic": ["x", "y"]}\n', **settings)
    assert made.notes == []
    assert made.parts[0].balance == {"2 accepted answers": 1}


def test_rows_without_a_label(found: Check, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b", "c"], "topic": [0, -1, 1]}), tmp_path / "rows.parquet")
    made = found("rows.parquet", data={"test": {"files": "rows.parquet", "labels": {0: "x", 1: "y"}}})
    assert made.parts[0].rows == 2
    assert made.notes == [
        "test eng_Latn: 1 rows have no label (`-`, or -1 in a file of typed columns) and are left out"
    ]


def test_what_stops_training_is_a_problem_here(found: Check, tmp_path: Path) -> None:
    """Numbers that nobody has said the meaning of; a language in doubt; a file in another encoding."""
    pq.write_table(pa.table({"text": ["a"], "topic": [1]}), tmp_path / "rows.parquet")
    (problem,) = found("rows.parquet").problems[-1:]
    assert "say what numbers mean with `labels: {1: CLASS}`" in str(problem)
    made = found(content="text,topic,language\na,x,pt-BR\nb,y,pt-PT\n", languages=["pt"])
    assert any("may not be one in the data" in str(problem) for problem in made.problems)
    (tmp_path / "rows.csv").write_bytes("text,topic\ncafé,x\n".encode("utf-16"))
    assert any("is UTF-16 text" in str(problem) for problem in found().problems)
