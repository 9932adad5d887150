"""A damaged model directory is named as such before anything is loaded from it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch

from transfix.errors import TransfixError
from transfix.models.files import check_directory, check_safetensors, check_sizes, check_tokenizer


def test_a_whole_directory_passes(tiny_llama: Path) -> None:
    check_directory(tiny_llama)
    check_safetensors(tiny_llama / "model.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncation_is_told_with_sizes(tiny_llama: Path, keep: int) -> None:
    path = tiny_llama / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TransfixError, match=r"model\.safetensors is (truncated|not a safetensors file)") as caught:
        check_directory(tiny_llama)
    assert f"{path.stat().st_size:,}" in str(caught.value)
    assert "again" in str(caught.value)


def test_bytes_too_many_are_damage(tiny_llama: Path) -> None:
    path = tiny_llama / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(TransfixError, match="is damaged"):
        check_safetensors(path)


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html>Please log in</html>",
        struct.pack("<Q", 9) + b"{not json",
        struct.pack("<Q", 8) + b'["list"]',
        struct.pack("<Q", 14) + b'{"w": {"a":1}}',
    ],
)
def test_other_files_are_no_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(TransfixError, match="is not a safetensors file"):
        check_safetensors(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(TransfixError, match="does not exist"):
        check_safetensors(tmp_path / "model.safetensors")


def test_all_damaged_shards_are_told_at_once(tiny_llama: Path) -> None:
    whole = (tiny_llama / "model.safetensors").read_bytes()
    (tiny_llama / "model.safetensors").unlink()
    (tiny_llama / "one.safetensors").write_bytes(whole)
    (tiny_llama / "two.safetensors").write_bytes(whole[:-5])
    shards = {"a": "one.safetensors", "b": "two.safetensors", "c": "three.safetensors"}
    index = {"metadata": {}, "weight_map": shards}
    (tiny_llama / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(TransfixError) as caught:
        check_directory(tiny_llama)
    message = str(caught.value)
    assert "2 weight files" in message
    assert "two.safetensors is truncated" in message
    assert "three.safetensors does not exist" in message
    assert "one.safetensors" not in message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "holds no config.json"),
        ('{"model_type": ', r"not valid JSON: .*line 1, column"),
        ("", "not valid JSON: it is empty. Download or save it again"),
        ("[]", "a JSON list, expected an object"),
        ("null", "a JSON null, expected an object"),
        ("{}", "has no model_type"),
        (
            '{"model_type": "llama", "hidden_size": "many", "num_attention_heads": 0, "vocab_size": 9}',
            "hidden_size is 'many', num_attention_heads is 0; expected a whole number, at least 1",
        ),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "Git LFS pointer.*`git lfs pull`"),
    ],
)
def test_a_bad_configuration_is_told(tiny_llama: Path, config: str | None, message: str) -> None:
    path = tiny_llama / "config.json"
    if config is None:
        path.unlink()
    else:
        path.write_text(config)
    with pytest.raises(TransfixError, match=message):
        check_directory(tiny_llama)


def test_a_directory_without_weights_is_told(tiny_llama: Path) -> None:
    (tiny_llama / "model.safetensors").unlink()
    with pytest.raises(TransfixError, match=r"no weights .* `transfix inspect` needs none"):
        check_directory(tiny_llama)


def test_a_size_for_each_layer_is_left_to_the_architecture() -> None:
    check_sizes({"model_type": "openelm", "num_attention_heads": [4, 8], "hidden_size": None}, "config.json")


def test_an_adapter_is_no_model(tiny_llama: Path) -> None:
    (tiny_llama / "config.json").rename(tiny_llama / "adapter.json")
    with pytest.raises(TransfixError, match=r"holds an adapter, not a model\. Give the base model"):
        check_directory(tiny_llama)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("pytorch_model.bin", b"", r"is not a checkpoint of PyTorch \(0 bytes\). Download or save"),
        ("pytorch_model.bin", b"<html>", "is not a checkpoint of PyTorch"),
        ("pytorch_model.bin", b"PK\x03\x04half an archive", "is truncated"),
        ("pytorch_model.bin", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("model.safetensors.index.json", b"{", "not valid JSON"),
        ("model.safetensors.index.json", b"{}", "has no weight_map"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "x.safetensors"}}', "has no metadata"),
        ("pytorch_model.bin.index.json", b'{"metadata": {}, "weight_map": {"a": "x.bin"}}', "x.bin does not exist"),
    ],
)
def test_weights_that_cannot_be_read_are_told(tiny_llama: Path, name: str, content: bytes, message: str) -> None:
    (tiny_llama / "model.safetensors").unlink()
    (tiny_llama / name).write_bytes(content)
    with pytest.raises(TransfixError, match=message) as caught:
        check_directory(tiny_llama)
    assert str(tiny_llama) in str(caught.value)


def test_checkpoints_of_pytorch_pass(tiny_llama: Path) -> None:
    (tiny_llama / "model.safetensors").unlink()
    for new in (True, False):
        torch.save({"a": torch.zeros(2)}, tiny_llama / "pytorch_model.bin", _use_new_zipfile_serialization=new)
        check_directory(tiny_llama)


def test_all_damaged_files_of_a_tokenizer_are_told_at_once(tiny_llama: Path) -> None:
    check_tokenizer(tiny_llama)
    (tiny_llama / "tokenizer.json").write_text('{"version": "1.0"}')
    (tiny_llama / "tokenizer_config.json").write_text("{")
    with pytest.raises(TransfixError) as caught:
        check_tokenizer(tiny_llama)
    message = str(caught.value)
    assert "2 files of the tokenizer are damaged" in message
    assert f"{tiny_llama / 'tokenizer.json'} is no tokenizer that can be read" in message
    assert "tokenizer_config.json is not valid JSON" in message
