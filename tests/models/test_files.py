"""A damaged model directory is named as such before anything is loaded from it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from transfix.errors import TransfixError
from transfix.models.files import check_directory, check_safetensors


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
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "three.safetensors"}}
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
        ("[]", "a JSON list, expected an object"),
        ("{}", "has no model_type"),
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
