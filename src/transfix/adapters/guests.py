"""What other tools have put on a model: found before an adapter goes on, and refused with what to do.

An adapter is saved as a change to its base. On a model that something else has changed already, `disabled()` and `detach()`
would not give the base back, and the adapter would be loaded on another one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

from torch import nn
from transformers import PreTrainedModel

from transfix.adapters.architecture import UnsupportedModelError, own_head
from transfix.adapters.encoders import head_modules
from transfix.errors import TransfixError

_WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")


def unwrapped(model: Any) -> PreTrainedModel:
    """The transformers model that `model` is. What `torch.compile` gives is the model that it compiles.

    Raises:
        TransfixError: if it is none, or one inside another tool's.
    """
    model = getattr(model, "_orig_mod", model)
    kind = type(model).__name__
    if not isinstance(model, nn.Module):
        raise TransfixError(
            f"attach: the model is a {kind}; load it first, with transformers or with "
            "`from transfix import models; models.load(NAME).model`."
        )
    if isinstance(model, PreTrainedModel):
        return model
    if kind in _WRAPPERS:
        around = "DistributedDataParallel" if kind == "DataParallel" else kind  # its copies would share what is learned
        raise TransfixError(
            f"attach: the model is wrapped in {kind}: attach to the model itself, and put {around} around it after that."
        )
    if _package(model) == "peft":
        todo = _MERGE if hasattr(model, "merge_and_unload") else "Attach to the model in it, its .get_base_model()."
        raise TransfixError(f"attach: the model is a {kind} of PEFT. {todo}")
    inside = next((path for path, module in model.named_modules() if isinstance(module, PreTrainedModel)), None)
    where = f": attach to the one inside it, its .{inside}" if inside else "; load one with transformers"
    raise TransfixError(f"attach: the model is a {kind}, which is no transformers model{where}.")


def require_bare(model: PreTrainedModel, ours: Callable[[nn.Module], bool]) -> None:
    """Refuses a model that something else has changed or shares.

    Args:
        model: the model.
        ours: whether a module is one that our own adapters have put there.

    Raises:
        TransfixError: if there is something, with what to do.
    """
    for path, module in model.named_modules():
        package = _package(module)
        if package == "peft" and not ours(module) and (todo := _carried(module)):
            raise TransfixError(f"attach: the model carries an adapter of PEFT (at {path}). {todo}")
        if package == "transfix" and not ours(module):
            raise TransfixError(_elsewhere(model, path))
        if package == "adapters":
            raise TransfixError(
                f"attach: {type(model).__name__} was prepared by the library adapters (at {path or 'the model'}): load it "
                "again with transformers, without adapters.init."
            )
        if module is not model and "_transfix" in vars(module):
            raise TransfixError(_elsewhere(model, path))
    dtensor = getattr(sys.modules.get("torch.distributed.tensor"), "DTensor", ())
    if any(isinstance(parameter, dtensor) for parameter in model.parameters()):
        raise TransfixError(
            "attach: the model is sharded over devices already (its weights are DTensors), which what is learned would not "
            "be: attach to the whole model, and shard it after that."
        )


def require_no_head(model: PreTrainedModel) -> None:
    """Refuses a decoder whose answers come from a head of its own: an adapter would neither train nor save it.

    Raises:
        UnsupportedModelError: if it has one.
    """
    if (heads := own_head(model)) and not head_modules(model):
        raise UnsupportedModelError(
            f"attach: {type(model).__name__} has a head of its own ({', '.join(heads)}), usually a random one, that an "
            "adapter would leave as it is and not save. Use the model with its language-model head (AutoModelForCausalLM), "
            "which transfix asks for label words; or train and save everything, with FullFineTuning()."
        )


def no_gradients(model: PreTrainedModel) -> str:
    """Why gradients do not pass through the model's weights; empty if they do.

    bitsandbytes' 4-bit layers repack their weights at an evaluation on some CPUs, for good and without gradients: they are
    told not to.
    """
    if path := quantised_by_torch(model):
        return (
            f"{path} was quantised by torch.ao, through which no gradient passes: load the model again and quantise it with "
            "bitsandbytes, as models.load(NAME, quantization='int8') does"
        )
    for path, module in model.named_modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
            state = getattr(cast(Any, module).weight, "quant_state", None)
            if getattr(state, "packing_format_for_cpu", False):
                return (
                    f"{path} was repacked by bitsandbytes for evaluation, and no gradient passes through it: load the "
                    "model with models.load(NAME, quantization='int4'), or train before the first evaluation"
                )
    # offloaded weights are on the meta device until their layer runs, and made anew then
    if any(parameter.is_inference() and not parameter.is_meta for parameter in model.parameters()):
        return (
            "its weights were made inside torch.inference_mode(), and cannot be differentiated through: load the model and "
            "attach outside of it"
        )
    return ""


def quantised_by_torch(model: nn.Module) -> str:
    """The path of the first module that torch.ao has quantised; empty if there is none."""
    kinds = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
    return next((path for path, module in model.named_modules() if type(module).__module__.startswith(kinds)), "")


_MERGE = (
    "Merge its adapter into the weights first (`model = peft_model.merge_and_unload()`), or take it off (`model = "
    "peft_model.unload()`; after transformers' add_adapter `model.delete_adapter(NAME)`; if it is transfix' LoRA on a model "
    "around this one, detach()), and attach to what is left."
)


def _elsewhere(model: nn.Module, path: str) -> str:
    return (
        f"attach: {path} in this {type(model).__name__} has adapters that were attached to another object, a part of this "
        "model or a model around it: attach all to the same one, or detach those first."
    )


def _carried(module: Any) -> str:
    """What to do about a module of PEFT; nothing about a layer whose adapters were all deleted, which adds nothing."""
    if not hasattr(module, "get_base_layer") and not hasattr(module, "modules_to_save"):
        return "It cannot be taken off: load the model again."
    names = module._get_available_adapters() if hasattr(module, "_get_available_adapters") else True
    return _MERGE if names else ""


def _package(module: nn.Module) -> str:
    return type(module).__module__.partition(".")[0]
