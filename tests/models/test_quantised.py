"""Bases in 8 and 4 bits: what is learned still learns, the base stays, and the numbers stay near."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from transfix import batches
from transfix.adapters import attach, load_adapter
from transfix.adapters.methods import FullFineTuning, LlamaAdapter, LoRA, Part, PrefixTuning, SoftPrompt
from transfix.errors import TransfixError
from transfix.models import quantised
from transfix.models.loading import LoadedModel, load
from transfix.training import AdapterTrainer, Choices, Settings

QUANTISED: Any = pytest.mark.parametrize("quantization", ["int8", "int4"])
METHODS = pytest.mark.parametrize(
    "part",
    [
        PrefixTuning(tokens=3),
        PrefixTuning(tokens=3, norm="layer"),
        PrefixTuning(tokens=3, projection="none"),
        LlamaAdapter(tokens=3),
        SoftPrompt(tokens=3),
        LoRA(),
        LoRA(targets="all_linear"),
    ],
    ids=lambda part: part.method,
)
IDS = torch.arange(3, 23)[None]


@pytest.fixture(scope="module")
def directory(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama whose layers are most of it."""
    target = tmp_path_factory.mktemp("quantised") / "llama"
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=640,  # the tokenizer has 600
        initializer_range=0.1,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(target)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (target / name).write_bytes((tiny_model / name).read_bytes())
    return target


@pytest.fixture(autouse=True)
def _library(request: pytest.FixtureRequest) -> None:
    if "without" not in request.node.name:
        pytest.importorskip("bitsandbytes")


def quantised_model(directory: Path, quantization: Any) -> LoadedModel:
    return load(directory, dtype="float32", device="cpu", quantization=quantization)


def logits(loaded: LoadedModel) -> Tensor:
    with torch.no_grad():
        return loaded.model.eval()(IDS).logits


def train(loaded: LoadedModel, part: Part, output: Path) -> Any:
    adapter = attach(loaded.model, part, seed=1)
    trees = [batches.Tree((batches.TokenSequence(row, tuple(range(3 + row, 20 + row))),), 17) for row in range(4)]
    settings = Settings(output, 1e-2, 0.0, "constant", 0.0, 1.0, 0, None, 1000, gradient_checkpointing=False, seed=0)
    objective = Choices(torch.tensor([0, 1, 0, 1]), torch.tensor([5, 6]), 0)
    AdapterTrainer(adapter, [[trees]] * 2, objective, settings).run()
    return adapter


@QUANTISED
def test_logits_are_near_and_the_weights_smaller(directory: Path, quantization: Any) -> None:
    plain, small = load(directory, dtype="float32", device="cpu"), quantised_model(directory, quantization)
    off = (logits(small) - logits(plain)).norm() / logits(plain).norm()
    assert 0 < off < {"int8": 0.05, "int4": 0.4}[quantization]
    sizes = [sum(p.numel() * p.element_size() for p in m.model.model.layers.parameters()) for m in (plain, small)]
    assert sizes[1] < sizes[0] * {"int8": 0.26, "int4": 0.14}[quantization]
    assert quantised.quantised_parameters(plain.model.model.layers) * 4 > 0.99 * sizes[0]


@QUANTISED
@METHODS
def test_what_is_learned_learns_and_comes_back(directory: Path, quantization: Any, part: Part, tmp_path: Path) -> None:
    loaded = quantised_model(directory, quantization)
    base = {name: p.detach().clone() for name, p in loaded.model.named_parameters()}
    before = logits(loaded)  # an evaluation before the training, which must not spoil its gradients
    adapter = attach(loaded.model, part, seed=1)
    start = {name: tensor.detach().clone() for name, tensor in adapter.tensors().items()}
    adapter.detach()
    adapter = train(loaded, part, tmp_path / "checkpoints")
    assert all(not torch.equal(start[name], tensor) for name, tensor in adapter.tensors().items())
    after = logits(loaded)
    adapter.save(tmp_path / "adapter")
    adapter.detach()
    for name, parameter in loaded.model.named_parameters():
        assert torch.equal(parameter, base[name]), name
    torch.testing.assert_close(logits(loaded), before)
    again = quantised_model(directory, quantization)
    load_adapter(again.model, tmp_path / "adapter")
    torch.testing.assert_close(logits(again), after)
    assert not torch.allclose(after, before, atol=1e-4)


