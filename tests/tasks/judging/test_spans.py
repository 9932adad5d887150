"""Exact match and F1 against hand-made cases in every language of XQuAD, and against the published rules written anew."""

from __future__ import annotations

import json
import re
import string
import sys
import unicodedata
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from transfix import languages
from transfix.errors import TransfixError
from transfix.tasks.judging import NORMALISERS, exact_match, f1, normalise_mlqa, normalise_squad

# (language, prediction, gold, squad's EM and F1, mlqa's EM and F1), worked out by hand.
CASES = [
    ("arb_Arab", "الكتاب الكبير", "كتاب كبير", (0, 0), (1, 1)),  # the article is a prefix
    ("arb_Arab", "كتاب كبير", "الكتاب صغير", (0, 0), (0, "1/2")),
    ("arb_Arab", "القاهرة؟", "القاهرة", (0, 0), (1, 1)),  # Arabic punctuation
    ("arb_Arab", "خالد", "خ د", (0, 0), (1, 1)),  # removed within words too, as MLQA's script does
    ("deu_Latn", "der Rhein", "Rhein", (0, "2/3"), (1, 1)),
    ("deu_Latn", "„Rhein“", "Rhein", (0, 0), (1, 1)),
    ("deu_Latn", "die Straße am Rhein", "Straße an dem Rhein", (0, "4/7"), (0, "2/3")),  # squad takes "an" for English
    ("ell_Grek", "ο Παρθενώνας", "Παρθενώνας", (0, "2/3"), (0, "2/3")),  # no list of articles in either
    ("ell_Grek", "«Παρθενώνας»", "παρθενώνας", (0, 0), (1, 1)),
    ("eng_Latn", "The  Rhine.", "rhine", (1, 1), (1, 1)),
    ("eng_Latn", "a red, red rose", "Red rose", (0, "4/5"), (0, "4/5")),  # tokens are counted as often as they occur
    ("eng_Latn", "$1,000", "1000", (1, 1), (1, 1)),
    ("eng_Latn", "“Rhine”", "Rhine", (0, 0), (1, 1)),
    ("eng_Latn", "theatre", "atre", (0, 0), (0, 0)),
    ("spa_Latn", "¿la Casa Blanca?", "Casa Blanca", (0, "4/5"), (1, 1)),
    ("hin_Deva", "घो\u095cा", "घोड\u093cा", (1, 1), (1, 1)),  # the letter as one code point is not NFC
    ("hin_Deva", "घो\u095cा।", "घोड\u093cा", (0, 0), (1, 1)),
    ("hin_Deva", "एक बड\u093cा घोड\u093cा", "ब\u095cा घो\u095cा", (0, "4/5"), (0, "4/5")),
    ("ron_Latn", "orașul București", "București", (0, "2/3"), (0, "2/3")),
    ("ron_Latn", "„Bucures\u0326ti”", "București", (0, 0), (1, 1)),
    ("rus_Cyrl", "«Война и мир»", "Война и мир", (0, "1/3"), (1, 1)),
    ("rus_Cyrl", "Баи\u0306кал", "байкал", (1, 1), (1, 1)),
    ("tha_Thai", "กรุงเทพมหานคร", "กรุงเทพ", (0, 0), (0, "2/3")),  # 12 clusters and 6
    ("tha_Thai", "กรุงเทพ มหานคร", "กรุงเทพมหานคร", (0, 0), (1, 1)),
    ("tha_Thai", "น้ำ", "นา", (0, 0), (0, 0)),  # marks stay with their letter
    ("tha_Thai", "ปี 2563", "2563", (0, "2/3"), (0, "2/3")),
    ("tur_Latn", "İstanbul'da", "I\u0307stanbulda", (1, 1), (1, 1)),
    ("tur_Latn", "Türkiye’nin", "türkiyenin", (0, 0), (1, 1)),
    ("vie_Latn", "của Hà Nội", "Ha\u0300 No\u0323\u0302i", (0, "4/5"), (1, 1)),
    ("zho_Hans", "北京大学。", "北京", (0, 0), (0, "2/3")),  # no spaces: a character is a token
    ("zho_Hans", "2008 年北京", "2008年北京", (0, 0), (1, 1)),
    ("zho_Hans", "《红楼梦》", "红楼梦", (0, 0), (1, 1)),
    ("zho_Hans", "iPhone手机", "iphone 手机", (0, 0), (1, 1)),
    ("zho_Hant", "臺北大學", "臺北", (0, 0), (0, "2/3")),
    ("jpn_Jpan", "東京タワー", "東京", (0, 0), (0, "4/7")),
    ("khm_Khmr", "ស្រី", "ស្រី\u200b", (0, 0), (1, 1)),
]

