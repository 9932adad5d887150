"""Data sources are read from YAML as it is written, say all that is wrong, and are written back as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

import transfix
from transfix import data
from transfix.data import DataSource


class Spec(BaseModel):
    data: DataSource


@pytest.mark.parametrize(
    "value",
    [
        "snapshot",
        {"files": "x-{lang}.tsv", "format": "auto", "columns": {}, "labels": {"0": "entailment"}},
        {"hub": "a/b", "config": None, "split": None, "revision": None, "columns": {"premise": "s1"}, "labels": {}},
    ],
)
def test_round_trip(value: object) -> None:
    spec = Spec.model_validate({"data": value})
    assert spec.model_dump() == {"data": value}
    assert Spec.model_validate_json(spec.model_dump_json()) == spec
    assert data.parse_source(spec.data) is spec.data


def test_kinds() -> None:
    assert isinstance(data.parse_source("snapshot"), data.SnapshotSource)
    assert isinstance(data.parse_source({"files": "x"}), data.FilesSource)
    assert isinstance(data.parse_source({"hub": "x"}), data.HubSource)
    assert data.FilesSource(files="x", labels={0: "neutral"}).labels == {"0": "neutral"}  # type: ignore[dict-item]


@pytest.mark.parametrize("value", ["snapshots", None, 3, {}, {"file": "x"}, {"files": "x", "hub": "y"}])
def test_not_a_source(value: object) -> None:
    with pytest.raises(data.DataError, match="is not a data source"):
        data.parse_source(value)


def test_all_problems_at_once() -> None:
    with pytest.raises(data.DataError) as error:
        data.parse_source({"files": "{language}.tsv", "format": "xml", "labels": [1], "extra": 1})
    assert [problem.where for problem in error.value.problems] == [
        "data.files",
        "data.format",
        "data.labels",
        "data.extra",
    ]
    assert "unknown placeholder {language}" in str(error.value)
    assert "data.format: 'xml' is not allowed (allowed: auto, tsv" in str(error.value)
    assert "data.extra: unknown key (allowed: files, format, columns, labels, delimiter, quoting)" in str(error.value)
    with pytest.raises(data.DataError, match=r"data\.splt: unknown key; did you mean 'split'\?"):
        data.parse_source({"hub": "x", "splt": "test"})


def test_import_is_light() -> None:
    """A specification is checked without pyarrow, pandas, datasets or torch being imported."""
    code = (
        "import sys, transfix.data, transfix.tasks; transfix.tasks.get('xnli'); "
        "heavy = {'torch', 'transformers', 'pandas', 'pyarrow', 'datasets'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(transfix.__file__).parents[1])}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert result.stderr.strip() == ""
