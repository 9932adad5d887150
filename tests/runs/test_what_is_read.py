"""Training, development, scoring and generation read the same tokens of a row, whatever the tokenizer does to texts."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.tasks.small_tokenizers import bert, byte_level, metaspace
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from transfix import data, models, tasks
from transfix.batches import TokenSequence
from transfix.errors import TransfixError
from transfix.evaluation.generation.endings import end_tokens
from transfix.runs import answering, run
from transfix.runs.specification import RunSpec
from transfix.runs.store import RunStore
from transfix.runs.training import encode_rows
from transfix.tasks import Reader

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "initializer_range": 0.2,
    "max_position_embeddings": 256,
}
TASK: dict[str, Any] = {
    "name": "lamps",
    "fields": ["text"],
    "label": "answer",
    "languages": ["en"],
    "data": {"train": {"files": "train.csv"}, "test": {"files": "test.csv"}},
}
CHOICE = TASK | {"kind": "choice", "prompt": "{{text}}\n答案：", "labels": {"a": "否", "b": "灯"}}
TEXT = TASK | {"kind": "generation", "prompt": "{{text}}\nSo? ", "target": "{{answer}}", "max_new_tokens": 8}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save(tokenizer: PreTrainedTokenizerFast, config: PreTrainedConfig | None = None) -> Path:
    """A tiny random model with this tokenizer, in ./model."""
    config = config or LlamaConfig(**SHAPE, vocab_size=len(tokenizer), eos_token_id=None)
    kinds = {LlamaConfig: LlamaForCausalLM, Phi3Config: Phi3ForCausalLM, GPT2Config: GPT2LMHeadModel}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kinds[type(config)](config).save_pretrained("model")
    tokenizer.save_pretrained("model")
    return Path("model")


def write(task: dict[str, Any], train: list[tuple[str, str]], test: Sequence[tuple[str, str]] = ()) -> tasks.Task:
    Path("task.yaml").write_text(yaml.safe_dump(task, allow_unicode=True))
    for name, rows in (("train", train), ("test", test or train)):
        with Path(f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "answer"), *rows])
    return tasks.get("task.yaml")


def rows_of(task: tasks.Task, split: str = "train") -> list[data.Example]:
    return data.load(task.benchmark, task.source("train" if split == "train" else "test"), "eng_Latn", split)


def whole(sequence: TokenSequence, target: tuple[int, ...]) -> tuple[int, ...]:
    """A row's prompt and target as the loss sees them."""
    return (*tuple(sequence.tokens)[: len(sequence.tokens) - sequence.reads + 1], *target)


@pytest.mark.parametrize("make", [metaspace, lambda: metaspace("normalizer"), bert, lambda: byte_level(ends=True)])
def test_what_is_learned_is_what_is_scored_and_asked(make: Callable[[], PreTrainedTokenizerFast]) -> None:
    tokenizer = make()
    loaded = models.load(save(tokenizer), dtype="float32", device="cpu")
    reader = Reader(tokenizer)
    choice = write(CHOICE | {"scoring": "likelihood"}, [("a b", "a"), ("c d", "b")])
    rows = rows_of(choice)
    found = encode_rows(loaded, choice, rows, 64)
    for row, sequence, target in zip(rows, found.sequences, found.objective.targets, strict=True):
        scored = tasks.continuation(tokenizer, choice.prompt(row), choice.target(row))
        assert (whole(sequence, target), len(target)) == scored
        assert not set(scored[0]) & set(reader.ending)

    text = write(TEXT, [("a b", "yes"), ("c d", "no")])
    rows = rows_of(text)
    found = encode_rows(loaded, text, rows, 64)
    end = end_tokens(loaded.model, tokenizer)[0]
    assert end == (tokenizer.eos_token_id if tokenizer.eos_token else tokenizer.sep_token_id)
    for row, sequence, target in zip(rows, found.sequences, found.objective.targets, strict=True):
        scored, count = tasks.continuation(tokenizer, text.prompt(row), text.target(row))
        assert (whole(sequence, target), len(target)) == ((*scored, end), count + 1)
        (asked,) = reader.prompts([tasks.open_prompt(text.prompt(row))])
        assert scored[: len(asked)] == tuple(asked), "generation goes on from where the answer was learned"
        assert len(asked) == len(scored) - count


