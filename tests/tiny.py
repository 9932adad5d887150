"""A random Gemma 3 of four layers and its tokenizer: small enough for every test that needs a model."""

from __future__ import annotations

from pathlib import Path


def save(directory: Path) -> Path:
    """Writes the model (see the fixture `tiny_model`) into a directory; returns the directory."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    vocabulary = _save_tokenizer(directory)
    config = Gemma3TextConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        vocab_size=vocabulary,
        max_position_embeddings=512,
        sliding_window=128,
        layer_types=[*["sliding_attention"] * 3, "full_attention"],
        initializer_range=0.1,  # answers that differ from row to row
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Gemma3ForCausalLM(config).save_pretrained(directory)
    return directory


def _save_tokenizer(directory: Path) -> int:
    """A byte-pair encoding learned from shipped rows, which begins every text with <bos> as Gemma's does; its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    from transfix import data

    texts = [text for row in data.load("mnli", "snapshot", "eng_Latn", "train", 200) for text in row.fields.values()]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([*["So? yes", "So? maybe", "So? no"] * 100, *texts], trainer)
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    tokens = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **tokens).save_pretrained(directory)
    return int(backend.get_vocab_size())
