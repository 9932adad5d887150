"""The shipped rows are the benchmarks' own, balanced, parallel, small, and described."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from transfix import data, languages
from transfix.data import shipped

CODES = [language.code for language in languages.of_benchmark("xnli")]


def test_xnli_is_parallel_and_balanced() -> None:
    english = data.load("xnli", "snapshot", "eng_Latn", "test")
    assert len(english) == 1500
    assert len({row.id for row in english}) == 1500
    assert set(Counter(row.label for row in english).values()) == {500}
    assert len(CODES) == 15
    for code in CODES:
        rows = data.load("xnli", "snapshot", code, "test")
        assert [(row.id, row.label) for row in rows] == [(row.id, row.label) for row in english]
        assert {row.language for row in rows} == {code}
        assert all(row.fields["premise"].strip() and row.fields["hypothesis"].strip() for row in rows)


@pytest.mark.parametrize(("benchmark", "language"), [("xnli", "tha_Thai"), ("afrixnli", "zul_Latn")])
def test_first_rows_are_whole_triples(benchmark: str, language: str) -> None:
    rows = data.load(benchmark, "snapshot", language, "test", 99)
    for start in range(0, 99, 3):
        triple = rows[start : start + 3]
        assert len({row.fields["premise"] for row in triple}) == 1
        assert {row.label for row in triple} == {"entailment", "neutral", "contradiction"}
    numbers = [int(row.id.removeprefix("test-")) for row in rows[::3]]
    assert numbers != sorted(numbers)  # in random order


def test_mnli_says_that_it_is_the_development_set() -> None:
    read = data.read("mnli", "snapshot", "en", "train")
    assert len(read.examples) == 9815
    assert read.examples[7].id == "validation_matched-00007"
    assert "development set" in read.origin
    with pytest.raises(data.DataError, match=r"no mnli split 'validation_matched'.*as English training set"):
        data.load("mnli", "snapshot", "en", "validation_matched")


def test_what_it_has_not() -> None:
    with pytest.raises(data.DataError, match="no xnli test rows in jpn_Jpan"):
        data.load("xnli", "snapshot", "ja", "test")
    with pytest.raises(data.DataError, match="no xnli split 'validation'"):
        data.load("xnli", "snapshot", "de", "validation")
    with pytest.raises(data.DataError) as error:
        data.check("xnli", "snapshot", ["de", "ja", "ko"], "test")
    assert len(error.value.problems) == 2


def test_every_text_is_the_benchmarks_own(pool: Path) -> None:
    for code in CODES:
        full = {
            row.id: row for row in data.load("xnli", {"files": str(pool / "nli/xnli/test-{lang}.tsv")}, code, "test")
        }
        assert all(row == full[row.id] for row in data.load("xnli", "snapshot", code, "test"))
    pattern = {"files": str(pool / "nli/afrixnli/test-{lang}.jsonl")}
    for language in languages.of_benchmark("afrixnli"):
        full = {row.id: row for row in data.load("afrixnli", pattern, language.code, "test")}
        assert all(row == full[row.id] for row in data.load("afrixnli", "snapshot", language.code, "test"))
    mnli = {"files": str(pool / "nli/mnli/dev_matched.jsonl")}
    assert data.load("mnli", "snapshot", "en", "train") == data.load("mnli", mnli, "en", "validation_matched")


def test_manifest_is_true() -> None:
    manifest = json.loads((shipped.DIRECTORY / shipped.MANIFEST).read_text(encoding="utf-8"))
    for entry in manifest["sets"]:
        content = (shipped.DIRECTORY / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert sum(entry["labels"].values()) == entry["rows"]
        code = entry["languages"][0]
        assert len(data.load(entry["benchmark"], "snapshot", code, entry["split"])) == entry["rows"]
    parquet = {path.name for path in shipped.DIRECTORY.glob("*.parquet")}
    assert parquet == {entry["file"] for entry in manifest["sets"]}


def test_size_and_licences() -> None:
    nli = [path for path in shipped.DIRECTORY.iterdir() if path.name.startswith(("mnli", "xnli", "afrixnli"))]
    assert sum(path.stat().st_size for path in nli) < 2_000_000
    licence = (shipped.DIRECTORY / "LICENSE-XNLI.txt").read_text(encoding="utf-8")
    assert "CC BY-NC 4.0" in licence
    assert "NON-COMMERCIAL" in licence
    for name in ("LICENSE-MultiNLI.txt", "LICENSE-AfriXNLI.txt", "README.md"):
        assert (shipped.DIRECTORY / name).is_file()


def test_damaged_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / shipped.MANIFEST).write_bytes((shipped.DIRECTORY / shipped.MANIFEST).read_bytes())
    (tmp_path / "xnli_test.parquet").write_bytes((shipped.DIRECTORY / "xnli_test.parquet").read_bytes()[:5000])
    monkeypatch.setattr(shipped, "DIRECTORY", tmp_path)
    shipped.contents.cache_clear()
    try:
        with pytest.raises(data.DataError, match="install transfix again"):
            data.load("xnli", "snapshot", "de", "test")
        (tmp_path / shipped.MANIFEST).write_text("{}", encoding="utf-8")
        shipped.contents.cache_clear()
        with pytest.raises(data.DataError, match="install transfix again"):
            data.load("xnli", "snapshot", "de", "test")
    finally:
        monkeypatch.undo()
        shipped.contents.cache_clear()
