"""Base models larger than the device: accelerate brings each layer's weights to it when the layer runs.

    embeddings, norm and head   on the device, always: they are small, and the fast paths read them
    layers                      cpu: in main memory, for a GPU     disk: in the model's own safetensors files

What is learned stays on the device. A backward pass needs every weight again, and autograd would hold on to all of them: in
training, activation checkpointing is what lets go of a layer's weights until its turn comes.
"""

from __future__ import annotations

import logging
import warnings
from typing import Literal, cast

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig

from transfix.adapters import architecture
from transfix.errors import TransfixError

Offload = Literal["none", "cpu", "disk"]


def device_map(name: str, config: PreTrainedConfig, offload: Offload, device: torch.device) -> dict[str, str]:
    """What `from_pretrained` is told: everything on `device`, the layers elsewhere.

    Args:
        name: of the model, for messages.
        config: of the model.
        offload: `cpu` or `disk`.
        device: where the model runs.

    Raises:
        TransfixError: `cpu` where the model runs on the CPU anyway; a model whose list of layers is not found.
    """
    if offload == "cpu" and device.type == "cpu":
        raise TransfixError(
            f"offload: cpu keeps the layers of {name!r} in main memory while it runs on a GPU, but it runs on the CPU here: "
            "leave offload out, or use offload: disk."
        )
    logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)  # it tells that some weights are elsewhere
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # initialisers warn that they do nothing to a tensor without numbers
        skeleton = AutoModelForCausalLM.from_config(config)
    layers = architecture.stack(skeleton)
    path = next(path for path, module in skeleton.named_modules() if module is layers)
    places: dict[str, str] = {path: offload}
    outer, above = "", cast(nn.Module, skeleton)
    for name_below in path.split("."):  # beside the layers, level by level: accelerate wants no module named twice
        beside = [*above._modules, *above._parameters, *above._buffers]
        places |= {outer + other: str(device) for other in beside if other != name_below}
        outer, above = f"{outer}{name_below}.", above.get_submodule(name_below)
    return places
