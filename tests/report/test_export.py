"""The LaTeX tables and the CSV of a report."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from transfix import report
from transfix.cli.app import app
from transfix.report import labels, lines
from transfix.report.contents import Report
from transfix.report.export import escape

PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}\usepackage{booktabs,longtable,graphicx}
\begin{document}
"""
EVIL = '50% of $x_1$ & {y} #2 ~^\\ <a> |b| "c" é ü ł 中文 ب −3 [1, 2]\nnext \x1b[31m \\input{x}'


@pytest.fixture(scope="module")
def found(study: Path) -> Report:
    return report.collect(study)


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_holds_every_number_of_the_tables(found: Report) -> None:
    (task,) = found.tasks
    rows = records(report.csv(found))
    assert len(rows) == len(task.methods) * (15 + 2)
    for method in task.methods:
        for code in ("eng_Latn", "swh_Latn"):
            (row,) = (r for r in rows if r["method"] == method.label and r["key"] == code)
            entry = method.language(code)
            assert entry is not None
            assert float(row["score"]) == entry["score"]
            assert [float(row["low"]), float(row["high"])] == entry["interval"]
            assert (row["n"], row["seeds"], row["sd"], row["level"]) == ("100", "1", "", "language")
            for kind in ("base", "lora"):
                against = task.against(method, kind)
                if against is None:
                    assert row[f"{kind}_p"] == row[f"{kind}_difference"] == ""
                    continue
                difference = against["languages"][code]
                assert float(row[f"{kind}_difference"]) == difference["difference"]
                assert float(row[f"{kind}_holm"]) == difference["holm"] >= float(row[f"{kind}_p"])
        (row,) = (r for r in rows if r["method"] == method.label and r["key"] == "without_english")
        macro = method.macro("without_english")
        assert macro is not None
        assert float(row["score"]) == macro["score"]
        assert row["level"] == "average"
    swahili = next(row for row in rows if row["key"] == "swh_Latn")
    assert (swahili["name"], swahili["script"], swahili["resources"]) == ("Swahili", "Latin", "2")


def test_csv_and_tables_by_script(found: Report) -> None:
    (task,) = found.tasks
    rows = [row for row in records(report.csv(found, "script")) if row["level"] == "script"]
    assert {row["key"] for row in rows} == {group.name for group in task.groups["script"]}
    cyrillic = next(group for group in task.groups["script"] if group.name == "Cyrillic")
    entry = cyrillic.by_method[2]
    assert entry is not None
    (row,) = (row for row in rows if row["key"] == "Cyrillic" and row["method"] == "LoRA")
    assert float(row["score"]) == entry["score"]
    assert "| Cyrillic (2) |  |" in report.markdown(found, "script")
    assert "Cyrillic (2)" not in report.markdown(found)
    assert "\nCyrillic (2) & " in report.latex(found, "script")
    assert "| Class 5 (" in report.markdown(found, "resources")


def test_marks_say_what_holm_says(found: Report) -> None:
    (task,) = found.tasks
    base, adapter, lora = task.methods
    found_lines = {line.key: line for line in lines.lines(task)}
    seen = set()
    for code, line in found_lines.items():
        if line.kind != "language":
            continue
        for number, method in enumerate((adapter, lora), start=1):
            expected = ""
            for kind, mark in (("base", "*"), ("lora", "°")):
                against = task.against(method, kind)
                expected += mark if against and against["languages"][code]["holm"] < 0.05 else ""
            assert line.marks[number] == expected
            seen.add(expected)
        assert line.marks[0] == ""
    assert len(seen) > 1
    assert "* differs from the base model, ° differs from LoRA" in lines.legend(task)
    assert base.against_base is None


def unescaped(text: str) -> str:
    """What is left of LaTeX without escaped characters and known commands: no special character may be."""
    text = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|textquotedbl){}", "", text
    )
    text = re.sub(r"\\texttt{U\+[0-9A-F]{4,6}}|\$\^{\\circ}\$|\$-\$|\{\[\}|\{\]\}|\\ldots{}", "", text)
    return re.sub(r"\\[&%$#_{}]", "", text)


def test_user_text_is_escaped() -> None:
    text = escape(EVIL)
    assert not set(unescaped(text)) & set('&%$#_{}~^\\<>|"\n\x1b[]')
    assert "é" in text
    assert r"\texttt{U+4E2D}" in text
    assert r"\textbackslash{}input\{x\}" in text
    assert text.isprintable()


def tables(store: Any) -> Report:
    """Two tasks, with text of a user's in a model's name, a method's name and a label word; one longer than a page."""
    from transfix import languages

    codes = [language.code for language in languages.of_benchmark("belebele")][:50]
    store.run("evil", [{"method": EVIL}], model=EVIL, languages=["deu_Latn", "fra_Latn"])
    store.run("base", "base", model=EVIL, languages=["deu_Latn", "fra_Latn"])
    for tokens in (5, 10, 20):
        store.run(
            f"a{tokens}", [{"method": "prefix", "tokens": tokens}], model=EVIL, languages=["deu_Latn", "fra_Latn"]
        )
    long = store.meta | {"task": "belebele"}
    store.run("long", "lora", languages=codes, meta=long, result="belebele_50%", rows=10)
    return report.collect(store.root)


def test_latex_has_as_many_cells_as_columns(store: Any) -> None:
    text = report.latex(tables(store))
    # two tasks, one of them longer than a page; each has further metrics
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 1
    columns = 0
    rows = 0
    for line in text.splitlines():
        if opened := re.fullmatch(r"\\begin\{(?:tabular|longtable)\}\{(lr+)\}", line):
            columns = len(opened[1])
        elif line.endswith(r" \\"):
            assert len(re.findall(r"(?<!\\)&", line)) == columns - 1
            assert line.count("{") - line.count(r"\{") == line.count("}") - line.count(r"\}")
            rows += 1
    assert rows > 50
    assert r"\label{tab:belebele-50-}" in text
    assert r"\label{tab:belebele-50--metrics}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles(store: Any, tmp_path: Path) -> None:
    (tmp_path / "all.tex").write_text(PREAMBLE + report.latex(tables(store), "script") + r"\end{document}", "utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in done.stdout


@pytest.mark.parametrize("text", ["=cmd|'/C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert labels.cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [-0.5, 3, None, True, "", "-0.5", "+1e-3", "xnli", "a=b", "LoRA r=4"])
def test_numbers_stay_numbers_and_words_words(value: object) -> None:
    assert labels.cell(value) == value


def test_formulas_of_a_user_reach_no_csv(store: Any) -> None:
    evil = "=cmd|'/C calc'!A0"
    store.run("evil", [{"method": evil}], model=evil, **{evil: evil})
    texts = [cell for row in csv.reader(io.StringIO(report.csv(report.collect(store.root)))) for cell in row]
    assert f"'{evil}" in texts
    assert not [text for text in texts if text.startswith(("=", "@", "\t"))]
    done = CliRunner().invoke(app, ["runs", str(store.root), "--csv"])
    assert done.exit_code == 0, done.stderr
    texts = [cell for row in csv.reader(io.StringIO(done.stdout)) for cell in row]
    assert f"'{evil}" in texts
    assert not [text for text in texts if text.startswith(("=", "@", "\t"))]
    assert min(float(row["low"]) for row in csv.DictReader(io.StringIO(done.stdout))) > 0
