"""The number of an answer: golden cases in all languages of MGSM and many of AfriMGSM, and the benchmarks' own files."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from transfix import languages
from transfix.tasks.judging import Extracted, extract_number, same_number
from transfix.tasks.judging.numerals import ENGLISH, convention, numbers, prepare

MGSM = ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")

# (language, text, number, rule)
GOLDEN = [
    # Bengali: native digits, Indian and Western groups
    ("bn", "৫ + ৬ = ১১। উত্তর হল ১১।", "11", "phrase"),
    ("bn", "ধাপে ধাপে উত্তর: প্রতিটি ব্যাগেলের মূল্য $3, তাই 5টির 15। উত্তর হল ৮ টাকা। প্রশ্ন: 9", "8", "phrase"),
    ("bn", "মোট ১,২৩,৪৫৬টি", "123456", "last"),
    ("bn", "মোট ১১৪,২০০.৫০ টাকা।", "114200.50", "last"),
    ("bn", "উত্তর: ৪২টি\n\nপ্রশ্ন: ৫", "42", "phrase"),
    ("bn", "উত্তর হল এগারো।", None, "none"),
    # German: the comma is decimal, the point groups; 3.50 has no three digits after it
    ("de", "Die Antwort ist 11.", "11", "phrase"),
    ("de", "Die Antwort lautet 1.234,5 €. Frage: 7 Äpfel", "1234.5", "phrase"),
    ("de", "Also 3.50", "3.50", "last"),
    ("de", "Also 3,50 Euro.", "3.50", "last"),
    ("de", "Das sind 1.234", "1234", "last"),
    ("de", "Das sind 1,234", "1.234", "last"),
    ("de", "Das sind 0.125", "0.125", "last"),
    ("de", "Das sind 1234.567", "1234.567", "last"),
    ("de", "Das sind 1.234.567", "1234567", "last"),
    ("de", "Das sind 1,234,567.8 oder", "1234567.8", "last"),
    ("de", "Das sind 1'234.50 Franken", "1234.50", "last"),
    ("de", "Am 12.10.2020", "2020", "last"),
    ("de", "Es wird kälter: −4 Grad", "-4", "last"),
    ("de", "Antwort: 42 Äpfel\nFrage: 7", "42", "phrase"),
    ("de", "Schritt-für-Schritt-Antwort: 5 Bagels für 3 US-Dollar kosten 15.", "15", "last"),
    ("de", "Die Antwort ist elf.", None, "none"),
    ("de", "Die Antwort ist 7. The answer is 9.", "7", "phrase"),
    ("de", "The answer is 9. Die Antwort ist 7.", "9", "phrase"),
    # English
    ("en", "5 + 6 = 11. The answer is 11.", "11", "phrase"),
    ("en", "The answer is $1,234.50. Question: 7 apples", "1234.50", "phrase"),
    ("en", "The answer is 5 + 6 = 11. And 3.", "11", "phrase"),
    ("en", "The answer is 2 × 3 - 10 = -4.", "-4", "phrase"),
    ("en", "The answer is **42**. 7", "42", "phrase"),
    ("en", "The answer is: 11. 3", "11", "phrase"),
    ("en", "The final answer is\n\n$\\boxed{42}$. 7", "42", "phrase"),
    ("en", "The answer isn't 5. It is 6", "6", "last"),
    ("en", "THE ANSWER IS that she has 8 dollars and 3 friends", "8", "phrase"),
    ("en", "The answer is unclear. So 9", "9", "last"),
    ("en", "The answer is 11.\n\nQuestion: ... The answer is 29.", "11", "phrase"),
    ("en", "Step-by-Step Answer: 5 bagels for $3 each should cost 15 dollars", "15", "last"),
    ("en", "Answer: 42\n\nQuestion: Roger has 5", "42", "phrase"),
    ("en", "The answer is 7.\n#### 8", "8", "marker"),
    ("en", "#### $1,234.\n#### 5", "1234", "marker"),
    ("en", "#### -3", "-3", "marker"),
    ("en", "####17", "17", "marker"),
    ("en", "#### Step\n9", "9", "last"),
    ("en", "so it costs $.20", "0.20", "last"),
    ("en", "3.50 is not 350", "350", "last"),
    ("en", "it costs 3.50", "3.50", "last"),
    ("en", "50%", "50", "last"),
    ("en", "-$5", "-5", "last"),
    ("en", "$-5", "-5", "last"),
    ("en", "US$20-$5", "5", "last"),
    ("en", "9-5", "5", "last"),
    ("en", "9 -5", "5", "last"),
    ("en", "x=\u22124", "-4", "last"),
    ("en", "(\u20134)", "-4", "last"),
    ("en", "pages 10\u201320", "20", "last"),
    ("en", "items 1,2,3", "3", "last"),
    ("en", "1,23,456", "123456", "last"),
    ("en", "5²", "5", "last"),
    ("en", "\\boxed{1{,}234\\text{ cm}^2}", "1234", "phrase"),
    ("en", "12\u202f345", "12345", "last"),
    ("en", "12 345", "345", "last"),
    ("en", "eleven", None, "none"),
    ("en", "", None, "none"),
    ("en", "####", None, "none"),
    # Spanish: either separator may group
    ("es", "La respuesta es 11. Pregunta: 5", "11", "phrase"),
    ("es", "La respuesta es 1.234 o", "1234", "phrase"),
    ("es", "Son 1,234", "1234", "last"),
    ("es", "Son $88 000 en total", "88000", "last"),
    ("es", "Son $20,25", "20.25", "last"),
    ("es", "Son 1.234,5 y 1,234.5", "1234.5", "last"),
    ("es", "Respuesta: -3", "-3", "phrase"),
    ("es", "La respuesta es once.", None, "none"),
    # French: spaces group, of every width
    ("fr", "La réponse est 1 234,5. Question : 7", "1234.5", "phrase"),
    ("fr", "La re\u0301ponse est 11. 7", "11", "phrase"),
    ("fr", "Il a 1\u202f234\u202f567 $", "1234567", "last"),
    ("fr", "Il a 12\u00a0345 €", "12345", "last"),
    ("fr", "Il a 3,50", "3.50", "last"),
    ("fr", "En 2023 150,5 euros", "150.5", "last"),
    ("fr", "Réponse\u00a0: 42 pommes\nQuestion : 7", "42", "phrase"),
    ("fr", "#### 2,125", "2125", "marker"),  # the marker's number is written in English
    ("fr", "Elle en a douze.", None, "none"),
    # Japanese: full-width digits and separators, no spaces
    ("ja", "5+6=11。答えは11です。問題：7", "11", "phrase"),
    ("ja", "答案は5である。3", "5", "phrase"),
    ("ja", "答えは、１，２３４．５個です。3", "1234.5", "phrase"),
    ("ja", "答え：４２個\n問題：7", "42", "phrase"),
    ("ja", "ステップごとの答え：$3のベーグルは5個で15ドル", "15", "last"),
    ("ja", "５，６個", "6", "last"),
    ("ja", "\uff0d５", "-5", "last"),
    ("ja", "十一です", None, "none"),
    # Russian: spaces group; a dash stands where other languages have a verb
    ("ru", "5 + 6 = 11. Ответ — 11. Задача: 7", "11", "phrase"),
    ("ru", "Ответ - 29. 7", "29", "phrase"),
    ("ru", "Ответ —1 250,5 руб. 7", "1250.5", "phrase"),
    ("ru", "Ответ: 114 200\nЗадача: 5", "114200", "phrase"),
    ("ru", "Осталось 3,50 $", "3.50", "last"),
    ("ru", "одиннадцать", None, "none"),
    # Swahili: as English; the unit stands before the number
    ("sw", "Jibu ni 11. Swali: 5", "11", "phrase"),
    ("sw", "Jibu ni dola 2,125.50. 7", "2125.50", "phrase"),
    ("sw", "Jibu: mipira\nJumla 1,200", "1200", "last"),
    ("sw", "kumi na moja", None, "none"),
    # Telugu: the phrase is the bare noun; words follow the number without a space
    ("te", "5+6=11. సమాధానం 11. 7", "11", "phrase"),
    ("te", "సమాధానం 39.చాక్లెట్‌లు 7", "39", "phrase"),
    ("te", "సమాధానం ౧,౨౩,౪౫౬. 7", "123456", "phrase"),
    ("te", "దశలవారీగా సమాధానం: ఒక్కొక్కటి $3 చొప్పున 5 గాజుల ధర 15", "15", "last"),
    ("te", "సమాధానం: ౪౨\nప్రశ్న: 7", "42", "phrase"),
    ("te", "పదకొండు", None, "none"),
    # Thai
    ("th", "ดังนั้น 5 + 6 = 11 คำตอบคือ 11\n\nโจทย์: 7", "11", "phrase"),
    ("th", "คำตอบคือ ๑,๒๓๔.๕๐ บาท 7", "1234.50", "phrase"),
    ("th", "รวม ฿๑,๒๐๐", "1200", "last"),
    ("th", "สิบเอ็ด", None, "none"),
    # Chinese
    ("zh", "5 + 6 = 11。答案是 11。问题：7", "11", "phrase"),
    ("zh", "答案是５个。7", "5", "phrase"),
    ("zh", "答案是：276,000 美元，共 3 年", "276000", "phrase"),
    ("zh", "逐步解答：5 个单价 3 美元的百吉饼应该花费 15", "15", "last"),
    ("zh", "答案：42\n问题：7", "42", "phrase"),
    ("zh", "最后剩 3.50 元。", "3.50", "last"),
    ("zh", "十一", None, "none"),
    # AfriMGSM
    ("amh", "መልሱ 8 ነው። 9", "8", "phrase"),
    ("ewe", "Ŋuɖoɖoae nye 39. 7", "39", "phrase"),
    ("gaz", "Deebiin isaa 33 dha. 7", "33", "phrase"),
    ("hau", "Amsar ita ce 11. 7", "11", "phrase"),
    ("ibo", "Azịza ya bụ 11. 7", "11", "phrase"),
    ("kin", "Igisubizo ni 11. 7", "11", "phrase"),
    ("lin", "Eyano ezali 11. 7", "11", "phrase"),
    ("lug", "Eky’okuddamu kiri nti 11. 7", "11", "phrase"),
    ("sna", "Mhinduro ndi5. 7", "5", "phrase"),
    ("sot", "Karabo ke 11. 7", "11", "phrase"),
    ("twi", "Mmuae no ne 11. 7", "11", "phrase"),
    ("wol", "Tontu li mooy 11. 7", "11", "phrase"),
    ("xho", "Impendulo ngu-5. 7", "5", "phrase"),  # a hyphen, no minus
    ("yor", "Ìdáhùn náà ni 11. 7", "11", "phrase"),
    ("zul", "Impendulo ithi 11. 7", "11", "phrase"),
    # Others
    ("ar", "المجموع ٣٬١٤٢٫٥ دولار", "3142.5", "last"),
    ("ar", "\u200f-\u200e٥", "-5", "last"),
    ("hi", "कुल ₹१२,३४,५६७.५०", "1234567.50", "last"),
    ("fa", "جمع ۱۲۳٬۴۵۶", "123456", "last"),
    ("my", "၁၂၃", "123", "last"),
]


@pytest.mark.parametrize(("language", "text", "number", "how"), GOLDEN)
def test_golden(language: str, text: str, number: str | None, how: str) -> None:
    found = extract_number(text, language)
    assert found.how == how
    # As text too: 3.50 keeps its decimals.
    assert (found.number if found.number is None else str(found.number)) == number


@pytest.mark.parametrize("language", MGSM)
def test_in_every_language_of_mgsm(language: str) -> None:
    code = languages.get(language).code
    assert {case[3] for case in GOLDEN if case[0] == language} >= {"phrase", "last", "none"}
    for text, how in (
        ("The answer is 1,250. 7", "phrase"),  # English separators after the English phrase
        ("7 \\boxed{1,250}", "phrase"),
        ("7 #### 1,250\n8", "marker"),
    ):
        assert extract_number(text, code) == Extracted(Decimal(1250), how)
    assert extract_number("x", code) == Extracted(None, "none")


def test_all_decimal_digits() -> None:
    """Every digit of Unicode's category Nd is read as its value."""
    digits = [char for char in map(chr, range(0x110000)) if char.isdecimal()]
    assert len(digits) > 600
    for start in range(0, len(digits), 10):
        zero_to_nine = "".join(digits[start : start + 10])
        assert extract_number(f"= {zero_to_nine[1:]}0", "en").number == 1234567890, zero_to_nine


