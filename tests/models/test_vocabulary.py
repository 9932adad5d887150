"""A tokenizer that does not fit its model is refused when both are loaded, and said by inspect and task check before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.models.conftest import WORDS
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from transfix import models
from transfix.cli.app import app
from transfix.errors import TransfixError
from transfix.models import text_side
from transfix.models.inspect import inspect


@pytest.fixture
def padded(tiny_llama: Path) -> Path:
    """A pad token added, and the embeddings not resized: what tutorials have users do."""
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(tiny_llama)
    return tiny_llama


def test_a_pad_token_without_an_embedding(padded: Path) -> None:
    wanted = (
        rf"embeddings for {len(WORDS)} tokens .* pad_token '<pad>' is token {len(WORDS)}\. .*resize_token_embeddings"
    )
    with pytest.raises(TransfixError, match=wanted):
        models.load(padded, dtype="float32", device="cpu")
    with pytest.raises(TransfixError, match=wanted):
        text_side.load(padded)
    found = inspect(padded)
    assert f"REFUSED by train and evaluate, since there are {len(WORDS)} embeddings: pad_token '<pad>'" in found.texts
    shown = CliRunner().invoke(app, ["task", "check", "xnli", "--languages", "de", "--model", str(padded)])
    assert shown.exit_code == 2
    assert "pad_token '<pad>' is token" in " ".join(shown.output.split())


def test_a_directory_without_a_vocabulary(tiny_model: Path, tmp_path: Path) -> None:
    """transformers makes a tokenizer of special tokens alone, and every text would be the same."""
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model, bare, ignore=shutil.ignore_patterns("tokenizer*"))
    for read in (text_side.load, lambda name: models.load(name, dtype="float32", device="cpu")):
        with pytest.raises(TransfixError, match=r"'.+bare' knows no words, .+tokenizer\.save_pretrained\(directory\)"):
            read(bare)
    assert inspect(bare).texts == "REFUSED by train and evaluate: no file of a tokenizer is in it"
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(bare)
    assert models.load(bare, dtype="float32", device="cpu").tokenizer("a b")["input_ids"]
    assert "REFUSED" not in inspect(bare).texts


def test_inspect_says_that_weights_are_damaged(tiny_model: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(tiny_model, torn)
    assert inspect(torn).weights == ""
    (torn / "model.safetensors").write_bytes((tiny_model / "model.safetensors").read_bytes()[:9_000])
    said = " ".join(CliRunner().invoke(app, ["inspect", str(torn)]).output.split())
    assert "weights REFUSED by train and evaluate" in said
    assert "is truncated" in inspect(torn).weights
    (torn / "model.safetensors").unlink()
    assert inspect(torn).weights == "", "none are needed"


def test_what_the_message_advises_works(padded: Path, tmp_path: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(padded), AutoTokenizer.from_pretrained(padded)
    model.resize_token_embeddings(len(tokenizer))
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "resized")
    assert models.load(tmp_path / "resized", dtype="float32", device="cpu").tokenizer.pad_token_id == len(WORDS)
    assert "REFUSED" not in inspect(tmp_path / "resized").texts

    settings = json.loads((padded / "tokenizer_config.json").read_text())
    (padded / "tokenizer_config.json").write_text(json.dumps({**settings, "pad_token": "</s>"}))
    assert models.load(padded, dtype="float32", device="cpu").tokenizer.pad_token_id == WORDS.index("</s>")


def test_words_without_embeddings_are_refused_where_they_are_read(tiny_llama: Path) -> None:
    """Gemma 3's text models have a token for images and no embedding for it: that alone is no reason to refuse them."""
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.save_pretrained(tiny_llama)
    assert models.load(tiny_llama, dtype="float32", device="cpu")
    assert "1 tokens have no embedding and are refused in texts: <image>" in inspect(tiny_llama).texts


def test_inspect_says_what_texts_get(tiny_model: Path, tiny_llama: Path) -> None:
    assert inspect(tiny_model).texts == "begin with <bos>; generated ones end with <eos>"
    assert inspect(tiny_llama).texts == "begin with nothing of the tokenizer's; generated ones end with </s>"
    (tiny_llama / "tokenizer.json").write_text("{")
    assert "its tokenizer cannot be read here" in inspect(tiny_llama).texts
    for path in tiny_llama.glob("*token*"):
        path.unlink()
    (tiny_llama / "model.safetensors").unlink()
    assert inspect(tiny_llama).texts == "", "a configuration alone can be inspected"


def test_inspect_says_where_positions_are_turned_otherwise(tmp_path: Path, tiny_llama: Path) -> None:
    settings = json.loads((tiny_llama / "config.json").read_text())
    assert inspect(tiny_llama).reach == ""
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    (tmp_path / "config.json").write_text(
        json.dumps({**settings, "rope_parameters": rope, "max_position_embeddings": 64})
    )
    assert "beyond 64 tokens" in inspect(tmp_path).reach
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path)])
    assert "such rows are computed apart" in " ".join(shown.output.split())
