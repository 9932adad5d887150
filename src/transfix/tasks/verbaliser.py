"""Checks label words against a tokenizer: each must be exactly one token after the prompt, and all must differ.

Scoring reads one logit a class at the prompt's last position. If tokenising prompt and word together gave other tokens
than the prompt's own and one more, that logit would be the probability of something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from transfix.data.example import Example
from transfix.errors import Problem
from transfix.tasks.reader import Reader
from transfix.tasks.task import Task, TaskError
from transfix.tasks.templates import own_parts

SAMPLES = (
    "It rained.",
    "Did it?",
    "No!",
    'He said "yes"',
    "(in 1999)",
    "word",
    "42",
    "a ",
    "…",
    "下雨了。",
    "बारिश हुई।",
    "؟",
    "ฝนตก",
)
"""Texts whose last characters are what a byte-pair encoding might merge with a template's end."""

SUGGESTIONS = 3

ENDING = 16
"""Characters of a prompt's end on which it depends what a tokenizer makes of the word behind it."""

CHUNK = 1000
"""Prompts that are tokenised at a time."""


class VerbaliserError(TaskError):
    """Label words that a tokenizer does not have as single, distinct tokens after the prompt."""


@runtime_checkable
class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    def __call__(self, text: str, *, add_special_tokens: bool = ...) -> Any: ...  # noqa: D102

    def decode(self, token_ids: Any) -> Any: ...  # noqa: D102


def check_verbaliser(task: Task, tokenizer: Tokenizer, examples: Sequence[Example] = ()) -> dict[str, int]:
    """The token of each class's label word.

    Args:
        task: with its template and verbaliser.
        tokenizer: of the model that will answer.
        examples: rows to check on, besides texts with the endings that matter.

    Returns:
        class -> token id, in the order of the task's classes.

    Raises:
        VerbaliserError: with every word that is not one token after the prompt, or shares its token with another; says
            which tokens it has, and suggests words that are one token.
    """
    asked = [*_samples(task, examples[0].language if examples else "eng_Latn"), *examples]
    prompts = [task.prompt(example) for example in asked]
    words = label_words(task, asked)
    reader = Reader(tokenizer)
    checked = {name: _token(reader, prompts, word) for name, word in words.items()}
    tokens = {name: token for name, token in checked.items() if isinstance(token, int)}
    problems = [
        Problem(f"verbaliser.{name}", what, _suggestions(task, reader, prompts, (name, words[name]), tokens))
        for name, what in checked.items()
        if isinstance(what, str)
    ]
    owners: dict[int, str] = {}
    for name, token in tokens.items():
        if token in owners:
            what = f"{words[name]!r} is the same token ({token}) as {words[owners[token]]!r}"
            advice = _suggestions(task, reader, prompts, (name, words[name]), tokens)
            problems.append(Problem(f"verbaliser.{name}", what, advice))
        owners.setdefault(token, name)
    if problems:
        raise VerbaliserError(f"the label words of task {task.name} do not fit this model's tokenizer", problems)
    return tokens


def continuation(tokenizer: Tokenizer, prompt: str, text: str) -> tuple[tuple[int, ...], int]:
    """The tokens of a prompt with what follows it, and how many of the last ones belong to what follows.

    See `Reader.continued`, which does it for many.
    """
    (found,) = Reader(tokenizer).continued([(prompt, text)])
    return found.tokens, found.reads


def merged_words(
    reader: Reader, prompts: Sequence[str], words: Mapping[str, str], tokens: Mapping[str, int]
) -> list[int]:
    """The prompts whose end a label word would change, so that its one token is not what the tokenizer makes of it there.

    Args:
        reader: of the model that answers.
        prompts: of the rows.
        words: class -> label word.
        tokens: class -> its token.

    Returns:
        their places.
    """
    by_end: dict[str, list[int]] = {}
    for place, prompt in enumerate(prompts):
        by_end.setdefault(_end(prompt), []).append(place)
    ends = list(by_end)
    suspected = [place for number in _merging(reader, ends, words, tokens) for place in by_end[ends[number]]]
    return sorted(suspected[number] for number in _merging(reader, [prompts[at] for at in suspected], words, tokens))


