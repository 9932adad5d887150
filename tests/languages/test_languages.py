"""The table of languages is complete for every benchmark, free of contradictions, and right where it can be checked."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from transfix import languages
from transfix.errors import TransfixError
from transfix.languages import Language, UnknownLanguageError, lookup

# The codes of the benchmarks as their authors publish them, typed here independently of the table.
CODES = {
    "xnli": "ar bg de el en es fr hi ru sw th tr ur vi zh",
    "xquad": "ar de el en es hi ro ru th tr vi zh",
    "mgsm": "bn de en es fr ja ru sw te th zh",
    "afrixnli": "amh eng ewe fra hau ibo kin lin lug orm sna sot swa twi wol xho yor zul",
    "afrimgsm": "amh eng ewe fra hau ibo kin lin lug orm sna sot swa twi wol xho yor zul",
    "xlsum_sea": "id ta th tl vi",
    "belebele": """
        acm_Arab afr_Latn als_Latn amh_Ethi apc_Arab arb_Arab arb_Latn ars_Arab ary_Arab arz_Arab asm_Beng azj_Latn
        bam_Latn ben_Beng ben_Latn bod_Tibt bul_Cyrl cat_Latn ceb_Latn ces_Latn ckb_Arab dan_Latn deu_Latn ell_Grek
        eng_Latn est_Latn eus_Latn fin_Latn fra_Latn fuv_Latn gaz_Latn grn_Latn guj_Gujr hat_Latn hau_Latn heb_Hebr
        hin_Deva hin_Latn hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn jpn_Jpan
        kac_Latn kan_Knda kat_Geor kaz_Cyrl kea_Latn khk_Cyrl khm_Khmr kin_Latn kir_Cyrl kor_Hang lao_Laoo lin_Latn
        lit_Latn lug_Latn luo_Latn lvs_Latn mal_Mlym mar_Deva mkd_Cyrl mlt_Latn mri_Latn mya_Mymr nld_Latn nob_Latn
        npi_Deva npi_Latn nso_Latn nya_Latn ory_Orya pan_Guru pbt_Arab pes_Arab plt_Latn pol_Latn por_Latn ron_Latn
        rus_Cyrl shn_Mymr sin_Latn sin_Sinh slk_Latn slv_Latn sna_Latn snd_Arab som_Latn sot_Latn spa_Latn srp_Cyrl
        ssw_Latn sun_Latn swe_Latn swh_Latn tam_Taml tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi tsn_Latn tso_Latn
        tur_Latn ukr_Cyrl urd_Arab urd_Latn uzn_Latn vie_Latn war_Latn wol_Latn xho_Latn yor_Latn zho_Hans zho_Hant
        zsm_Latn zul_Latn""",
}
# The part of NTREX-128 most often used here; the table has the rest too.
NTREX = """
    afr amh arb ben bul cat ces deu ell eng est eus fas fin fra hau heb hin hun hye ibo ind ita jpn kan kat kaz khm kin
    kor lao lit mal mar mon mya nep nld pan pol por ron rus sin slk sna-Latn som spa swa swe tam tel tha tir tur uig ukr
    urd uzb vie wol xho yor zho-CN zho-TW zul"""
FLORES = "ben_Beng deu_Latn eng_Latn fra_Latn hin_Deva rus_Cyrl spa_Latn tam_Taml tel_Telu urd_Arab"


@pytest.mark.parametrize(("benchmark", "count"), [("xnli", 15), ("xquad", 12), ("mgsm", 11), ("belebele", 122)])
def test_counts(benchmark: str, count: int) -> None:
    assert len(languages.of_benchmark(benchmark)) == count


def test_the_whole_of_flores_200() -> None:
    assert len(languages.of_benchmark("flores200")) == 204
    assert set(FLORES.split()) <= {language.code for language in languages.of_benchmark("flores200")}
    extra = [language.code for language in languages.all() if "flores200" not in language.benchmarks]
    assert extra == ["ben_Latn", "hin_Latn", "npi_Latn", "sin_Latn", "urd_Latn"]  # as Belebele's README marks them


@pytest.mark.parametrize("benchmark", CODES)
def test_codes_and_order_of_benchmarks(benchmark: str) -> None:
    codes = [language.benchmarks[benchmark] for language in languages.of_benchmark(benchmark)]
    assert codes == sorted(CODES[benchmark].split())


def test_ntrex_codes() -> None:
    codes = {language.benchmarks["ntrex"] for language in languages.of_benchmark("ntrex")}
    assert set(NTREX.split()) <= codes
    assert len(NTREX.split()) == 66


@pytest.mark.parametrize("benchmark", languages.BENCHMARKS)
def test_own_codes_of_a_benchmark_are_understood(benchmark: str) -> None:
    for language in languages.of_benchmark(benchmark):
        assert languages.get(language.benchmarks[benchmark]) is language
    own = [language.benchmarks[benchmark] for language in languages.of_benchmark(benchmark)]
    assert len(set(own)) == len(own)


def test_unknown_benchmark_names_the_known_ones() -> None:
    with pytest.raises(TransfixError, match="'squad' are not known; known: xnli, xquad"):
        languages.of_benchmark("squad")


@pytest.mark.parametrize(
    ("benchmark", "pattern", "prefix", "suffix"),
    [
        ("xnli", "nli/xnli/test-*.tsv", "test-", ".tsv"),
        ("xnli", "nli/xnli/dev-*.tsv", "dev-", ".tsv"),
        ("afrixnli", "nli/afrixnli/test-*.jsonl", "test-", ".jsonl"),
        ("afrixnli", "nli/afrixnli/dev-*.jsonl", "dev-", ".jsonl"),
        ("xquad", "qa/xquad/xquad.*.json", "xquad.", ".json"),
        ("mgsm", "math/mgsm/mgsm_*.tsv", "mgsm_", ".tsv"),
        ("afrimgsm", "math/afrimgsm/test-*.tsv", "test-", ".tsv"),
        ("belebele", "choice/belebele/*.jsonl", "", ".jsonl"),
        ("ntrex", "parallel/ntrex128/*.txt", "", ".txt"),
        ("flores200", "parallel/flores200_devtest/*.devtest", "", ".devtest"),
        ("xlsum_sea", "generation/xlsum_sea/*.jsonl", "", "_xlsum"),
    ],
)
def test_every_benchmark_file_is_a_language(benchmark: str, pattern: str, prefix: str, suffix: str, pool: Path) -> None:
    files = sorted(pool.glob(pattern))
    assert files
    for file in files:
        code = file.name.removeprefix(prefix).partition(suffix)[0]
        assert languages.get(code).benchmarks[benchmark] == code, file


_UNICODE_NAMES = {
    "Arab": {"ARABIC"},
    "Armn": {"ARMENIAN"},
    "Beng": {"BENGALI"},
    "Cyrl": {"CYRILLIC"},
    "Deva": {"DEVANAGARI"},
    "Ethi": {"ETHIOPIC"},
    "Geor": {"GEORGIAN"},
    "Grek": {"GREEK"},
    "Gujr": {"GUJARATI"},
    "Guru": {"GURMUKHI"},
    "Hang": {"HANGUL"},
    "Hans": {"CJK"},
    "Hant": {"CJK"},
    "Hebr": {"HEBREW"},
    "Jpan": {"CJK", "HIRAGANA", "KATAKANA"},
    "Khmr": {"KHMER"},
    "Knda": {"KANNADA"},
    "Laoo": {"LAO"},
    "Latn": {"LATIN"},
    "Mlym": {"MALAYALAM"},
    "Mymr": {"MYANMAR"},
    "Olck": {"OL"},
    "Orya": {"ORIYA"},
    "Sinh": {"SINHALA"},
    "Taml": {"TAMIL"},
    "Telu": {"TELUGU"},
    "Tfng": {"TIFINAGH"},
    "Thai": {"THAI"},
    "Tibt": {"TIBETAN"},
}


def _scripts_of(text: str) -> Counter[str]:
    letters = (char for char in text if unicodedata.category(char) in {"Lu", "Ll", "Lo"})
    return Counter(unicodedata.name(char).split()[0] for char in letters)


@pytest.mark.parametrize("language", languages.all(), ids=lambda language: language.code)
def test_row(language: Language) -> None:
    """What must hold of every row by itself."""
    scripts = set(_scripts_of(language.native_name))
    assert scripts
    assert scripts <= _UNICODE_NAMES[language.script], language.native_name
    assert language.direction == ("rtl" if language.script in {"Arab", "Hebr"} else "ltr")
    assert language.code == f"{language.iso639_3}_{language.script}"
    assert len(language.iso639_3) == 3
    assert language.iso639_3.islower()
    assert language.iso639_1 is None or (len(language.iso639_1) == 2 and language.iso639_1.islower())
    assert 0 <= language.resource_class <= 5
    assert (language.resource_entry is None) == (language.resource_class == 0)
    assert language.name
    assert language.family
    assert language.branch
    assert language.script_name
    assert language.benchmarks
    for text in (language.name, language.native_name, language.family, language.branch, *language.aliases):
        assert text == text.strip() == unicodedata.normalize("NFC", text)


def test_text_of_the_benchmarks_is_in_the_declared_script(pool: Path) -> None:
    """NTREX and Belebele files of each language hold mostly letters of the row's script."""
    checked = 0
    for language in languages.all():
        for path in (
            f"parallel/ntrex128/{language.benchmarks.get('ntrex')}.txt",
            f"choice/belebele/{language.code}.jsonl",
        ):
            if (pool / path).is_file():
                with (pool / path).open(encoding="utf-8") as file:
                    counts = _scripts_of(file.read(20_000))
                if path.endswith("jsonl") and language.script != "Latn":
                    del counts["LATIN"]  # the field names and the links
                own = sum(counts[name] for name in _UNICODE_NAMES[language.script])
                assert own > 0.7 * counts.total(), path
                checked += 1
    assert checked >= 70


