"""Multiple-choice reading comprehension: Belebele, DREAM, MCTest, RACE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from transfix.data.benchmarks.facts import ENGLISH, Benchmark, HubHome, Values
from transfix.data.example import BadRowError
from transfix.data.tables import Record

LETTERS = ("A", "B", "C", "D")
OPTIONS = ("option_a", "option_b", "option_c", "option_d")

PACKED = {"options": OPTIONS, "question_number": ("id",)}
"""A list of options fills their fields; with the number of its question, a passage's id is the row's."""

Answer = Literal["letter", "number", "text"]
"""How a benchmark's files write the right option: `B`, `2`, or its text."""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _letter(answer: object, options: list[object], form: Answer) -> object:
    """The letter of the right option; what is no text or number is left to be reported as any label is."""
    if isinstance(answer, bool) or not isinstance(answer, str | int) or answer == "":
        return answer
    text = str(answer).strip()
    if form == "text" and options.count(answer) == 1:
        return LETTERS[options.index(answer)]
    if form == "text" and options.count(answer) > 1:
        raise BadRowError(f"the answer {answer!r} stands on more than one option")
    position = LETTERS.index(text) if text in LETTERS else -1
    if form == "number" and text.isdecimal():
        position = int(text) - 1
    if not 0 <= position < len(options):
        shown = ", ".join(repr(option) for option in options)
        raise BadRowError(f"the answer {answer!r} is none of the {len(options)} options ({shown})")
    return LETTERS[position]


def _choices(form: Answer, fewest: int) -> Callable[[Values], Values]:
    """Prepares rows with `fewest` to four options: the options as fields of their own, the label as a letter."""

    def prepare(row: Values) -> Values:
        passage, packed = row.get("passage"), row.get("options")
        if isinstance(passage, list) and passage and all(map(_is_text, passage)):
            row = {**row, "passage": "\n".join(passage)}
        if isinstance(packed, Mapping):  # {"A": ..., "B": ...}
            packed = [packed.get(letter) for letter in LETTERS if letter in packed]
        if packed is not None and not isinstance(packed, list):
            raise BadRowError(f"options are {packed!r}, not a list")
        if packed is not None and not fewest <= len(packed) <= len(OPTIONS):
            expected = f"{fewest}" if fewest == len(OPTIONS) else f"{fewest} to {len(OPTIONS)}"
            raise BadRowError(f"has {len(packed)} options, expected {expected}")
        if packed is not None:
            row = {**row, **dict(zip(OPTIONS, packed, strict=False))}
        options = [row.get(name) for name in OPTIONS]
        while len(options) > fewest and (options[-1] is None or options[-1] == ""):
            options.pop()
        for name, option in zip(OPTIONS, options, strict=False):
            if not _is_text(option):
                raise BadRowError(f"{name} is {'missing' if option is None or option == '' else repr(option)}")
        label = {"label": _letter(row["label"], options, form)} if "label" in row else {}
        return {**_identified(row), **label}

    return prepare


def _identified(row: Values) -> Values:
    """The row with an id of its passage's id and its question's number, which parallel rows share, if it has both."""
    passage, question = row.get("passage_id"), row.get("question_number")
    is_known = passage is not None and question is not None and "id" not in row
    return {**row, "id": f"{passage}#{question}"} if is_known else row


def dialogues(document: object) -> Iterator[Record]:
    """The questions of a DREAM file: `[[turns, [{"question", "choice", "answer"}], id]]`.

    Raises:
        BadRowError: if `document` is not laid out so at its top.
    """
    if not isinstance(document, list):
        raise BadRowError("expected a list of [turns, questions, id], as in DREAM")
    for number, dialogue in enumerate(document):
        where = f"[{number}]"
        match dialogue:
            case [list(turns), list(questions), str(identifier)]:
                pass
            case _:
                yield Record(where, {}, "expected [turns, questions, id]")
                continue
        for place, question in enumerate(questions):
            if isinstance(question, dict):
                values = {**question, "dialogue": turns, "dialogue_id": identifier, "question_number": place}
                yield Record(f"{where}[1][{place}]", values)
            else:
                yield Record(f"{where}[1][{place}]", {}, f"a JSON {type(question).__name__}, not an object")


def _choice(
    name: str,
    splits: tuple[str, ...],
    form: Answer,
    columns: Mapping[str, tuple[str, ...]],
    hub: Mapping[str, HubHome],
    fewest: int = 4,
    **facts: Any,
) -> Benchmark:
    usual = {name: (name,) for name in ("passage", "question", *OPTIONS, "label")}
    return Benchmark(
        name=name,
        fields=("passage", "question", *OPTIONS[:3]),
        optional=OPTIONS[3:],
        classes=LETTERS,
        label_aliases={},
        columns={key: (*columns.get(key, ()), *usual.get(key, ())) for key in {**usual, **columns}},
        splits=splits,
        packed={column: fields for column, fields in PACKED.items() if column in columns},
        headerless=("passage", "question", *OPTIONS, "label"),
        prepare=_choices(form, fewest),
        hub=hub,
        **facts,
    )


BENCHMARKS = (
    _choice(
        "belebele",
        ("test",),
        "number",
        {
            "passage": ("flores_passage",),
            **{option: (f"mc_answer{number}",) for number, option in enumerate(OPTIONS, start=1)},
            "label": ("correct_answer_num",),
            "passage_id": ("link",),
            "question_number": ("question_number",),
        },
        row_parallel=True,
        hub={"facebook/belebele": HubHome("{lang}")},
    ),
    _choice(
        "dream",
        ("train", "validation", "test"),
        "text",
        {
            "passage": ("dialogue",),
            "options": ("choice", "choices", "options"),
            "label": ("answer",),
            "passage_id": ("dialogue_id",),
            "question_number": ("question_number",),
        },
        fewest=3,
        document=dialogues,
        monolingual=ENGLISH,
        hub={"dataset-org/dream": HubHome(), "dream": HubHome()},
    ),
    _choice(
        "mctest",
        ("train", "validation", "test"),
        "letter",
        {
            "passage": ("story",),
            "options": ("choices", "options", "answer_options"),
            "label": ("answer",),
            "passage_id": ("story_id",),
            "question_number": ("question_id",),
        },
        monolingual=ENGLISH,
        hub={"sagnikrayc/mctest": HubHome("mc500")},
    ),
    # Questions on one article share its example_id, so ids are not taken from it.
    _choice(
        "race",
        ("train", "validation", "test"),
        "letter",
        {"passage": ("article",), "options": ("options",), "label": ("answer",)},
        monolingual=ENGLISH,
        hub={"ehovy/race": HubHome("all"), "race": HubHome("all")},
    ),
)