def _end(prompt: str) -> str:
    """What a word behind a prompt may merge with: of a template's own end the last characters before it are enough."""
    own = own_parts(prompt)
    literal = len(prompt) - own[-1][1] if own else len(prompt)
    return prompt[-(min(literal + 2, ENDING) if literal else ENDING) :]


def _merging(reader: Reader, prompts: Sequence[str], words: Mapping[str, str], tokens: Mapping[str, int]) -> list[int]:
    found = []
    for start in range(0, len(prompts), CHUNK):
        part = prompts[start : start + CHUNK]
        befores = reader.ids(part)
        afters = [reader.ids([prompt + word for prompt in part]) for word in words.values()]
        wanted = [tokens[name] for name in words]
        for place, before in enumerate(befores):
            if any(after[place] != [*before, token] for after, token in zip(afters, wanted, strict=True)):
                found.append(start + place)
    return found


def label_words(task: Task, examples: Sequence[Example]) -> dict[str, str]:
    """Class -> label word.

    Raises:
        VerbaliserError: if they are not the same for every row.
    """
    words, *others = ([*task.options(example)] for example in examples)
    if any(other != words for other in others):
        what = "the label words depend on the row: set `scoring: likelihood` in the task's template"
        raise VerbaliserError(f"task {task.name} cannot be scored by label words", [Problem("verbaliser", what)])
    return dict(zip(task.classes, words, strict=True))


def _samples(task: Task, language: str) -> Iterable[Example]:
    return (Example(f"sample-{i}", language, dict.fromkeys(task.fields, text), None) for i, text in enumerate(SAMPLES))


def _token(reader: Reader, prompts: Sequence[str], word: str) -> int | str:
    """The word's one token after every prompt, or what is wrong with it."""
    tokenizer = reader.tokenizer
    found: int | None = None
    befores, afters = reader.ids(prompts), reader.ids([prompt + word for prompt in prompts])
    for prompt, before, after in zip(prompts, befores, afters, strict=True):
        end = prompt[-20:]
        if after[: len(before)] != before:
            shown = ", ".join(repr(tokenizer.decode([token])) for token in after[-3:])
            return (
                f"{word!r} merges with the end of the prompt (…{end!r} + {word!r} ends with the tokens {shown}); "
                "end the template with a colon or a word, and begin the word with a space"
            )
        added = after[len(before) :]
        if len(added) != 1:
            shown = ", ".join(repr(tokenizer.decode([token])) for token in added)
            return f"{word!r} is {len(added)} tokens after the prompt: {shown}"
        if added[0] == getattr(tokenizer, "unk_token_id", None):
            return f"{word!r} is not in the vocabulary (it becomes the unknown token)"
        if found is not None and added[0] != found:
            return f"{word!r} is token {found} after one prompt and token {added[0]} after …{end!r}"
        found = added[0]
    assert found is not None
    return found


def _suggestions(
    task: Task, reader: Reader, prompts: Sequence[str], label: tuple[str, str], taken: Mapping[str, int]
) -> str | None:
    """Words for a class that are one token of their own after every prompt."""
    name, bare = label[0], label[1].strip()
    variants = [form for text in (bare, bare.lower(), bare.capitalize()) for form in (f" {text}", text)]
    others = {token for other, token in taken.items() if other != name}
    good: dict[int, str] = {}
    for candidate in [*variants, *task.alternatives.get(name, ())]:
        token = _token(reader, prompts, candidate)
        if isinstance(token, int) and token not in others:
            good.setdefault(token, candidate)
    if not good:
        return None
    return f"one token each: {', '.join(repr(candidate) for candidate in list(good.values())[:SUGGESTIONS])}"