def test_every_alias_means_one_language() -> None:
    lookup.index.cache_clear()
    assert len(lookup.index()) > 700  # raises on a contradiction
    for language in languages.all():
        for alias in (language.code, language.name, language.native_name, *language.aliases):
            for text in (alias, alias.upper(), alias.lower(), f" {alias} ", alias.replace(" ", "_")):
                assert languages.get(text) is language, text


def test_a_contradiction_in_the_table_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    german = languages.get("de")
    twin = dataclasses.replace(german, code="xxx_Latn", name="Twin", native_name="Twin", aliases=("DE",))
    monkeypatch.setattr(lookup, "languages", lambda: (german, twin))
    lookup.index.cache_clear()
    try:
        with pytest.raises(ValueError, match="'DE' means both deu_Latn and xxx_Latn"):
            lookup.index()
    finally:
        lookup.index.cache_clear()


def test_unique_columns() -> None:
    for values in (
        [language.code for language in languages.all()],
        [language.name for language in languages.all()],
        [language.native_name for language in languages.all()],
    ):
        assert len(set(values)) == len(values)
    assert [language.code for language in languages.all()] == sorted(language.code for language in languages.all())
    by_entry: dict[str, set[int]] = {}
    for language in languages.all():
        if language.resource_entry:
            by_entry.setdefault(language.resource_entry, set()).add(language.resource_class)
    assert all(len(classes) == 1 for classes in by_entry.values())


