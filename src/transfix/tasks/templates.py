"""Prompt templates: Jinja's syntax, of which only what a prompt needs is allowed. A stranger's template cannot do harm.

`{{ field }}`, `{% if option_d %}...{% endif %}`, comparisons of texts, `and`/`or`/`not`, and a few filters. Everything that
could reach into Python, run for long or fail for some rows (attributes, calls, loops, macros, arithmetic, numbers, imports)
is refused when the template is read, by name and line; what is left is rendered by Jinja's own sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Self

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from transfix.errors import shortened

FILTERS = ("trim", "lower", "upper", "capitalize", "title", "default")
TESTS = ("defined", "undefined", "none")
_OWN_WORDS = ("and", "or", "not", "in", "is", "if", "elif", "else")
COMPARISONS = {"eq": "==", "ne": "!=", "in": "in", "notin": "not in"}
LARGEST = 100_000
"""Characters of a template. Prompts are shorter by far."""

MOST_PARTS = 200
"""Texts, placeholders, filters, conditions ... of a template."""

DEEPEST = 40
"""Parts inside each other."""

_ALLOWED = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Filter,
    nodes.Test,
)
_WHAT: dict[type[nodes.Node], str] = {
    nodes.Getattr: "attributes are",
    nodes.Getitem: "subscripts are",
    nodes.Call: "calls are",
    nodes.For: "loops are",
    nodes.Macro: "macros are",
    nodes.Import: "imports are",
    nodes.FromImport: "imports are",
    nodes.Include: "includes are",
    nodes.Extends: "inheritance is",
    nodes.Block: "blocks are",
    nodes.Assign: "assignments are",
    nodes.AssignBlock: "assignments are",
    nodes.With: "assignments are",
    nodes.BinExpr: "arithmetic is",
    nodes.UnaryExpr: "arithmetic is",
    nodes.Concat: "joining with ~ is",
}


class Filled(str):
    """A template filled in: a text like any other that knows which parts of it are a row's own.

    What the template's author has written is meant as it stands: `<start_of_turn>` is the control token. The same letters in
    a row's text are letters. Text that is added without being filled in counts as the author's.

    Attributes:
        own: (start, end) of the row's texts, from left to right.
    """

    __slots__ = ("own",)
    own: tuple[tuple[int, int], ...]

    def __new__(cls, text: str, own: tuple[tuple[int, int], ...] = ()) -> Self:  # noqa: D102
        filled = super().__new__(cls, text)
        filled.own = own
        return filled

    def __add__(self, after: str) -> Filled:
        start = len(self)
        own = tuple((start + first, start + last) for first, last in own_parts(after))
        return Filled(super().__add__(after), self.own + own)

    def __radd__(self, before: str) -> Filled:
        return Filled(before) + self

    def part(self, start: int, end: int) -> Filled:
        """The characters from `start` to `end`."""
        own = ((max(first, start) - start, min(last, end) - start) for first, last in self.own)
        return Filled(self[start:end], tuple(place for place in own if place[0] < place[1]))


def own_parts(text: str) -> tuple[tuple[int, int], ...]:
    """Which parts of a text are a row's own; none of a text that is not filled in."""
    return text.own if isinstance(text, Filled) else ()


def part(text: str, start: int, end: int) -> str:
    """The characters of any text from `start` to `end`, with what is known of them."""
    return text.part(start, end) if isinstance(text, Filled) else text[start:end]


