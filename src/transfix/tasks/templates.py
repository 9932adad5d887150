"""Prompt templates: Jinja's syntax, of which only what a prompt needs is allowed. A stranger's template cannot do harm.

`{{ field }}`, `{% if option_d %}...{% endif %}`, comparisons, `and`/`or`/`not`, and a few filters on texts. Everything that
could reach into Python or run for long (attributes, calls, loops, macros, arithmetic, imports) is refused when the template
is read, by name and line; what is left is rendered by Jinja's own sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

FILTERS = ("trim", "lower", "upper", "capitalize", "title", "default")
LARGEST = 100_000
"""Characters of a template. Prompts are shorter by far."""

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
    nodes.Getattr: "attributes",
    nodes.Getitem: "subscripts",
    nodes.Call: "calls",
    nodes.For: "loops",
    nodes.Macro: "macros",
    nodes.Import: "imports",
    nodes.FromImport: "imports",
    nodes.Include: "includes",
    nodes.Extends: "inheritance",
    nodes.Assign: "assignments",
    nodes.BinExpr: "arithmetic",
    nodes.UnaryExpr: "arithmetic",
    nodes.Concat: "joining with ~",
}
_TESTS = ("defined", "undefined", "none")


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False, extensions=()
    )
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    return environment


_ENVIRONMENT = _environment()


def problems(text: str, fields: Sequence[str]) -> list[str]:
    """Everything that is wrong with a template whose placeholders may be `fields`; nothing if it can be used."""
    if len(text) > LARGEST:
        return [f"the template has {len(text):,} characters, more than the {LARGEST:,} that are allowed"]
    try:
        tree = _ENVIRONMENT.parse(text)
    except (jinja2.TemplateError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        where = f"line {line}: " if line else ""
        return [f"{where}{text!r} is no template: {error}"]
    found = [
        f"line {node.lineno}: {_kind(node)} are not allowed in a template"
        for node in _walk(tree)
        if not isinstance(node, _ALLOWED)
    ]
    for node in _walk(tree):
        if isinstance(node, nodes.Name) and node.name not in fields:
            found.append(f"line {node.lineno}: unknown placeholder {{{{{node.name}}}}} in {text!r}")
        if isinstance(node, nodes.Filter) and node.name not in FILTERS:
            found.append(f"line {node.lineno}: unknown filter {node.name!r} (allowed: {', '.join(FILTERS)})")
        if isinstance(node, nodes.Test) and node.name not in _TESTS:
            found.append(f"line {node.lineno}: unknown test {node.name!r} (allowed: {', '.join(_TESTS)})")
    return list(dict.fromkeys(found))


def names(text: str) -> frozenset[str]:
    """The placeholders of a template without problems."""
    return frozenset(node.name for node in _walk(_ENVIRONMENT.parse(text)) if isinstance(node, nodes.Name))


def render(text: str, fields: Mapping[str, str], optional: Sequence[str] = ()) -> str:
    """The template filled in. Field texts are put in as they are: braces in them mean nothing.

    Args:
        text: a template without problems.
        fields: placeholder -> text.
        optional: placeholders that may be absent; an absent one is the empty text.
    """
    return str(_compiled(text).render({**dict.fromkeys(optional, ""), **fields}))


@lru_cache(maxsize=512)
def _compiled(text: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(text)


def _kind(node: nodes.Node) -> str:
    return next((what for kind, what in _WHAT.items() if isinstance(node, kind)), f"{type(node).__name__} expressions")


def _walk(node: nodes.Node) -> list[nodes.Node]:
    found: list[nodes.Node] = []
    waiting = [node]
    while waiting:
        here = waiting.pop()
        found.append(here)
        waiting.extend(here.iter_child_nodes())
    return found
