"""Tiny models and tokenizers, made on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ["<unk>", "<s>", "</s>", "a", "cat", "sat", "yes", "no", "maybe"]


def save_tokenizer(directory: Path, **special: str) -> None:
    """A word-level tokenizer; by default with an end token and no padding token, as Llama's."""
    backend = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = Whitespace()
    tokens = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"} | special
    PreTrainedTokenizerFast(tokenizer_object=backend, **tokens).save_pretrained(directory)


def tiny_llama_config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=1,
        eos_token_id=2,
    )


@pytest.fixture
def tiny_llama(tmp_path: Path) -> Path:
    """A directory with a whole tiny Llama."""
    directory = tmp_path / "tiny-llama"
    torch.manual_seed(0)
    LlamaForCausalLM(tiny_llama_config()).save_pretrained(directory)
    save_tokenizer(directory)
    return directory
