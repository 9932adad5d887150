"""XL-Sum in its official columns, and as samples with prompts have it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from transfix import data

EXPECTED = data.Example("x-1", "ind_Latn", {"text": "Berita panjang."}, "Berita.", ("Berita.",))


def test_official_columns(tmp_path: Path) -> None:
    row = {"id": "x-1", "url": "u", "title": "t", "summary": "Berita.", "text": "Berita panjang."}
    (tmp_path / "indonesian_val.jsonl").write_text(json.dumps(row), encoding="utf-8")
    source = {"files": str(tmp_path / "{lang}_{split}.jsonl")}
    assert data.load("xlsum", source, "id", "validation") == [EXPECTED]


def test_samples_with_prompts(tmp_path: Path) -> None:
    row = {
        "id": "x-1",
        "label": "Berita.",
        "prompts": [{"text": "Berita panjang."}],
        "prompt_templates": ["{text}"],
        "metadata": {"language": "id"},
    }
    path = tmp_path / "id_xlsum_100sample.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    assert data.load("xlsum", {"files": str(tmp_path / "{lang}_xlsum_100sample.jsonl")}, "ind_Latn", "test") == [
        EXPECTED
    ]
    bad = [{**row, "id": "x-2", "prompts": []}, {**row, "id": "x-3", "label": ""}, {**row, "id": "x-1"}]
    path.write_text("\n".join(map(json.dumps, [row, *bad])), encoding="utf-8")
    with pytest.raises(data.DataError) as error:
        data.load("xlsum", {"files": str(path)}, "id", "test")
    assert [str(problem) for problem in error.value.problems] == [
        f"{path}:2: text is [], not a text",
        f"{path}:3: empty label",
        f"{path}:4: the id 'x-1' stands on more than one row (first: line 1)",
    ]
