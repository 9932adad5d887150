"""A method that lives in another package (`package/kv_scaling`) works everywhere, without one edit in transfix."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

import transfix
from transfix import LlamaAdapter, LoRA, PrefixTuning, SoftPrompt, attach, load_adapter, use
from transfix.adapters.methods import Part, registry
from transfix.errors import ProblemsError, TransfixError
from transfix.evaluation.generation import Decoding, generate
from transfix.models.inspect import inspect
from transfix.models.memory import BaseShape, LayerShape, Load, estimate
from transfix.report import labels
from transfix.runs.records import RunRecord
from transfix.runs.specification import RunSpec

PACKAGE = Path(__file__).parent / "package"
NAME = "kv_scaling"


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Iterator[None]:
    """As if the package were installed: on the path, its entry point found."""
    sys.path.insert(0, str(PACKAGE))
    try:
        registry._of_other_packages()
        assert NAME in registry.METHODS, registry.UNUSABLE
        yield
    finally:
        registry._METHODS.known.pop(NAME, None)
        sys.path.remove(str(PACKAGE))


def part(**settings: Any) -> Part:
    return registry.METHODS[NAME](**settings)


@pytest.fixture
def model(tiny_model: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(3, 500, (3, 12), generator=torch.Generator().manual_seed(3))


def randomised(adapter: transfix.Adapter, seed: int) -> transfix.Adapter:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in adapter.parameters():
            tensor += 0.5 * torch.randn(tensor.shape, generator=generator)
    return adapter


def environment() -> dict[str, str]:
    paths = [str(PACKAGE), str(Path(transfix.__file__).parents[1])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}


def command(*arguments: object, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "transfix", *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@torch.no_grad()
def test_it_starts_as_the_base_and_scales_values(model: PreTrainedModel, ids: Tensor) -> None:
    base, other = model(ids).logits, copy.deepcopy(model)
    adapter = attach(model, part(side="values", layers=2))
    assert torch.equal(model(ids).logits, base)
    assert sorted(adapter.tensors()) == ["kv_scaling.2.values", "kv_scaling.3.values"]
    randomised(adapter, 1)
    for index in (2, 3):  # values are linear in W_v: scaling its rows is the same
        scales = adapter.tensors()[f"kv_scaling.{index}.values"]
        weight = other.model.layers[index].self_attn.v_proj.weight
        weight *= scales.reshape(-1, 1)
    torch.testing.assert_close(model(ids).logits, other(ids).logits, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model(ids).logits, base, atol=1e-2)
    adapter.detach()
    assert torch.equal(model(ids).logits, base)


@torch.no_grad()
def test_rows_choose(model: PreTrainedModel, ids: Tensor) -> None:
    names = {
        "scaled": (part(),),
        "hybrid": (part(layers=1), PrefixTuning(tokens=3), LoRA(rank=2)),
        "gated": (LlamaAdapter(tokens=2), part(side="values")),
        "prompt": (SoftPrompt(tokens=3), part()),
    }
    for number, (name, parts) in enumerate(names.items()):
        randomised(attach(model, *parts, name=name), number)
    ids = torch.cat([ids, ids])
    rows = ["scaled", None, "hybrid", "gated", "prompt", "scaled"]
    with use(model, rows):
        together = model(ids).logits
    for number, name in enumerate(rows):
        with use(model, name):
            alone = model(ids[number : number + 1]).logits[0]
        torch.testing.assert_close(together[number], alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together[0], together[5], atol=1e-2)


@torch.no_grad()
def test_a_prompts_keys_are_scaled_as_if_it_stood_in_the_input(model: PreTrainedModel, ids: Tensor) -> None:
    adapter = randomised(attach(model, SoftPrompt(tokens=3), part()), 5)
    found = model(ids).logits
    prompt = adapter.tensors()["soft_prompt.embedding"].detach()[None].expand(len(ids), -1, -1)
    scales = {name: tensor for name, tensor in adapter.tensors().items() if name.startswith(NAME)}
    other = AutoModelForCausalLM.from_pretrained(model.config._name_or_path, dtype=torch.float32).eval()
    alone = attach(other, part())
    for name, tensor in alone.tensors().items():
        tensor.copy_(scales[name])
    whole = other(inputs_embeds=torch.cat([prompt, other.get_input_embeddings()(ids)], dim=1)).logits[:, 3:]
    torch.testing.assert_close(found, whole, atol=1e-4, rtol=1e-4)


def test_it_learns_with_and_without_checkpointing(model: PreTrainedModel, ids: Tensor) -> None:
    adapter = randomised(attach(model, part(), PrefixTuning(tokens=2)), 2)
    gradients = []
    for checkpointing in (False, True):
        model.train()
        if checkpointing:
            model.activation_checkpointing_enable()
        model.zero_grad()
        model(ids, labels=ids, use_cache=False).loss.backward()
        gradients.append([tensor.grad.clone() for tensor in adapter.parameters() if tensor.grad is not None])
    assert len(gradients[0]) == len(list(adapter.parameters()))
    assert all(bool(gradient.abs().sum() > 0) for gradient in gradients[0])
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-4)


def test_texts_are_those_of_transformers(model: PreTrainedModel, tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    randomised(attach(model, part()), 3)
    prompts = ["So?", "The first sentence implies"]
    from transfix import batches

    encoded = batches.encode(tokenizer, prompts, None)
    found = generate(model, tokenizer, encoded, Decoding(max_new_tokens=8, stop=()))
    for prompt, answer in zip(encoded, found, strict=True):
        given = torch.tensor([list(prompt.tokens)])
        whole = model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=8, do_sample=False)
        expected = tokenizer.decode(whole[0, given.shape[1] :], skip_special_tokens=True)
        assert answer.text == expected


def test_saved_and_loaded_in_a_new_process(
    model: PreTrainedModel, ids: Tensor, tmp_path: Path, tiny_model: Path
) -> None:
    randomised(attach(model, part(), LoRA(rank=2)), 4).save(tmp_path / "adapter")
    with torch.no_grad():
        expected = model(ids).logits
    code = f"""
