"""Tiny GGUF files, written with llama.cpp's own package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quants

D, F, HEADS, KV_HEADS, LAYERS, CONTEXT = 64, 96, 4, 2, 2, 128
TOKENS = ["<pad>", "</s>", "<s>", "<unk>", "▁", "a", "c", "t", "▁c", "▁ca", "▁cat", "ä", "猫"]
CONTROL, NORMAL, UNKNOWN = 3, 1, 2


def write(path: Path, architecture: str) -> Path:
    """A model of random weights: matrices in Q8_0 where their width allows it, the rest in float32."""
    writer = GGUFWriter(path, architecture)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(D)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(F)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    head = D // HEADS
    if architecture == "gemma3":
        head = 32
        writer.add_key_length(head)
        writer.add_value_length(head)
        writer.add_sliding_window(16)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([-float(index) for index in range(len(TOKENS))])
    writer.add_token_types([CONTROL, CONTROL, CONTROL, UNKNOWN] + [NORMAL] * (len(TOKENS) - 4))
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    random = np.random.default_rng(0)
    for name, shape in shapes(architecture, head).items():
        array = random.standard_normal(shape).astype(np.float32)
        if len(shape) == 2 and shape[1] % 32 == 0:
            packed = quants.quantize(array, GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def shapes(architecture: str, head: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes as llama.cpp writes them."""
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(TOKENS), D), "output_norm.weight": (D,)}
    if architecture == "llama":
        found["output.weight"] = (len(TOKENS), D)
    for layer in range(LAYERS):
        block = {
            "attn_norm": (D,),
            "attn_q": (HEADS * head, D),
            "attn_k": (KV_HEADS * head, D),
            "attn_v": (KV_HEADS * head, D),
            "attn_output": (D, HEADS * head),
            "ffn_norm": (D,),
            "ffn_gate": (F, D),
            "ffn_up": (F, D),
            "ffn_down": (D, F),
        }
        if architecture == "gemma3":
            block |= {
                "attn_q_norm": (head,),
                "attn_k_norm": (head,),
                "post_attention_norm": (D,),
                "post_ffw_norm": (D,),
            }
        found |= {f"blk.{layer}.{name}.weight": shape for name, shape in block.items()}
    return found
