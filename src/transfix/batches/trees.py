"""Sequences that begin with the same tokens share them: a trunk, computed once, and one branch a sequence.

    premise ─┬─ hypothesis 1          the three hypotheses of an XNLI premise, the questions on one paragraph,
             ├─ hypothesis 2          the rows behind one few-shot prompt. A branch sees the trunk and itself;
             └─ hypothesis 3          its positions continue the trunk's.

What every token sees is what it would see in its own sequence, so the result is that of the separate rows. Sharing is
found in the tokens, not in the text, so a template or a tokenizer cannot break it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from transfix.batches.tokens import sortable

WORTHWHILE = 0.25
"""Rows share a trunk if it is at least this part of the shorter one: attention between branches is masked, not free."""


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One row's tokens.

    Attributes:
        index: its number in the caller's list.
        tokens: token ids, the prompt and any target but its last token.
        reads: how many of the last positions have a logit that is wanted (1 for a choice of one token).
    """

    index: int
    tokens: Sequence[int]
    reads: int = 1


@dataclass(frozen=True, slots=True)
class Tree:
    """Sequences with a common beginning.

    Attributes:
        sequences: the rows.
        shared: the number of tokens in the trunk.
        alone: a single row that is longer than trees may be, so that it needs the model's own mask (of a sliding window):
            it must not be in one batch with rows that share.
        company: only trees of the same company may be in one batch, see `rotation`.
    """

    sequences: tuple[TokenSequence, ...]
    shared: int
    alone: bool = False
    company: int = 0

    @property
    def size(self) -> int:
        """Tokens to compute: the trunk once, and the rest of every sequence."""
        return self.shared + sum(len(sequence.tokens) - self.shared for sequence in self.sequences)

    @property
    def depth(self) -> int:
        """The longest sequence: one more than the highest position."""
        return max(len(sequence.tokens) for sequence in self.sequences)


def grow(sequences: Iterable[TokenSequence], largest: int, widest: int | None = None) -> list[Tree]:
    """Groups sequences into trees. The order of the result depends on nothing but the tokens.

    Args:
        sequences: the rows, in any order.
        largest: no tree gets more tokens than this (a longer single sequence still makes a tree of its own).
        widest: no tree gets more sequences than this; 1 means no sharing.
    """
    trees: list[Tree] = []
    group: list[TokenSequence] = []
    shared = 0

    def close() -> None:
        if group:
            size = len(group[0].tokens)
            trees.append(Tree(tuple(group), shared) if len(group) > 1 else Tree((group[0],), size, size > largest))

    for sequence in sorted(sequences, key=lambda s: (sortable(s.tokens), s.index)):
        if group and (widest is None or len(group) < widest):
            common = min(shared, _common(group[-1].tokens, sequence.tokens))
            joined = Tree((*group, sequence), common)
            shortest = min(len(s.tokens) for s in joined.sequences)
            apart = sum(len(s.tokens) for s in group) - (len(group) - 1) * shared + len(sequence.tokens)
            if common >= WORTHWHILE * shortest and joined.size <= largest and joined.size < apart:
                group.append(sequence)
                shared = common
                continue
        close()
        group, shared = [sequence], len(sequence.tokens)
    close()
    return trees


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
