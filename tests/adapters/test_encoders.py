"""Adapters on encoders: attention in both directions against one written out, padding, rows, saving, and the head."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    ModernBertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    XLMRobertaConfig,
)
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb

from transfix import Adapter, LlamaAdapter, LoRA, PrefixTuning, SoftPrompt, TransfixError, attach, load_adapter, use
from transfix.adapters import UnsupportedModelError, architecture, support
from transfix.adapters.methods import Part, TaskHead

Close = Callable[..., None]
Pad = Callable[[Sequence[Tensor], str], tuple[Tensor, Tensor]]
Randomise = Callable[..., Adapter]

_SHAPE: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 64,
    "max_position_embeddings": 40, "num_labels": 3, "initializer_range": 0.2, "pad_token_id": 0,
}  # fmt: skip
_MODERN = {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2, "local_attention": 8}
_DISENTANGLED = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8}
CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "bert": lambda: BertConfig(**_SHAPE),
    "xlm-roberta": lambda: XLMRobertaConfig(**_SHAPE | {"pad_token_id": 1}),
    "modernbert": lambda: ModernBertConfig(**_SHAPE, **_MODERN),
    "deberta-v2": lambda: DebertaV2Config(**_SHAPE, **_DISENTANGLED),
}
ON_REGISTRY = ["bert", "xlm-roberta", "modernbert"]
METHODS: dict[str, tuple[Part, ...]] = {
    "prefix": (PrefixTuning(tokens=3),),
    "prefix-free": (PrefixTuning(tokens=3, projection="none"),),
    "llama": (LlamaAdapter(tokens=3),),
    "lora": (LoRA(rank=2),),
    "prefix+lora": (PrefixTuning(tokens=3, layers=1), LoRA(rank=2)),
}
KINDS = {"body": AutoModel, "words": AutoModelForMaskedLM, "classes": AutoModelForSequenceClassification}

every_method = pytest.mark.parametrize("method", list(METHODS))
on_registry = pytest.mark.parametrize("name", ON_REGISTRY)


@cache
def _built(name: str, kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = KINDS[kind].from_config(CONFIGS[name]())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def build(name: str, kind: str = "classes") -> PreTrainedModel:
    return copy.deepcopy(_built(name, kind))


def answer(model: PreTrainedModel, **inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return model(**inputs)[0]


def padded(name: str, pad: Pad, rows: Sequence[Tensor], side: str) -> dict[str, Tensor]:
    tokens, mask = pad(rows, side)
    return {"input_ids": tokens.masked_fill(mask == 0, CONFIGS[name]().pad_token_id), "attention_mask": mask}


@on_registry
@pytest.mark.parametrize("method", ["prefix", "prefix-free", "llama"])
def test_attention_is_that_of_the_formula(
    name: str, method: str, rows: list[Tensor], pad: Pad, randomise: Randomise, assert_close: Close
) -> None:
    """Each layer's attention, written out in float64 from the states that enter it: every query sees the whole prefix."""
    model = build(name, "body")
    adapter = randomise(attach(model, *METHODS[method]))
    inputs = padded(name, pad, rows, "right")
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []

    def keep(module: nn.Module, args: tuple[Tensor, ...], out: tuple[Tensor, ...]) -> None:
        seen.append((module, args[0], out[0]))

    layers = architecture.layers(model)
    hooks = [layer.attention.register_forward_hook(keep) for layer in layers]
    answer(model, **inputs)
    assert [module for module, _, _ in seen] == [layer.attention for layer in layers]
    for number, (module, states, out) in enumerate(seen):
        tensors = {k.split(".", 2)[2]: v for k, v in adapter.tensors().items() if k.split(".")[1] == str(number)}
        expected = _written_out(model, number, module, states, inputs["attention_mask"], tensors)
        keep_rows = inputs["attention_mask"].bool()
        assert_close(out[keep_rows], expected.float()[keep_rows])
    for hook in hooks:
        hook.remove()


