"""The methods: a folder each, with its settings (`config.py`, no torch) and what it computes (`layer.py`)."""

from __future__ import annotations

from transfix.adapters.methods.base_model.config import Base as Base
from transfix.adapters.methods.full.config import FullFineTuning as FullFineTuning
from transfix.adapters.methods.llama_adapter.config import LlamaAdapter as LlamaAdapter
from transfix.adapters.methods.lora.config import LoRA as LoRA
from transfix.adapters.methods.part import INIT_TEXT as INIT_TEXT
from transfix.adapters.methods.part import Layers as Layers
from transfix.adapters.methods.part import LayerShape as LayerShape
from transfix.adapters.methods.part import Part as Part
from transfix.adapters.methods.prefix_tuning.config import PrefixTuning as PrefixTuning
from transfix.adapters.methods.registry import METHODS as METHODS
from transfix.adapters.methods.registry import AnyPart as AnyPart
from transfix.adapters.methods.registry import register as register
from transfix.adapters.methods.soft_prompt.config import SoftPrompt as SoftPrompt
from transfix.adapters.methods.task_head.config import TaskHead as TaskHead
