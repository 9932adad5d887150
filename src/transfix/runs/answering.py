"""Asking a run's model: rows in, answers out, judged where their reference answer is known."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transfix import tasks
from transfix.data import Example
from transfix.errors import TransfixError
from transfix.runs import classifying
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run
from transfix.runs.whole import whole_adapter
from transfix.tasks import Reader, Task
from transfix.tasks.judges import references
from transfix.tasks.reader import UnreadableTextError

if TYPE_CHECKING:
    from transfix.models import LoadedModel

OnProgress = Callable[[int], object]
"""Told how many rows have been finished, whenever some have."""


@dataclass(frozen=True, slots=True)
class InferenceSettings:
    """How rows are asked, beyond what their task says; see `runs.settings.Evaluation`.

    Attributes:
        shots: the exemplars, as the text before every prompt.
    """

    shots: str = ""
    max_tokens: int | None = None
    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one row.

    Attributes:
        answer: the class with the highest score, or what was taken out of the generated text.
        prompt_hash: of the prompt's text (12 hex digits).
        truncated: whether the prompt was cut.
        scores: for a choice the log-probability of each class, in the task's order; else empty.
        classes: the classes of a choice.
        text: the generated text; empty for a choice.
        judged: metric -> score from 0 to 1, of a row with a reference answer.
        parsed: whether an answer was found in the text.
        finished: how generation ended: `stop`, `end` or `length`; empty for a choice.
        merged: whether a boundary between prompt and answer lies inside a token (of a choice), see `tasks.Continued`.
    """

    answer: str
    prompt_hash: str
    truncated: bool
    scores: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    text: str = ""
    judged: Mapping[str, float] = field(default_factory=dict)
    parsed: bool = True
    finished: str = ""
    merged: bool = False

    @property
    def probabilities(self) -> dict[str, float]:
        """Class -> probability among the classes."""
        top = max(self.scores, default=0.0)
        shares = [math.exp(score - top) for score in self.scores]
        return {name: round(share / sum(shares), 6) for name, share in zip(self.classes, shares, strict=True)}


@dataclass(slots=True)
class Session:
    """A run's model with its adapter, loaded when it is first needed."""

    run: Run
    _loaded: LoadedModel | None = field(default=None, repr=False)

    def load(self) -> LoadedModel:
        """The model, its adapter on.

        Raises:
            TransfixError: if the run is not trained yet, or its adapter is damaged.
        """
        if self._loaded is None:
            spec = self.run.spec
            self.run.require_trained()
            loaded = load_model(spec)
            if spec.trained:
                from transfix.adapters import load_adapter

                with whole_adapter(self.run):
                    load_adapter(loaded.model, self.run.adapter_dir)
            self._loaded = loaded
        return self._loaded

    def answers(
        self,
        task: Task,
        examples: Sequence[Example],
        advance: OnProgress | None = None,
        settings: InferenceSettings | None = None,
    ) -> list[Answer]:
        """The model's answers, in the order of `examples`.

        Raises:
            TransfixError: if label words do not fit the tokenizer, or prompts the model.
        """
        if not examples:
            return []
        loaded, settings = self.load(), settings or InferenceSettings()
        prompts = [settings.shots + task.prompt(example) for example in examples]
        ahead = sum(part.input_tokens for part in self.run.spec.adapter)
        written = 0 if task.kind == "choice" else settings.max_new_tokens or task.prompt_template.max_new_tokens
        most = longest(loaded, settings.max_tokens, written, ahead)
        if loaded.classes:
            return _classified(loaded, task, examples, prompts, advance, most)
        reader = reader_of(loaded)
        if task.kind != "choice":
            return _generated(loaded, reader, task, examples, prompts, advance, settings, most)
        if task.prompt_template.scoring == "likelihood":
            return _likeliest(loaded, reader, task, examples, prompts, advance, most)
        return _chosen(loaded, reader, task, examples, prompts, advance, most)

    def unreadable(
        self, task: Task, examples: Sequence[Example], settings: InferenceSettings | None = None
    ) -> dict[int, str]:
        """Which rows cannot be read by this model's tokenizer, by their place, and why."""
        if (loaded := self.load()).classes:
            return classifying.unreadable(loaded, task, examples)
        reader = reader_of(loaded)
        before = (settings or InferenceSettings()).shots
        found: dict[int, str] = {}
        for place, example in enumerate(examples):
            followed = task.options(example) if task.kind == "choice" else ("",)
            try:
                reader.continued([(before + task.prompt(example), text) for text in followed])
            except UnreadableTextError as error:
                found[place] = str(error)
        return found


