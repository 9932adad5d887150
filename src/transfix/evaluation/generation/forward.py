"""The model's forward over one new token a row; on a GPU recorded once and replayed.

A step of 16 rows is hundreds of short operations, which a processor takes longer to start one by one than a GPU takes to
do them. A CUDA graph starts them all at once: the same operations on the same places in memory, so the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from transfix.adapters import architecture
from transfix.adapters.host import Host
from transfix.adapters.methods.base import AdapterLayer
from transfix.evaluation.generation.cache import RowCache
from transfix.evaluation.generation.head import Words


@dataclass(frozen=True, slots=True)
class Recorded:
    """A step that was recorded.

    Attributes:
        graph: its operations.
        logits: where they leave what comes out.
        candidates: the words that the logits are of, see `Words`.
        held: what it reads and nothing else may hold on to: the prefixes' keys and values.
    """

    graph: torch.cuda.CUDAGraph
    logits: Float[Tensor, "rows words"]
    candidates: Int[Tensor, "rows 1 words"] | None
    held: list[object]


class Forward:
    """`(tokens, positions)` of all rows to the logits of what comes next, (rows, words).

    Attributes:
        recording: whether steps are recorded: on a GPU, until a model turns out to do something that cannot be.
        recorded: the steps, by the number of slots in use.
    """

    def __init__(self, model: PreTrainedModel, cache: RowCache, words: Words) -> None:
        self.model = model
        self.cache = cache
        self.words = words
        device = cache.positions.device
        self.device = device
        here = {parameter.device for parameter in model.parameters()} == {device}  # neither offloaded nor spread
        # the length of a soft prompt is sent to the GPU in every step
        self.recording = device.type == "cuda" and here and not soft_prompt(model)
        self.recorded: dict[int, Recorded] = {}
        self._tokens = torch.zeros(len(cache.positions), 1, dtype=torch.long, device=device)

    def __call__(self, tokens: Sequence[int], positions: Sequence[int]) -> Float[Tensor, "rows words"]:
        """The logits after each row's token, which stands at its position. They are overwritten by the next call."""
        self.cache.move(positions)
        self._tokens.copy_(torch.tensor(tokens)[:, None])
        if self.recording and self.cache.used not in self.recorded:
            with torch.cuda.device(self.device):
                self._record()
        if not self.recording:
            return self._run()
        step = self.recorded[self.cache.used]
        with torch.cuda.device(self.device):
            step.graph.replay()
        self.words.candidates = step.candidates
        return step.logits

    def _run(self) -> Float[Tensor, "rows words"]:
        inputs: dict[str, Any] = {"input_ids": self._tokens, "position_ids": self.cache.positions[:, None]}
        logits: Tensor = self.model(**inputs, past_key_values=self.cache, use_cache=True).logits
        return logits[:, -1]

    def _record(self) -> None:
        """Records a step with the slots in use now; never again for a model that waits for numbers on the way."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._run()  # what is only done the first time; it writes what the replay will write again
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                logits = self._run()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            torch.cuda.synchronize()
            self.recording = False
            return
        held: list[object] = [m.kept for m in self.model.modules() if isinstance(m, AdapterLayer)]
        self.recorded[self.cache.used] = Recorded(graph, logits, self.words.candidates, held)


def soft_prompt(model: PreTrainedModel) -> int:
    """Tokens of the soft prompt that stands in front of every row.

    Raises:
        TransfixError: if adapters are chosen row by row: rows change their places here.
    """
    host = getattr(model, "_transfix", None)
    return host.tokens_ahead(architecture.embedding_table(model).device) if isinstance(host, Host) else 0
