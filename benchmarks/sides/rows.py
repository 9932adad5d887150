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


def answered(seconds: float, by_row: Sequence[float], texts: Sequence[str], tokenizer: Any) -> dict[str, Any]:
    """What an evaluation of either side tells: how fast, and what came out."""
    tokens = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    return {
        "rows_per_s": round(len(by_row) / seconds, 3),
        "tokens_per_s": round(tokens / seconds, 3),
        "seconds": round(seconds, 2),
        "score": round(sum(by_row) / len(by_row), 6),
        "by_row": [round(score, 6) for score in by_row],
        "tokens": tokens,
        "texts": list(texts),
    }
