"""Soft prompts (Lester et al. 2021): E (P, d) stands before the token embeddings, at positions 0..P-1.

    o = softmax([q K_Eᵀ·s ; q Kᵀ·s + M]) [V_E ; V]       K_E, V_E: the layer's rotated keys and values of the states of E

In a causal decoder nothing that follows the prompt can change its states, so they are computed once per forward from E
alone (a batch of one, P tokens) instead of once per row: each layer's keys and values of the prompt are recorded, and
the rows' tokens, moved to positions P, P+1, ..., attend to them. The result is that of prepending E to every row; the
input, the output and the cache keep their shapes, so generation and training loops see an ordinary model.

    before the body runs     `PromptPass.before_forward` runs it on E, within a `Forward` that is `recording` (`state.py`)
    in every layer of that   `attend` (`adapters/attention.py`) hands K_E, V_E to `AdapterState.record`, after other parts of
                             the adapter have changed them (`attended`)
    in the rows' forward     `SoftPromptLayer.columns` gives them back, to stand before the layer's own K and V

A forward that will be recomputed (activation checkpointing) takes what was recorded with it, in its `Forward`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix.adapters import architecture
from transfix.adapters.architecture import KeysValues, UnsupportedModelError, embedding_table
from transfix.adapters.methods.base import AdapterLayer, Method, SharedState, Site
from transfix.adapters.methods.soft_prompt.config import SoftPrompt
from transfix.adapters.start_values import StartValues, fill
from transfix.adapters.state import AdapterState, Forward
from transfix.errors import TransfixError

Recorded = dict[tuple[str, int], KeysValues]


class PromptEmbedding(nn.Module):
    """E (P, d) in the space of the model's (scaled) token embeddings, float32."""

    def __init__(self, tokens: int, hidden: int, device: torch.device):
        super().__init__()
        self.tokens = tokens
        self.embedding = nn.Parameter(torch.zeros(tokens, hidden, dtype=torch.float32, device=device))


class SoftPromptLayer(AdapterLayer):
    """What one layer sees of an adapter's prompt: the keys and values that its pass has recorded."""

    def __init__(self, state: AdapterState, name: str, index: int, tokens: int) -> None:
        super().__init__()
        self._recorded_at = (state, name, index)
        self.in_positions = tokens

    def columns(self, dtype: torch.dtype, decoding: bool) -> KeysValues | None:
        """[K_E ; ·], [V_E ; ·]; `None` while a prompt is run.

        Raises:
            TransfixError: if the layer runs by itself, outside a forward of its model.
        """
        state, name, index = self._recorded_at
        now = state.now
        if now.recording is not None:
            return None
        if (name, index) not in now.recorded:
            raise TransfixError(
                f"layer {index} runs outside a forward of its model, where the soft prompt of the adapter {name!r} has no "
                "states: call the model. Activation checkpointing is model.gradient_checkpointing_enable(); what another "
                "library wraps around layers computes them again by themselves."
            )
        return now.recorded[name, index]


class PromptPass(SharedState):
    """Runs the body on the active soft prompts and keeps each layer's keys and values for the rows' forward.

    Attributes:
        prompts: the soft prompts, by adapter name.
    """

    def __init__(self, model: PreTrainedModel, state: AdapterState) -> None:
        super().__init__(model, state)
        self.body = architecture.body(model)
        self.prompts: dict[str, PromptEmbedding] = {}
        self._kept: dict[str, tuple[object, Recorded]] = {}

    def before_forward(self, device: torch.device, decoding: bool) -> None:
        """Records the prompts of the active adapters for the forward that begins.

        While `decoding` token by token with gradients off, those are taken that an earlier forward has recorded, unless a
        weight has changed since (see `ProjectedPrefix`).
        """
        forward = self.state.now
        names = [name for name in forward.active if name in self.prompts]
        versions = self._versions() if names else None
        for name in names:
            kept = self._kept.get(name)
            if kept is None or not decoding or versions is None or kept[0] != versions:
                recorded = self._recorded(name, device)
                if versions is None:
                    self._kept.pop(name, None)
                else:
                    self._kept[name] = versions, recorded
            else:
                recorded = kept[1]
            forward.recorded |= recorded

    def _recorded(self, name: str, device: torch.device) -> Recorded:
        """A prompt's keys and values of every layer."""
        prompt, run = self.prompts[name], Forward((name,), None, recording=name)
        dtype = embedding_table(self.body).dtype
        positions = torch.arange(prompt.tokens, device=device)[None]
        with self.state.within(run), _without_reentrant_checkpoints(self.body):
            self.body(inputs_embeds=prompt.embedding.to(device, dtype)[None], position_ids=positions, use_cache=False)
        return run.recorded

    def shift(self, batch: int, device: torch.device) -> Int[Tensor, "rows 1"] | None:
        """Its prompt's length for each row, (B or 1, 1); `None` if no active adapter has one."""
        lengths = [self.prompts[n].tokens if n in self.prompts else 0 for n in self.state.active]
        if not any(lengths):
            return None
        rows = self.state.row_index(batch, device)
        table = torch.tensor([*lengths, 0], device=device)  # index -1, the base model, finds the last: 0
        return table[:1, None] if rows is None else table[rows][:, None]

    def forget(self, name: str) -> None:
        """Lets go of an adapter's prompt."""
        self.prompts.pop(name, None)
        self._kept.pop(name, None)

    def _versions(self) -> tuple[object, ...] | None:
        if torch.is_grad_enabled() or self.model.training:
            return None
        try:
            return tuple((p.data_ptr(), p._version) for p in self.model.parameters())
        except RuntimeError:  # inference tensors keep no version
            return None


