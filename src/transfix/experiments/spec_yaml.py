"""The YAML dialect of a specification: what a person writes is what is read, and every mistake has a line or a path.

PyYAML follows YAML 1.1, where `1e-2` is text and `no` (Norwegian, a label word) is false, and a repeated key wins.
Here numbers and booleans follow YAML 1.2 and a repeated key is a problem.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from transfix.errors import Problem, TransfixError

_DEEPEST = 40
_TAG = "tag:yaml.org,2002:"
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))$"
    r"|^\.(?:nan|NaN|NAN)$"
)
_REPLACED = {_TAG + kind for kind in ("bool", "int", "float", "timestamp", "value")}


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2, remembering repeated keys in `repeated`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.repeated: list[Problem] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, int] = {}
        for key, _ in getattr(node, "value", ()):
            if isinstance(key, yaml.ScalarNode) and key.tag != _TAG + "merge":
                line = key.start_mark.line + 1
                if key.value in first:
                    where = f"line {line}, column {key.start_mark.column + 1}"
                    what = f"the key {key.value!r} is given a second time (first in line {first[key.value]})"
                    self.repeated.append(Problem(where, what))
                first.setdefault(key.value, line)
        return super().construct_mapping(node, deep=deep)

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
        The value, and a problem for every repeated key.

    Raises:
        TransfixError: the text is not YAML; the message gives line and column.
    """
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data(), loader.repeated
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
    except (RecursionError, ValueError) as error:
        raise TransfixError(f"{name} is not valid YAML: {error}") from error


def read(path: Path) -> tuple[object, list[Problem]]:
    """Reads a YAML file; see `parse`. Raises TransfixError if it is missing, unreadable or not UTF-8."""
    try:
        return parse(path.read_bytes().decode("utf-8-sig"), str(path))
    except FileNotFoundError:
        beside = sorted(str(found) for end in ("*.yaml", "*.yml") for found in path.parent.glob(end))
        known = f" YAML files there: {', '.join(beside[:8])}." if beside else ""
        raise TransfixError(f"{path}: there is no such file.{known}") from None
    except IsADirectoryError:
        raise TransfixError(f"{path} is a directory; a specification is a YAML file.") from None
    except UnicodeDecodeError as error:
        raise TransfixError(f"{path} is not UTF-8 text (byte {error.start}: {error.reason}).") from error
    except OSError as error:
        raise TransfixError(f"{path} cannot be read: {error.strerror}.") from error


def dump(data: object) -> str:
    """Writes plain data as YAML that `parse` (and any YAML 1.1 reader) reads back exactly."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False)


def plain(value: object, where: str, problems: list[Problem], depth: int = 0) -> Any:
    """Copies a value into dicts, lists, text, numbers, booleans and None; anything else is a problem at `where`."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if depth > _DEEPEST:
        problems.append(Problem(where[:60] + "…", "is nested too deeply, or contains itself"))
        return None
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else str(key): plain(item, join(where, key), problems, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item, join(where, index), problems, depth + 1) for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(Problem(where, f"{value} is not a finite number"))
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    problems.append(Problem(where, f"a value of type {type(value).__name__} cannot stand in a specification"))
    return None


def join(where: str, key: object) -> str:
    """The dotted path of `key` inside `where`: `train.rows`, `adapter[0]`."""
    if isinstance(key, int) and not isinstance(key, bool):
        return f"{where}[{key}]"
    return f"{where}.{key}" if where else str(key)


def override(data: dict[str, Any], setting: str, problems: list[Problem]) -> None:
    """Applies one `path=value` to a plain specification, in place; what is wrong with it is added to `problems`.

    The path is dotted (`train.rows`, `adapter.0.tokens` or `adapter[0].tokens`); the index may be left out where a list
    has one entry. The value is YAML. A key that no specification has is left to the validation, which knows them all.
    """
    path, equals, text = setting.partition("=")
    path = path.strip()
    keys = re.sub(r"\[(\d+)\]", r".\1", path).split(".")
    if not equals or not all(key.strip() for key in keys):
        problems.append(Problem(f"--set {setting}", "is not of the form path=value", "for example train.rows=500"))
        return
    try:
        value, repeated = parse(text, f"--set {setting}")
    except TransfixError as error:
        problems.append(Problem(path, str(error)))
        return
    problems.extend(repeated)
    here: Any = data
    walked = ""
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(here, list):
            if not key.isdigit():
                if len(here) != 1:
                    choices = ", ".join(f"{walked}.{index}.{key}" for index in range(len(here)))
                    what = f"{walked} has {len(here)} entries: say which one is meant" if here else f"{walked} is empty"
                    problems.append(Problem(path, what, choices or None))
                    return
                here, walked = here[0], f"{walked}[0]"
            elif int(key) >= len(here):
                what = f"{walked} has no entry {key}: it has {len(here)}, counted from 0"
                problems.append(Problem(path, what))
                return
        if isinstance(here, list):
            slot: Any = int(key)
        elif isinstance(here, dict):
            slot = key
        else:
            problems.append(Problem(path, f"{walked} is {here!r}, which has no keys"))
            return
        walked = join(walked, slot)
        if last:
            here[slot] = plain(value, walked, problems)
        elif isinstance(here, dict) and here.get(slot) is None:
            here[slot] = {}
        here = here[slot]