def _written_out(
    model: Any, number: int, module: Any, states: Tensor, mask: Tensor, learned: dict[str, Tensor]
) -> Tensor:
    def projected(x: Tensor) -> list[Tensor]:
        if hasattr(module, "Wqkv"):
            return list(nn.functional.linear(x, module.Wqkv.weight.double()).chunk(3, dim=-1))
        pairs = [(m.weight.double(), m.bias.double()) for m in (module.query, module.key, module.value)]
        return [nn.functional.linear(x, weight, bias) for weight, bias in pairs]

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (4, 8)).transpose(-3, -2)

    q, k, v = (heads(x) for x in projected(states.double()))
    length, sees = states.shape[1], mask[:, None, None, :].bool().expand(-1, 1, states.shape[1], -1)
    if hasattr(module, "Wqkv"):
        kind = model.config.layer_types[number]
        cos, sin = model.rotary_emb(states.double(), torch.arange(length)[None], kind)
        q, k = apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1)
        if kind == "sliding_attention":
            apart = (torch.arange(length)[:, None] - torch.arange(length)[None]).abs()
            sees = sees & (apart <= model.config.sliding_window)
    scores = (q @ k.mT / 8**0.5).masked_fill(~sees, -torch.inf)
    if "keys" in learned:
        k_p, v_p = learned["keys"].double()[None], learned["values"].double()[None]
    else:
        embedding = learned["embedding"]
        if hasattr(module, "Wqkv"):  # `norm: auto`: through the layer's input norm, where the layers have one
            embedding = model.layers[number].attn_norm(embedding)
        _, k_p, v_p = (heads(x)[None] for x in projected(embedding.double()))
    own = q @ k_p.mT / 8**0.5
    if "gate" in learned:
        out = scores.softmax(-1) @ v + learned["gate"].double()[:, None, None] * (own.softmax(-1) @ v_p)
    else:
        out = torch.cat([own, scores], -1).softmax(-1) @ torch.cat([v_p.expand(len(v), -1, -1, -1), v], -2)
    merged = out.transpose(1, 2).flatten(2)
    return nn.functional.linear(merged, module.Wo.weight.double()) if hasattr(module, "Wo") else merged


@on_registry
@every_method
def test_a_batch_of_mixed_lengths_is_its_rows_one_by_one(
    name: str, method: str, rows: list[Tensor], pad: Pad, randomise: Randomise, assert_close: Close
) -> None:
    model = build(name, "words")
    randomise(attach(model, *METHODS[method]))
    alone = [answer(model, input_ids=row[None])[0] for row in rows]
    sides = (
        ("right",) if method == "lora" and name != "xlm-roberta" else ("right", "left")
    )  # positions are the caller's
    for side in sides:
        inputs = padded(name, pad, rows, side)
        batch = answer(model, **inputs)
        for number, expected in enumerate(alone):
            assert_close(batch[number][inputs["attention_mask"][number].bool()], expected)


@pytest.mark.parametrize("name", list(CONFIGS))
@pytest.mark.parametrize("method", ["llama", "lora"])
def test_a_zero_start_is_the_base_and_detach_gives_it_back_to_the_bit(
    name: str, method: str, rows: list[Tensor], pad: Pad, randomise: Randomise
) -> None:
    if name not in ON_REGISTRY and method != "lora":
        return
    model = build(name)
    inputs, keys = padded(name, pad, rows, "right"), list(model.state_dict())
    kinds = [type(module) for module in model.modules()]
    base = answer(model, **inputs)
    adapter = attach(model, *METHODS[method])
    assert torch.equal(answer(model, **inputs), base)
    randomise(adapter)
    changed = answer(model, **inputs)
    assert (changed - base).abs().max() > 0.1
    with adapter.disabled():
        assert torch.equal(answer(model, **inputs), base)
    assert torch.equal(answer(model, **inputs), changed)
    adapter.detach()
    assert torch.equal(answer(model, **inputs), base)
    assert list(model.state_dict()) == keys
    assert [type(module) for module in model.modules()] == kinds
    assert not any("transfix" in vars(module) or "forward" in vars(module) for module in model.modules())


