"""What a model reads of a task's texts: prompts, and what follows them, as tokens. One way for training, measuring, checks.

    beginning   prompt        what follows
    <bos>       So ? ▁yes     tokenised as one text, as the model has seen texts; nothing that the tokenizer ends texts with

A tokenizer's own end ([SEP], <eos>) would close the prompt before the answer. Control tokens that a template's author has
written stay; the same letters in a row's text are letters.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any
from weakref import WeakKeyDictionary

from transfix.errors import TransfixError
from transfix.tasks.templates import Filled, own_parts, part

_PROBES = ("a", "1", ".", "的", "ا", "क")
"""Texts of which a tokenizer has one at least, to see what it puts around a text."""

_turns: WeakKeyDictionary[Any, threading.Lock] = WeakKeyDictionary()
_TURNS_CHANGE = threading.Lock()

SHOWN = 40
"""Characters of a text that a message shows."""


class UnreadableTextError(TransfixError):
    """A text that this tokenizer or model cannot read as what it is."""


@dataclass(frozen=True, slots=True)
class Continued:
    """A prompt and what follows it, as one sequence of tokens.

    Attributes:
        tokens: of both, with the tokenizer's beginning.
        reads: how many of the last ones belong to what follows.
        merged: whether the boundary lies inside a token, so that the prompt by itself has other tokens than here. Spaces at a
            prompt's end do not count: they belong to what follows.
    """

    tokens: tuple[int, ...]
    reads: int
    merged: bool

    @property
    def context(self) -> tuple[int, ...]:
        """What stands before the tokens of what follows."""
        return self.tokens[: len(self.tokens) - self.reads]

    @property
    def target(self) -> tuple[int, ...]:
        """The tokens of what follows."""
        return self.tokens[len(self.tokens) - self.reads :]


class Reader:
    """A tokenizer as it is used here.

    Args:
        tokenizer: of transformers, fast or slow.
        size: rows of the model's embedding table; a text with a token beyond them is refused. None: it is not known.

    Attributes:
        beginning: the tokens that the tokenizer puts before a text.
        ending: those it puts behind it, which are left out.
        control: the control tokens (`<eos>`) by their text.
        end: the token that an answer ends with: the tokenizer's end-of-sequence token, or what it ends texts with.
    """

    def __init__(self, tokenizer: Any, size: int | None = None) -> None:
        self.tokenizer = tokenizer
        self.size = size
        self.beginning, self.ending = _around(lambda text, **options: _tokens(tokenizer, text, **options))
        self.control = control_tokens(tokenizer)
        self._beginning = "".join(map(str, tokenizer.convert_ids_to_tokens(list(self.beginning))))
        named = getattr(tokenizer, "eos_token_id", None)
        self.end: int | None = named if named is not None or not self.ending else self.ending[-1]
        self._numbers = set(self.control.values())
        self._unknown = getattr(tokenizer, "unk_token_id", None)
        self._lengths: dict[str, list[int]] = {}  # of the control tokens that begin with a character, longest first
        for text in sorted(self.control, key=len, reverse=True):
            lengths = self._lengths.setdefault(text[0], [])
            if len(text) not in lengths:
                lengths.append(len(text))
        self._first = re.compile("|".join(map(re.escape, self._lengths)) or r"(?!)")

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of texts, with nothing around them.

        Raises:
            UnreadableTextError: a row's text holds a control token's letters, and this tokenizer cannot read them as letters;
                or a token has no embedding.
        """
        found: list[list[int]] = list(self._read(list(map(str, texts)), add_special_tokens=False)) if texts else []
        for place, ids in enumerate(found):
            if not self._numbers.isdisjoint(ids):
                found[place] = self._checked(texts[place], list(ids))
            if self.size is not None and ids and max(found[place]) >= self.size:
                self._refuse_number(texts[place], max(found[place]), self.size)
        return found

    def _read(self, texts: str | Sequence[str], **options: bool) -> Any:
        return _tokens(self.tokenizer, texts, **options)

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of texts that something follows: with the tokenizer's beginning, once, and no end."""
        return [[*self.beginning, *ids] for ids in self.ids([self._without_beginning(text) for text in texts])]

    def continued(self, pairs: Sequence[tuple[str, str]], rows: Sequence[int] | None = None) -> list[Continued]:
        """Prompts with what follows them: (prompt, text).

        Spaces at a prompt's end are counted to what follows, since tokenizers put a space with the word after it; so is a
        token in which both meet. The first token of an empty prompt is the tokenizer's beginning, or the text's own first
        token, which then is not counted to it.

        Args:
            pairs: the texts.
            rows: which row each pair belongs to: for all options of a row what follows begins at the same place, so that
                their likelihoods can be compared. None: each pair is by itself.
        """
        before = [open_prompt(prompt) for prompt, _ in pairs]
        alone = list(dict.fromkeys((text, own_parts(text)) for text in before))
        tokens = dict(zip(alone, self.prompts([Filled(*text) for text in alone]), strict=True))
        owns = [tokens[text, own_parts(text)] for text in before]
        wholes = self.prompts([prompt + text for prompt, text in pairs])
        starts = [max(1, _common(own, whole)) for own, whole in zip(owns, wholes, strict=True)]
        if rows is not None:
            first: dict[int, int] = {}
            for row, start in zip(rows, starts, strict=True):
                first[row] = min(first.get(row, start), start)
            starts = [first[row] for row in rows]
        return [
            Continued(tuple(whole), len(whole) - start, start < len(own))
            for own, whole, start in zip(owns, wholes, starts, strict=True)
        ]

    def control_texts(self, text: str) -> list[str]:
        """The control tokens that are letters here, since a row's text has a part in them."""
        return [text[start:end] for start, end, written in self._occurrences(text) if not written]

    def holds_control(self, text: str) -> bool:
        """Whether a text holds a control token's letters, the author's or a row's."""
        return bool(self._occurrences(text))

    def _without_beginning(self, text: str) -> str:
        """A text without the tokenizer's beginning, where the template's author has written that too."""
        written = self._beginning
        while written and text.startswith(written) and not any(start < len(written) for start, _ in own_parts(text)):
            text = part(text, len(written), len(text))
        return text

    def _checked(self, text: str, ids: list[int]) -> list[int]:
        """The tokens of a text, those given if every control token in them was written by the template's author."""
        occurrences = self._occurrences(text)
        written = {self.control[text[start:end]] for start, end, by_author in occurrences if by_author}
        surprising = {number for number in ids if number in self._numbers} - written - {self._unknown}
        if not surprising and all(by_author for *_, by_author in occurrences):
            return ids
        found = self._apart(text, [(start, end) for start, end, by_author in occurrences if by_author])
        if isinstance(found, str):
            names = [text[start:end] for start, end, by_author in occurrences if not by_author]
            names = names or [str(self.tokenizer.convert_ids_to_tokens(number)) for number in sorted(surprising)]
            raise UnreadableTextError(
                f"a row's text holds {', '.join(dict.fromkeys(names))} ({_excerpt(text, names[0])}), a control token "
                f"of this tokenizer. It cannot be read as letters: {found}. Take it out of the rows' texts."
            )
        return found

    def _apart(self, text: str, places: Sequence[tuple[int, int]]) -> list[int] | str:
        """The text's tokens with control tokens at these places and nowhere else; or why this tokenizer cannot do it."""
        pieces = [text[start:end] for start, end in _segments(len(text), places)]
        if not getattr(self.tokenizer, "is_fast", False) and any(
            added.content in piece
            for added in getattr(self.tokenizer, "added_tokens_decoder", {}).values()
            for piece in pieces
            if added.content not in self.control
        ):
            return "a slow tokenizer then reads no added word as one token, and the text has such words"
        joined: list[int] = []
        for place, piece in enumerate(pieces):
            if place % 2:
                joined.append(self.control[piece])
                continue
            ids = self._read(piece, add_special_tokens=False, split_special_tokens=True) if piece else []
            if not (self._numbers - {self._unknown}).isdisjoint(ids):
                return "its vocabulary has the letters as that one token"
            joined += ids
        if places and not self._as_usual(text, places):
            return (
                "the prompt has control tokens too, behind which the tokenizer reads texts otherwise than by themselves"
            )
        return joined

    def _as_usual(self, text: str, places: Sequence[tuple[int, int]]) -> bool:
        """Whether pieces between control tokens get the tokens they have in the whole text, the row's letters taken out."""
        clean = "".join(
            text[start:end] if (start, end) in places else " ".join(_without(text[start:end], self.control))
            for start, end in _segments(len(text), places)
        )
        whole = list(self._read(clean, add_special_tokens=False))
        found = self._occurrences(clean)
        pieces: list[int] = []
        for start, end in _segments(len(clean), [(first, last) for first, last, _ in found]):
            part = clean[start:end]
            pieces += (
                [self.control[part]]
                if part in self.control
                else list(self._read(part, add_special_tokens=False) if part else [])
            )
        return pieces == whole

    def _occurrences(self, text: str) -> list[tuple[int, int, bool]]:
        """(start, end, whether it is the author's) of the control tokens' texts, from left to right."""
        own = own_parts(text)
        found = []
        start = 0
        while (match := self._first.search(text, start)) is not None:
            start = match.start()
            sizes = (size for size in self._lengths[match[0]] if text[start : start + size] in self.control)
            if (size := next(sizes, None)) is None:
                start += 1
                continue
            by_author = not any(first < start + size and start < last for first, last in own)
            found.append((start, start + size, by_author))
            start += size if by_author else 1
        return found

    def _refuse_number(self, text: str, number: int, size: int) -> None:
        name = str(self.tokenizer.convert_ids_to_tokens(number))
        raise UnreadableTextError(
            f"the text {_excerpt(text, name)} has token {number:,} ({name!r}), and the model has embeddings for tokens up "
            f"to {size - 1:,} only: {RESIZE}, or take it out of the texts."
        )


