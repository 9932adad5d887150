"""Where rows come from, as a specification says it: the shipped snapshot, local files, or a dataset on the hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from transfix.config import validation
from transfix.data.example import DataError
from transfix.errors import Problem

Format = Literal["auto", "tsv", "csv", "jsonl", "json", "parquet", "arrow"]
PLACEHOLDERS = ("lang", "split")
SOURCES = "`snapshot`, `{files: path/test-{lang}.tsv}` or `{hub: facebook/xnli}`"


def _texts(value: Any) -> Any:
    """YAML reads `0: entailment` with a number as key; labels and columns are compared as text."""
    return {str(key): entry for key, entry in value.items()} if isinstance(value, Mapping) else value


TextMap = Annotated[dict[str, str], BeforeValidator(_texts)]


def _check_placeholders(pattern: str) -> str:
    unknown = [name for name in re.findall(r"{([^{}]*)}", pattern) if name not in PLACEHOLDERS]
    if unknown:
        names = ", ".join(f"{{{name}}}" for name in unknown)
        raise ValueError(f"unknown placeholder {names} in {pattern!r} (allowed: {{lang}}, {{split}})")
    return pattern


class SnapshotSource(BaseModel):
    """The rows shipped inside the package: written `snapshot`. Needs no network and no files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {} if value == "snapshot" else value

    @model_serializer
    def _name(self) -> str:
        return "snapshot"

    def __str__(self) -> str:
        return "snapshot"


class FilesSource(BaseModel):
    """Local files in the benchmark's own layout.

    Attributes:
        files: a path; `{lang}` stands for the language (tried as the benchmark's own code, the FLORES-style code and
            the aliases, the first file that exists is read), `{split}` for the split. A path without `{lang}` is one
            file for all languages if it has a `language` column, and a file of one language if not. For translation
            `{lang}` finds the English side too; the exemplars of MGSM (its split `train`) are read from the
            `exemplars.json` beside the path.
        format: `auto` detects it from the content; `json` is a file that is one JSON document, as SQuAD's.
        columns: where the file's column names are not the benchmark's: {premise: s1}. `id` may be mapped too; without
            it an example's id is its row number.
        labels: where the file's labels are not the class names: {"0": entailment}.
        delimiter: what separates cells: a tab, `,`, `;` or `|`; else it is what makes the first line a header.
        quoting: whether cells are quoted as in csv; false: quotation marks are part of the text. Else a benchmark's files
            are read as its authors define them, csv is quoted, and a tsv of one's own is if it looks written so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    files: Annotated[str, Field(min_length=1)]
    format: Format = "auto"
    columns: TextMap = {}
    labels: TextMap = {}
    delimiter: Literal["\t", ",", ";", "|"] | None = None
    quoting: bool | None = None

    @model_serializer(mode="wrap")
    def _without_usual(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings that came later count only where they are used, so that the runs from before keep their names."""
        later = ("delimiter", "quoting")
        return {name: value for name, value in whole(self).items() if name not in later or value is not None}

    _placeholders = field_validator("files")(_check_placeholders)

    def __str__(self) -> str:
        return f"files {self.files}"


class HubSource(BaseModel):
    """A dataset on the Hugging Face hub, read through `datasets.load_dataset` (or any local path it accepts).

    Attributes:
        hub: the dataset's name, `facebook/xnli`.
        config: its configuration; `{lang}` stands for the benchmark's own language code. Default: what the known
            datasets of a benchmark need, else none.
        split: the hub's name of the split, where it differs from the benchmark's.
        revision: a branch, tag or commit of the dataset.
        columns, labels: as for files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    hub: Annotated[str, Field(min_length=1)]
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    columns: TextMap = {}
    labels: TextMap = {}

    @field_validator("config")
    @classmethod
    def _placeholders(cls, value: str | None) -> str | None:
        return value if value is None else _check_placeholders(value)

    def __str__(self) -> str:
        return f"hub {self.hub}" + (f"@{self.revision}" if self.revision else "")


def _kind(value: Any) -> str | None:
    if isinstance(value, SnapshotSource) or value == "snapshot":
        return "snapshot"
    if isinstance(value, Mapping):
        kinds = [kind for kind in ("files", "hub") if kind in value]
        return kinds[0] if len(kinds) == 1 else None
    if isinstance(value, FilesSource):
        return "files"
    return "hub" if isinstance(value, HubSource) else None


DataSource = Annotated[
    Annotated[SnapshotSource, Tag("snapshot")]
    | Annotated[FilesSource, Tag("files")]
    | Annotated[HubSource, Tag("hub")],
    Discriminator(
        _kind, custom_error_type="data_source", custom_error_message=f"is not a data source (allowed: {SOURCES})"
    ),
]
"""The type of a specification's `data:` field."""

AnySource = SnapshotSource | FilesSource | HubSource
_MODELS: Mapping[str | None, type[BaseModel]] = {"snapshot": SnapshotSource, "files": FilesSource, "hub": HubSource}


class _Given(BaseModel):
    data: DataSource


def parse_source(value: object) -> AnySource:
    """A data source from what a YAML file or a Python caller gives.

    Raises:
        DataError: with all problems of `value` at once.
    """

    def model_at(path: validation.Path) -> type[BaseModel] | None:
        return _MODELS.get(_kind(value)) if path == ("data",) else None

    problems: list[Problem] = []
    given = validation.checked(_Given, {"data": value}, problems, model_at)
    if given is None:
        raise DataError("the data source is not usable", problems)
    return given.data