def test_copies_and_pickles_of_an_adapted_classifier_stand_alone(ids: Tensor, randomise: Randomise) -> None:
    adapter = randomise(attach(build("xlm-roberta"), *METHODS["prefix"]))
    expected = answer(adapter.model, input_ids=ids)
    buffer = io.BytesIO()
    torch.save(adapter, buffer)
    buffer.seek(0)
    for other in (copy.deepcopy(adapter), torch.load(buffer, weights_only=False)):
        assert torch.equal(answer(other.model, input_ids=ids), expected)
        with torch.no_grad():
            for tensor in other.parameters():
                tensor.zero_()
        assert not torch.equal(answer(other.model, input_ids=ids), expected)
        assert torch.equal(answer(adapter.model, input_ids=ids), expected)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_adapters_row_by_row_have_their_own_heads(
    name: str, rows: list[Tensor], pad: Pad, randomise: Randomise, assert_close: Close
) -> None:
    model = build(name)
    prefix = METHODS["prefix" if name in ON_REGISTRY else "lora"]
    randomise(attach(model, *prefix, name="one"), 1)
    randomise(attach(model, *METHODS["lora"], name="two"), 2)
    randomise(attach(model, TaskHead(), name="probe"), 3)
    inputs = padded(name, pad, [rows[0], rows[1], rows[1], rows[2], rows[1]], "right")
    chosen = ["two", None, "one", "one", "probe"]
    with use(model, chosen):
        mixed = answer(model, **inputs)
    for number, who in enumerate(chosen):
        with use(model, who):
            expected = answer(model, **inputs)[number]
        assert_close(mixed[number], expected)
    assert len({tuple(row.tolist()) for row in mixed[[1, 2, 4]]}) == 3


@pytest.mark.parametrize("name", list(CONFIGS))
def test_the_head_is_learned_counted_and_the_base_keeps_its_own(name: str, ids: Tensor, assert_close: Close) -> None:
    model = build(name)
    own = {path: value.clone() for path, value in model.state_dict().items()}
    adapter = attach(model, LoRA(rank=2))
    head = {key: value for key, value in adapter.tensors().items() if key.startswith("task_head.")}
    beside = sum(
        p.numel() for path, p in model.named_parameters() if "transfix" not in path and ".classifier" in f".{path}"
    )
    assert {key.split(".")[1] for key in head} >= {"classifier"}
    assert adapter.trainable == sum(t.numel() for t in adapter.parameters())
    assert sum(value.numel() for value in head.values()) >= beside > 0
    assert all(
        parameter.requires_grad == ("transfix" in path or "lora" in path)
        for path, parameter in model.named_parameters()
    )
    optimizer = torch.optim.SGD(adapter.parameter_groups(0.1))
    before = {key: value.detach().clone() for key, value in adapter.tensors().items()}
    for _ in range(2):
        optimizer.zero_grad()
        model(input_ids=ids, labels=torch.tensor([0, 2])).loss.backward()
        optimizer.step()
    assert all(
        not torch.equal(value, before[key]) for key, value in adapter.tensors().items() if key.endswith("weight")
    )
    adapter.detach()
    assert all(torch.equal(value, own[path]) for path, value in model.state_dict().items())


def test_a_pooler_without_weights_of_its_own_is_part_of_the_head() -> None:
    adapter = attach(build("bert"), TaskHead())
    names = {f"task_head.{module}.{kind}" for module in ("pooler.dense", "classifier") for kind in ("weight", "bias")}
    assert set(adapter.tensors()) == names
    assert [type(part).__name__ for part in attach(build("bert", "body"), PrefixTuning(tokens=2)).parts] == [
        "PrefixTuning"
    ]
    assert [type(part).__name__ for part in attach(build("bert"), PrefixTuning(tokens=2)).parts] == [
        "PrefixTuning",
        "TaskHead",
    ]


def test_spans_have_a_head_too(ids: Tensor, randomise: Randomise) -> None:
    model = AutoModelForQuestionAnswering.from_config(XLMRobertaConfig(**_SHAPE | {"num_labels": 2})).eval()
    adapter = attach(model, PrefixTuning(tokens=2))
    assert "task_head.qa_outputs.weight" in adapter.tensors()
    model(input_ids=ids, start_positions=torch.tensor([1, 2]), end_positions=torch.tensor([3, 4])).loss.backward()
    assert all(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in adapter.parameters())


