"""The same weights in PEFT give the same logits: AdaptionPrompt for LLaMA-Adapter, PrefixTuning for unprojected prefixes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import AdaptionPromptConfig, PrefixTuningConfig, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from transfix import Adapter, LlamaAdapter, PrefixTuning, attach

Build = Callable[..., PreTrainedModel]
P = 3
# PEFT 0.21 asks transformers 5.23 by a name that is on its way out
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_adaption_prompt(
    build: Build, layers: int, ids: Tensor, randomise: Callable[..., Adapter], assert_close: Any
) -> None:
    adapter = randomise(attach(build("llama", 3), LlamaAdapter(tokens=P, layers=layers, gate="per_layer", norm="none")))
    peft = get_peft_model(
        build("llama", 3), AdaptionPromptConfig(adapter_len=P, adapter_layers=layers, task_type="CAUSAL_LM")
    )
    tensors = adapter.tensors()
    with torch.no_grad():
        for number in range(3 - layers, 3):
            attention: Any = peft.get_base_model().model.layers[number].self_attn
            attention.adaption_prompt.copy_(tensors[f"llama_adapter.{number}.embedding"][None])
            attention.adaption_gate.copy_(tensors[f"llama_adapter.{number}.gate"])
        assert_close(adapter.model(ids).logits, peft(input_ids=ids).logits)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2"])
def test_prefix_tuning(
    build: Build, architecture: str, ids: Tensor, randomise: Callable[..., Adapter], assert_close: Any
) -> None:
    """PEFT puts the prefix into the KV cache, where it takes up positions: its tokens stand at P, P+1, ... although its
    prefix keys are not rotated (as if all of them stood at 0). Ours takes up none, so that the comparison passes those
    positions explicitly; without them the two differ wherever positions matter."""
    model = build(architecture, 3)
    adapter = randomise(attach(model, PrefixTuning(tokens=P, projection="none")))
    tensors = {name: tensor.detach() for name, tensor in adapter.tensors().items()}
    G, _, h = tensors["prefix.0.keys"].shape
    settings: dict[str, Any] = {"num_virtual_tokens": P, "task_type": "CAUSAL_LM", "num_layers": 3, "token_dim": G * h}
    settings |= {"num_attention_heads": G, "num_transformer_submodules": 1}
    peft = get_peft_model(copy.deepcopy(build(architecture, 3)), PrefixTuningConfig(**settings)).eval()
    stacked = torch.stack(
        [tensors[f"prefix.{n}.{kind}"] for n in range(3) for kind in ("keys", "values")]
    )  # (2L, G, P, h)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    with torch.no_grad():
        peft.prompt_encoder.default.embedding.weight.copy_(stacked.permute(2, 0, 1, 3).reshape(P, -1))
        expected = peft(input_ids=ids, attention_mask=mask).logits[mask.bool()]
        positions = torch.arange(ids.shape[1])[None] + P
        found = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits[mask.bool()]
        unmoved = model(input_ids=ids, attention_mask=mask).logits[mask.bool()]
    assert_close(found, expected)
    assert not torch.allclose(unmoved, expected, atol=1e-2)
