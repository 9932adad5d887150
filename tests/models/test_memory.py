"""The estimate of kept activations against what autograd really keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from transfix.adapters import attach
from transfix.adapters.architecture import layers
from transfix.adapters.methods import FullFineTuning, LlamaAdapter, LoRA, Part, PrefixTuning, SoftPrompt
from transfix.models.memory import LayerShape, estimate, norm_widths

B, T, DEPTH = 4, 64, 4
SHAPE: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SHAPE, sliding_window=16, pad_token_id=0)),
}


def kept_bytes(model: PreTrainedModel) -> int:
    """Bytes of all storages that a forward through the layers saves for backward, weights apart."""
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage  # held, so that its address is not used again
        return tensor

    ids = torch.randint(1, 100, (B, T))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    assert output.last_hidden_state.requires_grad
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "part",
    [PrefixTuning(layers=3), LlamaAdapter(layers=3), SoftPrompt(), LoRA(), FullFineTuning()],
    ids=lambda part: str(part.method),
)
@pytest.mark.parametrize("name", MODELS)
def test_activations_are_within_a_quarter(name: str, part: Part, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().to(dtype).train()
    adapter = attach(model, part)
    block = model.base_model.layers[0]
    shape = LayerShape(64, 4, 16, norm_widths(block, 4, 2, 16), 160, gated=True)
    learning = 3 if part.method in ("prefix", "llama_adapter") else DEPTH
    guess = estimate(part, adapter.trainable, 0, 0, shape, learning, B, T, dtype.itemsize, checkpointing=False)
    assert guess.activations == pytest.approx(kept_bytes(model), rel=0.25)
    assert len(layers(model)) == DEPTH


def test_checkpointing_keeps_less_and_logits_count_once_a_row() -> None:
    shape = LayerShape(64, 4, 16, 128, 160, gated=True)
    plain = estimate(PrefixTuning(), 100, 1000, 50, shape, 8, B, T, 4, checkpointing=False)
    saving = estimate(PrefixTuning(), 100, 1000, 50, shape, 8, B, T, 4, checkpointing=True)
    assert saving.activations < plain.activations / 3
    assert plain.logits == B * 50 * 12
    assert plain.total == plain.weights + 1600 + plain.activations + plain.logits
