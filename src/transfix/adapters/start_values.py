"""Where a prefix starts: noise of the size of the layer's real inputs, the model's own states on a text, or zero.

A projected prefix that starts at the wrong size has keys the layer never saw: too small and the gradient through W_k
vanishes, too large and the softmax saturates. `normal` therefore draws unit noise and sends it through the layer's own
input norm, which gives every channel the gain that real inputs have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from transfix.adapters import architecture
from transfix.adapters.architecture import KeysValues, Layer, UnsupportedModelError
from transfix.adapters.methods.part import LearnedPrefix
from transfix.errors import TransfixError

_TRACE = 0.02  # relative noise on repeated rows, without which equal rows would get equal gradients for ever


class StartValues:
    """The start values of one adapter on one model, in its base state.

    Attributes:
        model: the base model; any adapter on it must be off.
        tokenizer: needed for `init: text` only.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Callable[..., Any] | None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._seen: dict[str, dict[int, tuple[Tensor, Tensor]]] = {}

    def states(
        self, layer: Layer, part: LearnedPrefix, generator: torch.Generator, before_norm: bool = False
    ) -> Float[Tensor, "prefix hidden"]:
        """E (P, d) of a layer: what enters W_k, or with `before_norm` what enters the layer's norm before it."""
        hidden = architecture.embedding_table(self.model).shape[1]
        if part.init == "zero":
            return torch.zeros(part.tokens, hidden)
        if part.init == "text":
            before, after = self._on_text(part.init_text)[layer.index]
            return _spread(before if before_norm else after, part.tokens, generator) * part.init_scale
        noise = torch.randn(part.tokens, hidden, generator=generator)
        if not before_norm and layer.norm is not None:
            noise = _through(layer.norm, noise)
        return noise * part.init_scale

    def keys_values(self, layer: Layer, part: LearnedPrefix, generator: torch.Generator) -> KeysValues:
        """K_p and V_p (G, P, h): those that a projected prefix would start with.

        Raises:
            UnsupportedModelError: if the layer's projections are unknown and the start is not zero.
        """
        if layer.source is None:
            if part.init == "zero":
                heads, size = layer.key_value_shape
                return torch.zeros(heads, part.tokens, size), torch.zeros(heads, part.tokens, size)
            raise UnsupportedModelError(f"layer {layer.index}: its projections are unknown; use init: zero.")
        states = self.states(layer, part, generator)
        weight = next(layer.attention.parameters())
        dtype = weight.dtype if weight.is_floating_point() else torch.float32
        with torch.no_grad():
            keys, values = layer.source(states.to(layer.device, dtype))
        return keys.float(), values.float()

    def embeddings(self, part: LearnedPrefix, generator: torch.Generator) -> Float[Tensor, "prefix hidden"]:
        """E (P, d) in the space of the (scaled) token embeddings: the text's, or noise like the vocabulary's."""
        table = architecture.embedding_table(self.model)
        if part.init == "zero":
            return torch.zeros(part.tokens, table.shape[1])
        if part.init == "text":
            ids = self._ids(part.init_text)
        else:
            ids = torch.randint(table.shape[0], (4096,), generator=generator)
        with torch.no_grad():
            rows: Tensor = self.model.get_input_embeddings()(ids.to(table.device)).float().cpu()
        if part.init == "text":
            return _spread(rows, part.tokens, generator) * part.init_scale
        noise = torch.randn(part.tokens, rows.shape[1], generator=generator)
        return rows.mean(0) + noise * rows.std(0) * part.init_scale

    def _ids(self, text: str) -> Tensor:
        """The text's token ids, special tokens left out: the state of a begin-of-sequence token is like no other."""
        if self.tokenizer is None:
            raise TransfixError("init: text needs the model's tokenizer: attach(model, ..., tokenizer=tokenizer).")
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise TransfixError(f"init_text: {text!r} has no tokens. Give a sentence that describes the task.")
        size = architecture.embedding_table(self.model).shape[0]
        if max(ids) >= size:
            raise TransfixError(
                f"init_text: {text!r} has token {max(ids):,}, and the model has embeddings for {size:,}: leave that word "
                "out, or resize_token_embeddings first."
            )
        return torch.tensor(ids)

    def _on_text(self, text: str) -> dict[int, tuple[Tensor, Tensor]]:
        """For each layer the states (tokens, d) on `text`, before and after its input norm, first token left out."""
        if text in self._seen:
            return self._seen[text]
        own = self._ids(text).tolist()  # raises where there is no tokenizer or no token
        assert self.tokenizer is not None
        whole = list(self.tokenizer(text)["input_ids"])
        start = next((place for place in range(len(whole)) if whole[place : place + len(own)] == own), 0)
        ids = torch.tensor([whole[: start + len(own)]])  # without what a tokenizer ends texts with
        if ids.shape[1] < 2:
            raise TransfixError(
                f"init_text: {text!r} is one token, and the first one is left out. Give a longer sentence."
            )
        seen: dict[int, tuple[Tensor, Tensor]] = {}
        hooks = []
        for layer in architecture.layers(self.model):
            if layer.norm is None:
                raise UnsupportedModelError(
                    f"init: text needs a norm in front of the attention; layer {layer.index} of "
                    f"{type(self.model).__name__} has none. Use init: normal."
                )

            def keep(_: nn.Module, args: tuple[Tensor, ...], out: Tensor, index: int = layer.index) -> None:
                seen[index] = (args[0][0, 1:].float().cpu(), out[0, 1:].float().cpu())

            hooks.append(layer.norm.register_forward_hook(keep))
        training = self.model.training
        try:
            self.model.eval()
            with torch.no_grad():
                architecture.body(self.model)(input_ids=ids.to(self.model.device), use_cache=False)
        finally:
            self.model.train(training)
            for hook in hooks:
                hook.remove()
        self._seen[text] = seen
        return seen


def fill(parameter: nn.Parameter, values: Tensor) -> None:
    """Writes start values into a parameter."""
    with torch.no_grad():
        parameter.copy_(values)


def root_mean_square(values: Tensor) -> float:
    """The size of a tensor's entries; 1 for a tensor of zeros."""
    size = float(values.float().square().mean().sqrt())
    return size or 1.0


def _spread(rows: Float[Tensor, "tokens hidden"], count: int, generator: torch.Generator) -> Tensor:
    """`count` of `rows`: the first ones, or all of them again and again with a trace of noise."""
    index = torch.arange(count) % rows.shape[0]
    again = (torch.arange(count) >= rows.shape[0])[:, None]
    noise = torch.randn(count, rows.shape[1], generator=generator) * root_mean_square(rows) * _TRACE
    return rows[index] + again * noise


def _through(norm: nn.Module, noise: Tensor) -> Tensor:
    """What the layer's norm makes of unit noise, in float32."""
    weight = next(norm.parameters(), torch.empty(0))
    with torch.no_grad():
        normed: Tensor = norm(noise.to(architecture.device_of(norm), weight.dtype))
    return normed.float().cpu()