def reader_of(loaded: LoadedModel) -> Reader:
    """How a model's texts are read."""
    from transfix.adapters import architecture

    return Reader(loaded.tokenizer, int(architecture.embedding_table(loaded.model).shape[0]))


def merged_said(task: str, merged: int, rows: int, model: str) -> str:
    """What is said of rows whose prompt and answer are not apart."""
    return (
        f"{task}: in {merged:,} of {rows:,} rows prompt and answer meet inside a token: what is read there is not what the "
        f"prompt has by itself. `transfix task check {task} --model {model}` shows such rows."
    )


def load_model(spec: RunSpec) -> LoadedModel:
    """The base model of a specification.

    Raises:
        TransfixError: it cannot be loaded, or cannot answer what the specification asks.
    """
    from transfix import models

    loaded = models.load(
        spec.model,
        dtype=spec.dtype,
        device=spec.device,
        revision=spec.revision,
        quantization=spec.quantization,
        offload=spec.offload,
        classes=classifying.classes_of(spec),
        seed=spec.seed,
    )
    classifying.require_answerable(spec, loaded)
    return loaded


def hash_of(text: str) -> str:
    """12 hexadecimal digits that tell prompts apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def longest(loaded: LoadedModel, wanted: int | None, written: int, ahead: int) -> int | None:
    """How many tokens a prompt may have: what was asked for, and no more than the model can read.

    Args:
        loaded: the model.
        wanted: what was asked for.
        written: tokens that are generated behind the prompt; 0 if nothing is.
        ahead: tokens of a soft prompt before it.

    Raises:
        TransfixError: there is no room for a prompt.
    """
    from transfix.models import reach

    config = loaded.model.config
    # rows are generated together, and a soft prompt is read by itself: neither goes beyond the original length
    reads = reach.generated(config) if written or ahead else reach.reads(config)
    if reads is None:
        return wanted
    room = reads - ahead - written
    if room < 8:
        raise TransfixError(
            f"the model reads {reads} tokens, which leaves no room for a prompt beside {ahead} of a soft prompt and "
            f"{written} of an answer: lower max_new_tokens."
        )
    return room if wanted is None else min(wanted, room)


def _classified(
    loaded: LoadedModel,
    task: Task,
    examples: Sequence[Example],
    prompts: Sequence[str],
    advance: OnProgress | None,
    most: int | None,
) -> list[Answer]:
    """The class to which an encoder's head gives most; a row goes by the hash of its prompt all the same."""
    scores, truncated = classifying.class_scores(loaded, task, examples, most, advance)
    return [
        _choice(task, example, prompts[row], truncated[row], False, tuple(own))
        for row, (example, own) in enumerate(zip(examples, scores.tolist(), strict=True))
    ]


def _chosen(
    loaded: LoadedModel,
    reader: Reader,
    task: Task,
    examples: Sequence[Example],
    prompts: Sequence[str],
    advance: OnProgress | None,
    most: int | None,
) -> list[Answer]:
    """The class whose label word, one token, is the likeliest."""
    import torch

    from transfix import batches
    from transfix.evaluation.scoring import score_choices

    tokenizer: Any = loaded.tokenizer
    words = tasks.check_verbaliser(task, tokenizer, examples[:3])
    merged = set(tasks.merged_words(reader, prompts, tasks.label_words(task, examples[:1]), words))
    encoded = batches.encode(reader, prompts, most)
    scores = score_choices(loaded.model, encoded, torch.tensor(list(words.values())), tokenizer.pad_token_id, advance)
    offered = torch.tensor([task.offered(example) for example in examples])
    if not bool(offered.all()):
        scores = scores.masked_fill(~offered, -torch.inf).log_softmax(-1)
    return [
        _choice(task, example, prompts[row], encoded[row].truncated, row in merged, tuple(own))
        for row, (example, own) in enumerate(zip(examples, scores.tolist(), strict=True))
    ]


