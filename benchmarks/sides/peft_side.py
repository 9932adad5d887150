"""PEFT in transformers' Trainer: as most users configure it, and as well as a knowledgeable user could.

`usual`: dynamic padding, the loss over the logits of all positions with the prompt's labels at -100, rows in random order.
`best`: rows of similar length together, left padding, logits of the last positions only (`logits_to_keep`), and the loss over
the three label words, as transfix takes it.
"""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

import torch
from peft import AdaptionPromptConfig, LoraConfig, PeftConfig, PrefixTuningConfig, get_peft_model
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    default_data_collator,
)

from benchmarks.sides import rows as data_rows
from benchmarks.sides import shapes
from benchmarks.sides.clock import Clock
from benchmarks.sides.given import given

TOKENS = 10
"""Prefix length, on both sides."""


def wrapped(model: PreTrainedModel, method: str) -> Any:
    """The model with one of PEFT's methods."""
    config = model.config
    if method == "prefix":
        heads, size = config.num_key_value_heads, config.head_dim or config.hidden_size // config.num_attention_heads
        settings = {"num_layers": config.num_hidden_layers, "token_dim": heads * size, "num_attention_heads": heads}
        made: PeftConfig = PrefixTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=TOKENS, num_transformer_submodules=1, **settings
        )
    elif method == "adaption_prompt":
        made = AdaptionPromptConfig(task_type="CAUSAL_LM", adapter_len=TOKENS, adapter_layers=config.num_hidden_layers)
    else:
        made = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj"])
    return get_peft_model(model, made)


class _Dataset(Dataset[dict[str, list[int]]]):
    def __init__(self, rows: data_rows.Rows | shapes.Rows) -> None:
        self.rows = [
            {
                "input_ids": [*prompt, rows.words[label]],
                "attention_mask": [1] * (len(prompt) + 1),
                "labels": [-100] * len(prompt) + [rows.words[label]],
            }
            for prompt, label in zip(rows.prompts, rows.classes, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return self.rows[index]


class _LastPosition(Trainer):
    """The loss over the label words, from the logits of the last position, where the answer is left out of the input."""

    words: Tensor

    def compute_loss(self, model: nn.Module, inputs: Any, return_outputs: bool = False, *_: Any, **__: Any) -> Any:
        """The mean cross-entropy over the label words."""
        answers = inputs["input_ids"][:, -1:]  # left-padded: the last token is the answer
        known = {"input_ids": inputs["input_ids"][:, :-1], "attention_mask": inputs["attention_mask"][:, :-1]}
        logits = model(**known, logits_to_keep=1).logits[:, -1]
        targets = (answers == self.words).long().argmax(-1)
        return nn.functional.cross_entropy(logits[:, self.words].float(), targets)


def train(
    model: str,
    method: str,
    setting: str,
    rows: int,
    dtype: str = "bfloat16",
    batch_rows: int = 16,
) -> dict[str, Any]:
    """Trains one of PEFT's adapters on `rows` English rows and says how fast.

    Args:
        model: the base model.
        method: `prefix`, `lora` or `adaption_prompt`.
        setting: `usual` or `best`, see the module.
        rows: how many.
        dtype: of the base weights.
        batch_rows: rows a step.
    """
    warnings.simplefilter("ignore")
    base, tokenizer, found = given(model, dtype, rows)
    collator = default_data_collator if tokenizer is None else DataCollatorForSeq2Seq(tokenizer, padding="longest")
    torch.manual_seed(0)
    made = wrapped(base, method)
    clock, best = Clock(), setting == "best"
    with tempfile.TemporaryDirectory() as directory:
        arguments = TrainingArguments(
            output_dir=directory,
            per_device_train_batch_size=batch_rows,
            num_train_epochs=1,
            learning_rate=1e-3,
            save_strategy="no",
            logging_steps=10,
            report_to=[],
            disable_tqdm=True,
            use_cpu=base.device.type == "cpu",
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            train_sampling_strategy="group_by_length" if best else "random",
        )
        kind = _LastPosition if best else Trainer
        trainer = kind(
            model=made,
            args=arguments,
            train_dataset=_Dataset(found),
            data_collator=collator,
            callbacks=[clock],
        )
        if isinstance(trainer, _LastPosition):
            trainer.words = torch.tensor(found.words, device=base.device)
            # For a slice of the positions and a frozen head torch 2.13 makes a batched product of it, and on a CPU copies the
            # whole matrix once a row: 24 s and 4 GB a step, where the product takes a tenth of a second.
            base.get_output_embeddings().register_forward_pre_hook(lambda _, args: (args[0].contiguous(),))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    per_step = [min(batch_rows, rows - start) for start in range(0, rows, batch_rows)]
    return {
        "rows_per_s": round(clock.rate(per_step), 3),
        "rows": rows,
        "tokens": sum(map(len, found.prompts)),
        "trainable": sum(p.numel() for p in made.parameters() if p.requires_grad),
        **shapes.peak(base.device),
    }
