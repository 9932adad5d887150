"""The YAML dialect of specifications and task files: what a person writes is what is read, every mistake has its place.

PyYAML follows YAML 1.1, where `1e-2` is text and `no` (Norwegian, a label word) is false, and a repeated key wins.
Here numbers and booleans follow YAML 1.2, a key is the text that is written, and a repeated key is a problem. Anchors may
be used with sense: one that stands inside itself, or aliases that would write out a huge document, are problems.

ruamel.yaml 0.19.1 follows YAML 1.2 and would need the same subclasses: it reports the first repeated key only and takes `1`
and `true` for one key, reads `1e4` as 10000.0, `012` as 12, a date as a date and `12e4567` as infinity, lets an alias stand
inside itself or write out 2^36 values, and writes `no`, `1:30` and 1e-07 so that YAML 1.1 reads another value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from transfix.config import limits, places
from transfix.errors import LONGEST_VALUE, Problem, TransfixError, shortened

_DEEPEST = limits.DEEPEST
_LARGEST = 10_000
"""Values that a document with aliases may have once they are written out."""

_TAG = "tag:yaml.org,2002:"
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))$"
    r"|^\.(?:nan|NaN|NAN)$"
)
_REPLACED = {_TAG + kind for kind in ("bool", "int", "float", "timestamp", "value")}


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2, remembering what can be read and is wrong in `problems`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[Problem] = []
        self._depth = 0
        self._count = 0  # of values composed so far, aliases written out
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            size = self._sizes.get(id(node))
            if size is not None and self._count + size <= _LARGEST:
                self._count += size
                return node
            what = "contains itself" if size is None else f"would write out more than {_LARGEST:,} values"
            problem = Problem(_place(event.start_mark), f"the alias *{event.anchor} {what}")
            if problem.what not in {known.what for known in self.problems}:
                self.problems.append(problem)
            return yaml.ScalarNode(_TAG + "null", "", *_marks(event))
        if self._depth > _DEEPEST:
            raise yaml.composer.ComposerError(None, None, "this is nested too deeply", event.start_mark)
        before = self._count
        self._count += 1
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[id(node)] = self._count - before
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            self._find_repeated(node)
            self.flatten_mapping(node)
            node.value = [(_text(key), value) for key, value in node.value]
        return super().construct_mapping(node, deep=deep)

    def _find_repeated(self, node: yaml.MappingNode) -> None:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _TAG + "merge":
                line = key.start_mark.line + 1
                if key.value in first:
                    what = f"the key {key.value!r} is given a second time (first in line {first[key.value]})"
                    self.problems.append(Problem(_place(key.start_mark), what))
                first.setdefault(key.value, line)

    def read_int(self, node: yaml.ScalarNode) -> int:
        return int(node.value.replace("_", ""), 0)

    def read_float(self, node: yaml.ScalarNode) -> float | int | str:
        text = node.value.lower().replace("_", "")
        if text.endswith((".inf", ".nan")):
            return float(text.replace(".", ""))
        number = float(text)
        if math.isinf(number):  # a commit hash such as 12e4567 is text, whatever it looks like
            return str(node.value)
        # `rows: 1e4` is a whole number
        return int(number) if "." not in text and number.is_integer() and abs(number) < 2**53 else number


def _text(key: yaml.Node) -> yaml.Node:
    """A key as the text that is written: the class `1` or `true` of a task is no number and no truth value."""
    if not isinstance(key, yaml.ScalarNode) or key.tag not in {
        _TAG + kind for kind in ("bool", "int", "float", "null")
    }:
        return key
    return yaml.ScalarNode(_TAG + "str", key.value, *_marks(key))


def _marks(part: Any) -> tuple[Any, Any]:
    return part.start_mark, part.end_mark


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


class _Dumper(yaml.SafeDumper):
    """SafeDumper that puts in quotes whatever this dialect *or* YAML 1.1 would not read back as text."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(_TAG + "bool", _BOOL, list("tTfF"))
    _class.add_implicit_resolver(_TAG + "int", _INT, list("-+0123456789"))
    _class.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+.0123456789"))
