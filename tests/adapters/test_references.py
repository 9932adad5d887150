"""Each method against its formula, written out: q, K, V as the layer gives them, the prefix as docs/methods.md has it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from transfix import Adapter, LlamaAdapter, LoRA, PrefixTuning, SoftPrompt, attach
from transfix.adapters.methods import Part

FORMULAS: dict[str, tuple[Part, ...]] = {
    "prefix": (PrefixTuning(tokens=3),),
    "prefix top 2": (PrefixTuning(tokens=3, layers=2),),
    "prefix norm": (PrefixTuning(tokens=3, norm="layer"),),
    "prefix free": (PrefixTuning(tokens=3, projection="none", layers=(0, 2)),),
    "gate per head": (LlamaAdapter(tokens=3),),
    "gate per layer": (LlamaAdapter(tokens=3, gate="per_layer", layers=2),),
    "gate tanh": (LlamaAdapter(tokens=3, tanh=True),),
    "gate norm": (LlamaAdapter(tokens=3, norm="layer", layers=(1,)),),
    "soft": (SoftPrompt(tokens=3),),
    "soft longer than the window": (SoftPrompt(tokens=8),),
    "lora": (LoRA(rank=2),),
    "lora alpha": (LoRA(rank=2, alpha=3.0, targets=("q", "o"), layers=2),),
    "lora linear": (LoRA(rank=2, targets="all_linear"),),
    "prefix+lora": (PrefixTuning(tokens=3), LoRA(rank=2)),
    "soft+prefix": (SoftPrompt(tokens=4), PrefixTuning(tokens=3)),
    "llama+lora": (LlamaAdapter(tokens=3), LoRA(rank=2)),
    "soft+lora": (SoftPrompt(tokens=4), LoRA(rank=2)),
    "everything": (
        SoftPrompt(tokens=4),
        PrefixTuning(tokens=2),
        LlamaAdapter(tokens=3),
        LoRA(rank=2, targets="all_linear"),
    ),
}


def attention_of_the_formula(
    module: Any, q: Tensor, K: Tensor, V: Tensor, M: Tensor, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """o = softmax([q K_pᵀ·s ; q Kᵀ·s + M]) [V_p ; V]  and / or  + g · softmax(q K_pᵀ·s) V_p."""
    H = q.shape[1]
    joint, added = module.joint, module.added
    K, V = (x.repeat_interleave(H // x.shape[1], dim=1) for x in (K, V))
    scores = q @ K.mT * scaling + M
    if joint is not None:
        K_p, V_p = (x.repeat_interleave(H // x.shape[0], dim=0).expand(q.shape[0], -1, -1, -1) for x in joint)
        scores, V = torch.cat([q @ K_p.mT * scaling, scores], dim=-1), torch.cat([V_p, V], dim=2)
    o = scores.softmax(-1) @ V
    if added is not None:
        K_p, V_p = (x.repeat_interleave(H // x.shape[0], dim=0) for x in added[:2])
        o = o + added[2].expand(H)[:, None, None] * ((q @ K_p.mT * scaling).softmax(-1) @ V_p)
    return o.transpose(1, 2), None


AttentionInterface.register("formula", attention_of_the_formula)
AttentionMaskInterface.register("formula", eager_mask)


def projected(E: Tensor, block: Any, attention: Any, norm: str) -> tuple[Tensor, Tensor]:
    """K_p = knorm(E W_k) and V_p = E W_v, (G, P, h), not rotated."""
    if norm == "layer":
        E = block.input_layernorm(E) if hasattr(block, "input_layernorm") else block.ln_1(E)
    K, V = (
        attention.c_attn(E).chunk(3, -1)[1:]
        if hasattr(attention, "c_attn")
        else (attention.k_proj(E), attention.v_proj(E))
    )
    K, V = (x.view(len(E), -1, attention.head_dim).transpose(0, 1) for x in (K, V))
    return (attention.k_norm(K) if hasattr(attention, "k_norm") else K), V


def reference(base: PreTrainedModel, adapter: Adapter, ids: Tensor) -> Tensor:
    """The logits by the formulas, on an untouched model of the same weights."""
    parts = {part.method: part for part in adapter.parts}
    tensors = {name: tensor.detach() for name, tensor in adapter.tensors().items()}
    plain = copy.deepcopy(base)
    base.set_attn_implementation("formula")
    for number, block in enumerate(base.base_model.h if hasattr(base.base_model, "h") else base.base_model.layers):
        attention = block.attn if hasattr(block, "attn") else block.self_attn
        attention.joint = attention.added = None
        E, K = tensors.get(f"prefix.{number}.embedding"), tensors.get(f"prefix.{number}.keys")
        if E is not None:
            attention.joint = projected(E, block, attention, parts["prefix"].norm)
        elif K is not None:
            attention.joint = K, tensors[f"prefix.{number}.values"]
        E, g = tensors.get(f"llama_adapter.{number}.embedding"), tensors.get(f"llama_adapter.{number}.gate")
        if E is not None and g is not None:
            part = parts["llama_adapter"]
            attention.added = (*projected(E, block, attention, part.norm), g.tanh() if part.tanh else g)
    for name, A in tensors.items():
        if "lora_A" in name:  # W + alpha / r · B A, after the prefixes were projected by W itself
            linear: Any = base.get_submodule(name.removeprefix("lora.").removesuffix(".lora_A.weight"))
            part = parts["lora"]
            delta = tensors[name.replace("lora_A", "lora_B")] @ A * ((part.alpha or 2 * part.rank) / part.rank)
            linear.weight += delta if isinstance(linear, nn.Linear) else delta.T
    prompt = tensors.get("soft_prompt.embedding", torch.zeros(0, 32))
    embeddings = plain.get_input_embeddings()(ids)
    inputs = torch.cat([prompt.expand(len(ids), -1, -1), embeddings], dim=1)  # at positions 0 .. P+T-1
    return base(inputs_embeds=inputs).logits[:, len(prompt) :]


@pytest.mark.parametrize("formula", list(FORMULAS))
def test_a_method_is_its_formula(
    three_layers: PreTrainedModel,
    formula: str,
    ids: Tensor,
    randomise: Callable[..., Adapter],
) -> None:
    base = copy.deepcopy(three_layers)
    adapter = randomise(attach(three_layers, *FORMULAS[formula]))
    with torch.no_grad():
        found, expected = three_layers(ids).logits, reference(base, adapter, ids)
    torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-5)


@pytest.mark.parametrize("method", ["full"], indirect=True)
def test_full_is_the_model_with_those_weights(
    adapter: Adapter, build: Callable[[str], PreTrainedModel], architecture: str, ids: Tensor
) -> None:
    base = build(architecture)
    base.load_state_dict({name: p.detach() for name, p in adapter.model.state_dict().items()})
    assert torch.equal(base(ids).logits, adapter.model(ids).logits)