def test_scripts_of_one_language_agree() -> None:
    for iso in {language.iso639_3 for language in languages.all()}:
        rows = [language for language in languages.all() if language.iso639_3 == iso]
        assert len({(x.family, x.branch, x.resource_class, x.resource_entry, x.iso639_1) for x in rows}) == 1, iso


ALIASES = """
    sw swh_Latn | swa swh_Latn | Swahili swh_Latn | kiswahili swh_Latn | zh zho_Hans | zh-CN zho_Hans | zh_cn zho_Hans
    zh-TW zho_Hant | zh-HK zho_Hant | zh-MO zho_Hant | zh-SG zho_Hans | zh-Hans zho_Hans | zh-Hant zho_Hant
    zh-Hant-TW zho_Hant | zh-Hans-HK zho_Hans | zho-TW zho_Hant | cmn zho_Hans | cmn_Hant zho_Hant | zho zho_Hans
    chinese zho_Hans | chinese_simplified zho_Hans | chinese_traditional zho_Hant | 中文 zho_Hans | yue yue_Hant
    yue-HK yue_Hant | iw heb_Hebr | he heb_Hebr | in ind_Latn | id ind_Latn | fa pes_Arab | per pes_Arab | fas pes_Arab
    pes pes_Arab | fa-IR pes_Arab | fa-AF prs_Arab | prs prs_Arab | dari prs_Arab | farsi pes_Arab | ar arb_Arab
    ara arb_Arab | ar-EG arb_Arab | arz arz_Arab | ary_arab ary_Arab | ar-Latn arb_Latn | no nob_Latn | nb nob_Latn
    nn nno_Latn | nor nob_Latn | et est_Latn | ekk est_Latn | lv lvs_Latn | lav lvs_Latn | ms zsm_Latn | msa zsm_Latn
    or ory_Orya | ori ory_Orya | az azj_Latn | az-IR azb_Arab | aze-Latn azj_Latn | uz uzn_Latn | uzb uzn_Latn
    mn khk_Cyrl | mon khk_Cyrl | ne npi_Deva | nep npi_Deva | ps pbt_Arab | pus pbt_Arab | ku kmr_Latn | ku-IQ ckb_Arab
    ku-Arab ckb_Arab | kmr-IQ kmr_Latn | sorani ckb_Arab | sq als_Latn | sqi als_Latn | alb als_Latn | yi ydd_Hebr
    yid ydd_Hebr | ji ydd_Hebr | pt-BR por_Latn | en-US eng_Latn | en-us eng_Latn | es-419 spa_Latn | de-AT deu_Latn
    ger deu_Latn | GERMAN deu_Latn | deutsch deu_Latn | DEU_LATN deu_Latn | français fra_Latn | fre fra_Latn
    fil tgl_Latn | tl tgl_Latn | om gaz_Latn | orm gaz_Latn | mg plt_Latn | ay ayr_Latn | qu quy_Latn | ff fuv_Latn
    hi hin_Deva | hin hin_Deva | hi-Latn hin_Latn | hin-Latn-IN hin_Latn | si sin_Sinh | bn-BD ben_Beng
    ur-Latn urd_Latn | sr srp_Cyrl | sr-Cyrl-RS srp_Cyrl | srp-Cyrl srp_Cyrl | sna-Latn sna_Latn | sat sat_Olck
    sat_Beng sat_Olck | ko-KR kor_Hang | ko-Kore kor_Hang | ja-JP jpn_Jpan | jw jav_Latn | ro-MD ron_Latn | mo ron_Latn
    pa pan_Guru | pa-IN pan_Guru | avañe’ẽ grn_Latn | oʻzbekcha uzn_Latn
    es spa_Latn | ee ewe_Latn | tw twi_Latn | ak aka_Latn"""


