"""Natural language inference (MNLI, XNLI, AfriXNLI): does a premise imply a hypothesis, contradict it, or neither?"""

from __future__ import annotations

from transfix.data import benchmarks
from transfix.tasks.task import Task

TEMPLATE = "{premise}\n{hypothesis}?"
"""Short, because most of the time goes into the prompt's tokens; the premise first, so that rows of one premise share a
prefix; a question mark last, because no common tokenizer merges it with the word after it, and because the untrained base
models then do not prefer one label word by far (after "Answer:" they nearly never say maybe, which training has to undo)."""

VERBALISER = {"entailment": " yes", "neutral": " maybe", "contradiction": " no"}
"""English in every language: what is trained is what is asked. One token each for Gemma 3 and SmolLM2."""

ALTERNATIVES = {
    "entailment": (" yes", " true", " Yes", " True", " right", " correct", " implied"),
    "neutral": (" maybe", " neither", " Maybe", " unknown", " unclear", " possibly", " neutral", " Also"),
    "contradiction": (" no", " false", " No", " False", " wrong", " not", " never"),
}

TRAIN_SPLIT = {"mnli": "train", "xnli": "train", "afrixnli": None}
DEFAULT_SPLIT = {"mnli": "validation_matched", "xnli": "test", "afrixnli": "test"}


def nli_task(name: str) -> Task:
    """The task of one benchmark: `mnli`, `xnli` or `afrixnli`."""
    benchmark = benchmarks.get(name)
    return Task(
        name=name,
        kind="choice",
        family="nli",
        languages=benchmark.languages,
        splits=benchmark.splits,
        train_split=TRAIN_SPLIT[name],
        default_split=DEFAULT_SPLIT[name],
        fields=benchmark.fields,
        classes=benchmark.classes,
        template=TEMPLATE,
        verbaliser=dict(VERBALISER),
        alternatives=ALTERNATIVES,
    )
