"""How much memory training will take, from the shapes of a model alone.

For B rows of T tokens, b bytes a base weight (4 in float32, 2 in bfloat16), n trainable numbers and L' layers from the
lowest that learns to the top (below it nothing is kept for the backward pass):

    weights      N·b              base parameters; frozen, so without gradient or optimiser state
    adapter      n·4              float32, whatever the base is in
    gradients    n·4
    optimiser    n·8              AdamW's two moments
    activations  B·T·(L'·a + 4d)  kept for the backward pass; with checkpointing B·T·(L'·d·b + a + 4d)
    logits       B·V·(b + 8)      at the targets only, one a row: logits, log-probabilities and their gradient

    a = 4·Σ norms' widths + 4·H·h·b + 4·H + m·f·b + (what the method adds)        bytes a token and layer

where a norm keeps its input in float32, attention (sdpa) keeps q, k, v (repeated for all heads) and its output, and the
MLP keeps m = 3 vectors of its inner width f if it is gated, else 5 (GPT-2's composed GELU). Frozen linear layers keep
nothing. Full fine-tuning has n = N, no adapter of its own, gradients and moments in the base's dtype, and keeps the
input of every linear layer too. On tiny models the activations are within a quarter of what autograd really keeps.

Not in it: the working space of single operations (about one layer's activations), and the framework's own (on a GPU
0.5 to 1 GB).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import nn

from transfix.adapters.methods import FullFineTuning, LlamaAdapter, LoRA, Part


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What decides how much one layer keeps, a token.

    Attributes:
        hidden: d.
        heads: H.
        head_size: h.
        norms: the widths of all its norms, added up; a norm of single heads counts once for each head.
        inner: f, of the experts a token passes through if there are several.
        gated: whether the MLP multiplies two branches.
    """

    hidden: int
    heads: int
    head_size: int
    norms: int
    inner: int
    gated: bool


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by component."""

    weights: int
    adapter: int
    gradients: int
    optimiser: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return {**asdict(self), "total": self.total}


def norm_widths(block: nn.Module, heads: int, kv_heads: int, head_size: int) -> int:
    """The widths of all norms in a layer, added up."""
    total = 0
    for path, module in block.named_modules():
        if "norm" not in type(module).__name__.lower():
            continue
        weight = next(module.parameters(recurse=False), None)
        if weight is None:
            continue
        width = weight.numel()
        if width == head_size and ".q_" in f".{path}":
            width *= heads
        elif width == head_size and (".k_" in f".{path}" or ".v_" in f".{path}"):
            width *= kv_heads
        total += width
    return total


def estimate(
    part: Part,
    trainable: int,
    parameters: int,
    vocabulary: int,
    shape: LayerShape,
    learning_layers: int,
    rows: int,
    tokens: int,
    width: int,
    checkpointing: bool,
) -> Memory:
    """The module's formula.

    Args:
        part: the method.
        trainable: n.
        parameters: N.
        vocabulary: V.
        shape: of one layer.
        learning_layers: L'.
        rows: B, rows of a forward.
        tokens: T, tokens of a row, padding included.
        width: b, 4 or 2 bytes.
        checkpointing: whether layers are computed again in the backward pass.
    """
    full = isinstance(part, FullFineTuning)
    state = width if full else 4
    kept = _kept(part, shape, width)
    if checkpointing:
        activations = learning_layers * shape.hidden * width + kept
    else:
        activations = learning_layers * kept
    return Memory(
        weights=parameters * width,
        adapter=0 if full else trainable * 4,
        gradients=trainable * state,
        optimiser=trainable * state * 2,
        activations=rows * tokens * (activations + 4 * shape.hidden) if trainable else 0,
        logits=rows * vocabulary * (width + 8),
    )


def _kept(part: Part, shape: LayerShape, width: int) -> int:
    """`a` in the module's formula: bytes a token that one layer keeps."""
    attention = shape.heads * shape.head_size
    kept = 4 * shape.norms + 4 * attention * width + 4 * shape.heads
    kept += (3 if shape.gated else 5) * shape.inner * width
    if isinstance(part, LlamaAdapter):  # the second attention's output and its sums
        kept += attention * width + 4 * shape.heads
    if isinstance(part, LoRA):  # the input of A, in float32, and A's output; copied for each of q, k, v unless it is so
        copies = 1 if width == 4 else 3
        kept += 4 * (copies * shape.hidden + 3 * part.rank)
    if isinstance(part, FullFineTuning):  # inputs of the linear layers, and what the norms' own weights multiply
        kept += width * (4 * shape.hidden + shape.inner) + 4 * shape.norms
    return kept
