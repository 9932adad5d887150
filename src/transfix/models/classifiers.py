"""Encoders as classifiers: which head their files have for a task's classes, and a new one where they have none."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from transfix.adapters.encoders import head_modules
from transfix.errors import TransfixError


@dataclass(frozen=True, slots=True)
class Answering:
    """How an encoder answers.

    Attributes:
        classes: in the order of the head's.
        kept: whether the head is that of the model's files.
    """

    classes: tuple[str, ...]
    kept: bool


def prepare(name: str, config: PreTrainedConfig, classes: Sequence[str]) -> Answering | None:
    """Gives a configuration the classes of a task, in the order of the model's own head if it was trained for them.

    Returns:
        how the encoder answers; None if no classes are asked for.

    Raises:
        TransfixError: transformers has no such encoder with a head of classes.
    """
    if not classes:
        return None
    if config.model_type not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        raise TransfixError(
            f"model {name!r} ({config.model_type}) is an encoder that transformers has no sequence classification for: take "
            "BERT, XLM-R, ModernBERT or DeBERTa, or a decoder."
        )
    own = [str(label).lower() for _, label in sorted((config.id2label or {}).items())]
    made_for = any("SequenceClassification" in kind for kind in config.architectures or [])
    kept = made_for and len(own) == len(classes) and set(own) == {label.lower() for label in classes}
    ordered = sorted(classes, key=lambda label: own.index(label.lower())) if kept else list(classes)
    config.id2label = dict(enumerate(ordered))
    config.label2id = {label: number for number, label in enumerate(ordered)}
    config.problem_type = "single_label_classification"
    return Answering(tuple(ordered), kept)


def fill(model: PreTrainedModel, report: Any, answering: Answering, seed: int) -> bool:
    """Makes what the model's files lack of the head anew, from a seed; takes it out of transformers' report.

    Returns:
        whether the last module of the head, which gives the classes, is new.
    """
    paths = {id(module): path for path, module in model.named_modules()}
    heads = {paths[id(module)]: module for module in head_modules(model).values()}
    last = list(heads)[-1]
    lacking = [*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]
    made = {path for path in heads if any(_in(key, path) for key in lacking)} | (
        {last} if not answering.kept else set()
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for path in sorted(made):
            _make(model, heads[path])
    report["missing_keys"] = {key for key in report["missing_keys"] if not any(_in(key, path) for path in made)}
    report["mismatched_keys"] = {
        entry for entry in report["mismatched_keys"] if not any(_in(entry[0], path) for path in made)
    }
    return last in made


def _make(model: Any, module: nn.Module) -> None:
    """Fills a module as the model's own class starts it; drawn on the CPU, so that every device gets the same."""
    fresh = copy.deepcopy(module).cpu().float()
    for part in fresh.modules():
        model._init_weights(part)
    module.load_state_dict(fresh.state_dict())


def _in(key: str, path: str) -> bool:
    return key.startswith(f"{path}.")