@pytest.mark.parametrize("pair", [pair.strip() for line in ALIASES.strip().splitlines() for pair in line.split("|")])
def test_aliases(pair: str) -> None:
    alias, code = pair.split()
    assert languages.get(alias).code == code


@pytest.mark.parametrize("code", ["pa-PK", "sr-Latn", "sr-ME", "yue-CN", "zh-Latn", "uz-AF", "en-Cyrl", "mn-Mong"])
def test_a_script_outside_the_table_is_an_error_not_another_script(code: str) -> None:
    with pytest.raises(UnknownLanguageError, match="is known in the script") as caught:
        languages.get(code)
    assert caught.value.matches


FACTS = """
    eng_Latn Indo-European Germanic 5 | deu_Latn Indo-European Germanic 5 | spa_Latn Indo-European Romance 5
    fra_Latn Indo-European Romance 5 | arb_Arab Afro-Asiatic Semitic 5 | zho_Hans Sino-Tibetan Sinitic 5
    zho_Hant Sino-Tibetan Sinitic 5 | jpn_Jpan Japonic Japanese 5 | rus_Cyrl Indo-European Slavic 4
    hun_Latn Uralic Ugric 4 | vie_Latn Austroasiatic Vietic 4 | nld_Latn Indo-European Germanic 4
    kor_Hang Koreanic Korean 4 | tur_Latn Turkic Oghuz 4 | pes_Arab Indo-European Iranian 4
    eus_Latn Language-isolate Basque 4 | hin_Deva Indo-European Indo-Aryan 4 | cat_Latn Indo-European Romance 4
    fin_Latn Uralic Finnic 4 | srp_Cyrl Indo-European Slavic 4 | hrv_Latn Indo-European Slavic 4
    ukr_Cyrl Indo-European Slavic 3 | bul_Cyrl Indo-European Slavic 3 | ell_Grek Indo-European Hellenic 3
    tha_Thai Kra-Dai Tai 3 | urd_Arab Indo-European Indo-Aryan 3 | ben_Beng Indo-European Indo-Aryan 3
    tam_Taml Dravidian South-Dravidian 3 | ind_Latn Austronesian Malayic 3 | zsm_Latn Austronesian Malayic 3
    kat_Geor Kartvelian Karto-Zan 3 | kaz_Cyrl Turkic Kipchak 3 | uzn_Latn Turkic Karluk 3 | est_Latn Uralic Finnic 3
    heb_Hebr Afro-Asiatic Semitic 3 | ceb_Latn Austronesian Philippine 3 | tgl_Latn Austronesian Philippine 3
    lit_Latn Indo-European Baltic 3 | arz_Arab Afro-Asiatic Semitic 3 | swh_Latn Niger-Congo Bantu 2
    yor_Latn Niger-Congo Volta-Niger 2 | hau_Latn Afro-Asiatic Chadic 2 | zul_Latn Niger-Congo Bantu 2
    amh_Ethi Afro-Asiatic Semitic 2 | wol_Latn Niger-Congo Senegambian 2 | lao_Laoo Kra-Dai Tai 2
    mar_Deva Indo-European Indo-Aryan 2 | isl_Latn Indo-European Germanic 2 | mlt_Latn Afro-Asiatic Semitic 2
    hat_Latn Creole French-based 2 | gle_Latn Indo-European Celtic 2 | tel_Telu Dravidian South-Central-Dravidian 1
    khm_Khmr Austroasiatic Khmeric 1 | mya_Mymr Sino-Tibetan Lolo-Burmese 1 | bod_Tibt Sino-Tibetan Bodic 1
    ibo_Latn Niger-Congo Volta-Niger 1 | som_Latn Afro-Asiatic Cushitic 1 | gaz_Latn Afro-Asiatic Cushitic 1
    kab_Latn Afro-Asiatic Berber 1 | khk_Cyrl Mongolic Mongolian 1 | hye_Armn Indo-European Armenian 1
    als_Latn Indo-European Albanian 1 | plt_Latn Austronesian Barito 1 | mri_Latn Austronesian Oceanic 1
    quy_Latn Quechuan Southern-Quechua 1 | grn_Latn Tupian Tupi-Guarani 1 | twi_Latn Niger-Congo Kwa 1
    bam_Latn Mande Western-Mande 1 | sat_Olck Austroasiatic Munda 1 | ydd_Hebr Indo-European Germanic 1
    luo_Latn Nilo-Saharan Nilotic 0 | kea_Latn Creole Portuguese-based 0 | shn_Mymr Kra-Dai Tai 0
    ary_Arab Afro-Asiatic Semitic 0 | prs_Arab Indo-European Iranian 0"""