PUNCTUATION = {c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c)[0] == "P"} | set(
    string.punctuation
)
# The article lists of MLQA's evaluation script.
ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": r"\sال^|ال",
}


def reference_squad(text: str, _: str) -> list[str]:
    """SQuAD v1.1: lower, punctuation, articles, white space; NFC before."""
    text = unicodedata.normalize("NFC", text).lower()
    for mark in string.punctuation:
        text = text.replace(mark, "")
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def reference_mlqa(text: str, code: str) -> list[str]:
    """MLQA's rules, by its language codes. Thai, which it lacks: cut between letters, not before a mark or sara am."""
    text = "".join(c for c in unicodedata.normalize("NFC", text).lower() if c not in PUNCTUATION)
    text = re.sub(ARTICLES.get(code, "(?!)"), " ", text)
    if code == "zh":
        text = re.sub("([\u4e00-\u9fa5])", r" \1 ", text)
    if code == "th":
        text = "".join(
            char + " " * ((thai(char) or thai(after)) and unicodedata.category(after) != "Mn" and after != "\u0e33")
            for char, after in zip(text, f"{text} "[1:], strict=True)
        )
    return text.split()


def thai(char: str) -> bool:
    return unicodedata.name(char, "").startswith("THAI CHARACTER") and unicodedata.category(char)[0] in "LM"


def reference_scores(predicted: list[str], gold: list[str]) -> tuple[float, float]:
    left = list(gold)
    for token in predicted:
        if token in left:
            left.remove(token)
    common = len(gold) - len(left)
    if common == 0:
        return float(predicted == gold), 0.0
    precision, recall = Fraction(common, len(predicted)), Fraction(common, len(gold))
    return float(predicted == gold), float(2 * precision * recall / (precision + recall))


REFERENCES: dict[str, Callable[[str, str], list[str]]] = {"squad": reference_squad, "mlqa": reference_mlqa}


def short(code: str) -> str:
    return languages.get(code).benchmarks.get("xquad", code)


@pytest.mark.parametrize(("language", "prediction", "gold", "squad", "mlqa"), CASES)
def test_hand_made(language: str, prediction: str, gold: str, squad: tuple[int, str], mlqa: tuple[int, str]) -> None:
    for name, (em, score) in (("squad", squad), ("mlqa", mlqa)):
        assert exact_match(prediction, [gold], name, language) == em
        assert f1(prediction, [gold], name, language) == pytest.approx(float(Fraction(score)), abs=1e-12)
        assert f1(gold, [prediction], name, language) == f1(prediction, [gold], name, language)
        assert exact_match(gold, [prediction], name, language) == em
        if language in {entry.code for entry in languages.of_benchmark("xquad")}:
            tokens = [REFERENCES[name](text, short(language)) for text in (prediction, gold)]
            assert reference_scores(*tokens) == pytest.approx((em, float(Fraction(score))), abs=1e-12)


def test_cases_cover_xquad() -> None:
    assert {entry.code for entry in languages.of_benchmark("xquad")} <= {case[0] for case in CASES}


