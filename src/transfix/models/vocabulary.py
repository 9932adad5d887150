"""Whether a tokenizer fits its model: what texts are begun, ended and filled up with must have embeddings."""

from __future__ import annotations

from typing import Any

from transfix.errors import TransfixError

ROLES = ("pad", "bos", "eos", "unk", "sep", "cls")
"""The tokens that texts get without anyone writing them."""


def without_embedding(tokenizer: Any, size: int) -> list[str]:
    """The tokens that a tokenizer puts into texts itself and a model with `size` embeddings lacks, each with its name."""
    found: dict[int, str] = {}
    for role in ROLES:
        number = getattr(tokenizer, f"{role}_token_id", None)
        if number is not None and number >= size:
            found.setdefault(number, f"{role}_token {getattr(tokenizer, f'{role}_token')!r}")
    for number in tokenizer("a")["input_ids"]:  # with what it puts around a text
        if number >= size:
            found.setdefault(number, repr(tokenizer.convert_ids_to_tokens(number)))
    return [f"{name} is token {number:,}" for number, name in sorted(found.items())]


def require_words(name: str, tokenizer: Any) -> None:
    """Refuse a tokenizer without a vocabulary: transformers makes one where a model's files hold none.

    Args:
        name: of the model, as it was asked for.
        tokenizer: what transformers made of its files.

    Raises:
        TransfixError: it knows nothing but special tokens, so that every text would be the same to the model.
    """
    special = len(getattr(tokenizer, "added_tokens_decoder", {}))
    if len(tokenizer) <= special + 1:  # T5's has the space besides
        raise TransfixError(
            f"the tokenizer of model {name!r} knows no words, only special tokens: the files of its vocabulary are missing. "
            "Copy the tokenizer's files of the base model into the directory, or write them there with "
            "tokenizer.save_pretrained(directory)."
        )


def require_embeddings(name: str, tokenizer: Any, size: int) -> None:
    """Refuse a tokenizer that puts tokens into texts that the model has no embeddings for.

    Args:
        name: of the model, as it was asked for.
        tokenizer: its tokenizer.
        size: rows of the embedding table.

    Raises:
        TransfixError: with each of them, and what to do.
    """
    if missing := without_embedding(tokenizer, size):
        raise TransfixError(
            f"model {name!r} has embeddings for {size:,} tokens (0 to {size - 1:,}), and its tokenizer goes beyond: "
            f"{', '.join(missing)}. Give them embeddings (model.resize_token_embeddings(len(tokenizer)), then save both with "
            "save_pretrained), or name a token that has one in tokenizer_config.json, for example the end token as pad_token."
        )


def beyond(tokenizer: Any, size: int) -> list[str]:
    """The other tokens of a tokenizer that a model with `size` embeddings lacks: a text that has one is refused."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return [token.content for number, token in sorted(added.items()) if number >= size]


def described(tokenizer: Any, size: int) -> str:
    """What a tokenizer puts around texts, and what it has that a model with `size` embeddings lacks."""
    text, bare = "a", tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = list(tokenizer(text)["input_ids"])
    start = next((i for i in range(len(whole)) if bare and whole[i : i + len(bare)] == list(bare)), 0)
    before, behind = (
        " ".join(map(str, tokenizer.convert_ids_to_tokens(ids))) for ids in (whole[:start], whole[start + len(bare) :])
    )
    said = [f"begin with {before}" if before else "begin with nothing of the tokenizer's"]
    if behind:
        said.append(f"the tokenizer's {behind} behind them is left out")
    end = tokenizer.eos_token or behind
    said.append(
        f"generated ones end with {end}" if end else "generated ones have no end token: set stop in the task's file"
    )
    if missing := without_embedding(tokenizer, size):
        said.append(f"REFUSED by train and evaluate, since there are {size:,} embeddings: {', '.join(missing)}")
    elif others := beyond(tokenizer, size):
        names = ", ".join(others[:3]) + (" ..." if len(others) > 3 else "")
        said.append(f"{len(others)} tokens have no embedding and are refused in texts: {names}")
    return "; ".join(said)
