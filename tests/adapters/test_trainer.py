"""transformers' Trainer with its defaults trains an adapted model, checkpoints it and takes it up again."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, Trainer, TrainingArguments

from transfix import Adapter, FullFineTuning, LoRA, PrefixTuning, SoftPrompt, TransfixError, attach, load_adapter
from transfix.adapters.methods import Part

TRAINABLE = ["prefix", "prefix-free", "llama-tanh", "soft", "lora", "full", "soft+prefix", "llama+lora"]
pytestmark = [
    # on a machine without an accelerator the default of pinned memory has nothing to pin
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning"),
]


def rows_of(ids: Tensor) -> list[dict[str, Tensor]]:
    return [{"input_ids": row, "labels": row} for row in ids.repeat(8, 1)]


def trainer_of(model: PreTrainedModel, ids: Tensor, directory: Path, **settings: Any) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(directory), use_cpu=True, disable_tqdm=True, **({"max_steps": 2} | settings)
    )
    return Trainer(model=model, args=arguments, train_dataset=rows_of(ids), eval_dataset=rows_of(ids)[:2])


@pytest.mark.parametrize("architecture", ["llama"], indirect=True)
@pytest.mark.parametrize("method", TRAINABLE, indirect=True)
def test_two_steps_with_defaults(adapter: Adapter, ids: Tensor, tmp_path: Path) -> None:
    learned = {id(p) for p in adapter.parameters()}
    before = {name: p.detach().clone() for name, p in adapter.model.named_parameters()}
    result = trainer_of(adapter.model, ids, tmp_path, learning_rate=1e-2).train()
    assert result.global_step == 2
    for name, parameter in adapter.model.named_parameters():
        assert torch.equal(parameter, before[name]) != (id(parameter) in learned), name
    assert (tmp_path / "checkpoint-2").is_dir()


@pytest.mark.parametrize("architecture", ["gemma3"], indirect=True)
@pytest.mark.parametrize("method", ["soft+prefix", "llama+lora"], indirect=True)
def test_with_activation_checkpointing(adapter: Adapter, ids: Tensor, tmp_path: Path) -> None:
    twin = copy.deepcopy(adapter)
    for number, (one, checkpointing) in enumerate(((adapter, False), (twin, True))):
        trainer_of(
            one.model, ids, tmp_path / str(number), activation_checkpointing=checkpointing, save_strategy="no"
        ).train()
    for left, right in zip(adapter.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-4)


def test_taken_up_from_a_checkpoint(build: Callable[[str], PreTrainedModel], ids: Tensor, tmp_path: Path) -> None:
    parts = (PrefixTuning(tokens=2),)
    whole, first, second = (attach(build("llama"), *parts) for _ in range(3))
    trainer_of(whole.model, ids, tmp_path / "whole", max_steps=4, save_steps=2).train()
    resumed = trainer_of(second.model, ids, tmp_path / "second", max_steps=4, save_strategy="no")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    for left, right in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)
    assert not torch.equal(next(iter(first.parameters())), next(iter(second.parameters())))


def logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(ids).logits
    return found


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelname == "WARNING"]


@pytest.fixture
def _told(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """transformers' log reaches pytest."""
    log = logging.getLogger("transformers")
    before, log.propagate = log.propagate, True
    yield
    log.propagate = before


FROZEN_BASE = ["prefix-free", "soft", "lora", "soft+prefix", "llama+lora"]


