"""What a model would make of a task's rows, said before it is trained or measured on them. Nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from transfix.data import Example
from transfix.errors import Problem, ProblemsError
from transfix.tasks.reader import Continued, Reader, UnreadableTextError
from transfix.tasks.task import Task
from transfix.tasks.verbaliser import check_verbaliser, label_words, merged_words

LONGEST = 0.01
"""From this share of prompts over `max_tokens` on, it is said."""

SHOWN_ROWS = 20
"""Rows that are named for one kind of mistake; the others are counted."""

CHECKED_WORDS = 3
"""Rows of a language with which label words are checked, besides texts with the endings that matter."""

EXCERPT = 16
"""Characters that a message shows on either side of the boundary between prompt and answer."""


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of the model that shall be asked, besides its weights.

    Attributes:
        tokenizer: of transformers.
        size: how many tokens have embeddings; None: not known.
        reads: how many tokens it reads; None: without bound, or not known.
        generates: how many it reads and writes where texts are generated; None likewise.
    """

    tokenizer: Any
    size: int | None = None
    reads: int | None = None
    generates: int | None = None


@dataclass(slots=True)
class TokenFindings:
    """What was found in the rows of one language.

    Attributes:
        lengths: tokens of each prompt that can be read, sorted.
        problems: what training or measuring would refuse.
        notes: what is worth knowing.
    """

    lengths: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_tokens(task: Task, where: str, examples: Sequence[Example], model: Model) -> TokenFindings:
    """Reads rows with a model's tokenizer as training and measuring would.

    Args:
        task: with its template.
        where: purpose and language, for the messages.
        examples: rows of one language.
        model: that shall be asked.
    """
    reader = Reader(model.tokenizer, model.size)
    try:
        return _checked(task, where, examples, reader, model)
    except UnreadableTextError:
        problems = {row.id: problem for row in examples if (problem := _unreadable(task, reader, row))}
    found = _checked(task, where, [row for row in examples if row.id not in problems], reader, model)
    found.problems += list(problems.values())[:SHOWN_ROWS]
    if len(problems) > SHOWN_ROWS:
        found.problems.append(Problem(where, f"{len(problems) - SHOWN_ROWS:,} more rows that cannot be read"))
    return found


def _checked(task: Task, where: str, rows: Sequence[Example], reader: Reader, model: Model) -> TokenFindings:
    found = TokenFindings()
    prompts = [task.prompt(row) for row in rows]
    found.lengths = sorted(map(len, reader.prompts(prompts)))
    found.notes += [f"{where}: {note}" for note in _lengths(task, found.lengths, model)]
    found.notes += [f"{where}: {note}" for note in _letters(reader, prompts)]
    found.notes += _around(reader, prompts)
    if task.kind == "choice" and task.prompt_template.scoring == "word":
        try:
            words = check_verbaliser(task, model.tokenizer, rows[:CHECKED_WORDS])
        except ProblemsError as error:
            found.problems += [problem.at(f"{where}: {problem.where}") for problem in error.problems]
        else:
            merged = merged_words(reader, prompts, label_words(task, rows[:1]), words) if rows else []
            found.notes += _merged(where, [(prompts[place], "a label word") for place in merged], len(rows))
        return found
    made = list(_pairs(task, rows))
    pairs = [(prompt, text) for prompt, text, _ in made]
    continued = reader.continued(pairs, [row for *_, row in made])
    found.notes += _merged(where, [pair for pair, one in zip(pairs, continued, strict=True) if one.merged], len(pairs))
    if task.kind != "choice":
        found.notes += _written(where, reader, pairs, continued)
    return found


def _unreadable(task: Task, reader: Reader, row: Example) -> Problem | None:
    try:
        reader.ids([prompt + text for prompt, text, _ in _pairs(task, [row])] or [task.prompt(row)])
    except UnreadableTextError as error:
        return Problem(f"{row.language} {row.id}", str(error))
    return None