@pytest.mark.parametrize("code", [entry.benchmarks["xquad"] for entry in languages.of_benchmark("xquad")])
@pytest.mark.parametrize("name", ["squad", "mlqa"])
def test_xquad_answers_as_the_rules_have_it(pool: Path, code: str, name: str) -> None:
    """Real answers, as predictions of themselves, of each other, longer, and between the marks of many scripts."""
    file = json.loads((pool / "qa" / "xquad" / f"xquad.{code}.json").read_text(encoding="utf-8"))
    golds = [qa["answers"][0]["text"] for a in file["data"] for p in a["paragraphs"] for qa in p["qas"]][:300]
    contexts = [p["context"] for a in file["data"] for p in a["paragraphs"]]
    partial = 0
    for index, gold in enumerate(golds):
        longer = contexts[index % len(contexts)][:80] + " " + gold
        for prediction in (gold, golds[index - 1], longer, f"«{gold}», the", unicodedata.normalize("NFD", gold), ""):
            tokens = [REFERENCES[name](text, code) for text in (prediction, gold)]
            expected = reference_scores(*tokens)
            assert NORMALISERS[name](prediction, code) == tokens[0]
            found = exact_match(prediction, [gold], name, code), f1(prediction, [gold], name, code)
            assert found == pytest.approx(expected, abs=1e-12)
            partial += 0 < expected[1] < 1
    assert partial > 100


def test_maximum_over_gold_answers() -> None:
    assert f1("the river Rhine", ["Danube", "Rhine", "Rhine valley"], "squad", "en") == pytest.approx(2 / 3)
    assert exact_match("Rhine", ["Danube", "the Rhine"], "squad", "en") == 1
    assert exact_match("Rhine", ["Danube", "der Rhein"], "mlqa", "de") == 0


@pytest.mark.parametrize("name", ["squad", "mlqa"])
def test_nothing_left_after_normalising(name: str) -> None:
    """Both scripts: equal, so EM is 1, and no token in common, so F1 is 0."""
    assert exact_match("The.", ["an!"], name, "eng_Latn") == 1
    assert f1("The.", ["an!"], name, "eng_Latn") == 0
    assert exact_match("", ["Rhine"], name, "eng_Latn") == f1("", ["Rhine"], name, "eng_Latn") == 0


def test_tokens() -> None:
    assert normalise_squad(" The «Rhine»,\tA.B. ") == "«rhine» ab"
    assert normalise_mlqa("El Niño, ¡la niña!", "es") == ["niño", "niña"]
    assert normalise_mlqa("中国GDP增长6.5%", "zh") == ["中", "国", "gdp", "增", "长", "65"]
    assert normalise_mlqa("น้ำท่วมปี ๒๕๖๐", "th") == ["น้ำ", "ท่", "ว", "ม", "ปี", "๒๕๖๐"]
    assert normalise_mlqa("iPhoneが好き", "ja") == ["iphone", "が", "好", "き"]
    assert normalise_mlqa("ខ្ញុំ 5", "km") == ["ខ្ញុំ", "5"]
    assert normalise_mlqa("မြန်မာ", "my") == ["မြ", "န်", "မာ"]
    assert normalise_mlqa("သမ္မတ", "my") == ["သ", "မ္မ", "တ"]
    assert normalise_mlqa("ສະບາຍດີ", "lo") == ["ສ", "ະ", "ບ", "າ", "ຍ", "ດີ"]


def test_errors_help() -> None:
    with pytest.raises(TransfixError, match=r"unknown normaliser 'squad2' \(allowed: squad, mlqa\)"):
        f1("a", ["a"], "squad2", "en")
    with pytest.raises(TransfixError, match="at least one text"):
        exact_match("a", [], "squad", "en")
    with pytest.raises(TransfixError, match="at least one text"):
        f1("a", "a", "squad", "en")
    with pytest.raises(languages.UnknownLanguageError):
        f1("a", ["a"], "mlqa", "xx_Nope")


@pytest.mark.parametrize("language", ["eng_Latn", "tha_Thai", "zho_Hans"])
def test_long_answers_take_linear_time(language: str) -> None:
    """A model that repeats itself must not stop an evaluation: with a square in the length this would take hours."""
    for text in ("the " * 100_000, "北" * 200_000, "น้" * 100_000, "." * 200_000, "a" * 200_000):
        assert f1(text, [text, "x"], "mlqa", language) in (0, 1)
