"""What is said of an encoder is what attaching does: its head is counted, and what is refused is said."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification, BertConfig, DebertaV2Config, PretrainedConfig

from transfix import TransfixError, attach
from transfix.adapters.methods import METHODS, LoRA
from transfix.models.inspect import STUDY_LAYERS, inspect, trainable

SHAPE = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 90}
DISENTANGLED = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}


@pytest.mark.parametrize("config", [BertConfig(**SHAPE), DebertaV2Config(**SHAPE, **DISENTANGLED)])
def test_inspect_says_what_attaching_does(tmp_path: Path, config: PretrainedConfig) -> None:
    config.save_pretrained(tmp_path)
    found = {method.name: method for method in inspect(tmp_path).methods}
    assert "task_head" in found
    config.num_labels = 3
    for kind in METHODS.values():
        for name, part in kind.variants(round(STUDY_LAYERS * 2)).items():
            learned: int | None
            model = AutoModelForSequenceClassification.from_config(copy.deepcopy(config))
            try:
                learned, reason = attach(model, part.without_text()).trainable, ""
            except TransfixError as error:
                learned, reason = None, str(error)
            assert (found[name].trainable, found[name].reason) == (learned, reason), name
    works = inspect(tmp_path).works
    assert "training, evaluation and prediction on choices among classes" in works
    assert ("llama_adapter" in works) == (config.model_type == "bert")


def test_a_head_is_counted_by_its_classes(tmp_path: Path) -> None:
    BertConfig(**SHAPE).save_pretrained(tmp_path)
    assert trainable(tmp_path, [LoRA(rank=2)], 5) - trainable(tmp_path, [LoRA(rank=2)], 3) == 2 * (32 + 1)
