"""The facts of every benchmark hold together: names, splits, languages, columns."""

from __future__ import annotations

import pytest

from transfix import data, languages
from transfix.data import benchmarks

NAMES = """
    mnli xnli afrixnli squad squadshifts tydiqa xquad mlqa gsm8k mgsm afrimgsm belebele dream mctest race
    flores_from_english flores_to_english ntrex_from_english ntrex_to_english xlsum"""
REFERENCES = {
    "class": {"mnli", "xnli", "afrixnli", "belebele", "dream", "mctest", "race"},
    "number": {"gsm8k", "mgsm", "afrimgsm"},
}


def test_names() -> None:
    assert set(benchmarks.names()) == set(NAMES.split())
    for kind, names in REFERENCES.items():
        assert {name for name in benchmarks.names() if benchmarks.get(name).reference == kind} == names


@pytest.mark.parametrize("name", NAMES.split())
def test_facts(name: str) -> None:
    facts = benchmarks.get(name)
    assert facts.name == name
    assert set(facts.fields) | set(facts.optional) | {"label"} <= {*facts.columns, *facts.optional}
    assert not set(facts.fields) & set(facts.optional)
    assert bool(facts.classes) == (facts.reference == "class")
    assert facts.spans_in is None or facts.spans_in in facts.fields
    assert {field for fields in facts.packed.values() for field in fields} <= {*facts.fields, *facts.optional, "id"}
    assert set(facts.packed) <= set(facts.columns)
    for split in facts.splits:
        for known in facts.split_names(split):
            assert facts.split(known) == split
    assert facts.languages
    for code in facts.languages:
        assert languages.get(code).code == code
        own_code = facts.own_code(code)
        assert own_code in facts.codes(code)
        assert facts.own_code(languages.get(code).name) == own_code


@pytest.mark.parametrize(
    ("name", "count", "language", "own_code"),
    [
        ("squad", 1, "eng_Latn", "eng_Latn"),
        ("tydiqa", 9, "swh_Latn", "swahili"),
        ("xquad", 12, "zho_Hans", "zh"),
        ("mlqa", 7, "vie_Latn", "vi"),
        ("mgsm", 11, "tel_Telu", "te"),
        ("afrimgsm", 18, "gaz_Latn", "orm"),
        ("belebele", 122, "zho_Hant", "zho_Hant"),
        ("flores_from_english", 203, "deu_Latn", "deu_Latn"),
        ("ntrex_to_english", 111, "zho_Hant", "zho-TW"),
        ("xlsum", 43, "zho_Hans", "chinese_simplified"),
    ],
)
def test_languages(name: str, count: int, language: str, own_code: str) -> None:
    facts = benchmarks.get(name)
    assert len(facts.languages) == len(set(facts.languages)) == count
    assert facts.own_code(language) == own_code
    if facts.parallel:
        assert "eng_Latn" not in facts.languages


def test_splits_by_their_other_names() -> None:
    for name, alias, split in (
        ("squadshifts", "new_wiki", "train"),
        ("xquad", "test", "validation"),
        ("flores_to_english", "test", "devtest"),
        ("flores_to_english", "validation", "dev"),
        ("dream", "dev", "validation"),
    ):
        assert benchmarks.get(name).split(alias) == split
    with pytest.raises(data.DataError, match=r"belebele has no split 'train' \(allowed: test\)"):
        benchmarks.get("belebele").split("train")
