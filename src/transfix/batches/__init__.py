"""From token sequences to what a model is called with, and back to the few logits that are wanted. Nothing needless.

`tokens` keeps rows of token ids as Arrow does; `trees` lets rows that begin alike share their beginning, where `sharing`
finds that the model can; `plan` orders them into batches by a token budget; `head` lets the model's head run only where a
target is, and `logits` gives what it says there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfix._lazy import lazy

if TYPE_CHECKING:
    from transfix.batches.encoding import Encoded as Encoded
    from transfix.batches.encoding import cut as cut
    from transfix.batches.encoding import encode as encode
    from transfix.batches.head import focused_head as focused_head
    from transfix.batches.head import head_input as head_input
    from transfix.batches.head import instead_of_head as instead_of_head
    from transfix.batches.logits import target_logits as target_logits
    from transfix.batches.logits import word_logits as word_logits
    from transfix.batches.plan import evaluation_batches as evaluation_batches
    from transfix.batches.plan import training_steps as training_steps
    from transfix.batches.sharing import mask_dtype as mask_dtype
    from transfix.batches.sharing import shared as shared
    from transfix.batches.tensors import Batch as Batch
    from transfix.batches.tensors import collate as collate
    from transfix.batches.tokens import rows_of as rows_of
    from transfix.batches.tokens import sortable as sortable
    from transfix.batches.trees import TokenSequence as TokenSequence
    from transfix.batches.trees import Tree as Tree
    from transfix.batches.trees import grow as grow

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Encoded": "transfix.batches.encoding",
        "cut": "transfix.batches.encoding",
        "encode": "transfix.batches.encoding",
        "focused_head": "transfix.batches.head",
        "head_input": "transfix.batches.head",
        "instead_of_head": "transfix.batches.head",
        "target_logits": "transfix.batches.logits",
        "word_logits": "transfix.batches.logits",
        "evaluation_batches": "transfix.batches.plan",
        "training_steps": "transfix.batches.plan",
        "mask_dtype": "transfix.batches.sharing",
        "shared": "transfix.batches.sharing",
        "Batch": "transfix.batches.tensors",
        "collate": "transfix.batches.tensors",
        "rows_of": "transfix.batches.tokens",
        "sortable": "transfix.batches.tokens",
        "TokenSequence": "transfix.batches.trees",
        "Tree": "transfix.batches.trees",
        "grow": "transfix.batches.trees",
    },
)
