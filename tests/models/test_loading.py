"""Loading gives a model that is ready to be adapted, or one clear message."""

from __future__ import annotations

import json
import logging
import shutil
import socket
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
import pytest
import torch
import transformers
from huggingface_hub import close_session, constants, errors
from safetensors.torch import load_file, save_file

from transfix.errors import TransfixError
from transfix.models import hub, loading
from transfix.models.inspect import inspect
from transfix.models.loading import automatic_dtype, choose_device, choose_dtype, load

CPU = torch.device("cpu")


def in_hub_cache(source: Path, cache: Path, name: str, revision: str = "main") -> None:
    """Puts a model where huggingface_hub keeps what it downloaded."""
    base = cache / ("models--" + name.replace("/", "--"))
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(source, base / "snapshots" / commit, dirs_exist_ok=True)
    (base / "refs").mkdir(exist_ok=True)
    (base / "refs" / revision).write_text(commit)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


def test_a_local_model_is_ready(tiny_llama: Path, capfd: pytest.CaptureFixture[str]) -> None:
    loaded = load(tiny_llama, dtype="float32", device="cpu")
    assert loaded.name == str(tiny_llama)
    assert loaded.dtype == loaded.model.dtype == torch.float32
    assert loaded.device == loaded.model.device == CPU
    assert not loaded.model.training
    assert loaded.tokenizer.padding_side == "left"
    assert loaded.tokenizer.pad_token == "</s>"
    batch = loaded.tokenizer(["a cat sat", "cat"], padding=True, return_tensors="pt")
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert loaded.model(**batch).logits.shape == (2, 3, 9)
    out, err = capfd.readouterr()
    assert out == err == ""  # no progress bars, no reports


def test_a_model_of_the_hub_comes_from_its_cache_without_network(tiny_llama: Path, hub_cache: Path) -> None:
    in_hub_cache(tiny_llama, hub_cache, "someone/tiny")
    loaded = load("someone/tiny", dtype="float32", device="cpu")
    direct = load(tiny_llama, dtype="float32", device="cpu")
    for name, tensor in direct.model.state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[name])


def test_a_revision_is_honoured(tiny_llama: Path, hub_cache: Path) -> None:
    in_hub_cache(tiny_llama, hub_cache, "someone/tiny", revision="v2")
    assert load("someone/tiny", dtype="float32", device="cpu", revision="v2").model is not None
    with pytest.raises(TransfixError, match="'someone/tiny' is not in the local cache"):
        load("someone/tiny", dtype="float32", device="cpu")
    with pytest.raises(TransfixError, match="is not from the hub"):
        load(tiny_llama, revision="v2")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_is_that_of_the_weights(tiny_llama: Path, dtype: str) -> None:
    loaded = load(tiny_llama, dtype=dtype, device="cpu")
    assert {p.dtype for p in loaded.model.parameters()} == {loading.DTYPES[dtype]}


@pytest.mark.parametrize(
    ("abilities", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx2": True, "avx512_f": True, "amx_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_automatic_dtype_asks_the_processor(
    monkeypatch: pytest.MonkeyPatch, abilities: dict[str, bool], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities)
    assert automatic_dtype(CPU) == expected
    assert choose_dtype("auto", CPU) == expected
    assert choose_dtype("float32", CPU) == torch.float32


@pytest.mark.parametrize(("able", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_automatic_dtype_on_a_gpu(monkeypatch: pytest.MonkeyPatch, able: bool, expected: torch.dtype) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    assert automatic_dtype(torch.device("cuda")) == expected


def test_bad_dtype_and_device_are_told() -> None:
    with pytest.raises(TransfixError, match=r"'int8' is unknown \(allowed: auto, float32"):
        choose_dtype("int8", CPU)
    with pytest.raises(TransfixError, match="device 'gpu' cannot be used"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(TransfixError, match="device 'cuda' cannot be used"):
            choose_device("cuda")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/no/such/place", "no such directory"),
        ("./model", "no such directory"),
        ("a/b/c", "no such directory"),
        ("two words", "neither a directory nor a possible hub id"),
        ("gemma3-270m", "Did you mean 'gemma-3-270m'"),
        ("someone/no-such-model", r"not in the local cache .* HF_HOME .* local directory"),
    ],
)
def test_an_unknown_model_is_told(name: str, message: str, hub_cache: Path) -> None:
    with pytest.raises(TransfixError, match=message):
        load(name, device="cpu")


def test_a_file_is_no_model(tiny_llama: Path) -> None:
    with pytest.raises(TransfixError, match="is a file: give the directory"):
        load(tiny_llama / "config.json")


def test_a_truncated_file_is_told(tiny_llama: Path) -> None:
    path = tiny_llama / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TransfixError, match="is truncated"):
        load(tiny_llama)


def test_missing_weights_are_not_made_up(tiny_llama: Path) -> None:
    path = tiny_llama / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(TransfixError, match=r"lack 1 weights .* model\.layers\.1\.mlp\.up_proj\.weight"):
        load(tiny_llama, device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"hidden_size": 32},
            r"30 weights have another shape .* lm_head.weight: \(9, 16\) in the file, \(9, 32\) by the config.* Restore",
        ),
        ({"hidden_size": "many"}, "config.json: hidden_size is 'many'; expected a whole number"),
        ({"num_attention_heads": 3}, "cannot be loaded: .*not a multiple.* Its config.json may be damaged"),
        ({"hidden_act": "nope"}, "cannot be loaded: KeyError: 'nope'. Its config.json may be damaged"),
        ({"model_type": "no_such_type"}, r"architecture 'no_such_type' .* transformers \S+ does not know. Take a"),
        ({"model_type": "lama"}, "'lama' .*Did you mean 'llama'?"),
        ({"model_type": "new", "auto_map": {"AutoConfig": "new.Config"}}, r"\(new\) needs code .* transfix never runs"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, r"\(bert\) is an encoder; .* need a decoder"),
        ({"model_type": "t5"}, r"\(t5\) is an encoder-decoder"),
        ({"model_type": "vit"}, "is no causal language model"),
    ],
)
def test_a_configuration_that_does_not_fit_is_told(tiny_llama: Path, change: dict[str, Any], message: str) -> None:
    path = tiny_llama / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(TransfixError, match=message):
        load(tiny_llama, device="cpu")


