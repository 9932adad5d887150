"""A model without numbers: built on PyTorch's meta device from its configuration, with the head that it answers by."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from transfix.adapters.encoders import is_encoder
from transfix.models import loading

CLASSES = 3
"""Of an encoder's head, where no task says how many: those of natural language inference."""


def skeleton_of(name: str, config: PretrainedConfig, classes: int = 0) -> PreTrainedModel:
    """The model on the meta device, with the head it was made for; an encoder with one of classes."""
    auto: Any = AutoModel
    if config.is_encoder_decoder:
        auto = AutoModelForSeq2SeqLM
    elif is_encoder(config) and config.model_type in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        auto = AutoModelForSequenceClassification
        config.num_labels = classes or CLASSES
    elif is_encoder(config):
        auto = AutoModelForMaskedLM
    elif config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        auto = AutoModelForCausalLM
    with loading.quiet(), loading.explained(name, None), torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # initialisers warn that they do nothing to a tensor without numbers
        model: PreTrainedModel = auto.from_config(config)
    return model