def _likeliest(
    loaded: LoadedModel,
    reader: Reader,
    task: Task,
    examples: Sequence[Example],
    prompts: Sequence[str],
    advance: OnProgress | None,
    most: int | None,
) -> list[Answer]:
    """The class whose continuation, of any length, is the likeliest; of those that are on offer for the row."""
    from transfix.batches import ROWS, cut
    from transfix.evaluation.scoring import log_likelihoods

    tokenizer: Any = loaded.tokenizer
    owners: list[tuple[int, int]] = []
    continuations: list[tuple[tuple[int, ...], int]] = []
    truncated, merged = [False] * len(examples), [False] * len(examples)
    for start in range(0, len(examples), ROWS):
        places, asked = [], []
        for row in range(start, min(start + ROWS, len(examples))):
            offered = zip(task.options(examples[row]), task.offered(examples[row]), strict=True)
            for place, (option, there) in enumerate(offered):
                if there:
                    places.append((row, place))
                    asked.append((prompts[row], option))
        for (row, _), found in zip(places, reader.continued(asked, [row for row, _ in places]), strict=True):
            shorter = cut(found.context, None if most is None else max(1, most - found.reads))
            truncated[row] |= shorter.truncated
            merged[row] |= found.merged
            continuations.append(((*shorter.tokens, *found.target), found.reads))
        owners += places
    scores = [[-math.inf] * len(task.classes) for _ in examples]
    counted = _whole_rows(advance, len(continuations), len(examples))
    totals, _ = log_likelihoods(loaded.model, continuations, tokenizer.pad_token_id, counted)
    for (row, place), total in zip(owners, totals.tolist(), strict=True):
        scores[row][place] = total
    return [
        _choice(task, example, prompts[row], truncated[row], merged[row], tuple(scores[row]))
        for row, example in enumerate(examples)
    ]


def _whole_rows(advance: OnProgress | None, options: int, rows: int) -> OnProgress | None:
    """Tells of rows where it is told of their options."""
    if advance is None:
        return None
    done = 0

    def rows_done(count: int) -> None:
        nonlocal done
        before, done = done * rows // options, done + count
        advance(done * rows // options - before)

    return rows_done


def _choice(
    task: Task, example: Example, prompt: str, truncated: bool, merged: bool, scores: tuple[float, ...]
) -> Answer:
    best = task.classes[max(range(len(scores)), key=scores.__getitem__)]
    judged = {} if example.label is None else {"accuracy": float(best == example.label)}
    return Answer(best, hash_of(prompt), truncated, scores, task.classes, judged=judged, merged=merged)


def _generated(
    loaded: LoadedModel,
    reader: Reader,
    task: Task,
    examples: Sequence[Example],
    prompts: Sequence[str],
    advance: OnProgress | None,
    settings: InferenceSettings,
    most: int | None,
) -> list[Answer]:
    """Texts, judged."""
    from transfix import batches
    from transfix.evaluation.generation import Decoding, generate

    encoded = batches.encode(reader, [tasks.open_prompt(prompt) for prompt in prompts], most)
    texts: dict[int, tuple[str, str]] = {}
    by_stops: dict[tuple[str, ...], list[int]] = {}
    for row, example in enumerate(examples):
        by_stops.setdefault(task.stops(example), []).append(row)
    for stop, rows in by_stops.items():
        decoding = Decoding(
            max_new_tokens=settings.max_new_tokens or task.prompt_template.max_new_tokens,
            stop=stop,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=settings.seed,
        )
        keys = [f"{examples[row].language}/{examples[row].id}" for row in rows]
        found = generate(
            loaded.model, loaded.tokenizer, [encoded[row] for row in rows], decoding, advance=advance, keys=keys
        )
        texts |= {row: (answer.text, answer.finished) for row, answer in zip(rows, found, strict=True)}
    answers = []
    for row, (example, prompt) in enumerate(zip(examples, prompts, strict=True)):
        text, finished = texts[row]
        judgement = task.judged(text, example)
        answers.append(
            Answer(
                judgement.answer,
                hash_of(prompt),
                encoded[row].truncated,
                text=text,
                judged=judgement.scores if references(example) else {},
                parsed=judgement.parsed,
                finished=finished,
            )
        )
    return answers
