"""Adapters on disk: a new process gets the same logits; torn, foreign and malformed files are refused and change nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

import transfix
from transfix import (
    Adapter,
    FullFineTuning,
    LlamaAdapter,
    LoRA,
    PrefixTuning,
    SoftPrompt,
    TransfixError,
    attach,
    load_adapter,
)
from transfix.adapters import AdapterFileError, files
from transfix.adapters.methods import Part
from transfix.storage import checksums

Build = Callable[[str], PreTrainedModel]
Randomise = Callable[..., Adapter]

IN_A_NEW_PROCESS = """
import copy, sys, torch
from pathlib import Path
from transformers import AutoModelForCausalLM
from transfix import load_adapter
torch.set_num_threads(1)
root, found = Path(sys.argv[1]), {}
ids = torch.load(root / "ids.pt")
for base in sorted(root.glob("base-*")):
    loaded = AutoModelForCausalLM.from_pretrained(base).eval()
    for directory in sorted(base.glob("adapter-*")):
        model = copy.deepcopy(loaded)
        adapter = load_adapter(model, directory)
        with torch.no_grad():
            found[f"{base.name}/{directory.name}"] = model(ids).logits, adapter.trainable, repr(adapter.parts)
torch.save(found, root / "found.pt")
"""


def test_a_new_process_gets_the_same_logits(
    tmp_path: Path, build: Build, adapted: Callable[[str, str], Adapter], methods: dict[str, Any], ids: Tensor
) -> None:
    """Every method on every architecture; one process for all of them, because it takes seconds to start."""
    torch.save(ids, tmp_path / "ids.pt")
    expected = {}
    for architecture in ("llama", "mistral", "qwen3", "gemma3", "gpt2"):
        base = tmp_path / f"base-{architecture}"
        build(architecture).save_pretrained(base)
        for method in methods:
            adapter = adapted(architecture, method)
            directory = adapter.save(base / f"adapter-{method}")
            assert {path.name for path in directory.iterdir()} == {"adapter.json", "adapter.safetensors"}
            with torch.no_grad():
                logits = adapter.model(ids).logits
            expected[f"{base.name}/{directory.name}"] = logits, adapter.trainable, repr(adapter.parts)
    environment = os.environ | {"PYTHONPATH": str(Path(transfix.__file__).parents[1])}
    command = [sys.executable, "-c", IN_A_NEW_PROCESS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    found = torch.load(tmp_path / "found.pt")
    assert found.keys() == expected.keys()
    for name, (logits, trainable, parts) in expected.items():
        assert torch.equal(found[name][0], logits), name
        assert found[name][1:] == (trainable, parts), name


def test_the_record_says_what_it_is(tmp_path: Path, build: Build) -> None:
    adapter = attach(build("llama"), PrefixTuning(tokens=3, layers=2), LoRA(rank=2), name="mine")
    record = json.loads((adapter.save(tmp_path) / "adapter.json").read_text())
    assert record["name"] == "mine"
    assert [part["method"] for part in record["parts"]] == ["prefix", "lora"]
    assert record["base"]["class"] == "LlamaForCausalLM"
    assert record["shapes"]["prefix.1.embedding"] == [3, 32]
    assert record["shapes"].keys() == load_file(tmp_path / "adapter.safetensors").keys() == adapter.tensors().keys()
    assert record["versions"].keys() == {"transfix", "torch", "transformers", "peft"}


@pytest.mark.parametrize("part", [PrefixTuning(tokens=2, init="text"), SoftPrompt(tokens=2, init="text"), LoRA(rank=2)])
def test_loading_and_saving_again_changes_nothing(
    tmp_path: Path, build: Build, randomise: Randomise, part: Part
) -> None:
    """Without a tokenizer too: start values are not computed for tensors that are about to be read."""
    adapter = randomise(attach(build("llama"), part, tokenizer=lambda text, **_: {"input_ids": [1, 4, 5]}))
    first = adapter.save(tmp_path / "first")
    again = load_adapter(build("llama"), first)
    assert again.parts == adapter.parts
    second = again.save(tmp_path / "second")
    for name in ("adapter.json", "adapter.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    again.save(first)  # over an existing one
    assert sorted(path.name for path in first.iterdir()) == ["adapter.json", "adapter.safetensors"]


class Killed(BaseException):
    """The process ends here."""


def _killed_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, this many files are renamed and no more."""
    done = 0
    replace = os.replace

    def until(path: Path, target: Path) -> None:
        nonlocal done
        if done == steps:
            raise Killed
        done += 1
        replace(path, target)

    monkeypatch.setattr(os, "replace", until)


