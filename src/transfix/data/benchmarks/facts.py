"""What can be said about a benchmark's rows: fields, reference answers, splits, languages, layouts and homes on the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from transfix import languages
from transfix.data.example import DataError
from transfix.data.tables import Record
from transfix.errors import Problem

SPLIT_ALIASES = {
    "validation": ("dev", "valid", "val"),
    "validation_matched": ("dev_matched",),
    "validation_mismatched": ("dev_mismatched",),
}

LABEL, LANGUAGE, IDENTIFIER = "label", "language", "id"
"""What `columns` may name besides fields."""

ENGLISH = "eng_Latn"

Values = dict[str, object]
"""A row as its source has it, by the benchmark's own names (`context`, `label`) in place of the source's columns."""


@dataclass(frozen=True, slots=True)
class HubHome:
    """How a known hub dataset is laid out.

    Attributes:
        config: its configuration; may hold `{lang}`, the benchmark's own language code.
        configs: split -> configuration, where the dataset has one for each split.
        splits: split -> the dataset's name of it, where that is another.
        missing: languages of the benchmark that the dataset lacks.
        instead: of a dataset that is a program, which `datasets` no longer runs: what to read in its place, as a sentence.
    """

    config: str | None = None
    configs: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    instead: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The fixed facts about a benchmark's rows, or about the rows of a user's own task.

    A task of one's own needs the first six, `reference`, and `languages_given`; the others describe official distributions.

    Attributes:
        name: `xnli`.
        fields: the texts every row has.
        classes: their names, in the order of their integer form; empty where `reference` is not `class`.
        label_aliases: other spellings of a class in official files.
        columns: for every field and `label`, the column names its distributions use, the preferred one first. `id` may
            be among them (without it, an example's id is its split and row number), and further columns that `packed`
            or `prepare` know.
        splits: canonical names, those of the hub.
        numbered_labels: sources may write a class as its number, counted from 0 in the order of `classes`; not so for a
            user's own task, whose classes may be numbers themselves.
        optional: fields a row may have; a row without one has no such key in its `fields`.
        reference: `class`, one of `classes`; `texts`, one or more accepted answers (a text, a list of texts, or SQuAD's
            `{text: [...], answer_start: [...]}`); `number`, kept as text without thousands separators.
        spans_in: the field in which reference answers must stand at their `answer_start`, where the source gives one.
        packed: a column from which `prepare` fills several fields -> these fields; their own columns may be missing.
        headerless: the columns of a tab-separated file without header; empty is the fields and `label`.
        quoted_tsv: tab-separated files quote cells with line breaks; else quotation marks are part of the text. None: as
            each file shows it.
        prepare: brings a row's values into the form the benchmark is read in (a label in the middle of a text, say);
            raises `BadRowError`.
        document: the rows of a file that is one JSON document; raises `BadRowError` if it is not laid out so.
        language_of: the language code of a row whose source has no column for it, `None` if it does not say.
        companions: split -> the file beside the others that holds it for all languages.
        parallel: rows pair line i of a language's file with line i of the English one; the side that is the source.
        files_only: why there is no hub dataset to read, if there is none.
        row_parallel: row i says the same in every language, so that rows are compared across languages by id.
        monolingual: the FLORES-style code of its only language.
        languages_given: FLORES-style codes of its languages; without them and `own_codes` they are looked up in
            `languages.of_benchmark`.
        written: FLORES-style code -> how the user has written the language (`pt-BR`), for a task of one's own.
        own_codes: FLORES-style code -> the benchmark's own code, where the table of languages does not know it.
        listed_as: its name in the table of languages, if that is not `name`.
        split_aliases: canonical split -> further names of it.
        hub: hub name -> its layout.

    Raises:
        DataError: if a field or the label has no column, or if there are classes but `reference` is not `class`, or none
            though it is.
    """

    name: str
    fields: tuple[str, ...]
    classes: tuple[str, ...]
    label_aliases: Mapping[str, str]
    columns: Mapping[str, tuple[str, ...]]
    splits: tuple[str, ...]
    optional: tuple[str, ...] = ()
    numbered_labels: bool = True
    reference: Literal["class", "texts", "number"] = "class"
    spans_in: str | None = None
    packed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    headerless: tuple[str, ...] = ()
    quoted_tsv: bool | None = False
    prepare: Callable[[Values], Values] | None = None
    document: Callable[[object], Iterator[Record]] | None = None
    language_of: Callable[[Values], str | None] | None = None
    companions: Mapping[str, str] = field(default_factory=dict)
    parallel: Literal["from_english", "to_english"] | None = None
    files_only: str | None = None
    row_parallel: bool = False
    monolingual: str | None = None
    languages_given: tuple[str, ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)
    own_codes: Mapping[str, str] = field(default_factory=dict)
    listed_as: str | None = None
    split_aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hub: Mapping[str, HubHome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = [
            Problem(f"columns.{field}", "missing: every field and the label need a column")
            for field in (*self.fields, LABEL)
            if not self.columns.get(field)
        ]
        if bool(self.classes) != (self.reference == "class"):
            problems.append(
                Problem("classes", f"{', '.join(self.classes) or 'none'}, where reference is {self.reference}")
            )
        if problems:
            raise DataError(f"the rows of {self.name} are not described correctly", problems)

    @property
    def languages(self) -> tuple[str, ...]:
        """FLORES-style codes of the languages the benchmark is published in.

        For translation these are the languages on the other side of English.
        """
        if self.monolingual is not None:
            return (self.monolingual,)
        if self.languages_given or self.own_codes:
            return self.languages_given or tuple(self.own_codes)
        codes = (language.code for language in languages.of_benchmark(self._listed_as))
        return tuple(code for code in codes if self.parallel is None or code != ENGLISH)

    @property
    def tsv_columns(self) -> tuple[str, ...]:
        """The columns of a tab-separated file without header."""
        return self.headerless or (*self.fields, LABEL)

    @property
    def _listed_as(self) -> str:
        return self.listed_as or self.name

    def split(self, name: str) -> str:
        """The canonical name of a split: `dev` is `validation`.

        Raises:
            DataError: if the benchmark has no such split.
        """
        if name in self.splits:
            return name
        for canonical in self.splits:
            if name in self.split_names(canonical):
                return canonical
        raise DataError(f"{self.name} has no split {name!r} (allowed: {', '.join(self.splits)})")

    def own_code(self, language: str) -> str:
        """The benchmark's own code of a language (`de` for deu_Latn in XNLI); the FLORES-style code if it has none."""
        entry = languages.get(language)
        if self.languages_given or self.own_codes:
            return self.own_codes.get(entry.code, entry.code)
        return entry.benchmarks.get(self._listed_as, entry.code)

    def codes(self, language: str) -> tuple[str, ...]:
        """All codes a file may use for a language, the likeliest first: own code, FLORES-style, ISO 639, aliases."""
        entry = languages.get(language)
        codes = [self.own_code(language), entry.code, entry.iso639_1, entry.iso639_3, *entry.aliases]
        return tuple(dict.fromkeys(code for code in codes if code))

    def split_names(self, split: str) -> tuple[str, ...]:
        """All names a file may use for a canonical split: `validation`, `dev`, `valid`, `val`."""
        return (split, *self.split_aliases.get(split, ()), *SPLIT_ALIASES.get(split, ()))
