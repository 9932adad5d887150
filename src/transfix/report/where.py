"""The condition of `transfix runs --where`: a comparison language over columns, read by Python's parser, never run by Python.

    task == 'xnli' and lang in ('swh_Latn', 'tha_Thai') and not 0.3 < score < 0.4

Columns, text, numbers, True, False and None; `== != < <= > >=`, `in`, `not in`, `and`, `or`, `not`, brackets. A dotted
name is the name of one column. Nothing else means anything: there are no calls, no attributes, no arithmetic.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from transfix import languages
from transfix.config.suggestions import nearest
from transfix.errors import TransfixError, shortened

Row = Mapping[str, Any]
Value = Callable[[Row], Any]

ALLOWED = "columns, 'text', numbers, == != < <= > >=, in, not in, and, or, not, brackets"
DEEPEST = 50
QUOTED = 400
"""Characters of a condition that a message quotes."""

LANGUAGE = "lang"
"""The column whose texts are languages: any of their names will do."""

SHARES = ("score", "low", "high")
"""The columns that are shares of 1, and are shown in per cent."""

_ORDERS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def select(rows: Sequence[Row], condition: str, columns: Collection[str]) -> list[Row]:
    """The rows for which a condition holds.

    A cell that is not there is None. It is less and greater than nothing, and so is a cell of another type (`all` among
    numbers of layers).

    Args:
        rows: by column.
        condition: see this module.
        columns: the names that may be used.

    Raises:
        TransfixError: the condition cannot be read, names an unknown column, orders text and numbers throughout, or compares
            shares of 1 with what would be per cent.
    """
    try:
        parsed = ast.parse(condition.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        hint = " (= is written ==)" if re.search(r"(?<![=<>!])=(?!=)", condition) else ""
        raise TransfixError(f"{_said(condition)} cannot be read: {reason}{hint}. Allowed: {ALLOWED}.") from None
    orders: list[_Order] = []
    reader = _Reader(condition, columns, orders)
    holds = reader.value(parsed.body)
    for column, number in reader.beyond:
        if all(row.get(column) is None or row[column] <= 1 for row in rows):
            share = f"{number} % is {number / 100:.12g}" if number <= 100 else "100 % is 1"
            raise TransfixError(
                f"{_said(condition)}: {column} is a share of 1, which no row has beyond 1: {share}, and is written so."
            )
    found = [row for row in rows if holds(row)]
    for order in orders:
        if order.impossible and not order.possible:
            raise TransfixError(
                f"{_said(condition)}: {order.text} compares text with numbers: nothing is less or greater."
            )
    return found


def unknown_column(name: str, columns: Collection[str], where: str) -> TransfixError:
    """The error for a column that is not there, with the nearest ones."""
    last = name.rsplit(".", 1)[-1]
    ends = [column for column in columns if column.rsplit(".", 1)[-1] == last]
    near = (
        [] if len(name) > QUOTED else list(dict.fromkeys([*ends, *nearest(name, columns, at_most=5, likeness=0.5)]))[:5]
    )
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(columns))}"
    return TransfixError(f"{where}: there is no column {shortened(name)!r}; {hint}")


def _said(condition: str) -> str:
    return f"--where {shortened(condition, QUOTED)!r}"


class _Order:
    """One `<` and whether it ever had something to compare."""

    def __init__(self, node: ast.Compare) -> None:
        self._node = node
        self.possible = self.impossible = False

    @property
    def text(self) -> str:
        """The comparison that it stands in."""
        return shortened(ast.unparse(self._node))

    def holds(self, compare: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
        if left is None or right is None:
            return False
        try:
            found = compare(left, right)
        except TypeError:
            self.impossible = True
            return False
        self.possible = True
        return found


class _Reader:
    """From the parser's tree to a function of a row."""

    def __init__(self, condition: str, columns: Collection[str], orders: list[_Order]) -> None:
        self.condition = condition
        self.columns = columns
        self.orders = orders
        self.beyond: list[tuple[str, float]] = []  # columns of shares, and numbers beside them that none can reach

    def value(self, node: ast.expr, depth: int = 0) -> Value:
        if depth > DEEPEST:
            raise self._refused(node, "is nested too deep")
        match node:
            case ast.Constant(value=str() | int() | float() | None as constant):
                return lambda row: constant
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return lambda row: -number
            case ast.Name() | ast.Attribute():
                return self._column(node)
            case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
                values = [self.value(item, depth + 1) for item in items]
                return lambda row: [value(row) for value in values]
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                denied = self.value(operand, depth + 1)
                return lambda row: not denied(row)
            case ast.BoolOp(op=joined, values=operands):
                parts = [self.value(operand, depth + 1) for operand in operands]
                every = isinstance(joined, ast.And)
                return lambda row: (all if every else any)(bool(part(row)) for part in parts)
            case ast.Compare():
                return self._comparison(node, depth)
        raise self._refused(node, "is not allowed")

    def _column(self, node: ast.expr) -> Value:
        keys: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            keys.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            raise self._refused(node, "is not allowed")
        name = ".".join([inner.id, *reversed(keys)])
        if name not in self.columns:
            raise unknown_column(name, self.columns, f"{_said(self.condition)} (text is written in quotes)")
        return lambda row: row.get(name)

    def _comparison(self, node: ast.Compare, depth: int) -> Value:
        operands = [node.left, *node.comparators]
        named = [isinstance(side, ast.Name) and side.id == LANGUAGE for side in operands]
        inside = named[-1] and isinstance(node.ops[-1], ast.In | ast.NotIn)  # a part of a code, in its text
        if any(named) and not inside:
            operands = [_spelt_out(side) for side in operands]
        for left, op, right in zip(operands, node.ops, operands[1:], strict=False):
            self.beyond += _beyond(left, op, right)
        sides = [self.value(side, depth + 1) for side in operands]
        tests = [self._test(op, node) for op in node.ops]

        def holds(row: Row) -> bool:
            values = [side(row) for side in sides]
            return all(test(a, b) for test, a, b in zip(tests, values, values[1:], strict=False))

        return holds

    def _test(self, op: ast.cmpop, node: ast.Compare) -> Callable[[Any, Any], bool]:
        if isinstance(op, ast.Eq):
            return lambda left, right: bool(left == right)
        if isinstance(op, ast.NotEq):
            return lambda left, right: bool(left != right)
        if isinstance(op, ast.In | ast.NotIn):
            wanted = isinstance(op, ast.In)
            return lambda left, right: _inside(left, right) == wanted
        if type(op) in _ORDERS:
            order, compare = _Order(node), _ORDERS[type(op)]
            self.orders.append(order)
            return lambda left, right: order.holds(compare, left, right)
        raise self._refused(node, "is not allowed (None is compared with == and !=)")

    def _refused(self, node: ast.expr, why: str) -> TransfixError:
        part = ast.get_source_segment(self.condition.strip(), node) or "a part"
        return TransfixError(f"{_said(self.condition)}: {shortened(part)!r} {why}. Allowed: {ALLOWED}.")


