"""Reads the reference answer of a row, of one of three kinds: a class, the accepted texts, or a number."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Protocol

from transfix.data.benchmarks import Benchmark
from transfix.data.example import BadRowError
from transfix.data.label_names import whole
from transfix.errors import shortened

Reference = tuple[str, tuple[str, ...]]
"""An example's `label` and `answers`."""


class ReferenceReader(Protocol):
    """From the value in the label's column and the row's texts to its reference answer."""

    @property
    def allowed(self) -> str:
        """What the value may be, for messages."""
        ...

    def __call__(self, value: object, texts: Mapping[str, str]) -> Reference | None:
        """The reference answer; `None` if its annotators agreed on none.

        Raises:
            BadRowError: if the value is none.
        """
        ...


_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?")


def number(value: object) -> str:
    """A number as text, its digits as they are but without thousands separators: `1,000` is `1000`, `3.50` stays.

    Raises:
        BadRowError: if it is none.
    """
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = value.strip().replace("\N{MINUS SIGN}", "-") if isinstance(value, str) else ""
    if not _NUMBER.fullmatch(text):
        raise BadRowError(
            f"the answer {_shown(value)} is not a number (digits, with `,` between thousands and `.` before decimals)"
        )
    return text.removeprefix("+").replace(",", "")


class Numbers:
    """The reference answer of word problems."""

    allowed = "a number"

    def __call__(self, value: object, texts: Mapping[str, str]) -> Reference:
        """The number as label and only answer."""
        label = number(value)
        return label, (label,)


class Texts:
    """The reference answer of tasks whose answers are written: one text, a list of texts, or SQuAD's texts and their places.

    Args:
        spans_in: the field in which the texts stand.
    """

    allowed = "the text of the answer, or a list of texts"

    def __init__(self, spans_in: str | None = None) -> None:
        self._spans_in = spans_in

    def __call__(self, value: object, texts: Mapping[str, str]) -> Reference:
        """The first text as label, all distinct ones as answers."""
        answers, starts = _texts_and_starts(value)
        if not answers:
            raise BadRowError("has no answer (questions without one, as in SQuAD 2, are not asked here)")
        for answer in answers:
            if not isinstance(answer, str):
                raise BadRowError(f"the answer {_shown(answer)} is not a text")
            if not answer.strip():
                raise BadRowError("empty answer")
        field = self._spans_in
        if field is not None and field in texts and starts is not None:
            for answer, start in zip(answers, starts, strict=True):
                _check_span(texts[field], field, answer, start)
        return answers[0], tuple(dict.fromkeys(answers))


def _texts_and_starts(value: object) -> tuple[list[Any], list[Any] | None]:
    """The texts of a reference answer, and where they stand if it says so."""
    if isinstance(value, str):
        return [value], None
    if isinstance(value, Mapping):
        answers, starts = value.get("text"), value.get("answer_start")
        if not isinstance(answers, list) or not (starts is None or isinstance(starts, list)):
            raise BadRowError(f"the answers {_shown(value)} are not {{text: [...], answer_start: [...]}}")
        if starts is not None and len(starts) != len(answers):
            raise BadRowError(f"there are {len(answers)} answers but {len(starts)} values of answer_start")
        return answers, starts
    if isinstance(value, list) and any(isinstance(answer, Mapping) for answer in value):
        for answer in value:
            if not isinstance(answer, Mapping) or "text" not in answer:
                raise BadRowError(f"the answer {_shown(answer)} has no 'text'")
            if "answer_start" not in answer:
                raise BadRowError(f"the answer {_shown(answer)} has no 'answer_start'")
        return [answer["text"] for answer in value], [answer["answer_start"] for answer in value]
    if isinstance(value, list):
        return value, None
    raise BadRowError(f"the answer {_shown(value)} is not a text or a list of texts")


def _check_span(context: str, field: str, answer: str, start: object) -> None:
    if not isinstance(start, int) or isinstance(start, bool) or start < 0:
        raise BadRowError(f"answer_start is {_shown(start)}, not a position in the {field}")
    there = context[start : start + len(answer)]
    if there != answer:
        at = context.find(answer)
        elsewhere = f"it stands at {at}" if at >= 0 else f"it does not stand in the {field}"
        raise BadRowError(
            f"the answer {_shown(answer)} does not stand at answer_start {start} of the {field}, "
            f"where {_shown(there)} is; {elsewhere}"
        )


def _shown(value: object) -> str:
    return shortened(repr(value))


class Classes:
    """The reference answer of tasks whose classes are chosen from.

    A mapping given by the user replaces usual spellings and integers.

    Args:
        benchmark: which has the classes.
        labels: the class for a label of the source, where it is not the class name.
        class_names: what integer labels stand for, where the source says so itself.
        is_typed: the source writes -1 where annotators agreed on no label.
    """

    def __init__(
        self, benchmark: Benchmark, labels: Mapping[str, str], class_names: tuple[str, ...] | None, is_typed: bool
    ) -> None:
        aliases = {} if labels else benchmark.label_aliases
        by_name = {**{cls: cls for cls in benchmark.classes}, **aliases, **labels}
        by_number: dict[str, str] = {}
        if class_names is not None:
            by_number = {str(number): by_name[name] for number, name in enumerate(class_names) if name in by_name}
            if not by_number and all(str(number) in by_name for number in range(len(class_names))):
                class_names = None  # the classes are the numbers themselves
        elif not labels and benchmark.numbered_labels:
            by_number = {str(number): cls for number, cls in enumerate(benchmark.classes)}
        self._classes = {**by_number, **by_name}
        # where the source names its numbers, a class that is called as a number is not meant by that number
        self._numbers = {**(self._classes if class_names is None else by_number), **labels}
        self._class_names = class_names
        self._writes_none = is_typed
        self._has_fractions = is_typed or not benchmark.numbered_labels
        self.allowed = ", ".join([*by_name, *by_number])

    def __call__(self, value: object, texts: Mapping[str, str]) -> Reference | None:
        """The class as label, no answers; `None` if the annotators agreed on none."""
        if isinstance(value, str) and value in self._classes:
            return self._classes[value], ()
        # pandas writes 1.0 where some of a column's cells are empty; the authors of benchmarks do not
        number = whole(value) if self._has_fractions or isinstance(value, int) else None
        if number is not None and str(number) in self._numbers:
            return self._numbers[str(number)], ()
        if value == "-" or (number == -1 and self._writes_none):
            return None
        raise BadRowError(f"label {_shown(value)} is not one of the classes{self._hint(value, number)}")

    def _hint(self, value: object, number: int | None) -> str:
        """What is known of a label that is no class."""
        if isinstance(value, list):
            return " (a list, and a choice has one label a row)"
        names = self._class_names
        if names is not None and number is not None and 0 <= number < len(names):
            return f" (the data calls it {_shown(names[number])}: say which class that is with `labels`)"
        if isinstance(value, str) or number is None:
            return ""
        if number == -1:
            return " (-1 often means that a row has none: leave such rows out)"
        return f" (say what numbers mean with `labels: {{{number}: CLASS}}`)"


def reference_reader(
    benchmark: Benchmark, labels: Mapping[str, str], class_names: tuple[str, ...] | None, is_typed: bool
) -> ReferenceReader:
    """The reader of a benchmark's kind of reference answer; the arguments are those of `Classes`."""
    if benchmark.reference == "number":
        return Numbers()
    if benchmark.reference == "texts":
        return Texts(benchmark.spans_in)
    return Classes(benchmark, labels, class_names, is_typed)