import torch
from transformers import AutoModelForCausalLM
from transfix import load_adapter
model = AutoModelForCausalLM.from_pretrained({str(tiny_model)!r}, dtype=torch.float32).eval()
load_adapter(model, {str(tmp_path / "adapter")!r})
with torch.no_grad():
    torch.save(model(torch.tensor({ids.tolist()})).logits, {str(tmp_path / "logits.pt")!r})
"""
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True, timeout=300)
    assert torch.equal(torch.load(tmp_path / "logits.pt"), expected)


def test_a_saved_one_without_its_package(
    model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach(model, part()).save(tmp_path / "adapter")
    monkeypatch.delitem(registry._METHODS.known, NAME)
    with pytest.raises(TransfixError, match=r"kv_scaling.*package"):
        load_adapter(model, tmp_path / "adapter", name="again")


def specification(tiny_model: Path, **adapter: Any) -> dict[str, Any]:
    return {
        "model": str(tiny_model),
        "dtype": "float32",
        "device": "cpu",
        "adapter": {"method": NAME, **adapter},
        "train": {"task": "mnli", "rows": 12, "development_rows": 6, "max_tokens": 128, "epochs": 1, "batch_rows": 6},
        "evaluate": {"task": "xnli", "languages": ["en", "de"], "limit": 6},
    }


def test_specifications_know_it(tiny_model: Path) -> None:
    spec = RunSpec.load(specification(tiny_model, layers=2, side="values"))
    assert spec.method == NAME
    assert spec.title == "Key-value scaling, side values, top 2 layers"
    assert RunSpec.load(specification(tiny_model)).title == "Key-value scaling"
    assert RunSpec.load(specification(tiny_model) | {"adapter": "kv_scaling+lora"}).method == "kv_scaling+lora"
    assert RunSpec.load(yaml.safe_load(spec.to_yaml())) == spec
    with pytest.raises(ProblemsError, match="unknown method 'kv_scalling'; did you mean 'kv_scaling'"):
        RunSpec.load(specification(tiny_model) | {"adapter": "kv_scalling"})
    with pytest.raises(ProblemsError, match="unknown key; did you mean 'layers'"):
        RunSpec.load(specification(tiny_model, layer=2))
    with pytest.raises(ProblemsError, match=r"adapter\[0\].side.*allowed: both or values"):
        RunSpec.load(specification(tiny_model, side="keys"))
    assert "kv_scaling" in json.dumps(RunSpec.model_json_schema())


def test_inspect_counts_it(tiny_model: Path) -> None:
    (found,) = [method for method in inspect(tiny_model).methods if method.name.startswith(NAME)]
    assert found.name == "kv_scaling L=4"
    assert found.trainable == 4 * 2 * 2 * 16  # layers, keys and values, G, h
    shape = LayerShape(hidden=32, heads=4, head_size=16, norms=100, inner=64, gated=True)
    base, load = BaseShape(10_000, 0, 1000, 500, shape), Load(rows=2, tokens=8, width=2)
    scaled, lora = (estimate(each, 256, 4, base, load) for each in (part(), LoRA()))
    assert scaled.activations - lora.activations == 2 * 8 * 4 * (2 * 4 * 16 * 2 - 4 * (3 * 32 + 3 * 4))


def test_reports_call_it_by_its_name() -> None:
    run = RunRecord("a", Path("a"), {"adapter": [{"method": NAME}, {"method": "lora"}]})
    assert labels.method(run) == "Key-value scaling + LoRA"
    alone = RunRecord("b", Path("b"), {"adapter": [{"method": NAME}]})
    assert not run.is_base
    assert not alone.is_base
    full = RunRecord("c", Path("c"), {"adapter": [{"method": "full"}]})
    assert sorted([run, alone, full], key=labels.order) == [full, alone, run]


def test_from_the_command_line(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(specification(tiny_model)), encoding="utf-8")
    command("train", "run.yaml", cwd=tmp_path)
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("kv_scaling-tiny-gemma-")
    assert json.loads((run / "training.json").read_text())["trainable_parameters"] == 256
    assert "Key-value scaling" in command("evaluate", run.name, cwd=tmp_path)
    assert "Key-value scaling" in command("report", cwd=tmp_path)
    assert "Key-value scaling" in (tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    assert "kv_scaling L=4" in command("inspect", tiny_model, cwd=tmp_path)
    listed = {entry["method"]: entry for entry in json.loads(command("methods", "--json", cwd=tmp_path))}
    assert list(listed)[:-1] == [name for name in registry.METHODS if name != NAME]
    assert [setting["name"] for setting in listed[NAME]["settings"]] == ["layers", "side", "learning_rate"]


class Half(Part):
    """Lacks what a method needs."""

    method: str = "half"


class Bad(Half):
    """Has a name that YAML reads as no text."""

    label = "Bad"
    implementation = "nowhere:Nothing"
    method: str = "null"

    def kept(self, *_: Any) -> int:
        return 0


def test_what_cannot_be_a_method_is_refused() -> None:
    before = dict(registry.METHODS)
    with pytest.raises(TransfixError, match="lacks label, implementation, kept"):
        registry.register(Half)
    with pytest.raises(TransfixError, match="cannot be called so: in a specification null is read as None"):
        registry.register(Bad)
    with pytest.raises(TransfixError, match="is no method"):
        registry.register(dict)
    twice = type("Twice", (type(part()),), {"__module__": "elsewhere"})
    with pytest.raises(TransfixError, match=r"there twice: kv_scaling\.KeyValueScaling and elsewhere\.Twice"):
        registry.register(twice)
    with pytest.raises(NotImplementedError, match="kept"):
        estimate(Half(), 1, 1, BaseShape(1, 0, 1, 1, LayerShape(1, 1, 1, 1, 1, True)), Load(rows=1, tokens=1))
    assert before == registry.METHODS
    assert before.keys() > {"base", "soft_prompt", "prefix", "llama_adapter", "lora", "full"}


def test_a_broken_package_is_named_when_its_method_is_asked_for(tmp_path: Path, tiny_model: Path) -> None:
    broken = tmp_path / "broken"
    (broken / "broken-0.1.dist-info").mkdir(parents=True)
    (broken / "broken-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0.1\n")
    (broken / "broken-0.1.dist-info" / "entry_points.txt").write_text("[transfix.methods]\nia3 = broken:IA3\n")
    (broken / "broken.py").write_text("raise RuntimeError('out of order')\n")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(specification(tiny_model) | {"adapter": "ia3"}))
    paths = environment()["PYTHONPATH"]
    done = subprocess.run(
        [sys.executable, "-m", "transfix", "train", "run.yaml"],
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": f"{broken}{os.pathsep}{paths}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert "the package broken offers it" in done.stderr
    assert "out of order" in done.stderr


def test_the_package_may_be_imported_first() -> None:
    code = "import kv_scaling.layer, transfix; from transfix.adapters.methods import METHODS; print(*METHODS)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert NAME in done.stdout.split()
