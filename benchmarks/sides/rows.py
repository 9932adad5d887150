"""English NLI rows as token ids, the same for every side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transfix import data, tasks, training
from transfix.data import Example
from transfix.tasks import Task


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to learn from: after `prompts[i]` the token `words[classes[i]]` is right."""

    task: Task
    examples: list[Example]
    prompts: list[list[int]]
    classes: list[int]
    words: list[int]


def mnli(tokenizer: Any, rows: int, longer: int = 1) -> Rows:
    """Rows of MultiNLI's development set, drawn with a fixed seed.

    Args:
        tokenizer: of the model.
        rows: how many.
        longer: the premise is repeated that often, for the cost over tokens.
    """
    task = tasks.get("mnli")
    found = data.load(task.benchmark, "snapshot", "eng_Latn", task.train_split or task.default_split)
    examples, _ = training.split(found, task.fields[0], rows, 0, seed=0)
    examples = [_longer(example, longer) for example in examples]
    words = list(tasks.check_verbaliser(task, tokenizer, examples[:3]).values())
    prompts: list[list[int]] = tokenizer([task.prompt(example) for example in examples])["input_ids"]
    return Rows(task, examples, prompts, [task.classes.index(str(e.label)) for e in examples], words)


def _longer(example: Example, times: int) -> Example:
    fields = {**example.fields, "premise": " ".join([example.fields["premise"]] * times)}
    return dataclasses.replace(example, fields=fields)


def batches_of(rows: Rows, size: int, count: int) -> Sequence[Sequence[int]]:
    """The indices of the first batches, for the checks."""
    return [range(start, start + size) for start in range(0, size * count, size)]