@pytest.mark.parametrize("fact", [fact.strip() for line in FACTS.strip().splitlines() for fact in line.split("|")])
def test_facts(fact: str) -> None:
    code, family, branch, resource_class = fact.split()
    language = languages.get(code)
    found = (language.family.replace(" ", "-"), language.branch.replace(" ", "-"), language.resource_class)
    assert found == (family, branch, int(resource_class))


def test_a_language_in_full() -> None:
    german = languages.get("de")
    assert (german.name, german.native_name, german.script_name) == ("German", "Deutsch", "Latin")
    assert (german.iso639_1, german.iso639_3, german.direction) == ("de", "deu", "ltr")
    assert german.benchmarks == {
        "xnli": "de",
        "xquad": "de",
        "mgsm": "de",
        "belebele": "deu_Latn",
        "flores200": "deu_Latn",
        "ntrex": "deu",
    }
    assert languages.get("urd_Arab").direction == languages.get("heb").direction == "rtl"
    assert languages.get("urd_Latn").direction == "ltr"


def test_unknown_codes_name_the_nearest() -> None:
    with pytest.raises(UnknownLanguageError, match=r"unknown language 'germann'\ndid you mean deu_Latn \(German\)"):
        languages.get("germann")
    with pytest.raises(UnknownLanguageError, match=r"unknown language 'xx'\ndid you mean .*xho_Latn") as caught:
        languages.get("xx")
    assert caught.value.value == "xx"
    with pytest.raises(UnknownLanguageError, match=r"^unknown language 'klingonese!?'"):
        languages.get("klingonese!")
    for empty in ("", " ", "-"):
        with pytest.raises(UnknownLanguageError):
            languages.get(empty)


