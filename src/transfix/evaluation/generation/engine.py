"""Generation: rows are decoded together, and a row that finishes makes room for the next prompt at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from transfix.adapters import architecture
from transfix.adapters.host import staying
from transfix.batches import Encoded, forget_lengths, sortable
from transfix.errors import NotFiniteError, TransfixError
from transfix.evaluation.generation import attention
from transfix.evaluation.generation.cache import RowCache
from transfix.evaluation.generation.choosing import choose, draw
from transfix.evaluation.generation.decoding import Decoding, Generated
from transfix.evaluation.generation.endings import Endings
from transfix.evaluation.generation.forward import Forward, soft_prompt
from transfix.evaluation.generation.head import Words, precise_head
from transfix.evaluation.generation.packed import packed_weights
from transfix.evaluation.generation.prefill import prefill
from transfix.evaluation.generation.tile_cache import TILE
from transfix.models import reach


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Encoded],
    decoding: Decoding,
    advance: Callable[[int], object] | None = None,
    keys: Sequence[str] | None = None,
) -> list[Generated]:
    """A text after each prompt. A row's text depends on the row alone, not on the other rows.

    Each prompt but its last token is read first, in tiles or pieces of a fixed size; then all rows advance by one token a
    forward, always the same number of them, filled or not. On a CPU this makes a row's numbers the same to the bit in any
    batch of any size, in float32 and bfloat16 (layers that send tokens to different experts are not covered). On a GPU it
    did for one `batch_rows` with the small models of `tests/gpu`; it needs matrix products that treat all rows alike.

    Args:
        model: with the adapter to be measured active, or none; put into evaluation mode.
        tokenizer: decodes, and names the end token, besides the model's `generation_config`.
        prompts: the rows.
        decoding: how tokens are chosen and when a text ends.
        advance: told how many rows have finished, whenever some have.
        keys: a name for each row. What is drawn for a row depends on (seed, key, position) only. By default the prompt
            itself, so that equal prompts get equal texts.

    Returns:
        the texts, in the order of `prompts`.

    Raises:
        TransfixError: if a prompt is empty or leaves no room for `max_new_tokens`, if scores are not finite, or if the
            model cannot be decoded row by row.
    """
    if keys is not None and len(keys) != len(prompts):
        raise TransfixError(f"generate: {len(prompts)} prompts, but {len(keys)} keys: give each prompt its own.")
    _check_lengths(model, prompts, decoding)
    if not prompts:
        return []
    model.eval()
    forget_lengths(model)
    only_best = decoding.temperature == 0
    with torch.inference_mode(), staying(model), packed_weights(model), precise_head(model, only_best) as words:
        return _Run(model, tokenizer, prompts, decoding, keys, words).finish(advance)


@dataclass(slots=True)
class _Row:
    """A prompt that is being answered."""

    index: int
    key: str
    past: int
    last: int
    written: list[int] = field(default_factory=list)


class _Run:
    """The rows that wait, those at work, each in its slot of the cache, and the texts that are done."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[Encoded],
        decoding: Decoding,
        keys: Sequence[str] | None,
        words: Words,
    ) -> None:
        self.model = model
        self.words = words
        self.prompts = prompts
        self.decoding = decoding
        self.keys = keys if keys is not None else [" ".join(map(str, prompt.tokens)) for prompt in prompts]
        self.endings = Endings(model, tokenizer, decoding)
        self.filler = prompts[0].tokens[0]  # the token of empty slots
        # prompts that begin alike follow one another, as `prefill` likes it
        order = sorted(range(len(prompts)), key=lambda index: sortable(prompts[index].tokens))
        self.waiting = deque(order)
        self.done: dict[int, Generated] = {}
        device = architecture.embedding_table(model).device
        tile = TILE if device.type == "cpu" else 1
        self.slots: list[_Row | None] = [None] * (-(-decoding.batch_rows // tile) * tile)
        longest = max(len(prompt.tokens) for prompt in prompts) + decoding.max_new_tokens
        self.cache = RowCache(model.config, len(self.slots), longest, attention.block_size(device), device)
        self.forward = Forward(model, self.cache, words)
        # a soft prompt is computed in a forward of several tokens and kept while decoding: never first in a decoding step
        read = prefill(model, self.filler)
        self.states = read(prompts[index].tokens[:-1] for index in order)

    def finish(self, advance: Callable[[int], object] | None) -> list[Generated]:
        """Answers every prompt."""
        while len(self.done) < len(self.prompts):
            before = len(self.done)
            self._refill()
            with attention.decoding_rows(self.model):
                while len(self.done) == before:
                    self._step()
            if advance is not None:
                advance(len(self.done) - before)
        return [self.done[index] for index in range(len(self.prompts))]

    def _refill(self) -> None:
        for slot, row in enumerate(self.slots):
            if row is None and self.waiting:
                index = self.waiting.popleft()
                *before, last = self.prompts[index].tokens
                self.cache.fill(slot, next(self.states))
                self.slots[slot] = _Row(index, self.keys[index], len(before), last)

    def _step(self) -> None:
        """One token more for every row; rows that end leave their slots."""
        positions = [0 if row is None else row.past for row in self.slots]
        tokens = [self.filler if row is None else row.last for row in self.slots]
        logits = self.forward(tokens, positions)
        chosen, highest = choose(logits, self.decoding, self._draws())
        finite = highest.isfinite().tolist()
        for slot, (row, token) in enumerate(zip(self.slots, self.words.named(chosen).tolist(), strict=True)):
            if row is None:
                continue
            if not finite[slot]:
                raise NotFiniteError(f"the scores of row {row.index + 1} are not finite", self.model.dtype)
            row.past, row.last = row.past + 1, token
            row.written.append(token)
            if (text := self.endings(row.written)) is not None:
                self.done[row.index] = text
                self.slots[slot] = None

    def _draws(self) -> list[float]:
        if self.decoding.temperature == 0:
            return []
        seed = self.decoding.seed
        return [0.0 if row is None else draw(seed, row.key, len(row.written)) for row in self.slots]


def _check_lengths(model: PreTrainedModel, prompts: Sequence[Encoded], decoding: Decoding) -> None:
    limit, soft = _reach(model), soft_prompt(model)
    for number, prompt in enumerate(prompts, start=1):
        length = len(prompt.tokens)
        if not length:
            raise TransfixError(f"generate: prompt {number} has no tokens; a model needs at least one to go on from.")
        if limit is not None and soft + length + decoding.max_new_tokens > limit:
            ahead = f"{soft} of the soft prompt + " if soft else ""
            raise TransfixError(
                f"generate: prompt {number} needs {ahead}{length} tokens + max_new_tokens {decoding.max_new_tokens}, but "
                f"the model reads {limit}: cut the prompt or lower max_new_tokens."
            )


def _reach(model: PreTrainedModel) -> int | None:
    """How many tokens the model reads, with those it writes."""
    return reach.generated(model.config)
