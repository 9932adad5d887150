"""The estimate against what autograd really keeps, and against the memory that a process really takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from transfix.adapters import attach
from transfix.adapters.architecture import layers
from transfix.adapters.methods import Base, FullFineTuning, LlamaAdapter, LoRA, Part, PrefixTuning, SoftPrompt
from transfix.models.inspect import inspect
from transfix.models.memory import RUNTIME, BaseShape, LayerShape, Load, estimate, norm_widths

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
    load = Load(B, T, width=dtype.itemsize, cpu=True)
    guess = estimate(part, adapter.trainable, learning, BaseShape(0, 0, 0, 0, shape), load)
    assert guess.activations == pytest.approx(kept_bytes(model), rel=0.25)
    assert len(layers(model)) == DEPTH


QUANTISED: tuple[Any, ...] = ("none", "int8", "int4")
BASE = BaseShape(1000, 800, 300, 50, LayerShape(64, 4, 16, 128, 160, gated=True))


def test_checkpointing_keeps_less() -> None:
    plain = estimate(PrefixTuning(), 100, 8, BASE, Load(B, T))
    saving = estimate(PrefixTuning(), 100, 8, BASE, Load(B, T, checkpointing=True))
    assert saving.activations < plain.activations / 3
    assert plain.total == plain.weights + plain.tokenizer + 1200 + plain.activations + plain.heap + plain.working


def test_what_is_not_learned_takes_only_its_weights() -> None:
    found = estimate(Base(), 0, 8, BASE, Load(B, T, width=2))
    assert (found.activations, found.adapter, found.optimiser, found.logits) == (0, 0, 0, 0)
    assert found.total == found.weights + found.tokenizer + found.heap + found.working
    assert found.heap == RUNTIME


def test_quantised_weights_and_logits_of_texts() -> None:
    sizes = {q: estimate(PrefixTuning(), 100, 8, BASE, Load(B, T, width=2, quantization=q)).weights for q in QUANTISED}
    assert sizes == {"none": 2000, "int8": 400 + 800, "int4": 400 + 450}
    few, many = (estimate(PrefixTuning(), 100, 8, BASE, Load(B, T, targets=n)).logits for n in (2, 64))
    assert (few, many) == (8 * 50 * 8, 128 * 50 * 8)  # a chunk at the most
    assert estimate(FullFineTuning(), 1000, 8, BASE, Load(B, T, targets=64)).logits == 50 * (256 * 8 + 256 * 12)


MEASURED = [  # part, dtype, rows, tokens, targets, checkpointing, quantization
    (None, "bfloat16", 16, 128, 0, False, "none"),
    ({"method": "prefix", "layers": 17}, "bfloat16", 16, 128, 0, False, "none"),
    ({"method": "prefix", "layers": 17}, "float32", 16, 128, 0, False, "none"),
    ({"method": "prefix", "layers": 17}, "bfloat16", 16, 128, 0, True, "none"),
    ({"method": "prefix", "layers": 17}, "bfloat16", 16, 128, 16, False, "none"),
    ({"method": "llama_adapter", "layers": 17}, "bfloat16", 16, 128, 0, False, "none"),
    ({"method": "soft_prompt"}, "bfloat16", 16, 128, 0, False, "none"),
    ({"method": "lora", "rank": 4}, "bfloat16", 16, 128, 0, False, "none"),
    ({"method": "full"}, "bfloat16", 8, 64, 0, False, "none"),
    ({"method": "prefix", "layers": 17}, "bfloat16", 16, 128, 0, False, "int8"),
    ({"method": "prefix", "layers": 17}, "bfloat16", 16, 128, 0, True, "int4"),
]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux' account of a process's memory")
@pytest.mark.parametrize(("part", "dtype", "rows", "tokens", "targets", "checkpointing", "quantization"), MEASURED)
def test_the_estimate_is_within_15_percent_of_a_process(
    part: dict[str, Any] | None,
    dtype: str,
    rows: int,
    tokens: int,
    targets: int,
    checkpointing: bool,
    quantization: str,
) -> None:
    """Gemma 3 270M itself: `pytest -m slow -s tests/models/test_memory.py` prints what was measured."""
    pytest.importorskip("gguf")
    if quantization != "none":
        pytest.importorskip("bitsandbytes")
    case = {
        "model": "gemma-3-270m",
        "part": part,
        "dtype": dtype,
        "rows": rows,
        "tokens": tokens,
        "targets": targets,
        "checkpointing": checkpointing,
        "quantization": quantization,
    }
    source = Path(__file__).parents[2] / "src"
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("measured.py")), json.dumps(case)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")]),
            "OMP_NUM_THREADS": str(os.cpu_count()),
        },
    )
    assert done.returncode == 0, done.stderr
    peak = json.loads(done.stdout.splitlines()[-1])["peak"]
    found = inspect("gemma-3-270m", rows, tokens, targets)
    method = "base" if part is None else part["method"]
    name = {"float32": "float32", "bfloat16": "bfloat16"}[dtype] if quantization == "none" else quantization
    memory = next(m.memory for m in found.methods if m.name.split()[0] == method)
    guess = memory[f"{name}+checkpointing" if checkpointing else name].total
    print(
        f"{method:15} {name:9} checkpointing={checkpointing} targets={targets}: {peak / 1e6:,.0f} MB, {guess / peak:.2f}"
    )
    assert guess == pytest.approx(peak, rel=0.15)
