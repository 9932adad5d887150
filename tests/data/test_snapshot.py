"""The shipped rows are the benchmarks' own, balanced, parallel, small, and described."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from transfix import data, languages
from transfix.data import benchmarks, shipped

SETS = [
    ("mnli", "train", 1, 9815),
    ("xnli", "test", 15, 1500),
    ("afrixnli", "test", 18, 300),
    ("squadshifts", "train", 1, 7938),
    ("tydiqa", "train", 1, 2000),
    ("xquad", "validation", 12, 1190),
    ("gsm8k", "train", 1, 7473),
    ("mgsm", "train", 11, 8),
    ("mgsm", "test", 11, 250),
    ("belebele", "test", 12, 600),
    ("flores_from_english", "devtest", 9, 1012),
    ("flores_to_english", "devtest", 9, 1012),
]
FILES = {
    "squadshifts": "qa/squadshifts/new_wiki_v1.0.json",
    "tydiqa": "qa/tydiqa_goldp/train-{lang}.json",
    "xquad": "qa/xquad/xquad.{lang}.json",
    "gsm8k": "math/gsm8k/train.jsonl",
    "mgsm": "math/mgsm/mgsm_{lang}.tsv",
    "belebele": "choice/belebele/{lang}.jsonl",
    "flores_from_english": "parallel/flores200_devtest/{lang}.devtest",
    "flores_to_english": "parallel/flores200_devtest/{lang}.devtest",
}
"""Where the rows of sets later than those for natural language inference are from."""

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


def codes_of(benchmark: str, split: str) -> list[str]:
    """The languages of a set."""
    facts, found = benchmarks.get(benchmark), shipped.contents()[benchmark, split]
    return [code for code in facts.languages if facts.own_code(code) in found.languages]


def test_sets() -> None:
    assert list(shipped.contents()) == [(benchmark, split) for benchmark, split, _, _ in SETS]


@pytest.mark.parametrize(("benchmark", "split", "languages", "count"), SETS)
def test_rows(benchmark: str, split: str, languages: int, count: int) -> None:
    """Complete in what a row must have, the same rows in all languages."""
    facts, codes = benchmarks.get(benchmark), codes_of(benchmark, split)
    assert len(codes) == languages
    reference = data.load(benchmark, "snapshot", codes[0], split)
    assert len(reference) == count
    assert (
        data.load(benchmark, "snapshot", codes[-1], split, 7) == data.load(benchmark, "snapshot", codes[-1], split)[:7]
    )
    for code in codes:
        rows = data.load(benchmark, "snapshot", code, split)
        assert [row.id for row in rows] == [row.id for row in reference]
        if facts.reference != "texts":
            assert [row.label for row in rows] == [row.label for row in reference]
        for row in rows:
            assert row.language == code
            assert set(facts.fields) <= set(row.fields) <= {*facts.fields, *facts.optional}
            assert all(text.strip() for text in row.fields.values())
            assert (row.label in facts.classes and not row.answers) if facts.classes else row.label == row.answers[0]
            assert facts.spans_in is None or all(answer in row.fields[facts.spans_in] for answer in row.answers)


@pytest.mark.parametrize("benchmark", FILES)
def test_every_later_text_is_the_benchmarks_own(pool: Path, benchmark: str) -> None:
    source = {"files": str(pool / FILES[benchmark])}
    for split in [split for of, split, *_ in SETS if of == benchmark]:
        for code in codes_of(benchmark, split):
            full = {row.id: row for row in data.load(benchmark, source, code, split)}
            rows = data.load(benchmark, "snapshot", code, split)
            assert all(row == full[row.id] for row in rows)
            if benchmark not in ("tydiqa", "belebele"):
                assert len(rows) == len(full)


@pytest.mark.parametrize(
    ("benchmark", "language", "context"), [("xquad", "zho_Hans", "context"), ("belebele", "khm_Khmr", "passage")]
)
def test_contexts_stay_whole_and_are_shuffled(pool: Path, benchmark: str, language: str, context: str) -> None:
    """The first rows are those of randomly drawn contexts, each with all of its questions."""
    split = "validation" if benchmark == "xquad" else "test"
    full = data.load(benchmark, {"files": str(pool / FILES[benchmark])}, language, split)
    sizes = Counter(row.fields[context] for row in full)
    rows = [row.fields[context] for row in data.load(benchmark, "snapshot", language, split)]
    assert all(count == sizes[text] for text, count in Counter(rows).items())
    assert len(list(dict.fromkeys(rows))) == 1 + sum(a != b for a, b in itertools.pairwise(rows))
    order = [row.fields[context] for row in full]
    positions = [order.index(text) for text in dict.fromkeys(rows)]
    assert positions != sorted(positions)


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
        assert sum(entry["labels"].values()) == entry["rows"] or not entry["labels"]
        assert set(entry["labels"]) == set(benchmarks.get(entry["benchmark"]).classes)
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
    assert sum(path.stat().st_size for path in shipped.DIRECTORY.iterdir()) <= 8_000_000


def test_every_file_has_its_licence() -> None:
    readme = (shipped.DIRECTORY / "README.md").read_text(encoding="utf-8")
    notice = (Path(__file__).parents[2] / "NOTICE").read_text(encoding="utf-8")
    named: set[str] = set()
    for path in shipped.DIRECTORY.glob("*.parquet"):
        (line,) = (line for line in readme.splitlines() if f"`{path.name}`" in line)
        licences = re.findall(r"`(LICENSE-\w+\.txt)`", line)
        assert licences
        assert all(path.name in (shipped.DIRECTORY / name).read_text(encoding="utf-8") for name in licences)
        assert path.name in notice.replace("mgsm_*", "mgsm_test.parquet mgsm_train")
        named.update(licences)
    assert named == {path.name for path in shipped.DIRECTORY.glob("LICENSE-*")}
    for name in ("XQuAD", "MGSM", "Belebele", "FLORES"):
        assert "SHARE ALIKE" in (shipped.DIRECTORY / f"LICENSE-{name}.txt").read_text(encoding="utf-8")
    assert "Copyright (c) 2021 OpenAI" in (shipped.DIRECTORY / "LICENSE-GSM8K.txt").read_text(encoding="utf-8")


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
        with pytest.raises(data.DataError, match="install transfix again") as caught:
            data.load("xnli", "snapshot", "de", "test")
        assert [problem.where for problem in caught.value.problems] == ["sets"]
        (tmp_path / shipped.MANIFEST).write_text("{", encoding="utf-8")
        shipped.contents.cache_clear()
        with pytest.raises(data.DataError, match="install transfix again"):
            data.load("xnli", "snapshot", "de", "test")
    finally:
        monkeypatch.undo()
        shipped.contents.cache_clear()