def test_exemplars(pool: Path) -> None:
    """MGSM's own chains of thought: the phrase of each of the eleven languages gives the known answer."""
    file = json.loads((pool / "math" / "mgsm" / "exemplars.json").read_text(encoding="utf-8"))
    assert set(MGSM) == set(file["MGSM_EXEMPLARS"])
    for language, exemplars in file["MGSM_EXEMPLARS"].items():
        for index, gold in enumerate(file["EXEMPLAR_NUMBER_ANSWERS"]):
            text = exemplars[str(index + 1)]["a"]
            assert extract_number(text, language) == Extracted(Decimal(gold), "phrase"), text
            run_on = text + "\n\n" + exemplars["2"]["q"] + "\n" + exemplars["2"]["a"]
            assert extract_number(run_on, language).number == gold, run_on


def test_gold_answers(pool: Path) -> None:
    for language in MGSM:
        lines = (pool / "math" / "mgsm" / f"mgsm_{language}.tsv").read_text(encoding="utf-8").splitlines()
        golds = [line.split("\t")[-1] for line in lines]
        assert len(golds) == 250
        for gold in golds:
            assert same_number(Decimal(gold.replace(",", "")), gold)
    for split in ("train", "test"):
        for line in (pool / "math" / "gsm8k" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
            answer = json.loads(line)["answer"]
            gold = Decimal(re.split("#### ", answer)[1].replace(",", ""))
            # A model trained on these rows writes the marker like this, whatever the language.
            assert extract_number(answer, "deu_Latn") == Extracted(gold, "marker"), answer


def test_same_number() -> None:
    assert same_number(Decimal("42.00"), "42")
    assert same_number("2,125", Decimal(2125))
    assert same_number(" $4.50 ", "4.5")
    assert same_number("-0", "0")
    assert same_number("٤٢", "42")
    assert not same_number("3.50", "350")
    assert not same_number(Decimal(3), "-3")
    assert not same_number(None, None)
    assert not same_number(None, "3")
    assert not same_number("three", "three")
    assert not same_number("3 or 4", "3")


def test_long_numbers_are_exact() -> None:
    digits = "1234567890" * 10
    assert str(extract_number(f"= -{digits}", "en").number) == f"-{digits}"
    assert not same_number(digits, digits[:-1] + "1")


def test_numbers_know_where_they_stand() -> None:
    text = prepare("-1,234 and ৫.")
    found = list(numbers(text, ENGLISH))
    assert [(str(number.value), text[number.start : number.end]) for number in found] == [
        ("-1234", "1,234"),
        ("5", "5"),
    ]


def test_conventions() -> None:
    assert convention("deu_Latn") == convention("tr")
    assert convention("fr").space
    assert not convention("de").space
    assert convention("hi") == convention("swh_Latn") == ENGLISH
    with pytest.raises(languages.UnknownLanguageError):
        extract_number("5", "xx_Nope")


@pytest.mark.parametrize("language", ["en", "fr"])
def test_long_texts_take_linear_time(language: str) -> None:
    """What a model that repeats itself may write; with a square in the length these would take hours."""
    for unit in (
        "1",
        "1,",
        "answer is ",
        "answer: 1,",
        "#### ",
        "1 + ",
        "-5 ",
        "1\u00a0",
        "1 234 ",
        "\\boxed{",
        "réponse : 1,",
    ):
        extract_number(unit * (200_000 // len(unit)), language)
    extract_number("answer: " + "1," * 100_000 + " and 5", language)
    extract_number("5" + " " * 200_000 + "-5", language)
