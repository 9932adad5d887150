"""Every file of the benchmarks as it is published, complete, with the counts that its authors give."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from transfix import data
from transfix.data import benchmarks
from transfix.data.benchmarks.maths import ANSWER_WORDS, QUESTION_WORDS

BELEBELE = "deu_Latn eng_Latn ind_Latn khm_Khmr lao_Laoo mya_Mymr tam_Taml tha_Thai vie_Latn zho_Hans zho_Hant zsm_Latn"
FLORES = "ben_Beng deu_Latn fra_Latn hin_Deva rus_Cyrl spa_Latn tam_Taml tel_Telu urd_Arab"


@pytest.mark.parametrize(
    ("benchmark", "pattern", "language", "split", "count"),
    [
        ("squad", "qa/squadshifts/new_wiki_v1.0.json", "en", "train", 7938),
        ("squadshifts", "qa/squadshifts/{split}_v1.0.json", "en", "train", 7938),
        ("tydiqa", "qa/tydiqa_goldp/{split}-{lang}.json", "en", "train", 3696),
        ("gsm8k", "math/gsm8k/{split}.jsonl", "en", "train", 7473),
        ("gsm8k", "math/gsm8k/{split}.jsonl", "en", "test", 1319),
        ("dream", "choice/dream/{split}.json", "en", "train", 6116),
        ("dream", "choice/dream/{split}.json", "en", "dev", 2040),
        ("dream", "choice/dream/{split}.json", "en", "test", 2041),
        ("mctest", "choice/mctest/mc160.{split}.json", "en", "train", 280),
        ("mctest", "choice/mctest/mc160.{split}.json", "en", "dev", 120),
        ("mctest", "choice/mctest/mc160.{split}.json", "en", "test", 240),
        ("mctest", "choice/mctest/mc500.{split}.json", "en", "train", 1200),
        ("mctest", "choice/mctest/mc500.{split}.json", "en", "dev", 200),
        ("mctest", "choice/mctest/mc500.{split}.json", "en", "test", 600),
        ("mnli", "nli/lingnli/val.jsonl", "en", "train", 7371),
        ("xlsum", "generation/xlsum_sea/{lang}_xlsum_100sample.jsonl", "id", "test", 100),
        ("xlsum", "generation/xlsum_sea/{lang}_xlsum_100sample.jsonl", "ta", "test", 100),
        ("xlsum", "generation/xlsum_sea/{lang}_xlsum_100sample.jsonl", "th", "test", 100),
        ("xlsum", "generation/xlsum_sea/{lang}_xlsum_100sample.jsonl", "vi", "test", 100),
        ("xlsum", "generation/xlsum_sea/{lang}_xlsum.jsonl", "tl", "test", 100),
    ],
)
def test_counts(pool: Path, benchmark: str, pattern: str, language: str, split: str, count: int) -> None:
    rows = data.read(benchmark, {"files": str(pool / pattern)}, language, split)
    assert (len(rows.examples), rows.skipped, rows.dropped) == (count, 0, 0)
    facts = benchmarks.get(benchmark)
    for row in rows.examples:
        assert set(facts.fields) <= set(row.fields) <= {*facts.fields, *facts.optional}
        assert row.label is not None
        assert (row.label in facts.classes) if facts.classes else (row.label == row.answers[0])


def test_xquad(pool: Path) -> None:
    source = {"files": str(pool / "qa/xquad/xquad.{lang}.json")}
    data.check("xquad", source, benchmarks.get("xquad").languages, "test")
    english = data.load("xquad", source, "en", "test")
    for code in benchmarks.get("xquad").languages:
        rows = data.load("xquad", source, code, "test")
        assert [row.id for row in rows] == [row.id for row in english]
        assert len({row.fields["context"] for row in rows}) == 240
        assert all(len(row.answers) == 1 and row.answers[0] in row.fields["context"] for row in rows)
    assert len(english) == 1190


def test_mgsm(pool: Path) -> None:
    source = {"files": str(pool / "math/mgsm/mgsm_{lang}.tsv")}
    codes = benchmarks.get("mgsm").languages
    tests = [data.load("mgsm", source, code, "test") for code in codes]
    golds = [(row.id, row.label) for row in tests[0]]
    assert len(golds) == 250
    assert all([(row.id, row.label) for row in rows] == golds for rows in tests)
    introductions = (*QUESTION_WORDS, *ANSWER_WORDS)
    for code in codes:
        exemplars = data.load("mgsm", source, code, "train")
        assert [row.label for row in exemplars] == ["11", "29", "39", "9", "33", "8", "8", "5"]
        for row in exemplars:
            assert set(row.fields) == {"question", "reasoning"}
            assert row.label is not None
            assert row.label in row.fields["reasoning"]
            assert not row.fields["question"].startswith(introductions)
            assert not row.fields["reasoning"].startswith(introductions)
    assert data.load("mgsm", source, "fr", "train")[0].fields["question"].startswith("Roger a 5 balles")


def test_afrimgsm(pool: Path) -> None:
    source = {"files": str(pool / "math/afrimgsm/{split}-{lang}.tsv")}
    tests = [data.load("afrimgsm", source, code, "test") for code in benchmarks.get("afrimgsm").languages]
    mgsm = data.load("mgsm", {"files": str(pool / "math/mgsm/mgsm_{lang}.tsv")}, "en", "test")
    assert len(tests) == 18
    assert all([row.label for row in rows] == [row.label for row in mgsm] for rows in tests)


def test_belebele(pool: Path) -> None:
    source = {"files": str(pool / "choice/belebele/{lang}.jsonl")}
    languages = [data.load("belebele", source, code, "test") for code in BELEBELE.split()]
    gold = {row.id: row.label for row in languages[0]}
    assert len(gold) == 900
    assert set(Counter(gold.values())) == set("ABCD")
    for rows in languages:
        assert {row.id: row.label for row in rows} == gold
        assert all(len(row.fields) == 6 for row in rows)


def test_mctest_is_whole(pool: Path) -> None:
    count = 0
    for name in ("mc160", "mc500"):
        for split in ("train", "dev", "test"):
            source = {"files": str(pool / f"choice/mctest/{name}.{{split}}.json")}
            count += len(data.load("mctest", source, "en", split))
    assert count == 2640


@pytest.mark.parametrize(
    ("name", "pattern", "codes", "count"),
    [
        ("flores", "parallel/flores200_devtest/{lang}.{split}", FLORES.split(), 1012),
        ("ntrex", "parallel/ntrex128/{lang}.txt", ["deu_Latn", "jpn_Jpan", "sna_Latn", "swh_Latn", "zho_Hant"], 1997),
    ],
)
def test_translation(pool: Path, name: str, pattern: str, codes: list[str], count: int) -> None:
    source = {"files": str(pool / pattern)}
    data.check(f"{name}_to_english", source, codes, "test")
    for code in codes:
        there = data.load(f"{name}_from_english", source, code, "test")
        back = data.load(f"{name}_to_english", source, code, "test")
        assert len(there) == len(back) == count
        assert all(
            a.fields["source"] == b.label and a.label == b.fields["source"] for a, b in zip(there, back, strict=True)
        )
        assert {row.fields["source_language"] for row in there} == {"English"}
        assert not any(row.fields["source"].endswith(("\r", "\n")) for row in back)


def test_every_ntrex_file_is_of_a_known_language(pool: Path) -> None:
    facts = benchmarks.get("ntrex_to_english")
    own_codes = {facts.own_code(code) for code in facts.languages}
    files = {path.stem for path in (pool / "parallel/ntrex128").glob("*.txt")}
    assert len(files) == 66
    assert files - {"eng"} <= own_codes