def _visible(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
@pytest.mark.parametrize("second", [PrefixTuning(tokens=2), PrefixTuning(tokens=3), LoRA(rank=2)])
def test_a_killed_save_leaves_the_old_adapter_or_the_new_one(
    tmp_path: Path, randomise: Randomise, steps: int, second: Part
) -> None:
    """Also where both have tensors of the same names and shapes, so that a mix would load."""
    ids = torch.arange(3, 9)[None]
    (tmp_path / "adapter.safetensors.txt").write_text("mine")
    (tmp_path / "notes").mkdir()
    expected, parts = [], []
    for number, part in enumerate((PrefixTuning(tokens=2), second)):
        adapter = randomise(attach(_llama(), part), seed=number)
        parts.append(adapter.parts)
        expected.append(adapter.model(ids).logits)
        if number == 0:
            adapter.save(tmp_path)
            continue
        with pytest.MonkeyPatch.context() as patched:
            _killed_after(steps, patched)
            with pytest.raises(Killed) if steps < 3 else nullcontext():
                adapter.save(tmp_path)
    model = _llama()
    found = load_adapter(model, tmp_path)
    assert torch.equal(model(ids).logits, expected[steps >= 2])
    assert found.parts == parts[steps >= 2]
    adapter.save(tmp_path)  # goes through, and cleans up
    assert _visible(tmp_path) == ["adapter.json", "adapter.safetensors", "adapter.safetensors.txt", "notes"]
    assert (tmp_path / "adapter.safetensors.txt").read_text() == "mine"
    model = _llama()
    load_adapter(model, tmp_path)
    assert torch.equal(model(ids).logits, expected[1])


def test_the_first_save_killed_is_whole_or_absent(tmp_path: Path, randomise: Randomise) -> None:
    adapter = randomise(attach(_llama(), PrefixTuning(tokens=2)))
    for steps in (0, 1, 2):
        with pytest.MonkeyPatch.context() as patched:
            _killed_after(steps, patched)
            with pytest.raises(Killed):
                adapter.save(tmp_path / str(steps))
        if steps < 2:
            _refused(_llama(), tmp_path / str(steps), "adapter.json: no such file")
    loaded = load_adapter(_llama(), tmp_path / "2")
    assert torch.equal(loaded.tensors()["prefix.0.embedding"], adapter.tensors()["prefix.0.embedding"])


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("look", range(4))
def test_a_reader_sees_one_save_while_another_is_written(
    tmp_path: Path, randomise: Randomise, monkeypatch: pytest.MonkeyPatch, begun: bool, look: int
) -> None:
    """A save, or the last step of one, happens just before one of the reader's looks at the files."""
    old, new = (randomise(attach(_llama(), PrefixTuning(tokens=2)), seed=seed) for seed in (0, 1))
    old.save(tmp_path)
    if begun:
        with pytest.MonkeyPatch.context() as patched:
            _killed_after(2, patched)
            with pytest.raises(Killed):
                new.save(tmp_path)
    record, tensors, looks = files._record, files.read_tensors, 0

    def just_before(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
        def reading(path: Path) -> Any:
            nonlocal looks
            if looks == look:
                new.save(tmp_path)
            looks += 1
            return read(path)

        return reading

    monkeypatch.setattr(files, "_record", just_before(record))
    monkeypatch.setattr(files, "read_tensors", just_before(tensors))
    found = load_adapter(_llama(), tmp_path).tensors()["prefix.0.embedding"]
    expected = new if begun or look < 2 else old  # without a save there are two looks
    assert torch.equal(found, expected.tensors()["prefix.0.embedding"])


def test_processes_may_save_the_same_adapter_at_once(
    tmp_path: Path, randomise: Randomise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the processes of a training on several devices do; here the second saves just before the first's last step."""
    adapter = randomise(attach(_llama(), PrefixTuning(tokens=2)))
    replace = os.replace
    inside = False

    def again(path: Path, target: Path) -> None:
        nonlocal inside
        if target.name == "adapter.safetensors" and not inside:
            inside = True
            adapter.save(tmp_path)
        replace(path, target)

    monkeypatch.setattr(os, "replace", again)
    adapter.save(tmp_path)
    assert inside
    assert _visible(tmp_path) == ["adapter.json", "adapter.safetensors"]
    load_adapter(_llama(), tmp_path)


def test_adapters_without_a_checksum_or_a_digest_still_load(tmp_path: Path) -> None:
    attach(_llama(), PrefixTuning(tokens=2)).save(tmp_path)
    record = json.loads((tmp_path / "adapter.json").read_text())
    for key in ("checksum", "digest"):
        del record[key]
        (tmp_path / "adapter.json").write_text(json.dumps(record))
        load_adapter(_llama(), tmp_path)


def test_a_name_that_is_taken(tmp_path: Path, randomise: Randomise) -> None:
    model, ids = _llama(), torch.arange(3, 9)[None]
    first = randomise(attach(model, PrefixTuning(tokens=2)))
    directory = first.save(tmp_path / "adapter")
    expected = model(ids).logits
    with pytest.raises(AdapterFileError) as caught:
        load_adapter(model, directory)
    assert str(caught.value) == (
        f"{directory}: an adapter named 'default' is already attached: give this one another name "
        "(name='default-2'), or take that one off first (its detach())."
    )
    assert torch.equal(model(ids).logits, expected)
    second = load_adapter(model, directory, name="default-2")  # as the message says
    with pytest.raises(TransfixError, match="name='default-3'"):
        load_adapter(model, directory)
    first.detach()
    load_adapter(model, directory)
    second.detach()
    assert torch.equal(model(ids).logits, expected)


def test_relative_learning_rates_survive_loading(tmp_path: Path, build: Build, randomise: Randomise) -> None:
    for part in (
        PrefixTuning(tokens=2, learning_rate_scale="relative"),
        SoftPrompt(tokens=2, learning_rate_scale="relative"),
    ):
        adapter = randomise(attach(build("llama"), part))
        loaded = load_adapter(build("llama"), adapter.save(tmp_path / part.method))
        sizes = [float(parameter.detach().square().mean().sqrt()) for parameter in loaded.parameters()]
        assert [group["lr"] for group in loaded.parameter_groups(0.5)] == pytest.approx([0.5 * size for size in sizes])


def _llama(**changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "vocab_size": 64,
    }
    return LlamaForCausalLM(LlamaConfig(**(config | changes))).eval()


@pytest.mark.parametrize("changes", [{"num_hidden_layers": 4}, {"vocab_size": 65}, {"num_key_value_heads": 2}])
def test_another_configuration_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    attach(_llama(), PrefixTuning(tokens=2, layers=2)).save(tmp_path)
    _refused(_llama(**changes), tmp_path, "Load the base it was trained on")


def test_other_weights_are_refused(tmp_path: Path) -> None:
    attach(_llama(), PrefixTuning(tokens=2)).save(tmp_path)
    other = _llama()
    with torch.no_grad():
        other.get_input_embeddings().weight.normal_(generator=torch.Generator().manual_seed(5))
    _refused(other, tmp_path, "other weights")
    load_adapter(_llama().to(torch.bfloat16), tmp_path)  # the same model in another precision is the same base


def _refused(model: PreTrainedModel, directory: Path, message: str) -> None:
    """`load_adapter` raises an AdapterFileError that names the path, and the model is as before."""
    ids = torch.arange(3, 9)[None]
    expected, keys, flags = model(ids).logits, set(model.state_dict()), [p.requires_grad for p in model.parameters()]
    with pytest.raises(AdapterFileError, match=message) as caught:
        load_adapter(model, directory)
    assert str(directory) in str(caught.value)
    assert torch.equal(model(ids).logits, expected)
    assert set(model.state_dict()) == keys
    assert [p.requires_grad for p in model.parameters()] == flags
    assert model.config._attn_implementation == "sdpa"
    assert not hasattr(model, "_transfix")


def _edit(directory: Path, **changes: Any) -> None:
    path = directory / "adapter.json"
    path.write_text(json.dumps(checksums.sealed(json.loads(path.read_text()) | changes)))


def _change(directory: Path, before: str, after: str) -> None:
    """Another text in the record, as damage leaves it."""
    path = directory / "adapter.json"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


def _tensors(directory: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(directory / "adapter.safetensors")
    change(tensors)
    _put(directory, tensors)


def _put(directory: Path, tensors: dict[str, Tensor]) -> None:
    """Other tensors, with the record of their digest."""
    save_file(tensors, directory / "adapter.safetensors")
    _edit(directory, digest=files.digest(tensors))


def _truncate(directory: Path, share: float) -> None:
    path = directory / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


PART = {"method": "prefix", "tokens": 2}
SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no json": (lambda d: (d / "adapter.json").unlink(), "no such file"),
    "no tensors": (lambda d: (d / "adapter.safetensors").unlink(), "no such file"),
    "half the tensors": (lambda d: _truncate(d, 0.5), "not a whole safetensors file"),
    "a byte missing": (lambda d: _truncate(d, 0.999), "not a whole safetensors file"),
    "no bytes": (lambda d: _truncate(d, 0.0), "not a whole safetensors file"),
    "half a json": (lambda d: (d / "adapter.json").write_text('{"format": 1,'), "not valid JSON"),
    "binary json": (lambda d: (d / "adapter.json").write_bytes(b"\xff\xfe\x00"), "not valid JSON"),
    "a list": (lambda d: (d / "adapter.json").write_text("[]"), "not an adapter"),
    "another json": (lambda d: (d / "adapter.json").write_text("{}"), "not an adapter"),
    "peft's": (lambda d: (d / "adapter.json").write_text('{"peft_type": "LORA", "r": 8}'), "not an adapter"),
    "a later format": (lambda d: _edit(d, format=2), "format 2"),
    "an unknown method": (lambda d: _edit(d, parts=[{"method": "ia3"}]), "unknown method 'ia3'.*prefix.*install it"),
    "an unknown setting": (lambda d: _edit(d, parts=[PART | {"depth": 3}]), r"parts\[0\].depth: unknown key"),
    "a bad value": (lambda d: _edit(d, parts=[PART | {"tokens": 0}]), "tokens: 0 is not allowed.*at least 1"),
    "no method": (lambda d: _edit(d, parts=[{"tokens": 3}]), "method"),
    "no parts": (lambda d: _edit(d, parts=[]), "parts"),
    "parts that are none": (lambda d: _edit(d, parts="prefix"), "parts"),
    "a base that is none": (lambda d: _edit(d, base="gemma"), "base"),
    "a base without hash": (lambda d: _edit(d, base={"name": "gemma"}), "base"),
    "weights that are none": (lambda d: _edit(d, base=_base(d) | {"weights": [1.0]}), "base"),
    "a name that is none": (lambda d: _edit(d, name=3), "name"),
    "a name with a dot": (lambda d: _edit(d, name="a.b"), "name 'a.b'"),
    "a digest that is none": (lambda d: _edit(d, digest="0123"), "digest"),
    "another digest": (lambda d: _edit(d, digest="0" * 64), "not of the same save"),
    "another setting": (
        lambda d: _change(d, '"tokens": 2', '"tokens": 3'),
        "adapter.json: its content is not what was",
    ),
    "another base": (
        lambda d: _change(d, '"class": "Llama', '"class": "Mlama'),
        "adapter.json: its content is not what",
    ),
    "a checksum of later": (
        lambda d: _change(d, '"checksum": "1:', '"checksum": "2:'),
        "of kind 2, of a later version",
    ),
    "no number": (
        lambda d: _tensors(d, lambda t: t["prefix.0.embedding"][0].fill_(float("nan"))),
        "prefix.0.embedding holds values that are not finite",
    ),
    "no end": (
        lambda d: _tensors(d, lambda t: t["prefix.0.embedding"][1].fill_(float("-inf"))),
        "prefix.0.embedding holds values that are not finite",
    ),
    "tensors of another save": (
        lambda d: save_file({"prefix.0.embedding": torch.zeros(2, 32)}, d / "adapter.safetensors"),
        "not of the same save. Copy both from one place",
    ),
    "more layers": (lambda d: _edit(d, parts=[PART | {"layers": 9}]), "9 layers"),
    "fewer tensors": (lambda d: _tensors(d, lambda t: t.pop("prefix.0.embedding")), "Missing.*prefix.0.embedding"),
    "more tensors": (lambda d: _tensors(d, lambda t: t.update(x=torch.zeros(1))), "Unknown.*x"),
    "another shape": (
        lambda d: _tensors(d, lambda t: t.update({"prefix.0.embedding": torch.zeros(3, 32)})),
        r"prefix.0.embedding has shape \(3, 32\), this model needs \(2, 32\)",
    ),
}


def _base(directory: Path) -> dict[str, Any]:
    base: dict[str, Any] = json.loads((directory / "adapter.json").read_text())["base"]
    return base


@pytest.mark.parametrize("fault", list(SPOILT))
def test_spoilt_files_are_refused(tmp_path: Path, fault: str) -> None:
    directory = attach(_llama(), PrefixTuning(tokens=2)).save(tmp_path / "adapter")
    spoil, message = SPOILT[fault]
    spoil(directory)
    _refused(_llama(), directory, message)


@pytest.mark.parametrize("part", [FullFineTuning(), LoRA(rank=2), LlamaAdapter(tokens=2), SoftPrompt(tokens=2)])
def test_tensors_of_another_method_are_refused(tmp_path: Path, part: Part) -> None:
    directory = attach(_llama(), part).save(tmp_path / "adapter")
    _put(directory, {"prefix.0.embedding": torch.zeros(2, 32)})
    _refused(_llama(), directory, "Missing")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    adapter = attach(_llama(), PrefixTuning(tokens=2))
    with pytest.raises(TransfixError, match="could not be written"):
        adapter.save(tmp_path / "file" / "adapter")
    with pytest.raises(TransfixError, match="no such file"):
        load_adapter(_llama(), tmp_path / "nowhere")


@pytest.mark.parametrize("part", [PrefixTuning(tokens=2), LoRA(rank=2), SoftPrompt(tokens=2)])
def test_a_base_with_more_tokens_names_what_brings_it_back(
    tmp_path: Path, build: Build, randomise: Randomise, part: Part
) -> None:
    """The advice in the message is followed, and the adapter gives the same logits."""
    ids = torch.arange(3, 12)[None]
    adapter = randomise(attach(build("llama"), part))
    directory = adapter.save(tmp_path)
    model = build("llama")
    model.resize_token_embeddings(70, mean_resizing=False)
    with pytest.raises(AdapterFileError, match="vocab_size was 64 and is 70 here") as caught:
        load_adapter(model, directory)
    advice = re.search(r"model\.resize_token_embeddings\((\d+)\)", str(caught.value))
    assert advice
    model.resize_token_embeddings(int(advice[1]))
    assert torch.equal(load_adapter(model, directory).model(ids).logits, adapter.model(ids).logits)


def test_an_adapter_of_a_resized_base(tmp_path: Path, build: Build) -> None:
    """What was added is random: the base as it was saved is needed."""
    resized = build("llama")
    resized.resize_token_embeddings(70, mean_resizing=False)
    resized.save_pretrained(tmp_path / "base")
    directory = attach(resized, PrefixTuning(tokens=2)).save(tmp_path / "adapter")
    model = build("llama")
    with pytest.raises(AdapterFileError, match=r"vocab_size was 70 and is 64 here.*as it was saved after that"):
        load_adapter(model, directory)
    torch.manual_seed(1)
    model.resize_token_embeddings(70, mean_resizing=False)
    with pytest.raises(AdapterFileError, match=r"but other weights.*as it was saved after that"):
        load_adapter(model, directory)
    load_adapter(LlamaForCausalLM.from_pretrained(tmp_path / "base"), directory)


def test_what_differs_in_a_configuration_is_named(tmp_path: Path, build: Build) -> None:
    directory = attach(build("mistral"), PrefixTuning(tokens=2)).save(tmp_path)
    model = build("mistral")
    model.config.sliding_window = 9
    with pytest.raises(AdapterFileError, match=r"sliding_window was 6 and is 9 here. Load the base it was trained on"):
        load_adapter(model, directory)
    record = json.loads((directory / "adapter.json").read_text())
    del record["base"]["shape"], record["checksum"]  # an adapter of before
    (directory / "adapter.json").write_text(json.dumps(record))
    with pytest.raises(AdapterFileError, match="Load the base it was trained on; if its vocabulary was resized"):
        load_adapter(model, directory)
    load_adapter(build("mistral"), directory)


def test_a_directory_with_several_adapters_names_them(tmp_path: Path, build: Build) -> None:
    model = build("llama")
    for name in ("one", "two"):
        attach(model, PrefixTuning(tokens=2), name=name)
    model.save_pretrained(tmp_path)
    with pytest.raises(AdapterFileError, match="in its folders one, two: name one of them"):
        load_adapter(build("llama"), tmp_path)
    load_adapter(build("llama"), tmp_path / "one")


def test_after_full_fine_tuning_only_another_base_helps(build: Build) -> None:
    model = build("llama")
    attach(model, FullFineTuning())
    for name in ("default", "other"):
        with pytest.raises(TransfixError, match=r"[Ll]oad the base model again"):
            attach(model, FullFineTuning(), name=name)
