"""What a task would ask is shown, and what is wrong with its rows named, before anything is trained."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from transfix.cli.app import app

TOPICS = ("billing", "delivery", "quality")
TEXTS = {
    "train": ("My bill of {n} is wrong", "My parcel {n} is late", "The lamp {n} is broken"),
    "test-en": ("Bill {n} is wrong!", "Parcel {n} is late!", "Lamp {n} is broken!"),
    "test-de": ("Rechnung {n} ist falsch", "Paket {n} ist zu spät", "Lampe {n} ist kaputt"),
    "test-sw": ("Bili {n} si sahihi", "Kifurushi {n} kimechelewa", "Taa {n} imevunjika"),
}
TASK: dict[str, Any] = {
    "name": "complaints",
    "kind": "choice",
    "fields": ["text"],
    "label": "topic",
    "prompt": "{{text}}\nSo?",
    "labels": {"billing": " yes", "delivery": " maybe", "quality": " no"},
    "languages": ["en", "de", "sw"],
    "data": {"train": {"files": "train.csv"}, "test": {"files": "test-{lang}.csv"}},
}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    Path("complaints").mkdir()
    for name, texts in TEXTS.items():
        rows = [(text.format(n=n), topic) for n in range(10) for text, topic in zip(texts, TOPICS, strict=True)]
        with Path(f"complaints/{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "topic"), *rows])
    write_task()


def write_task(**changes: Any) -> None:
    Path("complaints/task.yaml").write_text(yaml.safe_dump({**TASK, **changes}, allow_unicode=True))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def test_the_check_shows_prompts_balance_tokens_and_problems(tiny_model: Path) -> None:
    good = call("task", "check", "complaints/task.yaml", "--model", tiny_model)
    assert good.exit_code == 0, good.output
    for text in (
        "billing 10, delivery 10, quality 10",
        "Paket 0 ist zu spät",
        "So? maybe",
        "median",
        "No problems found",
    ):
        assert text in good.output, text
    assert good.output.count("So?") == 3 * 4
    facts = json.loads(call("task", "check", "complaints/task.yaml", "--json").output)
    assert [(part["purpose"], part["code"], part["rows"]) for part in facts["parts"]] == [
        ("train", "eng_Latn", 30),
        ("test", "eng_Latn", 30),
        ("test", "deu_Latn", 30),
        ("test", "swh_Latn", 30),
    ]

    with Path("complaints/test-de.csv").open("a") as file:
        file.write("Noch eine,refund\n")
    with Path("complaints/test-sw.csv").open("a") as file:
        file.write("My bill of 3 is wrong,billing\n")
    Path("complaints/test-en.csv").unlink()
    write_task(labels={"billing": " yes", "delivery": " maybe so", "quality": " no"})
    bad = refused(call("task", "check", "complaints/task.yaml", "--model", tiny_model))
    for text in ("refund", "test-de.csv:32", "test-en.csv", "1 rows are training rows too", "' maybe so' is"):
        assert text in bad, text


def test_rows_are_compared_by_their_fields_only() -> None:
    write_task(optional=["note"])
    with Path("complaints/train.csv").open("w") as file:
        file.write("text,topic,note\nMy bill,billing,a\nMy parcel,delivery,b\nMy lamp,quality,c\n")
    for name in ("en", "de", "sw"):
        Path(f"complaints/test-{name}.csv").write_text("text,topic,note\nMy bill,billing,other\nSo,quality,x\n")
    assert "1 rows are training rows too" in refused(call("task", "check", "complaints/task.yaml"))


def test_reference_answers_that_are_not_on_offer() -> None:
    write_task(optional=["note"], needs={"quality": "note"}, data={"test": {"files": "test.csv"}}, languages=["en"])
    Path("complaints/test.csv").write_text("text,topic,note\nA,billing,\nB,quality,c\nC,quality,\n")
    message = refused(call("task", "check", "complaints/task.yaml"))
    assert "eng_Latn test-00002: 'quality' is the reference answer and not on offer" in message
    assert message.count("not on offer") == 1