_LOAD = """
import sys, torch
from transformers import AutoModelForSequenceClassification
from transfix import load_adapter
for directory in sys.argv[1:]:
    torch.manual_seed(7)
    model = AutoModelForSequenceClassification.from_pretrained(directory + "/model").eval()
    load_adapter(model, directory + "/adapter")
    with torch.no_grad():
        torch.save(model(torch.load(directory + "/ids.pt")).logits, directory + "/logits.pt")
"""


def test_saved_and_loaded_in_a_new_process(tmp_path: Path, ids: Tensor, randomise: Randomise) -> None:
    """On a base whose head is made anew, at random: the adapter brings its own."""
    expected = {}
    for name, method in (("bert", "prefix"), ("xlm-roberta", "lora"), ("modernbert", "llama"), ("deberta-v2", "lora")):
        model, directory = build(name), tmp_path / name
        model.base_model.save_pretrained(directory / "model")
        adapter = randomise(attach(model, *METHODS[method]))
        expected[name] = answer(model, input_ids=ids)
        adapter.save(directory / "adapter")
        torch.save(ids, directory / "ids.pt")
        config = (directory / "model" / "config.json").read_text()
        assert '"id2label"' not in config or '"LABEL_2"' in config
    command = [sys.executable, "-c", _LOAD, *(str(tmp_path / name) for name in expected)]
    subprocess.run(command, check=True, capture_output=True)
    for name, logits in expected.items():
        assert torch.equal(torch.load(tmp_path / name / "logits.pt"), logits), name
    with pytest.raises(TransfixError, match="is no encoder with a head of its own"):
        load_adapter(build("bert", "body"), tmp_path / "bert" / "adapter")


@on_registry
@every_method
def test_checkpointing_and_eager_change_nothing(
    name: str, method: str, rows: list[Tensor], pad: Pad, randomise: Randomise, assert_close: Close
) -> None:
    inputs = padded(name, pad, rows, "right")
    found = []
    for setting in ("plain", "checkpointed", "eager"):
        model = build(name)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        if setting == "eager":
            model.set_attn_implementation("eager")
        adapter = randomise(attach(model, *METHODS[method]))
        if setting == "checkpointed":
            model.activation_checkpointing_enable()
        model.train()
        for module in model.modules():
            if hasattr(module, "attention_dropout"):
                module.attention_dropout = 0.0
        with use(model, adapter.name):
            loss = model(**inputs, labels=torch.tensor([0, 1, 2])).loss
        loss.backward()
        found.append([loss.detach(), *(tensor.grad.clone() for tensor in adapter.parameters())])
    for other in found[1:]:
        for left, right in zip(found[0], other, strict=True):
            assert_close(left, right)


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_a_base_in_bfloat16_has_a_head_in_float32(name: str, ids: Tensor) -> None:
    model = build(name).to(torch.bfloat16)
    adapter = attach(model, PrefixTuning(tokens=2))
    loss = model(input_ids=ids, labels=torch.tensor([0, 2])).loss
    loss.backward()
    assert all(t.dtype == torch.float32 and t.grad is not None for t in adapter.parameters())
    with use(model, ["default", None]):
        assert answer(model, input_ids=ids).isfinite().all()


def test_what_cannot_be_exact_is_refused_with_the_reason() -> None:
    model = build("deberta-v2")
    assert not support(model).supported
    for part in (PrefixTuning(tokens=2), PrefixTuning(tokens=2, projection="none"), LlamaAdapter(tokens=2)):
        with pytest.raises(UnsupportedModelError, match=r"attention registry; LoRA and full fine-tuning still work"):
            attach(model, part)
        assert not hasattr(model, "_transfix")
    with pytest.raises(UnsupportedModelError, match=r"norm: layer: layer 0 of Bert.* has no norm in front"):
        attach(build("bert"), PrefixTuning(tokens=2, norm="layer"))
    with pytest.raises(UnsupportedModelError):
        attach(build("deberta-v2"), SoftPrompt(tokens=2))