TOKENIZER_FAULTS: list[tuple[str, str | None, str]] = [
    ("tokenizer.json", None, r"has no tokenizer \(tokenizer.json, .*save_pretrained\(directory\)"),
    ("tokenizer.json", "", r"tokenizer\.json is not valid JSON: it is empty. Download or save it again"),
    ("tokenizer.json", '{"version": "1.0", "mod', r"tokenizer\.json is not valid JSON: .*line 1, column"),
    ("tokenizer.json", "[]", r"tokenizer\.json holds a JSON list"),
    ("tokenizer.json", '{"version": "1.0"}', r"tokenizer\.json is no tokenizer that can be read: .* save it again"),
    ("tokenizer.json", "version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer.*git lfs pull"),
    ("tokenizer_config.json", "{", r"tokenizer_config\.json is not valid JSON"),
    ("tokenizer_config.json", "[]", r"tokenizer_config\.json holds a JSON list"),
    ("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["x.Y", null]}}', "tokenizer of model .* never runs"),
    ("tokenizer_config.json", None, r"no padding and no end token: name one .* tokenizer_config\.json \(is that file"),
]


@pytest.mark.parametrize(("file", "content", "message"), TOKENIZER_FAULTS)
def test_a_tokenizer_that_cannot_be_read_is_told(
    tiny_llama: Path, file: str, content: str | None, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tiny_llama / file).unlink()
    if content is not None:
        (tiny_llama / file).write_text(content)
    capfd.readouterr()
    with pytest.raises(TransfixError, match=message) as caught:
        load(tiny_llama, device="cpu")
    assert str(tiny_llama) in str(caught.value)
    assert capfd.readouterr() == ("", "")  # nothing but the message


@pytest.mark.parametrize("file", ["tokenizer.json", "model.safetensors"])
def test_a_damaged_file_in_the_hub_s_cache_is_told(tiny_llama: Path, hub_cache: Path, file: str) -> None:
    (tiny_llama / file).write_bytes((tiny_llama / file).read_bytes()[:-20])
    in_hub_cache(tiny_llama, hub_cache, "someone/tiny")
    folder = hub_cache / "models--someone--tiny"
    with pytest.raises(TransfixError, match=rf"{file}.* To download it again, delete {folder} first"):
        load("someone/tiny", device="cpu")


def test_an_unreachable_hub_is_told_once(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The hub is asked, through a proxy that nobody listens at; its library's retries are not the user's business."""
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "handlers", [caplog.handler])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda _: None)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    close_session()  # made before, it would have other proxies
    for ask in (lambda name: load(name, device="cpu"), inspect):
        with pytest.raises(TransfixError, match=r"the hub at .* cannot be reached"):
            ask("someone/tiny")
    assert caplog.records == []
    close_session()


def test_progress_settings_are_given_back(tiny_llama: Path) -> None:
    log = transformers.utils.logging

    def settings() -> tuple[int, bool, int]:
        return log.get_verbosity(), log.is_progress_bar_enabled(), huggingface_hub.logging.get_verbosity()

    before = settings()
    load(tiny_llama, device="cpu")
    (tiny_llama / "tokenizer.json").write_text("")
    with pytest.raises(TransfixError):
        load(tiny_llama)
    assert settings() == before


def _answer(status: int) -> httpx2.Response:
    return httpx2.Response(status, request=httpx2.Request("GET", "https://hub.example/x"))


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (errors.GatedRepoError("gated", response=_answer(403)), "is gated: accept its licence"),
        (errors.RepositoryNotFoundError("none", response=_answer(404)), "is not on the hub, or is private"),
        (errors.RevisionNotFoundError("none", response=_answer(404)), r"revision v9.* this revision does not"),
        (errors.LocalEntryNotFoundError("offline"), r"cannot be reached.*HF_HOME.*local directory"),
        (socket.gaierror(-2, "Name or service not known"), "cannot be reached"),
        (ValueError("the file is\nbroken."), r"cannot be loaded: the file is broken\. Its config.json may be"),
        (ValueError(), r"cannot be loaded: ValueError\. Its"),
        (KeyError("swish"), r"cannot be loaded: KeyError: 'swish'\. Its config.json may be"),
    ],
)
def test_every_failure_of_the_hub_has_its_message(cause: Exception, message: str) -> None:
    error = OSError("We couldn't connect to the hub")  # how transformers wraps them
    error.__cause__ = cause
    raised = cause if isinstance(cause, ValueError | KeyError) else error
    with pytest.raises(TransfixError, match=message):
        raise hub.explain("someone/model", "v9", raised)


def test_what_is_not_installed_is_said_and_nothing_else() -> None:
    found = hub.explain("someone/model", None, ImportError("It needs optimum (`pip install optimum`)"))
    assert str(found) == "model 'someone/model' cannot be loaded: It needs optimum (`pip install optimum`)."


def test_reachability_is_asked_once_and_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert hub.unreachable()
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://proxy"})
    assert not hub.unreachable()  # the proxy resolves the name
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.unreachable()
