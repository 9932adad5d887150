"""What `compare_checkouts.py` lets two checkouts do: runs of every method, a study, and the files they are given."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

Content = dict[str, Any]

LABELS = ("entailment", "neutral", "contradiction")
TOPICS = {"billing": "Bill {n} is wrong", "delivery": "Parcel {n} is late", "quality": "Lamp {n} is broken"}
WORDS = [f"{before} {word}" for before in ("So?", "Answer:") for word in ("yes", "maybe", "no", "A", "B", "C", "D")]
"""What the tokenizer is to have as one token each."""

TASK: Content = {
    "name": "complaints",
    "kind": "choice",
    "fields": ["text"],
    "label": "topic",
    "prompt": "{{text}}\nSo?",
    "labels": {"billing": " yes", "delivery": " maybe", "quality": " no"},
    "languages": ["en"],
    "data": {"train": {"files": "complaints.csv"}, "test": {"files": "complaints.csv"}},
}
TEXTS: list[Content] = [
    {"task": "mgsm", "languages": ["en", "de"], "limit": 2, "max_new_tokens": 12},
    {"task": "xquad", "languages": ["de"], "limit": 2, "max_new_tokens": 8},
    {"task": "belebele", "languages": ["de"], "limit": 2},
    {"task": "flores_from_english", "languages": ["de"], "limit": 2, "max_new_tokens": 8},
]
"""What base and prefix tuning are measured on besides XNLI: answers that are written, and options."""


def specifications(rows: int, limit: int, languages: Sequence[str]) -> dict[str, Content]:
    """The runs: every method, combinations of them, own rows and an own task."""
    xnli = {"task": "xnli", "languages": ["en", *languages], "limit": limit}
    mnli = {"task": "mnli", "rows": rows, "development_rows": 6, "max_tokens": 128, "epochs": 2, "batch_rows": 6}

    def run(adapter: Any, model: str = "gemma", train: Content | None = None, **changes: Any) -> Content:
        training = None if adapter == "base" else {**mnli, "checkpoint_every": 2, **(train or {})}
        common = {"model": f"models/tiny-{model}", "dtype": "float32", "device": "cpu", "adapter": adapter}
        return {**common, "train": training, "evaluate": [xnli], **changes}

    prefix = {"method": "prefix", "tokens": 3}
    gates = {"method": "llama_adapter", "tokens": 3, "gate": "per_layer", "tanh": True, "layers": 3}
    shots = {"task": "mgsm", "languages": ["de"], "limit": 2, "max_new_tokens": 8, "few_shot": {"shots": 1}}
    own = {"task": "task.yaml", "data": None, "rows": 12}
    return {
        "base": run("base", evaluate=[xnli, *TEXTS]),
        "soft_prompt": run({"method": "soft_prompt", "tokens": 3, "init": "text"}),
        "prefix": run(prefix, evaluate=[xnli, *TEXTS]),
        "prefix unprojected": run({**prefix, "projection": "none", "layers": 2}),
        "prefix layer norm": run({**prefix, "norm": "layer", "init": "text", "learning_rate_scale": "relative"}),
        "prefix on gsm8k": run(prefix, train={"task": "gsm8k", "max_tokens": 256}, evaluate=[shots]),
        "llama_adapter": run({"method": "llama_adapter", "tokens": 3}, "llama"),
        "llama_adapter stopped": run(gates, train={"evaluate_every": 2, "early_stopping": 1}),
        "lora": run({"method": "lora", "rank": 2}, "llama", {"gradient_checkpointing": True}),
        "lora on own rows": run({"method": "lora", "targets": "all_linear"}, train={"data": {"files": "rows.csv"}}),
        "full": run("full", train={"learning_rate": 0.0001, "weight_decay": 0.01, "schedule": "linear"}),
        "prefix+lora": run([prefix, {"method": "lora", "rank": 2, "learning_rate": 0.002}], seed=1),
        "soft_prompt+llama_adapter": run("soft_prompt+llama_adapter", "llama"),
        "own task": run(prefix, train=own, evaluate=[{"task": "task.yaml"}]),
    }


def study(specs: Mapping[str, Content]) -> Content:
    """Two methods, two seeds."""
    methods: Content = {"prefix": {}, "lora": {"adapter": {"method": "lora", "rank": 2}}}
    return {
        "name": "grid",
        "base": {**specs["prefix"], "evaluate": specs["lora"]["evaluate"]},
        "matrix": {"method": methods, "seed": [0, 1]},
    }


def provide(directory: Path, snapshot: Path, specs: Mapping[str, Content]) -> None:
    """Writes what both sides are given: models, rows, specifications. The tokenizer is learned from shipped rows."""
    table = pq.read_table(snapshot / "mnli_dev_matched.parquet").slice(0, 200)
    columns = [name for name in table.column_names if name.startswith(("premise", "hypothesis"))]
    texts = [[str(text) for text in table[name].to_pylist()] for name in columns]
    save_models(directory / "models", [text for column in texts for text in column])
    with (directory / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(*pair, LABELS[number % 3]) for number, pair in enumerate(zip(*texts, strict=True))]
        csv.writer(file).writerows([("premise", "hypothesis", "label"), *rows])
    with (directory / "complaints.csv").open("w", newline="", encoding="utf-8") as file:
        complaints = [(text.format(n=n), topic) for n in range(6) for topic, text in TOPICS.items()]
        csv.writer(file).writerows([("text", "topic"), *complaints])
    questions = [{"premise": first, "hypothesis": second} for first, second in zip(*texts, strict=True)][:3]
    (directory / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions), encoding="utf-8")
    files = {"task.yaml": TASK, "grid.yaml": study(specs)}
    for name, content in (files | {f"specs/{name}.yaml": content for name, content in specs.items()}).items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def save_models(directory: Path, texts: Sequence[str]) -> None:
    """A Gemma 3 and a Llama of four layers with random weights, and a tokenizer with the label words as one token each."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import (
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<bos>", "<eos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([*WORDS * 100, *texts], trainer)
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    )
    shape: Content = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": backend.get_vocab_size(),
        "max_position_embeddings": 1024,
        "initializer_range": 0.1,  # answers that differ from row to row
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    layers = [*["sliding_attention"] * 3, "full_attention"]
    torch.manual_seed(0)
    gemma = Gemma3ForCausalLM(Gemma3TextConfig(**shape, sliding_window=128, layer_types=layers))
    for name, model in (("tiny-gemma", gemma), ("tiny-llama", LlamaForCausalLM(LlamaConfig(**shape)))):
        model.save_pretrained(directory / name)
        tokenizer.save_pretrained(directory / name)
