"""Base models whose linear layers are kept in 8 or 4 bits (bitsandbytes), on GPUs and CPUs. What is learned stays float32.

    int8   y = (x Qᵀ) · s     a byte a weight, one scale a row                      (absmax, round to nearest)
    int4   y = x dequant(Q)ᵀ  half a byte a weight, one float32 scale for 64 of them (NF4, Dettmers et al. 2023,
                                                                                      arXiv 2305.14314)

Only weights are quantised: the answer to a row does not depend on its batch, and nothing is cast to float16. The layers'
projections are quantised; embeddings, norms and the head stay in the base's dtype. Weights are dequantised again in the
backward pass, so none of them is kept for it in full.
"""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from typing import TYPE_CHECKING, Any, Literal

from transfix.errors import TransfixError, shortened

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Quantization = Literal["none", "int8", "int4"]

WEIGHT_BYTES: dict[str, float] = {"int8": 1.0, "int4": 0.5 + 4 / 64}
"""Bytes a quantised weight, int4 with its scale."""

INSTALL = "pip install 'transfix[quantized]'"


def options(quantization: Quantization, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """What `from_pretrained` is told to quantise while it reads; nothing for `none`.

    Args:
        quantization: none, int8 or int4.
        dtype: of the base, in which is multiplied.
        device: where the model goes.

    Raises:
        TransfixError: bitsandbytes is not installed, or it does not work on the device.
    """
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


def require_known(name: str, given: Any) -> None:
    """Refuse what a model's configuration says of its own quantisation where transformers would only pass over it.

    Args:
        name: of the model, as the user gave it.
        given: the `quantization_config` of its config.json.

    Raises:
        TransfixError: it names no method that transformers knows.
    """
    from transformers.quantizers.auto import AutoHfQuantizer

    plain = given if isinstance(given, dict) else given.to_dict() if hasattr(given, "to_dict") else {}
    method = plain.get("quant_method")
    known = method is not None or plain.get("load_in_4bit") or plain.get("load_in_8bit")
    if not known or not AutoHfQuantizer.supports_quant_method(plain):
        raise TransfixError(
            f"model {name!r}: the quantization_config of its config.json names no method that transformers knows "
            f"({shortened(repr(method))}). If its weights are not quantised, take quantization_config out of config.json."
        )


def require_quantised(name: str, model: nn.Module) -> None:
    """Refuse a model whose files hold plain weights though its configuration says that they are quantised.

    Raises:
        TransfixError: a layer of bitsandbytes was given weights that are no integers.
    """
    bitsandbytes: Any = sys.modules.get("bitsandbytes")
    kinds = (bitsandbytes.nn.Linear8bitLt, bitsandbytes.nn.Linear4bit) if bitsandbytes else ()
    for path, module in model.named_modules():
        if isinstance(module, kinds) and module.weight.is_floating_point():
            raise TransfixError(
                f"model {name!r}: its config.json says that its weights are quantised (quantization_config), and its files "
                f"hold plain ones, for example {path}.weight. Take quantization_config out of config.json, and use "
                "quantization: int4 or int8 to quantise it here."
            )


def prepare(model: nn.Module) -> None:
    """Makes a quantised model's layers what the module's description says.

    bitsandbytes' own int8 layers also quantise their input, through float16, with outliers sought over the whole batch. Its
    int4 layers repack their weights at the first forward of an evaluation on a CPU with AVX512-BF16, for good, and every
    gradient through them would be lost from then on.
    """
    bitsandbytes: Any = sys.modules.get("bitsandbytes")
    if bitsandbytes is None:  # quantised by another library, by whoever saved it
        return
    modules: list[Any] = list(model.modules())
    for module in modules:
        if isinstance(module, bitsandbytes.nn.Linear8bitLt):
            module.forward = functools.partial(_weight_only, module)
        elif isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def quantised_parameters(layers: nn.ModuleList) -> int:
    """How many numbers of a model would be quantised: the weights of the linear modules in its list of layers."""
    from torch import nn

    linear = {module.weight for layer in layers for module in layer.modules() if isinstance(module, nn.Linear)}
    return sum(weight.numel() for weight in linear)


def _weight_only(layer: Any, states: Tensor) -> Tensor:
    """(..., in) -> (..., out) through an int8 layer of bitsandbytes."""
    from transfix.models.int8 import Int8Linear

    if layer.weight.CB is not None:
        layer.init_8bit_state()
    product: Tensor = Int8Linear.apply(states, layer.weight, layer.state.SCB)  # type: ignore[no-untyped-call]
    return product if layer.bias is None else product + layer.bias.to(product.dtype)


def _require_library(quantization: Quantization) -> None:
    try:
        importlib.metadata.version("bitsandbytes")
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        missing = isinstance(error, importlib.metadata.PackageNotFoundError)
        why = "bitsandbytes, which is not installed" if missing else f"bitsandbytes, which cannot be loaded ({error})"
        raise TransfixError(f"quantization {quantization} needs {why}: {INSTALL}.") from error
