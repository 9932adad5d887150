"""Turns what pydantic found wrong with a specification or a task file into problems a person can act on.

Every problem has the dotted path of the value in the file, the value, and what would be allowed there, or the nearest
known name where one was probably meant.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from transfix.config.suggestions import did_you_mean
from transfix.config.yaml_dialect import join
from transfix.errors import Problem

Path = tuple[str | int, ...]
ModelAt = Callable[[Path], type[BaseModel] | None]


class FieldError(ValueError):
    """Raised by a validator that has found several problems; each says where, counted from the mapping of the field."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, problems)))


def show(value: object) -> str:
    """A value as a message quotes it: short, and in YAML's words."""
    if isinstance(value, Mapping):
        return "a mapping" if len(str(value)) > 60 else str(dict(value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def field_problems(error: ValidationError, given: object, model_at: ModelAt) -> list[Problem]:
    """The problems in a validation error, one for each value that is wrong.

    Args:
        error: what pydantic raised.
        given: the plain value that was validated.
        model_at: the model that governs the mapping at a path, or None where that is not known.
    """
    found: dict[Path, list[Problem]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        path = real_path(detail["loc"], given, missing=detail["type"] == "missing")
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, FieldError):
            inside = [Problem(join(dotted(path[:-1]), item.where), item.what, item.allowed) for item in cause.problems]
            found.setdefault(path, inside)
        else:  # each member of a union reports its own failure: one problem a value is enough
            found.setdefault(path, [_problem(path, detail, given, model_at)])
    # an entry's problem makes the one that its list is not allowed superfluous
    inner = {path[:-1] for path in found if path and isinstance(path[-1], int)}
    return [problem for path, problems in found.items() if path not in inner for problem in problems]


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


def describe(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a field accepts, in words: `a whole number, at least 1`, `all or a list of ...`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe(arguments[0], [*arguments[1:], *metadata])
    if origin is Literal:
        return _either(str(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return _either(describe(member, metadata) for member in arguments)
    if annotation is type(None):
        return "null"
    if origin in (tuple, list):
        return f"a list of: {describe(arguments[0])}"
    if origin in (dict, Mapping) or annotation is dict:
        return "a mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a mapping with {', '.join(annotation.model_fields)}"
    name = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(annotation, "")
    limits = [_limit(item) for item in _flat(metadata)] if annotation in (int, float) else []
    return ", ".join(part for part in (name or "another value", *limits) if part)


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
    entry = _entry(field.annotation) if isinstance(path[-1], int) else None
    return describe(field.annotation, field.metadata) if entry is None else describe(entry)


def _limit(item: Any) -> str:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = ((word, getattr(item, key, None)) for key, word in words.items())
    return ", ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)


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
