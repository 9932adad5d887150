"""Offloaded layers: the same numbers for every method, and no layer's weights stay behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from transfix import (
    Adapter,
    FullFineTuning,
    LlamaAdapter,
    LoRA,
    PrefixTuning,
    SoftPrompt,
    TransfixError,
    attach,
    batches,
    load_adapter,
)
from transfix.adapters.methods import Part
from transfix.batches import Encoded
from transfix.evaluation.generation import Decoding, generate
from transfix.evaluation.scoring import score_choices
from transfix.models.loading import load
from transfix.training import AdapterTrainer, Choices, Settings
from transfix.training.kept import KeptLayers

METHODS: dict[str, tuple[Part, ...]] = {
    "prefix": (PrefixTuning(tokens=3, norm="layer"),),
    "prefix, free": (PrefixTuning(tokens=3, layers=2, projection="none"),),
    "llama_adapter": (LlamaAdapter(tokens=3),),
    "soft_prompt": (SoftPrompt(tokens=3),),
    "lora": (LoRA(rank=2),),
    "hybrid": (PrefixTuning(tokens=2), LoRA(rank=2, targets="all_linear", layers=1)),
}
WORDS = torch.tensor([5, 6, 7])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows(count: int = 8) -> list[tuple[int, ...]]:
    random = torch.Generator().manual_seed(0)
    return [tuple(torch.randint(8, 500, (6 + number,), generator=random).tolist()) for number in range(count)]


def pair(directory: Path, *parts: Part, dtype: str = "float32") -> tuple[Adapter, Adapter]:
    """The same adapter on the whole model and on the offloaded one, its tensors not at their start."""
    found = []
    for offload in ("none", "disk"):
        model = load(directory, dtype=dtype, device="cpu", offload=offload).model  # type: ignore[arg-type]
        adapter = attach(model, *parts)
        random = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for tensor in adapter.parameters():
                tensor += 0.1 * torch.randn(tensor.shape, generator=random)
        found.append(adapter)
    return found[0], found[1]


def on_the_device(model: PreTrainedModel) -> list[str]:
    """The base weights of layers that are not where they are offloaded to."""
    own = ("transfix", "lora_")
    base = [(n, p) for n, p in model.named_parameters() if ".layers." in n and not any(part in n for part in own)]
    assert base
    return [name for name, parameter in base if not parameter.is_meta]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_base_gives_the_same(tiny_model: Path, dtype: str, capfd: pytest.CaptureFixture[str]) -> None:
    whole = load(tiny_model, dtype=dtype, device="cpu")
    capfd.readouterr()
    away = load(tiny_model, dtype=dtype, device="cpu", offload="disk")
    assert (away.model.device.type, away.model.dtype) == ("cpu", whole.dtype)
    ids = torch.tensor([rows()[-1]])
    with torch.no_grad():
        assert torch.equal(away.model(ids).logits, whole.model(ids).logits)
    assert on_the_device(away.model) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_the_same_and_nothing_stays(tiny_model: Path, method: str) -> None:
    found: list[dict[str, Tensor]] = []
    for adapter in pair(tiny_model, *METHODS[method]):
        model = adapter.model.train()
        model.activation_checkpointing_enable({"use_reentrant": False, "early_stop": False})
        ids = torch.tensor([rows()[-1], rows()[-1][::-1]])
        model(ids, labels=ids, use_cache=False).loss.backward()
        found.append({name: p.grad for name, p in adapter.tensors().items() if p.grad is not None})
        assert found[-1].keys() == adapter.tensors().keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)
    assert on_the_device(model) == []


@pytest.mark.parametrize("method", METHODS)
def test_it_answers_and_is_saved_the_same(tiny_model: Path, method: str, tmp_path: Path) -> None:
    whole, away = pair(tiny_model, *METHODS[method])
    tokenizer = load(tiny_model, dtype="float32", device="cpu").tokenizer
    prompts = [Encoded(row, False) for row in rows(4)]
    scores = [score_choices(adapter.model, prompts, WORDS, 0) for adapter in (whole, away)]
    assert torch.equal(scores[1], scores[0])
    texts = [generate(a.model, tokenizer, prompts[:2], Decoding(max_new_tokens=4)) for a in (whole, away)]
    assert [answer.text for answer in texts[1]] == [answer.text for answer in texts[0]]
    away.save(tmp_path)
    away.detach()
    assert torch.equal(score_choices(load_adapter(away.model, tmp_path).model, prompts, WORDS, 0), scores[0])
    whole.detach()
    assert torch.equal(score_choices(load_adapter(whole.model, tmp_path).model, prompts, WORDS, 0), scores[0])


@pytest.mark.parametrize("method", ["prefix", "prefix, free", "soft_prompt", "lora"])
def test_training_is_the_same(tiny_model: Path, method: str, tmp_path: Path) -> None:
    """Two epochs after an evaluation, with the lower layers kept where there are any."""
    learned = []
    sequences = [batches.TokenSequence(number, row) for number, row in enumerate(rows())]
    trees = [batches.Tree((sequence,), len(sequence.tokens)) for sequence in sequences]
    steps = batches.training_steps(trees, epochs=2, rows=4, budget=100, seed=0)
    for number, adapter in enumerate(pair(tiny_model, *METHODS[method])):
        score_choices(adapter.model, [Encoded(row, False) for row in rows(2)], WORDS, 0)
        kept = KeptLayers.of(adapter, steps, 2, 0, tmp_path)
        assert (kept is not None) == (method == "prefix, free")
        settings: dict[str, Any] = {"learning_rate": 1e-2, "warmup": 0.0, "schedule": "constant", "weight_decay": 0.0}
        settings |= {"max_grad_norm": 1.0, "evaluate_every": 0, "early_stopping": None, "checkpoint_every": 2}
        trainer = AdapterTrainer(
            adapter,
            steps,
            Choices(torch.arange(len(sequences)) % 3, WORDS, 0),
            Settings(output=tmp_path / str(number), gradient_checkpointing=True, seed=0, **settings),
            kept=kept,
        )
        trainer.run()
        learned.append({name: tensor.detach().clone() for name, tensor in adapter.tensors().items()})
    assert on_the_device(adapter.model) == []
    for name, tensor in learned[0].items():
        torch.testing.assert_close(learned[1][name], tensor, atol=1e-5, rtol=1e-4)


def test_what_cannot_be_is_told(tiny_model: Path) -> None:
    with pytest.raises(TransfixError, match=r"offload: cpu .* runs on the CPU here: .*use offload: disk"):
        load(tiny_model, dtype="float32", device="cpu", offload="cpu")
    model = load(tiny_model, dtype="float32", device="cpu", offload="disk").model
    with pytest.raises(TransfixError, match=r"full fine-tuning .* offloaded"):
        attach(model, FullFineTuning())
