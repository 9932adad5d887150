"""How much memory a training or an evaluation takes at its highest, from the shapes of a model alone.

For B rows of T tokens in a forward, b bytes a base weight (4 in float32, 2 in bfloat16), n trainable numbers and L' layers
from the lowest that learns to the top (below it nothing is kept for the backward pass):

    weights      N·b              base parameters; of Q quantised ones Q·1 (int8) or Q·0.5625 (int4)
    tokenizer    V·460            its vocabulary and merges
    adapter      n·4              float32, whatever the base is in
    optimiser    n·8              AdamW's two moments
    gradients    n·4              as large as what is learned
    activations  B·T·(L'·a + 4d)  kept for the backward pass; with checkpointing B·T·(L'·d·b + a + 4d)
    logits                        see below
    working      B·T·(4f·b + 12d) the tensors of one MLP, which come and go; twice that in a backward pass
    heap         60 MB + 8 %      of the activations: what the libraries keep for themselves, and holes between tensors that
                                  come and go; Q·1 more with int4, whose weights come and go as they are dequantised

    a = 4·Σ norms' widths + 4·H·h·b + 4·H + m·f·b + (what the method adds)        bytes a token and layer

where a norm keeps its input in float32, attention (sdpa) keeps q, k, v (repeated for all heads) and its output (on a CPU
prefix methods keep these in float32, b = 4, where heads have 128 numbers or fewer: `adapters/kernels.py`), and the
MLP keeps m = 3 vectors of its inner width f if it is gated, else 5 (GPT-2's composed GELU). Frozen linear layers keep
nothing. Full fine-tuning has n = N, no adapter of its own, gradients and moments in the base's dtype,
and keeps the input of every linear layer too.

Logits: of label words there are three or so a row, which is nothing. Of target texts with R tokens in a forward, a frozen
head takes loss and gradient together, min(R, 128)·V·8; a head that learns needs R·V·2b + min(R, 256)·V·12, and evaluation
R·V·b + min(R, 256)·V·8.

Not everything is there at once. With E numbers in the largest weight, the embeddings, full fine-tuning has E·b more at the
beginning of the backward pass (the head's gradient). When gradients are there the activations are free again, but the C
library's heap holds on to them. AdamW's step takes nothing of its own (it is fused). So

    total = weights + tokenizer + adapter + optimiser + activations + heap
            + max(logits + working + [full: E·b],  gradients)

Weights count whole. On a CPU those that are used in the dtype of their file are pages of it, which are there only once they
are looked at: embeddings of words that no row has are not.

Not in it: Python and its libraries (0.5 GB; on a GPU the driver's 0.5 to 1 GB), reading the weights (on a CPU pages of the
file, which the system takes back when it needs them), attention masks, and on a GPU the allocator's own holes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import nn

from transfix.adapters.methods.part import LayerShape, Part
from transfix.models.quantised import WEIGHT_BYTES, Quantization

TOKENIZER = 460
"""Bytes an entry of the vocabulary, measured on Gemma 3 (262,144 entries)."""

RUNTIME = 60_000_000
"""Bytes that the libraries take at their first products and keep. Fitted, with `HOLES`, to 11 cases of Gemma 3 270M on a CPU,
each measured at least twice: all estimates came within 10 %, and one and the same training took 2.06 to 2.25 GB."""

HOLES = 0.08
"""Of the activations: what the C library's heap holds beside what is in use."""


@dataclass(frozen=True, slots=True)
class BaseShape:
    """A base model's sizes.

    Attributes:
        parameters: N.
        quantisable: Q, numbers in the linear layers' weights, which a quantised base keeps in fewer bits.
        largest: E, numbers in the largest weight.
        vocabulary: V.
        layer: of one layer.
    """

    parameters: int
    quantisable: int
    largest: int
    vocabulary: int
    layer: LayerShape


@dataclass(frozen=True, slots=True)
class Load:
    """What a forward has to carry.

    Attributes:
        rows: B, rows of a forward.
        tokens: T, tokens of a row, padding included. B·T is `batch_tokens` at the most.
        targets: target tokens a row; 0 if only label words are scored.
        width: b, 4 or 2 bytes.
        checkpointing: whether layers are computed again in the backward pass.
        quantization: of the base.
        cpu: whether it runs on a CPU, where prefix methods learn attention with small heads in float32.
    """

    rows: int
    tokens: int
    targets: int = 0
    width: int = 4
    checkpointing: bool = False
    quantization: Quantization = "none"
    cpu: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by component; see the module's description for what is there at the same time.

    Attributes:
        head_gradient: E·b in full fine-tuning.
    """

    weights: int
    tokenizer: int
    adapter: int
    optimiser: int
    gradients: int
    activations: int
    logits: int
    working: int
    heap: int
    head_gradient: int = 0

    @property
    def total(self) -> int:
        """The most there is at a time."""
        always = self.weights + self.tokenizer + self.adapter + self.optimiser + self.activations + self.heap
        return always + max(self.logits + self.working + self.head_gradient, self.gradients)

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


def estimate(part: Part, trainable: int, learning_layers: int, base: BaseShape, load: Load) -> Memory:
    """The module's formula.

    Args:
        part: the method; one that learns nothing is an evaluation.
        trainable: n.
        learning_layers: L'.
        base: the model's sizes.
        load: the forward's.
    """
    full, learns = part.trains_base, part.learns
    width, hidden, tokens = load.width, base.layer.hidden, load.rows * load.tokens
    state = width if full else 4
    kept = _kept(part, base.layer, width, load.cpu)
    per_token = learning_layers * hidden * width + kept if load.checkpointing else learning_layers * kept
    activations = tokens * (per_token + 4 * hidden) if learns else 0
    quantised = base.quantisable if load.quantization != "none" else 0
    return Memory(
        weights=round((base.parameters - quantised) * width + quantised * WEIGHT_BYTES.get(load.quantization, 0)),
        tokenizer=TOKENIZER * base.vocabulary,
        adapter=0 if full else trainable * 4,
        optimiser=trainable * state * 2,
        gradients=trainable * state,
        activations=activations,
        logits=_logits(load.rows * load.targets, base.vocabulary, width, full, learns),
        working=(1 + learns) * tokens * (4 * base.layer.inner * width + 12 * hidden),
        heap=RUNTIME + round(HOLES * activations) + (quantised if load.quantization == "int4" else 0),
        head_gradient=base.largest * width if full else 0,
    )


def _logits(reads: int, vocabulary: int, width: int, full: bool, learns: bool) -> int:
    if full:
        return vocabulary * (reads * 2 * width + min(reads, 256) * 12)
    if learns:
        return vocabulary * min(reads, 128) * 8
    return vocabulary * (reads * width + min(reads, 256) * 8)


def _kept(part: Part, shape: LayerShape, width: int, cpu: bool) -> int:
    """`a` in the module's formula: bytes a token that one layer keeps."""
    kept = 4 * shape.norms + 4 * shape.heads * shape.head_size * width + 4 * shape.heads
    kept += (3 if shape.gated else 5) * shape.inner * width
    return kept + part.kept(shape, width, cpu)
