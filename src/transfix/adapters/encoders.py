"""What is particular about encoders (BERT, XLM-R, ModernBERT, DeBERTa): a head that answers, and where positions begin."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from transfix.adapters.architecture import own_head

_POOLER = "pooler"


def is_encoder(config: PreTrainedConfig) -> bool:
    """Whether this is BERT or its kin. They have a causal class too, with which their weights make no sense."""
    architectures = config.architectures or []
    causal = any("CausalLM" in name or "LMHead" in name for name in architectures) or getattr(
        config, "is_decoder", False
    )
    known = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return known and not causal and not config.is_encoder_decoder


def head_modules(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The modules that give an encoder's answers, by name: those beside its body, and the pooler in it that feeds them.

    None of a body by itself, of a model for masked words (whose head is the embeddings), and of what is no encoder.
    """
    if not is_encoder(model.config):
        return {}
    names = own_head(model)
    pooler = getattr(model.base_model, _POOLER, None) if names else None
    inside: dict[str, nn.Module] = {_POOLER: pooler} if isinstance(pooler, nn.Module) else {}
    return inside | {name: model.get_submodule(name) for name in names}


def first_position(body: PreTrainedModel) -> int:
    """The position of a row's first token: 0, or behind the padding's, as in RoBERTa and XLM-R."""
    table = getattr(getattr(body, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


def positions_from_tokens(body: PreTrainedModel) -> bool:
    """Whether the model itself counts positions from the first token that is no padding."""
    embeddings: Any = getattr(body, "embeddings", None)
    return hasattr(embeddings, "create_position_ids_from_input_ids")
