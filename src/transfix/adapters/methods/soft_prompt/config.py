"""Soft prompts: their settings."""

from __future__ import annotations

from typing import ClassVar, Literal

from transfix.adapters.methods.part import LearnedPrefix, Part


class SoftPrompt(LearnedPrefix):
    """Soft prompt: E (P, d) stands before the token embeddings, at positions 0..P-1 (Lester et al. 2021).

    With activation checkpointing it needs `use_reentrant=False` (transformers' default): all layers share one pass over
    E, and reentrant checkpointing runs backward through each layer's part of it separately. torch raises an error.
    """

    label: ClassVar = "Soft prompt"
    implementation: ClassVar = "transfix.adapters.methods.soft_prompt.layer:SoftPromptMethod"
    usual_rate: ClassVar = 2e-2
    method: Literal["soft_prompt"] = "soft_prompt"

    @property
    def input_tokens(self) -> int:
        """P."""
        return self.tokens

    @classmethod
    def variants(cls, layers: int) -> dict[str, Part]:
        """As in the study."""
        return {f"{cls.named()} P={cls.model_fields['tokens'].default}": cls()}