def _pairs(task: Task, rows: Sequence[Example]) -> Iterator[tuple[str, str, int]]:
    """Every prompt with what may follow it, the options of a choice that are on offer or the target; and its row's place."""
    for place, row in enumerate(rows):
        prompt = task.prompt(row)
        if task.kind == "choice":
            offered = zip(task.options(row), task.offered(row), strict=True)
            yield from ((prompt, option, place) for option, there in offered if there)
        elif row.label is not None:
            yield prompt, task.target(row), place


def _lengths(task: Task, lengths: Sequence[int], model: Model) -> Iterator[str]:
    over = sum(length > task.max_tokens for length in lengths)
    if over >= max(1, LONGEST * len(lengths)):
        yield (
            f"{over:,} of {len(lengths):,} prompts have more than max_tokens ({task.max_tokens}) tokens and would lose their "
            "middle in training"
        )
    written = 0 if task.kind == "choice" else task.prompt_template.max_new_tokens
    reads = model.generates if written else model.reads
    if reads is not None and (over := sum(length > reads - written for length in lengths)):
        beside = f" beside {written} of an answer" if written else ""
        most = f"{reads - written:,} tokens that the model reads{beside}"
        yield f"{over:,} of {len(lengths):,} prompts are longer than the {most}: they lose their middle"


def _letters(reader: Reader, prompts: Sequence[str]) -> Iterator[str]:
    held = [letters for prompt in prompts if (letters := reader.control_texts(prompt))]
    if held:
        names = ", ".join(list(dict.fromkeys(name for letters in held for name in letters))[:3])
        yield f"{len(held):,} rows hold the letters of control tokens ({names}): they are read as letters"


def _around(reader: Reader, prompts: Sequence[str]) -> Iterator[str]:
    """What is said once of a task: it is the template's or the tokenizer's."""
    name = reader.tokenizer.convert_ids_to_tokens
    if reader.ending:
        names = " ".join(map(str, name(list(reader.ending))))
        yield f"the tokenizer ends texts with {names}: it is left out, since the answer follows the prompt"
    if not prompts:
        return
    (ids,) = reader.ids(prompts[:1])
    begins = reader.beginning
    if begins and tuple(ids[: len(begins)]) == begins:
        names = " ".join(map(str, name(list(begins))))
        yield (
            f"the prompt begins with {names}, which the tokenizer puts before texts itself: it is read once. Leave it out of "
            "the template: exemplars would repeat it"
        )
    elif begins and begins[-1] in ids:
        yield f"the prompt holds {name(begins[-1])}, the beginning of a text, behind its own beginning: leave it out"
    if ids and ids[-1] in {reader.end, *reader.ending[-1:]}:
        yield f"the prompt ends with {name(ids[-1])}, the end of a text: the answer would stand behind it. Leave it out"


def _merged(where: str, merged: Sequence[tuple[str, str]], count: int) -> Iterator[str]:
    if merged:
        prompt, text = merged[0]
        yield (
            f"{where}: in {len(merged):,} of {count:,} cases prompt and answer meet inside a token "
            f"(…{prompt[-EXCERPT:]!r} + {text[:EXCERPT]!r}): what is learned and scored there is not what the prompt has by "
            "itself. End the template with a colon or a word, and begin answers with a space or a line"
        )


def _written(
    where: str, reader: Reader, pairs: Sequence[tuple[str, str]], continued: Sequence[Continued]
) -> Iterator[str]:
    if reader.end is None:
        yield "the tokenizer has no end token: generated answers end at a stop text (`stop`) or at max_new_tokens only"
    changed = []
    for (_, text), one in zip(pairs, continued, strict=True):
        back = reader.tokenizer.decode(list(one.target), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        if (
            back.strip() != text.strip()
            and not reader.control_texts(text)
            and not any(name in text for name in reader.control)
        ):
            changed.append((text, back))
    if changed:
        text, back = changed[0]
        yield (
            f"{where}: {len(changed):,} of {len(pairs):,} answers do not come back from their tokens as they are "
            f"({text.strip()[:EXCERPT]!r} becomes {back.strip()[:EXCERPT]!r}): generated answers are judged as the tokenizer "
            "writes them"
        )
