"""Codes and names as people write them, on whichever side."""

from __future__ import annotations

import pytest

from transfix import languages
from transfix.languages.spellings import conflicts, doubt, means, spelling


@pytest.mark.parametrize(
    "text", ["de", "DE", "deu", "ger", "deu_Latn", "DEU-latn", "German", "Deutsch", "de-AT", "de_AT"]
)
def test_spellings_of_one_language(text: str) -> None:
    assert means(text, "deu_Latn")
    assert not means(text, "nld_Latn")


@pytest.mark.parametrize("text", ["", "old", "de-old", "test", "sr-Latn", "-", "d/e", "nan-old"])
def test_what_is_no_language(text: str) -> None:
    assert spelling(text) is None
    assert not means(text, "deu_Latn")


def test_every_entry_of_the_table_is_spelt(  # as `get` reads it
) -> None:
    for language in languages.all():
        for text in (language.code, language.name, language.native_name, *language.aliases):
            found = spelling(text)
            assert found is not None
            assert found.language is language is languages.get(text)
            assert found.region == ""


def test_regions_are_not_taken_for_each_other() -> None:
    assert means("pt-PT", "por_Latn")
    assert means("pt", "por_Latn", "pt-BR")
    assert means("PT_br", "por_Latn", "pt-BR")
    assert not means("pt-PT", "por_Latn", "pt-BR")
    assert means("zh_Hans", "zho_Hans", "zh-CN")
    assert not means("zh-TW", "zho_Hans")


def test_doubt() -> None:
    assert doubt("por_Latn", ["pt-BR", "pt_br", "PT-BR"], ["de"]) is None
    assert (
        doubt("por_Latn", ["pt-BR", "pt-PT"], [])
        == "'pt-BR' and 'pt-PT' are one language here, por_Latn, and may not be one in the data"
    )
    assert doubt("por_Latn", ["pt", "pt-PT"], []) is not None
    assert doubt("deu_Latn", ["de", "German", "deu_Latn"], ["en"]) is None
    assert doubt("zho_Hans", ["zh"], ["zh-Hant"], "zh") is None
    assert doubt("zho_Hans", ["zh", "zh-Hans"], ["en"]) is None
    assert (
        doubt("zho_Hans", ["zh", "zh-Hans"], ["zh-Hant"])
        == "'zh' may mean 'zh-Hans' and 'zh-Hant', which are there too"
    )
    assert (
        doubt("zho_Hans", ["zh-Hans"], ["zh-Hant"], "zh")
        == "'zh' may mean 'zh-Hans' and 'zh-Hant', which are there too"
    )
    assert doubt("zho_Hans", ["zh-Hans"], ["zh-Hant"], "zh-Hans") is None
    assert doubt("zho_Hans", [], ["zh-Hant"], "zh") is None


def test_one_list() -> None:
    assert conflicts(["de", "German", "en", "nowhere"]) == []
    assert len(conflicts(["pt-BR", "de", "pt-PT"])) == 1