def test_the_norway_problem() -> None:
    with pytest.raises(UnknownLanguageError, match="write nob_Latn"):
        languages.get(False)  # type: ignore[arg-type]
    with pytest.raises(UnknownLanguageError, match="not a string"):
        languages.get(7)  # type: ignore[arg-type]


def test_group_by() -> None:
    groups = languages.group_by(languages.of_benchmark("xnli"), "family")
    assert list(groups) == sorted(str(key) for key in groups)
    assert [language.code for language in groups["Turkic"]] == ["tur_Latn"]
    assert sum(len(group) for group in groups.values()) == 15
    classes = languages.group_by(["en", "sw", "de"], "resource_class")
    assert {key: [x.code for x in group] for key, group in classes.items()} == {
        2: ["swh_Latn"],
        5: ["eng_Latn", "deu_Latn"],
    }
    with pytest.raises(TransfixError, match="'colour'; possible: family"):
        languages.group_by(["en"], "colour")
    with pytest.raises(UnknownLanguageError):
        languages.group_by(["nowhere"], "family")


def test_languages_survive_copying() -> None:
    import copy
    import pickle

    for language in languages.all():
        assert pickle.loads(pickle.dumps(language)) == language == copy.deepcopy(language)
        assert hash(language) == hash(copy.deepcopy(language))


def test_import_is_light() -> None:
    """The table is read on first use, and neither importing nor using it brings a heavy package."""
    program = (
        "import sys; from transfix import languages; from transfix.languages import table;"
        "assert table.languages.cache_info().currsize == 0; languages.get('sw'); languages.of_benchmark('xnli');"
        "assert not {'torch', 'transformers', 'pandas', 'numpy', 'pydantic', 'difflib'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
