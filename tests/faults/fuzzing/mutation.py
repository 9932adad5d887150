"""Inputs made from others: bytes that change, blocks that move, words of the language, trees with other values."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

WORDS = (
    "&a *a",
    "*a",
    "<<: *a",
    "!!python/object/apply:os.system [id]",
    "!!binary x",
    "!!timestamp 1",
    "!!float 1e999",
    "? ",
    "- - - - - ",
    "{{",
    "}}",
    "{% if",
    "{%",
    "{a: {b: [",
    "'",
    '"',
    '""',
    "\t",
    "\r",
    "\r\n",
    "\n\n",
    "---\n",
    "...\n",
    "#",
    ": ",
    "|\n  ",
    ">-\n",
    "\0",
    "\x1b[31m",
    "\u202e",
    "\u2028",
    "\ufeff",
    "\ud800",
    "\U0001f600",
    "²",
    "١٢",
    "１",
    "~",
    "~nosuchuser/x",
    "../" * 9,
    "/dev/null",
    "x" * 300,
    "9" * 5000,
    "0x",
    "1e400",
    "-1",
    "-0.0",
    ".nan",
    ".inf",
    "1_0",
    "0o17",
    "true",
    "null",
    "no",
    "None",
    "{lang}",
    "{split}",
    "{other}",
    "(",
    ")" * 60,
    "(" * 60,
    "[" * 60,
    "not " * 80,
    " and a == 1" * 300,
    ".0" * 50,
    "lambda: 0",
    "__class__",
    "de",
    "all",
    "eng_Latn",
    "=cmd|' /C calc'!A0",
)
"""What parsers stumble over."""

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    10**30,
    0.5,
    -0.0,
    1e-300,
    1e300,
    float("inf"),
    float("nan"),
    "",
    " ",
    "all",
    "de",
    "base",
    "no",
    "½",
    "x" * 300,
    "a\nb",
    "\u202e",
    "{{",
    "{{premise}}",
    [],
    {},
    [[]],
    [None],
    ["de", "de"],
    ["de", 1],
    {"": 1},
    {"a": {"b": {"c": 1}}},
    {"method": "lora"},
    {"files": "x-{lang}.csv"},
    {"hub": "a/b"},
    "snapshot",
)


def changed(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """One to six changes to a file's bytes."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        size = len(found)
        place = draw.randrange(size + 1)
        length = draw.choice((1, 1, 2, 4, 16, 64, 256))
        match draw.randrange(9):
            case 0 if size:
                found[min(place, size - 1)] ^= 1 << draw.randrange(8)
            case 1:
                found[place:place] = draw.randbytes(length)
            case 2:
                del found[place : place + length]
            case 3:
                found[place:place] = found[max(0, place - length) : place]
            case 4 | 5:
                found[place:place] = draw.choice(WORDS).encode("utf-8", "surrogatepass")
            case 6 if others:
                other = draw.choice(others)
                start = draw.randrange(len(other) + 1)
                found[place : place + length] = other[start : start + length]
            case 7:
                lines = bytes(found).splitlines(keepends=True)
                draw.shuffle(lines)
                found = bytearray(b"".join(lines[: draw.randrange(len(lines) + 1)]))
            case _:
                found[place:place] = draw.choice(WORDS).encode("utf-8", "surrogatepass") * draw.choice((1, 2, 40))
    return bytes(found)


def grafted(tree: Any, others: Sequence[Any], draw: random.Random) -> Any:
    """One to four changes to a tree of settings: values replaced, taken away, put in, taken from another tree."""
    found = copy.deepcopy(tree)
    for _ in range(draw.choice((1, 1, 2, 4))):
        places = list(_places(found))
        if not places:
            return draw.choice(VALUES)
        holder, key = draw.choice(places)
        match draw.randrange(6):
            case 0 | 1:
                holder[key] = copy.deepcopy(draw.choice(VALUES))
            case 2:
                del holder[key]
            case 3 if isinstance(holder, dict):
                other = draw.choice(list(_places(draw.choice(others))) or [(holder, key)])
                holder[str(other[1])] = copy.deepcopy(other[0][other[1]])
            case 4 if isinstance(holder, dict):
                holder[draw.choice(WORDS)] = copy.deepcopy(draw.choice(VALUES))
            case _:
                value = holder[key]
                holder[key] = draw.choice(([value, copy.deepcopy(value)], {"x": value}, str(value)))
    return found


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every place of a tree that holds a value: its holder and key."""
    found: list[tuple[Any, Any]] = []
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in entries:
        found.append((tree, key))
        found.extend(_places(value))
    return found


def joined(parts: Sequence[str], draw: random.Random, glue: Callable[[], str]) -> str:
    """A text of words, with what stands between them."""
    return "".join(part + glue() for part in draw.choices(parts, k=draw.randrange(1, 9)))