RESIZE = "give it rows with model.resize_token_embeddings(len(tokenizer)) and save both with save_pretrained"
"""What to do about a token without an embedding."""


def open_prompt(prompt: str) -> str:
    """A prompt that a text follows: spaces at its end belong to that, since tokenizers put them with the word after them."""
    return part(prompt, 0, len(prompt.rstrip(" ")))


def control_tokens(tokenizer: Any) -> dict[str, int]:
    """A tokenizer's control tokens by their text; not those that are mere white space."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    found = {token.content: int(number) for number, token in added.items() if token.special}
    names, numbers = getattr(tokenizer, "all_special_tokens", ()), getattr(tokenizer, "all_special_ids", ())
    for text, number in zip(names, numbers, strict=False):
        found.setdefault(str(text), int(number))
    return {text: number for text, number in found.items() if text.strip()}


def _tokens(tokenizer: Any, texts: str | Sequence[str], **options: bool) -> Any:
    """The token ids of a text, or of each. A tokenizer keeps the options of its last call: threads take turns."""
    with _TURNS_CHANGE:
        turn = _turns.setdefault(tokenizer, threading.Lock())
    with turn:
        return tokenizer(texts, **options)["input_ids"]


def _around(tokens: Callable[..., Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What a tokenizer puts before and behind every text; `tokens` gives a text's."""
    for text in _PROBES:
        bare = list(tokens(text, add_special_tokens=False))
        whole = list(tokens(text))
        for start in range(len(whole) - len(bare) + 1) if bare else ():
            if whole[start : start + len(bare)] == bare:
                return tuple(whole[:start]), tuple(whole[start + len(bare) :])
    return (), ()


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """With how many equal tokens two sequences begin."""
    if list(second[: len(first)]) == list(first):
        return len(first)
    return sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(first, second, strict=False)))


def _segments(length: int, places: Sequence[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """(start, end) of the places and of what lies between them."""
    start = 0
    for first, last in places:
        yield start, first
        yield first, last
        start = last
    yield start, length


def _without(text: str, words: Iterable[str]) -> list[str]:
    """What is left of a text where none of some words stands in it."""
    parts = [text]
    for word in words:
        if word in text:
            parts = [left for part in parts for left in part.split(word)]
    return parts


def _excerpt(text: str, around: str) -> str:
    """Some characters of a text, about a word in it."""
    place = max(0, text.find(around))
    start = max(0, place - SHOWN // 2)
    part = text[start : place + len(around) + SHOWN // 2]
    return repr(("…" if start else "") + part + ("…" if start + len(part) < len(text) else ""))
