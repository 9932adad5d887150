"""The terminal table at every width, and the Markdown table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from transfix import report
from transfix.report.contents import Report


def printed(found: Report, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(report.terminal(found))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue().splitlines()


@pytest.fixture(scope="module")
def found(study: Path) -> Report:
    return report.collect(study)


@pytest.mark.parametrize(("width", "tables"), [(120, 1), (80, 1), (60, 2), (40, 3)])
def test_every_width_shows_every_number_whole(found: Report, width: int, tables: int) -> None:
    lines = printed(found, width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert sum(line.split()[:1] == ["Language"] for line in lines) == tables
    for method in found.tasks[0].methods:
        for code in ("eng_Latn", "swh_Latn", "urd_Arab"):
            entry = method.language(code)
            assert entry is not None
            low, high = entry["interval"]
            assert f"{100 * entry['score']:.1f}" in text
            assert f"[{100 * low:.1f}, {100 * high:.1f}]" in text
    assert "…" not in text
    for words in ("Chance", "115,272", "swh_Latn"):
        assert words in text


def test_states_what_a_table_must_state(found: Report) -> None:
    text = "\n".join(printed(found, 200))
    for words in (
        "rows a language: 100, chance 33.3",
        "Split: test",
        "Data: snapshot: a random sample",
        "Licence of the data: CC BY-NC 4.0",
        "Licence of the training data: OANC",
        "Licence of the model: Gemma Terms of Use",
        "Classes: entailment, neutral, contradiction",
        r"Prompt template: {premise}\n{hypothesis}\nAnswer:",
        'Label words: entailment " yes", neutral " maybe", contradiction " no"',
        "Examples in the prompt: none (zero-shot)",
        "Prompt language: English, whatever the language of the row",
        "Model: gemma-3-270m",
        "Trained on: MNLI, 3,000 rows, 3 epochs, English (data: snapshot)",
        "Seed: 0",
        "Prompts cut to fit: none",
        "Average without English (14)",
        "Average with English (15)",
        "95 % percentile bootstrap",
    ):
        assert words in text


def test_user_text_is_neither_markup_nor_control(store: Any) -> None:
    evil = "[red]x[/red] \x1b[31m <b> | *y* \u202e"
    store.run("lora", [{"method": evil}], meta=store.meta | {"template": evil}, languages=["deu_Latn", "fra_Latn"])
    found = report.collect(store.root)
    text = "\n".join(printed(found, 160))
    assert "\x1b" not in text
    assert r"[red]x[/red] \x1b[31m <b> | *y* \u202e" in text
    blocks = [block.splitlines() for block in report.markdown(found).split("\n\n") if block.startswith("|")]
    assert len(blocks) == 2  # scores and further metrics
    for table in blocks:
        assert len({line.replace(r"\|", "").count("|") for line in table}) == 1
    assert "<b>" not in report.markdown(found)
    assert "\x1b" not in report.markdown(found)


def test_unfinished_averages_carry_a_mark(store: Any) -> None:
    store.run("base", "base")
    store.run("lora", "lora", languages=store.xnli[:4])
    found = report.collect(store.root)
    lines = [line for line in printed(found, 120) if line.startswith(" Average without")]
    assert "† [" in lines[0]
    assert "† not all languages yet" in "\n".join(printed(found, 200))
    assert "not finished xnli: 11 languages to go" in " ".join(printed(found, 200))


def test_markdown_is_a_table_the_further_metrics_and_statements(found: Report) -> None:
    text = report.markdown(found)
    lines = text.splitlines()
    assert text.endswith("\n")
    assert lines[0].startswith("**LoRA: ")
    assert lines[2] == "| Language | n | Base model | LLaMA-Adapter | LoRA |"
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    rows, further = blocks
    assert further[0] == "| Method | Macro-F1 |"
    assert [line.split(" | ")[0] for line in further[2:]] == ["| Base model", "| LLaMA-Adapter", "| LoRA"]
    assert all(line.count(" | ") == 4 for line in rows)
    assert sum("`" in line for line in rows) == 15
    assert any(line.startswith("| **Average without English (14)** |  | **") for line in rows)
    assert "- Split: test" in lines


def test_nothing_yet(store: Any) -> None:
    store.run("lora", "lora", languages=[], training=None)
    found = report.collect(store.root)
    assert printed(found, 100)[0] == "No predictions yet"
    assert "run lora has no predictions yet" in report.markdown(found)