def _beyond(left: ast.expr, op: ast.cmpop, right: ast.expr) -> list[tuple[str, float]]:
    """A column of shares with each number beside it that none of them can be, or be above."""
    found = []
    for side, other, above in ((left, right, ast.Gt), (right, left, ast.Lt)):
        if isinstance(side, ast.Name) and side.id in SHARES:
            entries = other.elts if isinstance(other, ast.Tuple | ast.List | ast.Set) else [other]
            numbers = [entry.value for entry in entries if isinstance(entry, ast.Constant)]
            found += [
                (side.id, number)
                for number in numbers
                if isinstance(number, int | float) and (number > 1 or (number == 1 and isinstance(op, above)))
            ]
    return found


def _spelt_out(node: ast.expr) -> ast.expr:
    """A text beside the column of languages, as that column writes it: `swh_Latn` for `sw`."""
    match node:
        case ast.Constant(value=str() as code):
            try:
                return ast.copy_location(ast.Constant(languages.get(code).code), node)
            except TransfixError:
                return node  # a part of a code
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            return ast.copy_location(ast.List([_spelt_out(item) for item in items], ast.Load()), node)
    return node


def _inside(left: Any, right: Any) -> bool:
    """`'swh' in lang` looks into a text, `lang in ('swh_Latn',)` into a list."""
    if isinstance(right, str):
        return isinstance(left, str) and left in right
    return isinstance(right, list | tuple) and left in right