_Loader.add_constructor(_TAG + "int", _Loader.read_int)
_Loader.add_constructor(_TAG + "float", _Loader.read_float)


def parse(text: str, name: str) -> tuple[object, list[Problem]]:
    """Reads one YAML document.

    Args:
        text: the document.
        name: what to call it in messages (a file name).

    Returns:
        The value, and a problem for every repeated key and every alias that cannot be written out.

    Raises:
        TransfixError: the text is not YAML; the message gives line and column.
    """
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data(), loader.problems
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        problem = (error.problem or "this is not YAML").replace("'<", "<").replace(">'", ">")
        line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
        pointer = f"\n    {line}\n    {' ' * mark.column}^" if mark and line.strip() and len(line) < 200 else ""
        hint = " (text that holds braces, colons, tabs or # needs quotes)"
        raise TransfixError(f"{name} is not valid YAML: {where}: {problem}{hint}{pointer}") from error
    except yaml.reader.ReaderError as error:
        line_number = text.count("\n", 0, error.position) + 1
        raise TransfixError(
            f"{name} is not valid YAML: line {line_number}: the character U+{error.character:04X} is not allowed"
        ) from error
    except (RecursionError, ValueError, LookupError, AttributeError, TypeError) as error:
        # what PyYAML's constructors raise for `!!bool maybe`, `!!timestamp x` and a number of 5,000 digits
        why = shortened(str(error), 2 * LONGEST_VALUE)
        raise TransfixError(f"{name} is not valid YAML: {type(error).__name__}: {why}") from error


def read(path: Path) -> tuple[object, list[Problem]]:
    """Reads a YAML file; see `parse`. Raises TransfixError if it is missing, unreadable, too large or not UTF-8."""
    try:
        return parse(places.read_bytes(path, limits.SETTINGS_BYTES).decode("utf-8-sig"), str(path))
    except FileNotFoundError:
        beside = sorted(str(found) for end in ("*.yaml", "*.yml") for found in path.parent.glob(end))
        known = f" YAML files there: {', '.join(beside[:8])}." if beside else ""
        raise TransfixError(f"{path}: there is no such file.{known}") from None
    except UnicodeDecodeError as error:
        raise TransfixError(f"{path} is not UTF-8 text (byte {error.start}: {error.reason}).") from error


def dump(data: object) -> str:
    """Writes plain data as YAML that `parse` (and any YAML 1.1 reader) reads back exactly."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False)


def plain(
    value: object,
    where: str,
    problems: list[Problem],
    depth: int = 0,
    refuse: Callable[[BaseModel], str] = lambda _: "",
) -> Any:
    """Copies a value into dicts, lists, text, numbers, booleans and None; anything else is a problem at `where`.

    `refuse` tells of a model why what is written of it could not be read back; nothing where it could.
    """
    if isinstance(value, BaseModel):
        if why := refuse(value):
            problems.append(Problem(where, why))
            return None
        value = value.model_dump(mode="json")
    if depth > _DEEPEST:
        problems.append(Problem(shortened(where), "is nested too deeply, or contains itself"))
        return None
    if isinstance(value, Mapping):
        return {
            _whole(str(key), where, problems): plain(item, join(where, key), problems, depth + 1, refuse)
            for key, item in value.items()
        }
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item, join(where, index), problems, depth + 1, refuse) for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(Problem(where, f"{value} is not a finite number"))
        return None
    if isinstance(value, str):
        return _whole(value, where, problems)
    if value is None or isinstance(value, bool | int | float):
        return value
    problems.append(Problem(where, f"a value of type {type(value).__name__} cannot stand here"))
    return None


def _whole(text: str, where: str, problems: list[Problem]) -> str:
    """The text; half a character (a lone surrogate, which an escape can write) is a problem: no file can hold it."""
    readable = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if readable != text:
        problems.append(
            Problem(where, f"{shortened(readable)!r} holds half a character (a lone surrogate), which is no text")
        )
    return readable


def join(where: str, key: object) -> str:
    """The dotted path of `key` inside `where`: `train.rows`, `adapter[0]`."""
    if isinstance(key, int) and not isinstance(key, bool):
        return f"{where}[{key}]"
    return f"{where}.{key}" if where else str(key)
