"""Our reading of a GGUF file equals transformers' own, bit for bit."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from transfix.errors import TransfixError
from transfix.models import gguf
from transfix.models.loading import quiet

sys.path.insert(0, str(Path(__file__).parent))
import gguf_files


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_weights_and_configuration_are_those_of_transformers(tmp_path: Path, architecture: str) -> None:
    path = gguf_files.write(tmp_path / "model.gguf", architecture)
    header = gguf.read_header(path)
    weights = dict(gguf.weights(header))
    with quiet():
        reference = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=path.name, dtype=torch.float32)
    expected = dict(reference.named_parameters())
    assert weights.keys() == expected.keys()
    for name, array in weights.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, expected[name].detach().numpy()), name
    theirs, ours = reference.config.to_dict(), gguf.config(header).to_dict()
    for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                "head_dim", "vocab_size", "rms_norm_eps", "rope_parameters", "sliding_window", "layer_types",
                "tie_word_embeddings", "max_position_embeddings", "eos_token_id", "pad_token_id"):  # fmt: skip
        assert ours.get(key) == theirs.get(key), key


def test_only_the_length_of_the_vocabulary_is_kept(tmp_path: Path) -> None:
    header = gguf.read_header(gguf_files.write(tmp_path / "model.gguf", "llama"))
    assert header.metadata["tokenizer.ggml.tokens"] == len(gguf_files.TOKENS)
    assert header.metadata["tokenizer.ggml.scores"][:3] == [0.0, -1.0, -2.0]


@pytest.mark.parametrize("keep", [3, 20, 60, 400])
def test_a_file_cut_in_its_header_is_told(tmp_path: Path, keep: int) -> None:
    path = gguf_files.write(tmp_path / "model.gguf", "llama")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TransfixError, match="not a complete GGUF file"):
        gguf.read_header(path)


def test_a_file_cut_in_its_weights_is_told(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "model.gguf", "llama")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(TransfixError, match="ends at byte"):
        dict(gguf.weights(gguf.read_header(path)))


def test_another_file_and_another_architecture_are_told(tmp_path: Path) -> None:
    other = tmp_path / "model.gguf"
    other.write_bytes(b"PK" * 50)
    with pytest.raises(TransfixError, match="not a complete GGUF file"):
        gguf.read_header(other)
    path = gguf_files.write(tmp_path / "falcon.gguf", "llama")
    path.write_bytes(path.read_bytes().replace(b"llama", b"koala"))
    with pytest.raises(TransfixError, match=r"'koala' cannot be converted \(known: gemma3, llama\)"):
        gguf.read_header(path)
