"""Small tokenizers of the kinds that make trouble, built on the spot."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

TEXTS = (
    "The lamp is broken\nSo? yes",
    "My bill is wrong\nSo? maybe",
    "灯坏了\n答案：是",
    "账单错了\n答案：否",
    "a b c d e f g",
)
"""What the letters are taken from."""


def metaspace(scheme: str = "always") -> PreTrainedTokenizerFast:
    """Llama 2's kind: ▁ for a space and before a text, <s> before it, words where they are in the vocabulary."""
    vocabulary, merges = _pieces(("▁yes", "▁no", "▁maybe", "▁So"))
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True))
    if scheme == "normalizer":  # as Llama 2's own file has it
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", scheme, split=False)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return _with(
        backend, "<s> $A", {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    )


def bert() -> PreTrainedTokenizerFast:
    """GPT2-Chinese's kind: characters, [CLS] before a text and [SEP] behind it, no end-of-sequence token."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = sorted({letter for text in TEXTS for letter in text if not letter.isspace()} | set("[]CLSEP"))
    words = [*names, *letters, *(f"##{letter}" for letter in letters), "yes", "no", "maybe", "So"]
    backend = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    roles = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return _with(backend, "[CLS] $A [SEP]", roles)


def byte_level(prefix_space: bool = False, ends: bool = False) -> PreTrainedTokenizerFast:
    """GPT-2's kind: bytes, <s> before a text, and </s> behind it if it `ends` texts."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<pad>", "<s>", "</s>", "<turn>"]
    pairs = [("Ġ", "y"), ("Ġy", "e"), ("Ġye", "s"), ("Ġ", "n"), ("Ġn", "o"), ("Ċ", "Ċ")]
    words = [*names, *alphabet, *("".join(pair) for pair in pairs)]
    backend = Tokenizer(models.BPE({word: place for place, word in enumerate(words)}, pairs))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    made = _with(
        backend,
        "<s> $A </s>" if ends else "<s> $A",
        {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
    )
    made.add_special_tokens({"additional_special_tokens": ["<turn>"]})
    return made


def whole_words(vocabulary: tuple[str, ...] = ("<s>", "</s>", "<unk>", "yes", "no")) -> PreTrainedTokenizerFast:
    """Whole words between spaces: the letters of a control token are a word of the vocabulary too."""
    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(vocabulary)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _with(backend, "<s> $A", {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})


def _pieces(words: tuple[str, ...]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary of letters and of the beginnings of words, with the merges that lead to them."""
    letters = sorted({letter for text in TEXTS for letter in text} | set("▁<>/s否是") - {" "})
    merges = list(
        dict.fromkeys((word[:place], word[place]) for word in (*words, "：是") for place in range(1, len(word)))
    )
    names = ["<pad>", "<unk>", "<s>", "</s>", *letters, *("".join(pair) for pair in merges)]
    return {name: place for place, name in enumerate(dict.fromkeys(names))}, merges


def _with(backend: Tokenizer, around: str, roles: dict[str, str]) -> PreTrainedTokenizerFast:
    names = list(dict.fromkeys(roles.values()))
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    used = [(name, number) for name in names if (number := backend.token_to_id(name)) is not None and name in around]
    backend.post_processor = processors.TemplateProcessing(single=around, special_tokens=used)
    made: Any = PreTrainedTokenizerFast(tokenizer_object=backend, **roles)
    return made
