"""Where a generated text ends: an end token, a stop text, or its length."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from transfix.evaluation.generation.decoding import Decoding, Generated
from transfix.tasks import Reader


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end a text; the first one is learned as the end of a target.

    The tokenizer's end-of-sequence token, what it ends texts with ([SEP]), and those of the model's generation settings.
    """
    reader = Reader(tokenizer)
    named: Any = getattr(model.generation_config, "eos_token_id", None)
    listed = named if isinstance(named, list | tuple) else [named]
    found = [reader.end, *reader.ending[-1:], *listed]
    return list(dict.fromkeys(token for token in found if token is not None))


class Endings:
    """Judges after each token whether a text has ended.

    Attributes:
        ends: see `end_tokens`.
        stops: special tokens that are stop texts, which decoding leaves out of the text.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, decoding: Decoding) -> None:
        self.tokenizer = tokenizer
        self.decoding = decoding
        self.ends = set(end_tokens(model, tokenizer))
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self.stops = {number for number, token in added.items() if token.special and token.content in decoding.stop}

    def __call__(self, tokens: list[int]) -> Generated | None:
        """The text, if its last token ended it.

        A stop text may begin or end inside a token, so it is looked for in the decoded text, not among tokens.
        """
        if tokens[-1] in self.stops:
            return Generated(self._text(tokens[:-1]), tuple(tokens), "stop")
        if tokens[-1] in self.ends:
            return Generated(self._text(tokens[:-1]), tuple(tokens), "end")
        if self.decoding.stop:
            text = self._text(tokens)
            if found := [place for stop in self.decoding.stop if (place := text.find(stop)) >= 0]:
                return Generated(text[: min(found)], tuple(tokens), "stop")
        if len(tokens) >= self.decoding.max_new_tokens:
            return Generated(self._text(tokens), tuple(tokens), "length")
        return None

    def _text(self, tokens: list[int]) -> str:
        # as the model wrote it: no spaces taken out in front of punctuation
        text = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text
