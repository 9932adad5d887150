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


def save_encoder(directory: Path, kind: str = "bert") -> Path:
    """Writes a random encoder of two layers without a head, and a tokenizer that reads pairs; returns the directory."""
    import torch
    from transformers import AutoModel, BertConfig, ModernBertConfig, XLMRobertaConfig

    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": _save_tokenizer(directory, pairs=True),
        "max_position_embeddings": 200,
        "pad_token_id": 0,
        "initializer_range": 0.1,
    }
    configs = {"bert": BertConfig, "xlm-roberta": XLMRobertaConfig, "modernbert": ModernBertConfig}
    own = {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2} if kind == "modernbert" else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModel.from_config(configs[kind](**shape, **own))
        model.pooler = None
        model.save_pretrained(directory)
    return directory


def _save_tokenizer(directory: Path, pairs: bool = False) -> int:
    """A byte-pair encoding learned from shipped rows, which begins every text with <bos> as Gemma's does; its size.

    With `pairs` it has BERT's form: `<bos> A <eos>`, and of two texts `<bos> A <eos> B <eos>`, the second of another type.
    """
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
    if pairs:
        backend.post_processor = processors.TemplateProcessing(
            single="<bos> $A <eos>",
            pair="<bos>:0 $A:0 <eos>:0 $B:1 <eos>:1",
            special_tokens=[("<bos>", 1), ("<eos>", 2)],
        )
    tokens = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    names = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]} if pairs else {}
    PreTrainedTokenizerFast(tokenizer_object=backend, **tokens, **names).save_pretrained(directory)
    return int(backend.get_vocab_size())