def test_a_prompt_that_merges_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    model = save(metaspace())
    write(CHOICE | {"scoring": "likelihood", "labels": {"a": "是", "b": "否"}}, [("a b", "a"), ("c d", "b")] * 4)
    content = {"model": str(model), "dtype": "float32", "device": "cpu", "adapter": "lora"}
    training = {"task": "task.yaml", "epochs": 1, "batch_rows": 4, "development_rows": 0}
    spec = RunSpec.load(content | {"train": training, "evaluate": [{"task": "task.yaml", "languages": ["en"]}]})
    made = run.train(spec, RunStore("runs"))
    said = "task.yaml: in 8 of 8 rows prompt and answer meet inside a token"
    assert said in " ".join(capsys.readouterr().err.split())
    run.evaluate(made)
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_label_word_is_read_behind_the_prompt() -> None:
    """GPT2-Chinese's tokenizer ends texts with [SEP], and its configuration names an end token that it does not have."""
    tokenizer = bert()
    config = GPT2Config(n_embd=32, n_layer=1, n_head=4, n_positions=64, vocab_size=len(tokenizer), eos_token_id=50256)
    loaded = models.load(save(tokenizer, config), dtype="float32", device="cpu")
    choice = write(CHOICE, [("a b", "a"), ("c d", "b")])
    found = encode_rows(loaded, choice, rows_of(choice), 64)
    colon = tokenizer.convert_tokens_to_ids("：")
    assert [sequence.tokens[-1] for sequence in found.sequences] == [colon, colon]
    assert [sequence.tokens[0] for sequence in found.sequences] == [tokenizer.cls_token_id] * 2
    text = write(TEXT, [("a b", "yes")])
    assert encode_rows(loaded, text, rows_of(text), 64).objective.targets[0][-1] == tokenizer.sep_token_id


def test_prompts_are_cut_to_what_the_model_reads() -> None:
    tokenizer = byte_level()
    config = GPT2Config(n_embd=32, n_layer=1, n_head=4, n_positions=48, vocab_size=len(tokenizer))
    loaded = models.load(save(tokenizer, config), dtype="float32", device="cpu")
    long = ("a" * 100, "yes")
    text = write(TEXT, [("a b", "yes"), long])
    found = encode_rows(loaded, text, rows_of(text), 1000, ahead=3)
    assert found.truncated == 1
    assert max(len(sequence.tokens) for sequence in found.sequences) == 48 - 3
    choice = write(CHOICE | {"labels": {"a": " yes", "b": " no"}}, [("a" * 100, "a"), ("b", "b")])
    assert max(len(row.tokens) for row in encode_rows(loaded, choice, rows_of(choice), 1000).sequences) == 48
    endless = write(TEXT, [("a b", "yes" * 40)])
    with pytest.raises(TransfixError, match="lamps: a target of 119 tokens cannot be learned behind a prompt"):
        encode_rows(loaded, endless, rows_of(endless), 1000)


@pytest.mark.parametrize("kind", ["generation", "choice"])
def test_a_prompt_beyond_long_ropes_original_length(kind: str) -> None:
    """It loses its middle before generation and is scored whole as a choice; the other rows' answers stay what they were."""
    tokenizer = byte_level()
    rope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
        "factor": 4.0,
    }
    original = {"original_max_position_embeddings": 64}
    config = Phi3Config(
        **SHAPE, **original, vocab_size=len(tokenizer), rope_parameters=rope | original, eos_token_id=2, bos_token_id=1
    )
    model = save(tokenizer, config)
    content = (
        TEXT if kind == "generation" else CHOICE | {"labels": {"a": " yes", "b": " no"}, "prompt": "{{text}}\nSo?"}
    )
    short, long = [("b c", "a"), ("c d e", "b")], [("a" * 100, "a")]
    write(content, short, short + long)
    content = {"model": str(model), "dtype": "float32", "device": "cpu", "adapter": "base"}
    spec = RunSpec.load(content | {"evaluate": [{"task": "task.yaml", "languages": ["en"]}]})
    task, session = tasks.get("task.yaml"), answering.Session(run.train(spec, RunStore("runs")))
    found = session.answers(task, rows_of(task, "test"))
    assert [answer.truncated for answer in found] == [False, False, kind == "generation"]
    alone = answering.Session(session.run)
    for row, answer in zip(rows_of(task, "test"), found, strict=True):
        (by_itself,) = alone.answers(task, [row])
        assert by_itself.text == answer.text
        assert by_itself.scores == pytest.approx(answer.scores, abs=1e-5)
