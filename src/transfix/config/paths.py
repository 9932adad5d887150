"""The settings that change a specification from the command line; its YAML is read by `yaml_dialect`."""

from __future__ import annotations

import re
from typing import Any

from transfix.config import limits
from transfix.config.yaml_dialect import join, parse, plain
from transfix.errors import Problem, TransfixError, shortened


def override(data: dict[str, Any], setting: str, problems: list[Problem]) -> None:
    """Applies one `path=value` to a plain specification, in place; what is wrong with it is added to `problems`.

    The path is dotted (`train.rows`, `adapter.0.tokens` or `adapter[0].tokens`); the index may be left out where a list
    has one entry. The value is YAML. A key that no specification has is left to the validation, which knows them all.
    """
    path, equals, text = setting.partition("=")
    path, said = path.strip(), shortened(f"--set {setting}")
    if not equals or not all(key.strip() for key in keys_of(path)):
        problems.append(Problem(said, "is not of the form path=value", "for example train.rows=500"))
        return
    try:
        value, repeated = parse(text, said)
    except TransfixError as error:
        problems.append(Problem(path, str(error)))
        return
    problems.extend(repeated)
    put(data, path, value, problems)


def keys_of(path: str) -> list[str]:
    """`adapter[0].tokens` and `adapter.0.tokens` as `["adapter", "0", "tokens"]`."""
    return re.sub(r"\[([0-9]+)\]", r".\1", path).split(".")


def put(data: dict[str, Any], path: str, value: object, problems: list[Problem]) -> None:
    """Puts a value at a dotted path of a plain specification, in place, as `override` does."""
    keys = keys_of(path)
    if len(keys) > limits.DEEPEST:
        problems.append(Problem(shortened(path), f"has {len(keys):,} keys; no setting has more than {limits.DEEPEST}"))
        return
    here: Any = data
    walked = ""
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(here, list):
            if not re.fullmatch("[0-9]+", key):
                if len(here) != 1:
                    choices = ", ".join(f"{walked}.{index}.{key}" for index in range(len(here)))
                    what = f"{walked} has {len(here)} entries: say which one is meant" if here else f"{walked} is empty"
                    problems.append(Problem(path, what, choices or None))
                    return
                here, walked = here[0], f"{walked}[0]"
                if isinstance(here, list):  # a list in a list: which entry of which is not guessed
                    problems.append(Problem(path, f"{walked} is {shortened(repr(here))}, which has no keys"))
                    return
            elif len(key) > 9 or int(key) >= len(here):
                what = f"{walked} has no entry {shortened(key)}: it has {len(here)}, counted from 0"
                problems.append(Problem(path, what))
                return
        if isinstance(here, list):
            slot: Any = int(key)
        elif isinstance(here, dict):
            slot = key
        else:
            problems.append(Problem(path, f"{walked} is {shortened(repr(here))}, which has no keys"))
            return
        walked = join(walked, slot)
        if last:
            here[slot] = plain(value, walked, problems)
        elif isinstance(here, dict) and here.get(slot) is None:
            here[slot] = {}
        here = here[slot]