@contextmanager
def _without_reentrant_checkpoints(body: nn.Module) -> Iterator[None]:
    """Reentrant activation checkpointing is off meanwhile: it would record keys and values that have no gradient."""
    flagged = [m for m in body.modules() if getattr(m, "gradient_checkpointing", False) and _reentrant(m)]
    for module in flagged:
        setattr(module, "gradient_checkpointing", False)  # noqa: B010
    try:
        yield
    finally:
        for module in flagged:
            setattr(module, "gradient_checkpointing", True)  # noqa: B010


class SoftPromptMethod(Method):
    """`soft_prompt`: E once, in front of the input. It learns, moves and is saved with the body, as `transfix`."""

    part: SoftPrompt

    def __init__(self, part: SoftPrompt, site: Site) -> None:
        super().__init__(part, site)
        self.layers = architecture.layers(site.model)
        if not all(getattr(layer.attention, "is_causal", True) for layer in self.layers):
            raise UnsupportedModelError(
                f"soft_prompt needs a causal decoder; {type(site.model).__name__} attends in both directions. "
                f"{architecture.support(site.model).reason or 'Use prefix or llama_adapter.'}"
            )
        table = architecture.embedding_table(site.model)
        self.prompt = PromptEmbedding(part.tokens, table.shape[1], table.device)
        self.places = {"embedding": (self.prompt, "embedding")}

    def place(self) -> None:
        """Puts E on the body, and what each layer sees of it on the layers."""
        site, shared = self.site, self.site.shared(PromptPass)
        if site.name in shared.prompts:
            raise TransfixError(
                f"{self.part.method}: the adapter {site.name!r} has a soft prompt already; it can have one."
            )
        for layer in self.layers:
            module = SoftPromptLayer(site.state, site.name, layer.index, self.part.tokens)
            site.place(layer, self.part.method, module)
        shared.prompts[site.name] = self.prompt
        if not isinstance(getattr(shared.body, "transfix", None), nn.ModuleDict):
            shared.body.add_module("transfix", nn.ModuleDict())
        shared.body.get_submodule("transfix").add_module(site.name, self.prompt)

    def initialise(self, starts: StartValues, generator: torch.Generator) -> None:
        """Start values of E."""
        fill(self.prompt.embedding, starts.embeddings(self.part, generator))

    def remove(self) -> None:
        """Takes the prompt off the model: its own, and no other that has come to stand under its name."""
        shared = self.site.shared(PromptPass)
        self.site.take_off(self.part.method)
        if shared.prompts.get(self.site.name) is self.prompt:
            shared.forget(self.site.name)
        bank = getattr(shared.body, "transfix", None)
        if isinstance(bank, nn.ModuleDict) and self.site.name in bank and bank[self.site.name] is self.prompt:
            del bank[self.site.name]
            if not len(bank):
                del shared.body.transfix


def _reentrant(module: nn.Module) -> bool:
    """Whether a checkpointed module is recomputed by reentrant checkpointing (`functools.partial` of torch's function)."""
    settings = getattr(getattr(module, "_gradient_checkpointing_func", None), "keywords", {})
    return bool(settings.get("use_reentrant", True))
