"""Asking an encoder: its head has the task's classes, and it reads a row's texts as they are, without a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from transfix import tasks
from transfix.data import Example
from transfix.errors import Problem, ProblemsError, TransfixError
from transfix.runs.specification import RunSpec
from transfix.tasks import Task, classes
from transfix.tasks.reader import UnreadableTextError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from transfix.batches import EncodedPair, TokenSequence
    from transfix.models import LoadedModel
    from transfix.runs.store import Run


def classes_of(spec: RunSpec) -> tuple[str, ...]:
    """The classes that an encoder's head would have for a specification; none where its first task has none."""
    first = next((on.task for on in (spec.train, *spec.evaluate) if on is not None), None)
    return () if first is None or tasks.get(first).kind != "choice" else tasks.get(first).classes


def asks_classes(run: Run) -> bool:
    """Whether a run's model is an encoder, as far as that shows without it: it was trained as one, or made for classes."""
    if run.spec.trained:
        return "head_classes" in (run.training or {})
    from transfix.models.files import made_for_classes

    return made_for_classes(run.spec.model)


def require_answerable(spec: RunSpec, loaded: LoadedModel) -> None:
    """Refuses, before hours of work, what an encoder cannot be asked. A decoder can be asked everything.

    Raises:
        ProblemsError: with every task of the specification that it cannot answer, and why.
        TransfixError: nothing is trained, and the model's head is not trained for the classes either.
    """
    if not loaded.classes:
        return
    problems: list[Problem] = []
    for index, on in enumerate((spec.train, *spec.evaluate), start=-1):
        if on is None:
            continue
        where = "train" if on is spec.train else f"evaluate[{index}]"
        task = tasks.get(on.task).with_options(on.template, on.verbaliser)
        if why := _beyond(task, loaded):
            problems.append(Problem(where, why))
        if getattr(on, "few_shot", None) is not None:
            problems.append(Problem(f"{where}.few_shot", "an encoder reads no examples before a row: leave it out"))
    if problems:
        raise ProblemsError(f"{loaded.name} is an encoder, which cannot be asked this (a decoder can):", problems)
    if not spec.trained and loaded.untrained_head:
        raise TransfixError(
            f"model {loaded.name!r} is an encoder whose files hold no head for {', '.join(loaded.classes)}: without training "
            "its answers are random. Train one (adapter: task_head is the least), or name a checkpoint that was trained for "
            "them."
        )


def texts_as_pairs(
    loaded: LoadedModel, task: Task, rows: Sequence[Example], most: int | None
) -> tuple[list[TokenSequence], list[EncodedPair]]:
    """What the model reads of rows: as sequences, numbered from 0, and with what is known of each.

    Raises:
        TransfixError: the task has other classes than the model's head, or a text cannot be read as what it is.
    """
    from transfix import batches

    if why := _beyond(task, loaded):
        raise TransfixError(f"model {loaded.name!r}: {why}.")
    pairs = reader_of(loaded).encode([classes.texts(task, row) for row in rows], most)
    return [batches.TokenSequence(index, pair.tokens) for index, pair in enumerate(pairs)], pairs


def class_scores(
    loaded: LoadedModel,
    task: Task,
    rows: Sequence[Example],
    most: int | None,
    advance: Callable[[int], object] | None = None,
) -> tuple[Float[Tensor, "rows classes"], list[bool]]:
    """The log-probability of each class in the task's order, and which rows were cut."""
    from transfix.evaluation.scoring import ClassScorer

    tokenizer: Any = loaded.tokenizer
    sequences, pairs = texts_as_pairs(loaded, task, rows, most)
    scorer = ClassScorer(loaded.model, sequences, [pair.second for pair in pairs], tokenizer.pad_token_id)
    scores = scorer.score(advance)
    return scores[:, [loaded.classes.index(name) for name in task.classes]], [pair.truncated for pair in pairs]


def unreadable(loaded: LoadedModel, task: Task, rows: Sequence[Example]) -> dict[int, str]:
    """Which rows cannot be read by the model's tokenizer, by their place, and why."""
    reader, found = reader_of(loaded), {}
    for place, row in enumerate(rows):
        try:
            reader.encode([classes.texts(task, row)], None)
        except UnreadableTextError as error:
            found[place] = str(error)
    return found


def reader_of(loaded: LoadedModel) -> Any:
    """How an encoder's texts are read."""
    from transfix.adapters import architecture
    from transfix.batches import PairReader

    return PairReader(loaded.tokenizer, int(architecture.embedding_table(loaded.model).shape[0]))


def _beyond(task: Task, loaded: LoadedModel) -> str:
    if why := classes.beyond_classes(task):
        return why
    if set(task.classes) != set(loaded.classes):
        return (
            f"{task.name} chooses among {', '.join(task.classes)}, and the head among {', '.join(loaded.classes)}: an "
            "encoder's run has one set of classes"
        )
    return ""
