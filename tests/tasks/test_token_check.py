"""`transfix task check` says beforehand what training or measuring would trip over in a tokenizer and its model."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.tasks.small_tokenizers import bert, byte_level, metaspace, whole_words
from transformers import LlamaConfig, PreTrainedTokenizerFast
from typer.testing import CliRunner

from transfix.cli.app import app
from transfix.models import text_side

TASK: dict[str, Any] = {
    "name": "lamps",
    "kind": "generation",
    "fields": ["text"],
    "label": "answer",
    "prompt": "{{text}}\nSo?",
    "target": " {{answer}}",
    "languages": ["en"],
    "data": {"train": {"files": "train.csv"}},
    "max_new_tokens": 8,
}
CHOICE: dict[str, Any] = {"kind": "choice", "labels": {"a": " yes", "b": " no"}, "target": None, "max_new_tokens": None}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def check(
    tokenizer: PreTrainedTokenizerFast,
    rows: list[tuple[str, str]],
    config: dict[str, Any] | None = None,
    **changes: Any,
) -> tuple[int, str, str]:
    """Exit status, problems and notes of a task with these rows, for a model of which there is no more than this."""
    tokenizer.save_pretrained("model")
    LlamaConfig(**({"vocab_size": len(tokenizer)} | (config or {}))).save_pretrained("model")
    content = {name: value for name, value in {**TASK, **changes}.items() if value is not None}
    Path("task.yaml").write_text(yaml.safe_dump(content, allow_unicode=True))
    with Path("train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "answer"), *rows])
    result = CliRunner().invoke(app, ["task", "check", "task.yaml", "--model", "model", "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    found = json.loads(result.output)
    return result.exit_code, "\n".join(found["problems"]), "\n".join(found["notes"])


GOOD = [("The lamp", "a"), ("My bill", "b")]


def test_nothing_to_say() -> None:
    assert check(byte_level(), GOOD) == (0, "", "")
    assert check(byte_level(), GOOD, **CHOICE) == (0, "", "")


@pytest.mark.parametrize("scoring", ["word", "likelihood"])
def test_prompt_and_answer_that_meet_inside_a_token(scoring: str) -> None:
    options = CHOICE | {"prompt": "{{text}}", "labels": {"a": "是", "b": "否"}, "scoring": scoring}
    rows = [("灯坏了 答案：", "a"), ("账单 答案", "b"), ("bill", "b"), ("lamp", "a"), ("灯：", "a")]
    status, problems, notes = check(metaspace(), rows, **options)
    if scoring == "word":
        assert status == 2
        assert "'是' merges with the end of the prompt" in problems
        rows = [rows[1], ("灯坏了", "a"), ("灯", "a"), *rows[4:]]
        status, problems, notes = check(metaspace(), rows, **options)
        assert "in 1 of 4 cases prompt and answer meet inside a token (…'灯：' + 'a label word')" in notes
    else:
        assert (status, problems) == (0, "")
        assert (
            "train eng_Latn: in 4 of 10 cases prompt and answer meet inside a token (…'灯坏了 答案：' + '是')" in notes
        )


def test_texts_that_end_in_something() -> None:
    status, problems, notes = check(bert(), GOOD)
    assert (status, problems) == (0, "")
    assert "the tokenizer ends texts with [SEP]: it is left out" in notes
    assert "2 of 2 answers" not in notes
    status, problems, notes = check(bert(), [("灯坏了", "灯坏了")], target="{{answer}}")
    assert "1 of 1 answers do not come back from their tokens as they are ('灯坏了' becomes '灯 坏 了')" in notes
    tokenizer = byte_level()
    tokenizer.eos_token = None
    assert "the tokenizer has no end token" in check(tokenizer, GOOD)[2]


def test_control_tokens_in_rows() -> None:
    rows = [("The <turn>lamp</s>", "a"), ("My bill", "b")]
    status, problems, notes = check(byte_level(), rows, prompt="<turn>{{text}}\nSo?")
    assert (status, problems) == (0, "")
    assert "train eng_Latn: 1 rows hold the letters of control tokens (<turn>, </s>): they are read as letters" in notes
    vocabulary = ("<s>", "</s>", "<unk>", "a", "b", "So?")
    status, problems, notes = check(whole_words(vocabulary), [("a </s>", "a"), ("b", "b")])
    assert status == 2
    assert "eng_Latn train-00000" in problems
    assert "cannot be read as letters: its vocabulary has the letters as that one token" in problems


def test_control_tokens_of_the_template() -> None:
    assert (
        "the prompt begins with <s>, which the tokenizer puts before texts itself"
        in check(byte_level(), GOOD, prompt="<s>{{text}}\nSo?")[2]
    )
    assert (
        "the prompt holds <s>, the beginning of a text, behind its own beginning"
        in check(byte_level(), GOOD, prompt="\n<s>{{text}}\nSo?")[2]
    )
    assert "the prompt ends with </s>, the end of a text" in check(byte_level(), GOOD, prompt="{{text}}</s>")[2]
    assert "<turn>" not in check(byte_level(), GOOD, prompt="<turn>{{text}}\nSo?")[2]


def test_tokens_without_embeddings() -> None:
    tokenizer = byte_level()
    size = len(tokenizer)
    tokenizer.add_tokens(["lamp"])
    status, problems, _ = check(tokenizer, GOOD, {"vocab_size": size})
    assert status == 2
    assert f"'The lamp\\nSo? a' has token {size} ('lamp')" in problems
    assert "My bill" not in problems


def test_prompts_that_the_model_cannot_read_whole() -> None:
    rows = [("a" * 100, "a"), ("b", "b")]
    short = {"max_position_embeddings": 64}
    assert (
        "1 of 2 prompts are longer than the 64 tokens that the model reads: they lose their middle"
        in check(byte_level(), rows, short, **CHOICE)[2]
    )
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    notes = check(byte_level(), rows, short | {"rope_parameters": rope})[2]
    assert "longer than the 56 tokens that the model reads beside 8 of an answer" in notes
    assert text_side.load("model").generates == 64
