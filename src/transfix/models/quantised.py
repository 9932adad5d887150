"""Base models whose linear layers are kept in 8 or 4 bits (bitsandbytes), on GPUs and CPUs. What is learned stays float32.

    int8   LLM.int8: a byte a weight, one scale a row                   (Dettmers et al. 2022, arXiv 2208.07339)
    int4   NF4: half a byte a weight, one float32 scale for 64 of them  (QLoRA, Dettmers et al. 2023, arXiv 2305.14314)

The layers' projections are quantised; embeddings, norms and the head stay in the base's dtype. Weights are dequantised again
in the backward pass, so none of them is kept for it in full.
"""

from __future__ import annotations

import importlib.metadata
import logging
from typing import TYPE_CHECKING, Any, Literal

from transfix.errors import TransfixError

if TYPE_CHECKING:
    import torch
    from torch import nn

Quantization = Literal["none", "int8", "int4"]

WEIGHT_BYTES: dict[str, float] = {"int8": 1.0, "int4": 0.5 + 4 / 64}
"""Bytes a quantised weight, int4 with its scale."""

INSTALL = "pip install 'transfix[quantized]'"


def options(quantization: Quantization, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """What `from_pretrained` is told to quantise while it reads; nothing for `none`.

    Args:
        quantization: none, int8 or int4.
        dtype: of the base; what is multiplied is dequantised to it (int8 on a GPU multiplies in float16).
        device: where the model goes.

    Raises:
        TransfixError: bitsandbytes is not installed, or it does not work on the device.
    """
    # PEFT imports it too, and it warns that optional kernels are not there
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if quantization == "none":
        return {}
    if device.type not in ("cpu", "cuda", "xpu"):
        raise TransfixError(
            f"quantization {quantization} does not work on device {device}: use device cpu or cuda, or quantization: none."
        )
    _require_library(quantization)
    from transformers import BitsAndBytesConfig

    if quantization == "int8":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    return {"quantization_config": config, "device_map": {"": device}}


def keep_differentiable(model: nn.Module) -> None:
    """Keeps 4-bit weights in the one layout that has a backward pass.

    On CPUs with AVX512-BF16 bitsandbytes would repack them for good at the first forward of an evaluation, and every gradient
    through them would be lost from then on.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def quantised_parameters(layers: nn.ModuleList) -> int:
    """How many numbers of a model would be quantised: the weights of the linear layers in its `layers`."""
    from torch import nn

    linear = {module.weight for layer in layers for module in layer.modules() if isinstance(module, nn.Linear)}
    return sum(weight.numel() for weight in linear)


def _require_library(quantization: Quantization) -> None:
    try:
        importlib.metadata.version("bitsandbytes")
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        missing = isinstance(error, importlib.metadata.PackageNotFoundError)
        why = "bitsandbytes, which is not installed" if missing else f"bitsandbytes, which cannot be loaded ({error})"
        raise TransfixError(f"quantization {quantization} needs {why}: {INSTALL}.") from error