@QUANTISED
@METHODS
def test_gradients_are_those_of_the_dequantised_base(directory: Path, quantization: Any, part: Part) -> None:
    loaded, plain = quantised_model(directory, quantization), load(directory, dtype="float32", device="cpu")
    logits(loaded)
    for path, module in plain.model.named_modules():
        if isinstance(module, torch.nn.Linear) and path.startswith("model.layers"):
            module.weight.data = loaded.model.get_submodule(path)(torch.eye(module.in_features)).T.contiguous()
    found = []
    for model in (loaded.model, plain.model):
        adapter = attach(model.train(), part, seed=1)
        model(IDS, labels=IDS).loss.backward()
        found.append(torch.cat([p.grad.flatten() for p in adapter.parameters() if p.grad is not None]))
    assert found[0].norm() > 0
    torch.testing.assert_close(found[0], found[1], atol=1e-5 * float(found[1].abs().max()), rtol=1e-3)


@QUANTISED
def test_an_answer_does_not_depend_on_its_batch(directory: Path, quantization: Any) -> None:
    model: Any = quantised_model(directory, quantization).model
    others = torch.randint(3, 60, (5, IDS.shape[1]), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for scale in (1.0, 50.0):  # large inputs: what bitsandbytes takes for outliers
            model.model.layers[0].input_layernorm.weight.fill_(scale)
            alone, together = model(IDS).logits[0], model(torch.cat([others, IDS])).logits[-1]
            torch.testing.assert_close(alone, together, atol=1e-3, rtol=1e-3)


def test_values_beyond_float16(directory: Path) -> None:
    layer: Any = quantised_model(directory, "int8").model.model.layers[0].mlp.down_proj
    large = 2.0**20
    assert torch.equal(layer(torch.full((1, 192), large)), layer(torch.ones(1, 192)) * large)


def test_full_fine_tuning_is_refused(directory: Path) -> None:
    with pytest.raises(TransfixError, match="quantised"):
        attach(quantised_model(directory, "int8").model, FullFineTuning())


@QUANTISED
def test_a_model_that_was_saved_quantised(directory: Path, quantization: Any, tmp_path: Path) -> None:
    first = quantised_model(directory, quantization)
    first.model.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((directory / name).read_bytes())
    with pytest.raises(TransfixError, match="quantised already"):
        quantised_model(tmp_path, "int4")
    torch.testing.assert_close(logits(quantised_model(tmp_path, "none")), logits(first))


def test_without_the_library_its_extra_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(
        TransfixError, match=r"needs bitsandbytes, which is not installed: pip install 'transfix\[quant"
    ):
        quantised_model(directory, "int4")


def test_without_a_device_that_can(directory: Path) -> None:
    with pytest.raises(TransfixError, match="quantization int8 does not work on device mps"):
        quantised.options("int8", torch.float32, torch.device("mps"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "its files hold plain ones"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "its files hold plain ones"),
        ({"quant_method": "unheard-of"}, "names no method that transformers knows"),
        ({"quant_method": 3}, "names no method that transformers knows"),
        ({"quant_method": "gptq", "bits": 4}, "optimum"),
    ],
)
def test_a_configuration_that_says_quantised(directory: Path, tmp_path: Path, given: Any, says: str) -> None:
    copy = tmp_path / "model"
    shutil.copytree(directory, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "quantization_config": given}))
    with pytest.raises(TransfixError, match=says):
        load(copy, device="cpu")
