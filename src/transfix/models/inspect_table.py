"""An inspection as tables for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from transfix.models.inspect import Inspection

HEADINGS = {
    "float32": "fp32",
    "bfloat16": "bf16",
    "bfloat16+checkpointing": "bf16, checkpointed",
    "int4+checkpointing": "int4, checkpointed",
}


def table(found: Inspection) -> RenderableType:
    """The model's shape, the methods with their counts and memory, and what could not be attached."""
    shape = Table.grid(padding=(0, 2))
    shape.add_column(style="bold")
    shape.add_column()
    window = f"{found.sliding_window:,} tokens in {found.sliding_layers} layers" if found.sliding_window else "none"
    tied = "tied to the input embeddings" if found.tied_embeddings else "of its own"
    rows = {
        "model": f"{escape(found.name)} ({found.architecture}, {found.kind})",
        "parameters": f"{found.parameters:,}; output embeddings {tied}",
        "layers": f"{found.layers}, hidden size {found.hidden:,}, MLP {found.inner:,}",
        "attention": f"{found.heads} query heads, {found.kv_heads} key/value heads, head size {found.head_size}",
        "window": window,
        "vocabulary": f"{found.vocabulary:,}" + (f"; {found.positions:,} positions" if found.positions else ""),
        "backends": f"{', '.join(found.backends)}; with prefixes: {', '.join(found.adapter_backends) or 'none'}",
        "keys, values": found.support.key_value,
        "supported": "yes" if found.support.supported else f"not fully: {escape(found.support.reason)}",
        "works": escape(found.works),
        **({"weights": escape(found.weights)} if found.weights else {}),
        **({"reach": escape(found.reach)} if found.reach else {}),
        **({"texts": escape(found.texts)} if found.texts else {}),
    }
    for label, value in rows.items():
        shape.add_row(label, value)
    return Group(shape, "", _methods(found), *_refused(found))


def _methods(found: Inspection) -> Table:
    forward = found.forward
    answers = f"{forward.targets} target tokens" if forward.targets else "a label word"
    methods = Table(
        title=f"Trainable parameters, and peak memory for {forward.rows} rows of {forward.tokens} tokens with {answers}",
        title_justify="left",
        caption="estimated, in training (base: in evaluation), without Python and its libraries; --json gives the parts",
        caption_justify="left",
    )
    methods.add_column("method")
    for heading in ("trainable", "share", *HEADINGS.values()):
        methods.add_column(heading, justify="right")
    for method in found.methods:
        if method.trainable is None or method.share is None:
            methods.add_row(escape(method.name), "–", "–", *["–"] * len(HEADINGS))
            continue
        sizes = [_size(method.memory[case].total) if case in method.memory else "–" for case in HEADINGS]
        methods.add_row(escape(method.name), f"{method.trainable:,}", _share(method.share), *sizes)
    return methods


def _refused(found: Inspection) -> list[str]:
    reasons: dict[tuple[str, str], list[str]] = {}
    for method in found.methods:
        if method.reason:
            what = "not possible" if method.trainable is None else "no memory estimated"
            reasons.setdefault((what, method.reason), []).append(method.name)
    return [escape(f"{what}: {'; '.join(names)}: {reason}") for (what, reason), names in reasons.items()]


def _share(share: float) -> str:
    return f"{share:.3%}" if share < 0.1 else f"{share:.1%}"


def _size(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
