"""The further metrics of a report: what they are, and that they stand in every form it is written in."""

from __future__ import annotations

import csv
import html
import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from transfix import report
from transfix.report import further
from transfix.report.contents import Report, TaskReport
from transfix.runs.metrics import compute_metrics
from transfix.runs.store import Run
from transfix.statistics import over_seeds
from transfix.statistics.bootstrap import Floats
from transfix.statistics.metrics import MACRO_F1, METRICS, Counted, Metric

LANGUAGES = ["eng_Latn", "deu_Latn", "tha_Thai"]
BLEU, CHRF = METRICS["corpus_bleu"], METRICS["corpus_chrf"]
_WORDS = "der die das Haus Katze sitzt auf einer Matte und regnet heute sehr stark nicht ein Apfel"
WORDS = _WORDS.split()


def printed(found: Report, width: int = 160) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(report.terminal(found))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def records(found: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(report.csv(found))))


def number(entry: Any) -> str:
    """`45.1 [43.2, 47.0]`, as tables write it."""
    low, high = entry["interval"]
    return f"{100 * entry['score']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def section(page: str, title: str) -> str:
    """What stands on the page from one heading to the next one, without tags."""
    part = page.split(f"<h3>{title}</h3>")[1].split("<h3>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part)).split())


def translations(store: Any, **meta: Any) -> Path:
    """Translations of a base model and of two seeds of LoRA, with two references each."""
    meta = {"task": "flores_from_english", "kind": "generation", "judge": "translation", "metric": "chrf",
            "metric_title": "chrF++ of sentences", "split": "test"} | meta  # fmt: skip
    for seed, (name, parts) in enumerate((("base", "base"), ("lora-0", "lora"), ("lora-1", "lora"))):
        generator = np.random.default_rng(seed)
        folder = store.run(name, parts, languages=[], result="flores", trained_with=max(0, seed - 1))
        for code in LANGUAGES:
            fixed = np.random.default_rng(len(code) + ord(code[0]))
            golds = [" ".join(fixed.choice(WORDS, fixed.integers(5, 14))) + "." for _ in range(40)]
            answers = [
                " ".join(word for word in gold.split() if generator.random() < 0.7 + 0.1 * seed) for gold in golds
            ]
            columns = store.answers(0.5, 1, 40) | {
                "gold": golds,
                "answer": answers,
                "score": generator.random(40).tolist(),
            }
            columns["golds"] = [[gold, gold.lower()] for gold in golds]
            file = folder / "predictions" / "flores" / f"{code}.parquet"
            store.predictions(file, columns, meta | {"answer_language": code})
    root: Path = store.root
    return root


def only(found: Report) -> TaskReport:
    (task,) = found.tasks
    return task


def test_choices_have_macro_f1(study: Path) -> None:
    task = only(report.collect(study))
    assert task.metrics == (MACRO_F1,)
    lora = task.methods[2]
    predictions = lora.run.predictions["xnli"]
    rows = {code: MACRO_F1.of(p.columns, p.meta, code) for code, p in predictions.items()}
    expected = over_seeds.summary_of([rows])
    assert lora.further == {"macro_f1": {part: expected[part] for part in ("languages", "macro")}}
    scores = []
    for code, p in predictions.items():
        gold, answer = (np.array(p.columns[name]) for name in ("gold", "answer"))
        f1 = [2 * sum((gold == c) & (answer == c)) / (sum(gold == c) + sum(answer == c)) for c in set(gold)]
        assert rows[code].score == pytest.approx(np.mean(f1))
        scores.append(np.mean(f1))
    macro = further.entry(lora, "macro_f1", "all")
    assert macro is not None
    assert macro["score"] == pytest.approx(np.mean(scores))


def test_every_form_has_the_averages_and_two_have_the_languages(study: Path) -> None:
    found = report.collect(study)
    task = only(found)
    page, rows, text = report.page(found), records(found), printed(found)
    assert further.scope(task) == "average without English (14)"
    table = text.split("Further metrics in %, average without English (14)")[1]
    for method in task.methods:
        average = number(method.further["macro_f1"]["macro"]["without_english"])
        (line,) = (line for line in table.splitlines() if line.startswith(f" {method.label} "))
        assert line.split(maxsplit=len(method.label.split()))[-1].strip() == average
        assert (
            f"| {method.label} | {average.replace('[', chr(92) + '[').replace(']', chr(92) + ']')} |"
            in report.markdown(found)
        )
        latex = re.sub(r"\{\\scriptsize (.*?)\} ", r"\1 ", report.latex(found)).replace("{[}", "[").replace("{]}", "]")
        assert f"{method.label} & {average} " in latex
        assert f"{method.label} {average}" in section(page, "Further metrics")
        for code, entry in method.further["macro_f1"]["languages"].items():
            (row,) = (row for row in rows if (row["key"], row["method"]) == (code, method.label))
            assert float(row["metric_macro_f1"]) == entry["score"]
            assert [float(row[f"metric_macro_f1_{bound}"]) for bound in ("low", "high")] == entry["interval"]
            assert number(entry) in section(page, "Further metrics")
        (row,) = (row for row in rows if (row["key"], row["method"]) == ("without_english", method.label))
        assert float(row["metric_macro_f1"]) == method.further["macro_f1"]["macro"]["without_english"]["score"]


def test_seeds_count_as_in_the_main_table(store: Any) -> None:
    for seed in (0, 1):
        store.run(f"lora-{seed}", "lora", 0.6, 0.45 + 0.1 * seed, seed=seed, trained_with=seed, languages=LANGUAGES)
    store.run("more", "lora", languages=[*LANGUAGES, "swh_Latn"], model="other")
    task = only(report.collect(store.root))
    lora, more = task.methods
    if lora.seeds == 1:
        lora, more = more, lora
    assert lora.seeds == 2
    seeds = [
        {code: MACRO_F1.of(p.columns, p.meta, code) for code, p in run.predictions["xnli"].items()} for run in lora.runs
    ]
    expected = over_seeds.summary_of(seeds)
    assert lora.further["macro_f1"]["languages"] == expected["languages"]
    assert lora.further["macro_f1"]["macro"] == expected["macro"]
    assert lora.further["macro_f1"]["macro"]["all"]["sd"] > 0
    # averages are over the languages that averages are over
    assert task.averaged == set(LANGUAGES)
    assert more.further["macro_f1"]["macro"]["all"]["languages"] == 3
    assert more.further["macro_f1"]["languages"]["swh_Latn"]["n"] == 100


def test_translations_have_bleu_and_chrf_with_their_signatures(store: Any) -> None:
    import sacrebleu

    found = report.collect(translations(store))
    task = only(found)
    assert task.metrics == (BLEU, CHRF)
    base, lora = task.methods
    assert (base.seeds, lora.seeds) == (1, 2)
    for code, tokenizer in (("deu_Latn", "13a"), ("tha_Thai", "char")):
        scores: dict[Metric, list[float]] = {BLEU: [], CHRF: []}
        for run in lora.runs:
            columns = run.predictions["flores"][code].columns
            references = [list(column) for column in zip(*columns["golds"], strict=True)]
            theirs = sacrebleu.corpus_bleu(columns["answer"], references, tokenize=tokenizer, force=True)
            scores[BLEU].append(theirs.score)
            scores[CHRF].append(sacrebleu.corpus_chrf(columns["answer"], references, word_order=2).score)
        for metric, values in scores.items():
            entry = further.entry(lora, metric.name, code)
            assert entry is not None
            assert 100 * entry["score"] == pytest.approx(np.mean(values), rel=1e-12)
            assert 100 * entry["sd"] == pytest.approx(np.std(values, ddof=1), rel=1e-9)
            assert entry["interval"][0] < entry["score"] < entry["interval"][1]
    text, page = printed(found, 200), report.page(found)
    for tokenizer in ("13a", "char"):
        assert f"nrefs:2|case:mixed|eff:no|tok:{tokenizer}|smooth:exp|version:{sacrebleu.__version__}" in text
    assert "Signature of chrF++ of the corpus: nrefs:2|case:mixed|eff:yes|nc:6|nw:2|space:no" in text
    assert "Signature of BLEU" in page
    assert "BLEU by language" in section(page, "Further metrics")
    again = only(report.collect(store.root))  # from the counts that are kept now
    assert [method.further for method in again.methods] == [method.further for method in task.methods]
    measured = compute_metrics(Run(base.run.path))["flores"]["metrics"]
    for name in ("corpus_bleu", "corpus_chrf"):
        for code in LANGUAGES:
            assert measured[name]["languages"][code] | {"sd": None} == base.further[name]["languages"][code]


def test_without_the_package_that_counts_the_rest_is_there(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root = translations(store)
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    task = only(report.collect(root))
    assert task.metrics == ()
    assert any(
        "BLEU of LoRA is not shown: judging generated text needs the package sacrebleu" in note for note in task.notes
    )
    assert task.headline.startswith("LoRA")
    assert "<h3>Further metrics</h3>" not in report.page(report.collect(root))


def test_scores_of_rows_are_means_with_intervals(store: Any) -> None:
    meta = store.meta | {"task": "xquad", "kind": "extraction", "judge": "spans", "metric": "f1", "classes": []}
    folder = store.run("lora", "lora", languages=LANGUAGES, meta=meta, result="xquad")
    for number_, code in enumerate(LANGUAGES):
        columns = store.answers(0.5, number_) | {"metric_exact_match": [float(row % 3 == 0) for row in range(100)]}
        store.predictions(folder / "predictions" / "xquad" / f"{code}.parquet", columns, meta)
    task = only(report.collect(store.root))
    assert [metric.title for metric in task.metrics] == ["Exact match"]
    entry = further.entry(task.methods[0], "exact_match", "without_english")
    assert entry is not None
    assert entry["score"] == pytest.approx(0.34)
    assert 0.2 < entry["interval"][0] < 0.34 < entry["interval"][1] < 0.5
    assert task.unread == ()  # each score stands in one table only


def test_a_score_that_is_missing_is_said(store: Any) -> None:
    folder = store.run("lora", "lora", languages=LANGUAGES)
    columns = store.answers(0.5, 1) | {"metric_own": [None, *[1.0] * 99]}
    store.predictions(folder / "predictions" / "xnli" / "deu_Latn.parquet", columns)
    task = only(report.collect(store.root))
    assert task.metrics == (MACRO_F1,)
    assert any(
        note.startswith("Own of LoRA is not shown: predictions of deu_Latn: score of row") for note in task.notes
    )


def test_one_language_and_unfinished_methods(store: Any) -> None:
    store.run("base", "base", languages=LANGUAGES)
    store.run("lora", "lora", languages=LANGUAGES[:2])
    text = printed(report.collect(store.root))
    table = text.split("Further metrics in %, average without English (2)")[1].split("• ")[0]
    assert re.search(r" LoRA +\d\d\.\d† \[", table)
    assert not re.search(r" Base model +\d\d\.\d†", table)
    task = only(report.collect(store.root / "lora"))
    assert further.scope(task) == "average without English (1)"
    store.run("one", "lora", languages=["tha_Thai"], model="other")
    assert "Further metrics in %, Thai" in printed(report.collect(store.root / "one"))


@pytest.mark.parametrize("width", [120, 80, 60, 40])
def test_every_width_shows_every_number_whole(store: Any, width: int) -> None:
    for name, parts in (("base", "base"), ("long", [{"method": "prefix", "tokens": 10, "layers": "all"}])):
        folder = store.run(name, parts, languages=LANGUAGES)
        for code in LANGUAGES:
            columns = store.answers(0.5, 1)
            for score in ("rouge1", "exact_match_whole", "f1_mlqa", "a_name_of_ones_own"):
                columns[f"metric_{score}"] = np.random.default_rng(3).random(100).tolist()
            store.predictions(folder / "predictions" / "xnli" / f"{code}.parquet", columns)
    found = report.collect(store.root)
    text = printed(found, width)
    assert max(map(len, text.splitlines())) <= width
    for column in further.columns(only(found)):
        for entry in column.entries:
            assert entry is not None
            score, interval = number(entry).split(" ", 1)
            assert score in text
            assert interval in text
    assert "…" not in text


def recall(sums: Floats) -> Floats:
    """The mean over the classes that are the gold answer of some row of the share that is right."""
    classes = sums.shape[-1] // 2
    right, golds = sums[..., :classes], sums[..., classes:]
    mean: Floats = (right / np.maximum(golds, 1)).sum(axis=-1) / np.maximum((golds > 0).sum(axis=-1), 1)
    return mean


def count(columns: Any, meta: Any) -> Counted:
    gold, answer = (np.array(columns[name])[:, None] == np.array(meta["classes"]) for name in ("gold", "answer"))
    return Counted(np.concatenate([gold & answer, gold], axis=1).astype(np.float64))


BALANCED = Metric(
    "balanced_accuracy",
    "Balanced accuracy",
    kinds=("choice",),
    reads=("gold", "answer"),
    count=count,
    of_sums=recall,
)


def test_a_metric_that_is_registered_is_everywhere(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One object in the registry: metrics.json, terminal, Markdown, LaTeX, CSV and the page have it, with intervals."""
    monkeypatch.setitem(METRICS, BALANCED.name, BALANCED)
    folder = store.run("lora", "lora", languages=LANGUAGES)
    run = Run(folder)
    run.write_metrics(compute_metrics(run))
    results = Run(folder).metrics
    assert results is not None
    measured = results["xnli"]["metrics"]["balanced_accuracy"]
    columns = report.collect(store.root).tasks[0].methods[0].run.predictions["xnli"]["deu_Latn"].columns
    gold, answer = np.array(columns["gold"]), np.array(columns["answer"])
    by_hand = np.mean([np.mean(answer[gold == name] == name) for name in set(gold)])
    entry, average = measured["languages"]["deu_Latn"], measured["macro"]["without_english"]
    assert entry["score"] == pytest.approx(by_hand)
    assert entry["interval"][0] < by_hand < entry["interval"][1]
    assert average["languages"] == 2

    found = report.collect(store.root)
    assert [metric.name for metric in only(found).metrics] == ["macro_f1", "balanced_accuracy"]
    text = number(average)
    terminal, page = printed(found), section(report.page(found), "Further metrics")
    assert "Balanced accuracy" in terminal
    assert text in terminal
    assert "Balanced accuracy by language" in page
    assert text in page
    assert number(entry) in page
    assert f"| {text.replace('[', chr(92) + '[').replace(']', chr(92) + ']')} |" in report.markdown(found)
    assert "Method & Macro-F1 & Balanced accuracy" in report.latex(found)
    (row,) = (row for row in records(found) if row["key"] == "deu_Latn")
    assert float(row["metric_balanced_accuracy"]) == entry["score"]
    assert [float(row[f"metric_balanced_accuracy_{bound}"]) for bound in ("low", "high")] == entry["interval"]


def test_the_page_folds_the_languages(study: Path, browser: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(report.page(report.collect(study)), "utf-8")
    browser.look(1280)
    browser.open(page)
    tables = "[...document.querySelectorAll('.further')].filter((table) => table.checkVisibility())"
    assert browser.run(f"{tables}.map((table) => table.rows.length)") == [4]
    folded = (
        """[...document.querySelectorAll('details')].find((box) => box.textContent.includes('Macro-F1 by language'))"""
    )
    rows = f"{folded}.querySelectorAll('tbody.body tr')"
    assert browser.run(f"{rows}.length") == 15
    assert browser.run(f"[...{rows}].some((row) => row.checkVisibility())") is False
    browser.run(f"{folded}.querySelector('summary').click()")
    assert browser.run(f"[...{rows}].every((row) => row.checkVisibility())") is True
    assert browser.complaints() == []
