"""The names that tables give to adapters: `LLaMA-Adapter, 10 tokens`, `LoRA r=4`."""

from __future__ import annotations

from transfix.adapters.methods import LlamaAdapter, LoRA, Part, PrefixTuning, SoftPrompt


def part_title(part: Part) -> str:
    """The method, its size, and every setting that is not the usual one."""
    details: list[str] = []
    title = {"full": "Full fine-tuning", "base": "Base"}.get(part.method, part.method)
    match part:
        case PrefixTuning():
            title = "Prefix tuning"
            details += ["unprojected"] * (part.projection == "none") + ["layer norm"] * (part.norm == "layer")
        case LlamaAdapter():
            title = "LLaMA-Adapter"
            details += ["layer norm"] * (part.norm == "layer") + ["gate per layer"] * (part.gate == "per_layer")
            details += ["tanh"] * part.tanh
        case SoftPrompt():
            title = "Soft prompt"
        case LoRA():
            title = f"LoRA r={part.rank}"
            if part.targets != ("q", "k", "v"):
                details.append("all linear layers" if part.targets == "all_linear" else "on " + ", ".join(part.targets))
    if isinstance(part, PrefixTuning | LlamaAdapter | SoftPrompt):
        details.insert(0, f"{part.tokens} token{'s' * (part.tokens != 1)}")
        details += [f"{part.init} start"] * (part.init != "normal")
    layers = getattr(part, "layers", "all")
    if layers != "all":
        details.append(f"top {layers} layers" if isinstance(layers, int) else f"layers {', '.join(map(str, layers))}")
    return ", ".join([title, *details])
