"""Summarisation of news: XL-Sum."""

from __future__ import annotations

from transfix.data.benchmarks.facts import Benchmark, HubHome, Values

# Not here: pidgin and serbian_latin, which the table of languages lacks, and uzbek, which is in another script there.
XLSUM_LANGUAGES = {
    "amh_Ethi": "amharic",
    "arb_Arab": "arabic",
    "azj_Latn": "azerbaijani",
    "ben_Beng": "bengali",
    "cym_Latn": "welsh",
    "eng_Latn": "english",
    "fra_Latn": "french",
    "gaz_Latn": "oromo",
    "gla_Latn": "scottish_gaelic",
    "guj_Gujr": "gujarati",
    "hau_Latn": "hausa",
    "hin_Deva": "hindi",
    "ibo_Latn": "igbo",
    "ind_Latn": "indonesian",
    "jpn_Jpan": "japanese",
    "kir_Cyrl": "kyrgyz",
    "kor_Hang": "korean",
    "mar_Deva": "marathi",
    "mya_Mymr": "burmese",
    "npi_Deva": "nepali",
    "pan_Guru": "punjabi",
    "pbt_Arab": "pashto",
    "pes_Arab": "persian",
    "por_Latn": "portuguese",
    "run_Latn": "kirundi",
    "rus_Cyrl": "russian",
    "sin_Sinh": "sinhala",
    "som_Latn": "somali",
    "spa_Latn": "spanish",
    "srp_Cyrl": "serbian_cyrillic",
    "swh_Latn": "swahili",
    "tam_Taml": "tamil",
    "tel_Telu": "telugu",
    "tgl_Latn": "tl",
    "tha_Thai": "thai",
    "tir_Ethi": "tigrinya",
    "tur_Latn": "turkish",
    "ukr_Cyrl": "ukrainian",
    "urd_Arab": "urdu",
    "vie_Latn": "vietnamese",
    "yor_Latn": "yoruba",
    "zho_Hans": "chinese_simplified",
    "zho_Hant": "chinese_traditional",
}
"""FLORES-style code -> XL-Sum's name; Filipino (`tl`) is in Southeast Asian samples of it only, not in the original."""


def _article(row: Values) -> Values:
    """The text out of `[{"text": ...}]`, as samples with prompts have it."""
    match row.get("text"):
        case [{"text": text}]:
            return {**row, "text": text}
    return row


BENCHMARKS = (
    Benchmark(
        name="xlsum",
        fields=("text",),
        classes=(),
        label_aliases={},
        columns={"text": ("text", "prompts"), "label": ("summary", "label"), "id": ("id",)},
        splits=("train", "validation", "test"),
        reference="texts",
        prepare=_article,
        own_codes=XLSUM_LANGUAGES,
        hub={
            "csebuetnlp/xlsum": HubHome("{lang}", missing=("tgl_Latn",)),
            "GEM/xlsum": HubHome("{lang}", missing=("tgl_Latn",)),
        },
    ),
)