class _Own(str):
    """A text that stands in a placeholder. Jinja asks for it as a text and gets it as it is."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
        extensions=(),
        finalize=lambda value: _Own(value),
    )
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    # An optional field that a row lacks is the empty text: that is what a default must stand for.
    environment.filters["default"] = lambda value, instead: value or instead
    return environment


_ENVIRONMENT = _environment()


def problems(text: str, fields: Sequence[str]) -> list[str]:
    """Everything that is wrong with a template whose placeholders may be `fields`; nothing if it can be used."""
    if len(text) > LARGEST:
        return [f"the template has {len(text):,} characters, more than the {LARGEST:,} that are allowed"]
    try:
        tree = _ENVIRONMENT.parse(text)
    except Exception as error:  # Jinja raises its own, RecursionError, and ValueError for a number of 5,000 digits
        line = getattr(error, "lineno", None)
        where = f"line {line}: " if line else ""
        return [f"{where}{quoted(text)} is no template: {shortened(str(error))}"]
    parts = _walk(tree)
    if len(parts) > MOST_PARTS:
        return [f"{quoted(text)} has {len(parts):,} parts, more than the {MOST_PARTS} that are allowed"]
    if (deepest := max(depth for _, depth in parts)) > DEEPEST:
        return [f"{quoted(text)} has {deepest} parts inside each other, more than the {DEEPEST} that are allowed"]
    found: list[str] = []
    for node, _ in parts:
        what = _node_problem(node, fields, text)
        found += [f"line {node.lineno}: {what}"] if what else []
    return list(dict.fromkeys(found)) or _rendering_problems(text, fields)


def _node_problem(node: nodes.Node, fields: Sequence[str], text: str) -> str | None:
    """What is wrong with one part of a template."""
    match node:
        case nodes.Name() if node.name not in fields:
            known = f" (allowed: {', '.join(fields)})" if fields else ""
            return f"unknown placeholder {{{{{shortened(node.name)}}}}} in {quoted(text)}{known}"
        case nodes.Const() if not isinstance(node.value, str):
            return f"{shortened(repr(node.value))} is not allowed in a template: only texts in quotes are"
        case nodes.Filter() if node.name not in FILTERS:
            return f"unknown filter {shortened(node.name)!r} (allowed: {', '.join(FILTERS)})"
        case nodes.Filter() if not _is_text(node.node):
            return f"the filter {node.name!r} needs a placeholder or a text before it"
        case nodes.Filter() if node.name == "default" and not _is_one_text(node):
            return "the filter 'default' needs one text in quotes: default('none')"
        case nodes.Filter() if node.name != "default" and _has_arguments(node):
            return f"the filter {node.name!r} takes no arguments"
        case nodes.Test() if node.name not in TESTS:
            return f"unknown test {shortened(node.name)!r} (allowed: {', '.join(TESTS)})"
        case nodes.Test() if _has_arguments(node):
            return f"the test {node.name!r} takes no arguments"
        case nodes.Operand() if node.op not in COMPARISONS:
            return f"comparing by order is not allowed in a template (allowed: {', '.join(COMPARISONS.values())})"
        case nodes.Compare() if not all(_is_text(side) for side in (node.expr, *(op.expr for op in node.ops))):
            return "only placeholders and texts in quotes can be compared"
        case nodes.CondExpr() if node.expr2 is None:
            return "an `if` inside {{ }} needs an `else`"
        case _ if not isinstance(node, _ALLOWED):
            return f"{_kind(node)} not allowed in a template"
    return None


def _is_text(node: nodes.Node | None) -> bool:
    return isinstance(node, nodes.Name | nodes.Filter | nodes.Const)


def _has_arguments(node: nodes.Filter | nodes.Test) -> bool:
    return bool(node.args or node.kwargs or node.dyn_args or node.dyn_kwargs)


def _is_one_text(node: nodes.Filter) -> bool:
    is_plain = len(node.args) == 1 and not (node.kwargs or node.dyn_args or node.dyn_kwargs)
    return is_plain and isinstance(node.args[0], nodes.Const)


def _rendering_problems(text: str, fields: Sequence[str]) -> list[str]:
    """Rendered once with texts and once with empty ones: nothing may be left to fail for the rows."""
    for sample in ("x", ""):
        try:
            render(text, dict.fromkeys(fields, sample))
        except Exception as error:
            return [f"{quoted(text)} cannot be filled in: {type(error).__name__}: {shortened(str(error))}"]
    return []


def can_be_placeholder(name: str) -> bool:
    """Whether a template can name a field so: a plain identifier, and none of Jinja's own words (`if`, `true`, `self`)."""
    if not name.isidentifier() or name in _OWN_WORDS:
        return False
    try:
        return render(f"{{{{{name}}}}}", {name: "x"}) == "x"
    except Exception:  # whatever else Jinja makes of it: `true`, `None`
        return False


def quoted(text: str) -> str:
    """A template as a message quotes it."""
    return repr(shortened(text))


@lru_cache(maxsize=512)
def names(text: str) -> frozenset[str]:
    """The placeholders of a template without problems."""
    return frozenset(node.name for node, _ in _walk(_ENVIRONMENT.parse(text)) if isinstance(node, nodes.Name))


def render(text: str, fields: Mapping[str, str], optional: Sequence[str] = ()) -> Filled:
    """The template filled in. Field texts are put in as they are: braces in them mean nothing.

    Args:
        text: a template without problems.
        fields: placeholder -> text.
        optional: placeholders that may be absent; an absent one is the empty text.
    """
    parts: list[str] = []
    own: list[tuple[int, int]] = []
    length = 0
    for part in _compiled(text).generate({**dict.fromkeys(optional, ""), **fields}):
        end = length + len(part)
        if isinstance(part, _Own) and part:
            own.append((length, end))
        parts.append(part)
        length = end
    return Filled("".join(parts), tuple(own))


@lru_cache(maxsize=512)
def _compiled(text: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(text)


def _kind(node: nodes.Node) -> str:
    """What a part is, with its verb."""
    return next(
        (what for kind, what in _WHAT.items() if isinstance(node, kind)), f"{type(node).__name__} expressions are"
    )


def _walk(node: nodes.Node) -> list[tuple[nodes.Node, int]]:
    """All parts of a template, with how many others each is inside of."""
    found: list[tuple[nodes.Node, int]] = []
    waiting = [(node, 0)]
    while waiting:
        here, depth = waiting.pop()
        found.append((here, depth))
        waiting.extend((child, depth + 1) for child in here.iter_child_nodes())
    return found
