"""Turns what pydantic found wrong with settings into problems a person can act on. Nothing else reads its errors.

Every problem has the dotted path of the value, the value, and what would be allowed there, or the nearest known name where
one was probably meant: `checked` and `field_problems` for what a file holds, in YAML's words; `settings_problems` for what
a call in Python was given, in Python's.
"""

from __future__ import annotations

import json
import types
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, GetJsonSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from transfix.config import limits
from transfix.config.suggestions import did_you_mean
from transfix.config.yaml_dialect import join
from transfix.errors import MissingFileError, Problem, shortened

Path = tuple[str | int, ...]
ModelAt = Callable[[Path], type[BaseModel] | None]
"""The model that governs the mapping at a path of the input, or None where that is not known."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Allowed:
    """Annotates a field with what is allowed there, in words that are made when they are needed: not while modules load."""

    words: Callable[[], str]

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"description": self.words()}


class FieldError(ValueError):
    """Raised by a validator that has found several problems; each says where, counted from the mapping of the field."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, problems)))


def show(value: object) -> str:
    """A value as a message quotes it: short, and in YAML's words."""
    if isinstance(value, Mapping):
        return "a mapping" if len(value) > 6 or len(str(value)) > 60 else str(dict(value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return shortened(repr(value))


def checked(
    model: type[Model], given: object, problems: list[Problem], model_at: ModelAt | None = None, within: str = ""
) -> Model | None:
    """What a plain value holds, or None: then what is wrong with it is among `problems`.

    Args:
        model: what it should be.
        given: the plain value.
        problems: what is wrong is added here, one problem for a value; those that are there stay the only ones of theirs.
        model_at: left out, only the model's own fields are described.
        within: the dotted path at which the value stands.
    """
    known = {problem.where for problem in problems}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        found = field_problems(error, given, model_at or _only(model))
        placed = [item.at(_inside(within, item.where)) for item in found]
        problems += [problem for problem in placed if problem.where not in known]
        return None


def field_problems(error: ValidationError, given: object, model_at: ModelAt) -> list[Problem]:
    """The problems in a validation error of a plain value, one for each value that is wrong."""
    return _one_each(error, given, lambda path, detail: _problem(path, detail, given, model_at))


def settings_problems(model: type[BaseModel], given: Mapping[str, Any], error: ValidationError) -> list[Problem]:
    """The problems in a validation error of settings given by name in Python, one for each that is wrong.

    Args:
        model: whose fields the settings are.
        given: the settings as they were given.
        error: what pydantic raised.
    """

    def problem(path: Path, detail: Any) -> Problem:
        field = _field(path, _only(model))
        _, expected, limit = detail["msg"].partition("Input should be ")
        if detail["type"] == "extra_forbidden" and len(path) == 1:
            known = _settable(model)
            what = f"there is no such setting{did_you_mean(str(path[0]), known)}"
            return Problem(dotted(path), what, ", ".join(known))
        if not expected or detail["type"] == "missing":
            return _problem(path, detail, given, _only(model))
        allowed = limit.partition(", unable to")[0].replace("greater than or equal to", "at least")
        described = field.description if field else None
        return Problem(dotted(path), f"{_value(path, given)!r} is not allowed", described or allowed)

    return _one_each(error, given, problem)


def _one_each(error: ValidationError, given: object, problem: Callable[[Path, Any], Problem]) -> list[Problem]:
    """One problem for each value that is wrong; a validator that has found several says so itself."""
    found: dict[Path, list[Problem]] = {}
    unknown: Counter[Path] = Counter()
    for detail in error.errors(include_url=False, include_input=False):
        path = real_path(detail["loc"], given, missing=detail["type"] == "missing")
        if detail["type"] == "extra_forbidden":
            unknown[path[:-1]] += 1
            if unknown[path[:-1]] > limits.UNKNOWN_KEYS:
                continue
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, FieldError):
            mapping = dotted(path[:-1])
            found.setdefault(path, [item.at(_inside(mapping, item.where)) for item in cause.problems])
        elif path not in found:  # each member of a union reports its own failure: one problem a value is enough
            missing = isinstance(getattr(cause, "__cause__", None), MissingFileError)
            found[path] = [replace(problem(path, detail), missing_file=missing)]
    # an entry's problem makes the one that its list is not allowed superfluous
    inner = {path[:-1] for path in found if path and isinstance(path[-1], int)}
    more = [
        Problem(dotted(path), f"has {count - limits.UNKNOWN_KEYS:,} more unknown keys")
        for path, count in unknown.items()
        if count > limits.UNKNOWN_KEYS
    ]
    return [item for path, problems in found.items() if path not in inner for item in problems] + more


def boolean_problems(given: object, model_at: ModelAt, path: Path = ()) -> list[Problem]:
    """A problem for every `true` or `false` that stands where a number belongs (Python would take them for 1 and 0)."""
    if isinstance(given, Mapping):
        return [found for key, item in given.items() for found in boolean_problems(item, model_at, (*path, key))]
    if isinstance(given, list):
        return [found for index, item in enumerate(given) for found in boolean_problems(item, model_at, (*path, index))]
    field = _field(path, model_at) if isinstance(given, bool) else None
    leaves = set(_leaves(field.annotation)) if field else set()
    if field is None or leaves & {bool, Any} or not leaves & {int, float}:
        return []
    return [Problem(dotted(path), f"{show(given)} is not a number", _allowed(path, model_at))]


def dotted(path: Sequence[str | int]) -> str:
    """`("adapter", 0, "tokens")` as `adapter[0].tokens`."""
    where = ""
    for key in path:
        where = join(where, key)
    return where


def real_path(location: Sequence[str | int], given: Any, missing: bool = False) -> Path:
    """Pydantic's location without the names of union members that it puts between the keys of the input.

    A member may be called like a key (`data.hub.hub.split`): the path that uses most of the location is the right one.
    """
    if not location:
        return ()
    key, rest = location[0], location[1:]
    skipped = real_path(rest, given, missing)
    inside = key in given if isinstance(given, Mapping) else isinstance(given, list) and key in range(len(given))
    if inside:
        taken: Path = (key, *real_path(rest, given[key], missing))
        return taken if len(taken) > len(skipped) else skipped
    return (key,) if missing and not rest else skipped


def _inside(mapping: str, where: str) -> str:
    """A dotted path counted from the value at another one."""
    return join(mapping, where) if where else mapping


def _only(model: type[BaseModel]) -> ModelAt:
    """Knows the model of the whole input only."""
    return lambda path: None if path else model


def _settable(model: type[BaseModel]) -> list[str]:
    """The fields of a model that can have more than one value."""
    return [name for name, field in model.model_fields.items() if not _is_constant(field.annotation)]


def _is_constant(annotation: Any) -> bool:
    return get_origin(annotation) is Literal and len(get_args(annotation)) == 1


def describe(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a field accepts, in words: `a whole number, at least 1`, `all or a list of ...`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe(arguments[0], [*arguments[1:], *metadata])
    if origin is Literal:
        return _either(str(choice) if str(choice).isprintable() else json.dumps(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return _either(describe(member, metadata) for member in arguments)
    if annotation is type(None):
        return "null"
    if origin in (tuple, list):
        kind = ", ".join(["a list", *_limits(metadata, _SIZES)])
        return f"{kind}{',' if ',' in kind else ''} of: {describe(arguments[0])}"
    if origin in (dict, Mapping) or annotation is dict:
        return "a mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a mapping with {', '.join(annotation.model_fields)}"
    name = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(annotation, "")
    words = _BOUNDS if annotation in (int, float) else _SIZES if annotation is str else {}
    return ", ".join([name or "another value", *_limits(metadata, words)])


def _either(choices: Iterable[str]) -> str:
    *first, last = dict.fromkeys(choices)
    # commas would be read together with those inside a choice
    joiner = " or " if any("," in choice for choice in (*first, last)) else ", "
    return f"{joiner.join(first)} or {last}" if first else last


def _entry(annotation: Any) -> Any:
    """What the entries of a list are, where a field may be a list."""
    if get_origin(annotation) in (tuple, list):
        return get_args(annotation)[0]
    return next((found for member in get_args(annotation) if (found := _entry(member)) is not None), None)


def _allowed(path: Path, model_at: ModelAt) -> str | None:
    """What may stand at a path: the field's own description, else what its type says."""
    field = _field(path, model_at)
    if field is None or field.description:
        return field.description if field else None
    if later := next((item.words() for item in field.metadata if isinstance(item, Allowed)), None):
        return later
    entry = _entry(field.annotation) if isinstance(path[-1], int) else None
    return describe(field.annotation, field.metadata) if entry is None else describe(entry)


_BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
_SIZES = {"min_length": "of length {} or more", "max_length": "of length {} or less", "pattern": "matching {}"}


def _limits(metadata: Iterable[Any], words: Mapping[str, str]) -> list[str]:
    """`["at least 1", "below 3"]` for the limits of a field that there are words for."""
    bounds = [(key, getattr(item, key, None)) for item in _flat(metadata) for key in words]
    return [
        "not empty" if (key, bound) == ("min_length", 1) else words[key].format(bound)
        for key, bound in bounds
        if bound is not None
    ]


def _flat(metadata: Iterable[Any]) -> Iterable[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def _leaves(annotation: Any) -> Iterable[Any]:
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        arguments = arguments[:1]
    if get_origin(annotation) is Literal or not arguments:
        yield annotation
    else:
        for argument in arguments:
            yield from _leaves(argument)


def _field(path: Path, model_at: ModelAt) -> FieldInfo | None:
    """The field that governs the value at a path; entries of a list are governed by the list's field."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    if not path:
        return None
    model = model_at(path[:-1])
    return model.model_fields.get(str(path[-1])) if model else None


def _problem(path: Path, detail: Any, given: object, model_at: ModelAt) -> Problem:
    kind, context = detail["type"], detail.get("ctx", {})
    where = dotted(path)
    if kind == "extra_forbidden":
        model = model_at(path[:-1])
        known = list(model.model_fields) if model else []
        near = did_you_mean(str(path[-1]), known)
        return Problem(where, f"unknown key{near}", ", ".join(known) if known and not near else None)
    allowed = _allowed(path, model_at)
    if kind == "missing":
        return Problem(where, "is missing", allowed)
    value = _value(path, given)
    if kind == "union_tag_invalid":
        expected = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        key, tag = context["discriminator"].strip("'"), str(context["tag"])
        return Problem(join(where, key), f"unknown {key} {tag!r}{did_you_mean(tag, expected)}", ", ".join(expected))
    if kind == "union_tag_not_found":
        return Problem(where, f"{show(value)} has no {context['discriminator'].strip(chr(39))}", allowed)
    if kind in ("value_error", "assertion_error"):
        return Problem(where, str(context["error"]))
    if kind == "string_type" and isinstance(value, bool | int | float | Mapping):
        return Problem(where, f"{show(value)} is not text: put it in quotes", allowed)
    if allowed is None or kind == "data_source":
        return Problem(where, f"{show(value)} {_words(kind) or detail['msg']}")
    field = _field(path, model_at)
    literals = [leaf for leaf in _leaves(field.annotation if field else None) if get_origin(leaf) is Literal]
    near = did_you_mean(value, [str(x) for leaf in literals for x in get_args(leaf)]) if isinstance(value, str) else ""
    return Problem(where, f"{show(value)} is not allowed{near}", allowed)


def _words(kind: str) -> str | None:
    """What a value that no field describes should have been, where pydantic would name Python's types."""
    wanted = {"string_type": "text", "dict_type": "a mapping", "model_type": "a mapping", "tuple_type": "a list"}
    return f"is not {wanted[kind]}" if kind in wanted else None


def _value(path: Path, given: Any) -> Any:
    for key in path:
        given = given[key]
    return given