@pytest.mark.usefixtures("_told")
@pytest.mark.parametrize("architecture", ["llama"], indirect=True)
@pytest.mark.parametrize("method", FROZEN_BASE, indirect=True)
def test_what_trainer_saves_is_the_adapter(
    adapter: Adapter,
    method: str,
    methods: dict[str, tuple[Part, ...]],
    build: Callable[[str], PreTrainedModel],
    ids: Tensor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No base in it, nothing that from_pretrained would take for a model, and the best checkpoint comes back."""
    base = sum(p.numel() for p in build("llama").parameters())
    trainer = trainer_of(
        adapter.model,
        ids,
        tmp_path / "out",
        max_steps=4,
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        learning_rate=1e-2,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=True,  # so that it is not the last one
    )
    trainer.train()
    best = trainer.state.best_model_checkpoint
    assert best is not None
    assert best.endswith("checkpoint-2")
    loaded = load_adapter(build("llama"), best)
    assert torch.equal(logits(loaded.model, ids), logits(adapter.model, ids))
    trainer.save_model(str(tmp_path / "saved"))
    assert torch.equal(logits(load_adapter(build("llama"), tmp_path / "saved").model, ids), logits(adapter.model, ids))
    for directory in (tmp_path / "out" / "checkpoint-4", tmp_path / "saved"):
        held = load_file(directory / "model.safetensors")
        assert sum(t.numel() for t in held.values() if t.dtype == torch.float32) == adapter.trainable < base / 2
        with pytest.raises((OSError, ValueError), match=r"config\.json"):
            AutoModelForCausalLM.from_pretrained(directory)
    again = attach(build("llama"), *methods[method])
    resumed = trainer_of(again.model, ids, tmp_path / "again", max_steps=4, save_strategy="no", learning_rate=1e-2)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    last = load_adapter(build("llama"), tmp_path / "out" / "checkpoint-4")
    for left, right in zip(again.parameters(), last.parameters(), strict=True):
        assert torch.equal(left, right)
    assert not [line for line in warned(caplog) if "missing" in line or "unexpected" in line]


def test_full_fine_tuning_saves_the_model(build: Callable[[str], PreTrainedModel], ids: Tensor, tmp_path: Path) -> None:
    adapter = attach(build("llama"), FullFineTuning())
    trainer_of(adapter.model, ids, tmp_path, learning_rate=1e-2).train()
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint-2")
    assert torch.equal(logits(again, ids), logits(adapter.model, ids))


def test_several_adapters_are_saved_each_in_its_folder(
    build: Callable[[str], PreTrainedModel], randomise: Callable[..., Adapter], ids: Tensor, tmp_path: Path
) -> None:
    model = build("llama")
    adapters = [
        randomise(attach(model, part, name=name)) for name, part in (("a", PrefixTuning(tokens=2)), ("b", LoRA()))
    ]
    model.save_pretrained(tmp_path)
    for adapter in adapters:
        loaded = load_adapter(build("llama"), tmp_path / adapter.name)
        with adapter.active():
            assert torch.equal(logits(loaded.model, ids), logits(model, ids))
    twin = build("llama")
    attach(twin, PrefixTuning(tokens=2), name="a")
    attach(twin, LoRA(), name="b")
    assert twin.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=True).missing_keys == []
    assert torch.equal(logits(twin, ids), logits(model, ids))


def test_a_model_saves_itself_again_after_detach(
    build: Callable[[str], PreTrainedModel], randomise: Callable[..., Adapter], ids: Tensor, tmp_path: Path
) -> None:
    model = build("llama")
    base = logits(model, ids)
    adapter = randomise(attach(model, LoRA()))
    state = copy.deepcopy(model.state_dict())
    with_adapter = logits(model, ids)
    adapter.detach()
    model.save_pretrained(tmp_path / "base")
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), ids), base)
    again = attach(model, LoRA())
    model.load_state_dict(state)  # a whole state, as checkpoints of before hold, is loaded as ever
    assert torch.equal(logits(model, ids), with_adapter)
    with pytest.raises(TransfixError, match=r"there is a model too \(config.json\).*directory of their own"):
        model.save_pretrained(tmp_path / "base")
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), ids), base)
    assert torch.equal(
        logits(load_adapter(build("llama"), tmp_path / "base").model, ids), with_adapter
    )  # nothing is lost
    with pytest.raises(TransfixError, match=r"model.push_to_hub"):
        model.save_pretrained(tmp_path / "hub", push_to_hub=True)
    model.save_pretrained(tmp_path / "another process's", is_main_process=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]
    again.save(tmp_path / "fine")
    gathered = {name: tensor * 2 for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path / "gathered", state_dict=gathered)
    for left, right in zip(
        load_adapter(build("llama"), tmp_path / "gathered").parameters(), again.parameters(), strict=True
    ):
        assert torch.equal(left, right * 2)


OTHERS: dict[str, tuple[list[tuple[str, Part]], str]] = {
    "another method": ([("default", LoRA())], "other settings"),
    "another length": ([("default", PrefixTuning(tokens=3))], "other settings.*as it was trained"),
    "another computation": ([("default", PrefixTuning(tokens=2, norm="none"))], "other settings"),
    "another name": ([("mine", PrefixTuning(tokens=2))], "holds the adapters default; on this model are mine"),
    "one more": ([("default", PrefixTuning(tokens=2)), ("b", LoRA())], "on this model are b, default"),
}


@pytest.mark.parametrize("case", list(OTHERS))
def test_a_checkpoint_of_another_adapter_is_refused(
    build: Callable[[str], PreTrainedModel], ids: Tensor, tmp_path: Path, case: str
) -> None:
    attach(trained := build("llama"), PrefixTuning(tokens=2))
    trainer_of(trained, ids, tmp_path).train()
    parts, message = OTHERS[case]
    model = build("llama")
    adapters = [attach(model, part, name=name) for name, part in parts]
    before = [tensor.detach().clone() for adapter in adapters for tensor in adapter.parameters()]
    with pytest.raises(TransfixError, match=message):
        trainer_of(model, ids, tmp_path / "x").train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert all(map(torch.equal, before, [tensor for adapter in adapters for tensor in adapter.parameters()]))


def test_a_damaged_checkpoint_is_refused(build: Callable[[str], PreTrainedModel], tmp_path: Path) -> None:
    attach(model := build("llama"), PrefixTuning(tokens=2))
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["transfix/default/prefix.0.embedding"][0, 3] += 1e-3
    with pytest.raises(TransfixError, match=r"'default' is damaged.*another checkpoint"):
        model.load_state_dict(state)


def test_a_rate_may_change_between_a_checkpoint_and_its_resumption(
    build: Callable[[str], PreTrainedModel], ids: Tensor, tmp_path: Path
) -> None:
    attach(trained := build("llama"), PrefixTuning(tokens=2, learning_rate=0.1))
    trained.save_pretrained(tmp_path)
    model = build("llama")
    attach(model, PrefixTuning(tokens=2), seed=1)
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(logits(model, ids), logits(trained, ids))


@pytest.mark.parametrize(("part", "bits"), [(PrefixTuning(tokens=2), 8), (SoftPrompt(tokens=2), 4), (LoRA(rank=2), 4)])
def test_trainer_takes_quantised_bases(
    build: Callable[[str], PreTrainedModel], ids: Tensor, tmp_path: Path, part: Part, bits: int
) -> None:
    """Also after an evaluation and beside one, which must not spoil the gradients of 4-bit layers."""
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    build("llama").save_pretrained(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path / "base",
        quantization_config=BitsAndBytesConfig(**{f"load_in_{bits}bit": True}),
        device_map={"": "cpu"},
        dtype=torch.float32,
    )
    with pytest.raises(ValueError, match="purely quantized"):
        trainer_of(model, ids, tmp_path)
    adapter = attach(model, part)
    trainer = trainer_of(
        model, ids, tmp_path / "out", eval_strategy="steps", eval_steps=1, learning_rate=1e-2, save_steps=1
    )
    trainer.train()
    before = {name: tensor.detach().clone() for name, tensor in adapter.tensors().items()}
    trainer.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-1"))
    for name, tensor in adapter.tensors().items():
        assert torch.equal(tensor, before[name]), name
    adapter.detach()
    with pytest.raises(ValueError, match="purely quantized"):
        trainer_of(model, ids, tmp_path)
