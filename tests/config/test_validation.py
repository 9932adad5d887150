"""What pydantic finds wrong becomes one problem for each value: its path, the value, what is allowed, in plain words."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

import transfix
from transfix.config import validation
from transfix.config.validation import checked, settings_problems
from transfix.errors import Problem


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Circle(Strict):
    kind: Literal["circle"] = "circle"
    radius: Annotated[float, Field(gt=0)] = 1.0
    label: Annotated[str, Field(min_length=1)] = "a circle"


class Square(Strict):
    kind: Literal["square"] = "square"
    side: Annotated[int, Field(ge=1, le=9)]
    corners: Literal["round", "sharp"] = "sharp"
    layers: Annotated[
        Literal["all"] | Annotated[int, Field(ge=1)] | tuple[int, ...], Field(description="all, a number or a list")
    ] = "all"

    @model_validator(mode="after")
    def _small_is_round(self) -> Square:
        if self.side == 1 and self.corners == "sharp":
            raise ValueError("side: 1 needs corners: round")
        return self


class Drawing(Strict):
    shapes: tuple[Annotated[Circle | Square, Field(discriminator="kind")], ...] = ()
    words: Annotated[tuple[str, ...], Field(min_length=1)] = ("x",)
    title: Annotated[str, Field(pattern="^[a-z]+$")] | None = None
    sizes: dict[str, int] = {}

    @field_validator("sizes")
    @classmethod
    def _small(cls, sizes: dict[str, int]) -> dict[str, int]:
        if found := [Problem(f"sizes.{name}", f"{size} is too much") for name, size in sizes.items() if size > 9]:
            raise validation.FieldError(found)
        return sizes


def model_at(given: Mapping[str, Any]) -> validation.ModelAt:
    def at(path: validation.Path) -> type[BaseModel] | None:
        match path:
            case ():
                return Drawing
            case ("shapes", int(index)):
                return {"circle": Circle, "square": Square}.get(given["shapes"][index].get("kind"))
        return None

    return at


def lines(given: dict[str, Any], within: str = "") -> list[str]:
    problems: list[Problem] = []
    assert checked(Drawing, given, problems, model_at(given), within) is None
    return list(map(str, problems))


def test_what_is_right_is_returned() -> None:
    problems = [Problem("elsewhere", "is wrong")]
    assert checked(Drawing, {"title": "ab"}, problems) == Drawing(title="ab")
    assert problems == [Problem("elsewhere", "is wrong")]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"titel": "x"}, "titel: unknown key; did you mean 'title'?"),
        ({"colour": "x"}, "colour: unknown key (allowed: shapes, words, title, sizes)"),
        ({"title": "A b"}, "title: 'A b' is not allowed (allowed: text, matching ^[a-z]+$ or null)"),
        ({"title": 3}, "title: 3 is not text: put it in quotes (allowed: text, matching ^[a-z]+$ or null)"),
        ({"words": []}, "words: [] is not allowed (allowed: a list, not empty, of: text)"),
        ({"words": ["a", True]}, "words[1]: true is not text: put it in quotes (allowed: text)"),
        ({"sizes": [1]}, "sizes: [1] is not allowed (allowed: a mapping)"),
        ({"sizes": {"a": 3, "b": 10}}, "sizes.b: 10 is too much"),
        ({"shapes": [{"kind": "cirle"}]}, "shapes[0].kind: unknown kind 'cirle'; did you mean 'circle'? (allowed: circle, "),
        ({"shapes": [{"side": 3}]}, "shapes[0]: {'side': 3} has no kind"),
        ({"shapes": [{"kind": "circle", "radius": 0}]}, "shapes[0].radius: 0 is not allowed (allowed: a number, above 0)"),
        ({"shapes": [{"kind": "circle", "label": ""}]}, "shapes[0].label: '' is not allowed (allowed: text, not empty)"),
        ({"shapes": [{"kind": "circle", "radios": 0}]}, "shapes[0].radios: unknown key; did you mean 'radius'?"),
        ({"shapes": [{"kind": "square"}]}, "shapes[0].side: is missing (allowed: a whole number, at least 1, at most 9)"),
        (
            {"shapes": [{"kind": "square", "side": 2, "corners": "rond"}]},
            "shapes[0].corners: 'rond' is not allowed; did you mean 'round'? (allowed: round or sharp)",
        ),
        (
            {"shapes": [{"kind": "square", "side": 2, "layers": [1, "x"]}]},
            "shapes[0].layers[1]: 'x' is not allowed (allowed: all, a number or a list)",
        ),
        ({"shapes": [{"kind": "square", "side": 1}]}, "shapes[0]: side: 1 needs corners: round"),
    ],
)  # fmt: skip
def test_each_mistake_in_words(given: dict[str, Any], line: str) -> None:
    (found,) = lines(given)
    assert found.startswith(line)


def test_what_may_be_written_can_be_seen() -> None:
    class Dialect(BaseModel):
        delimiter: Literal["\t", ","] | None = None

    problems: list[Problem] = []
    assert checked(Dialect, {"delimiter": "ab"}, problems) is None
    assert [problem.allowed for problem in problems] == [r'"\t" or , or null']


def test_everything_at_once_and_every_value_once() -> None:
    given = {"titel": "x", "words": [], "shapes": [{"kind": "square", "side": 0, "layers": "top"}, {"kind": "line"}]}
    found = [line.partition(": ")[0] for line in lines(given)]
    assert sorted(found) == ["shapes[0].layers", "shapes[0].side", "shapes[1].kind", "titel", "words"]


def test_a_value_inside_another() -> None:
    assert lines({"titel": "x"}, "page[2]") == ["page[2].titel: unknown key; did you mean 'title'?"]
    assert lines({"sizes": {"a": 10}}, "page") == ["page.sizes.a: 10 is too much"]
    problems: list[Problem] = []
    assert checked(Drawing, 7, problems, within="page") is None
    assert [problem.where for problem in problems] == ["page"]


def test_what_is_known_to_be_wrong_is_not_wrong_twice() -> None:
    problems = [Problem("title", "is given a second time")]
    assert checked(Drawing, {"title": 3, "words": []}, problems) is None
    assert [problem.where for problem in problems] == ["title", "words"]


def settings(make: Callable[..., BaseModel], **given: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        make(**given)
    assert isinstance(make, type)
    return list(map(str, settings_problems(make, given, caught.value)))


def test_settings_in_python_are_called_as_python_calls_them() -> None:
    """Values and choices in quotes, no YAML; a setting that can have one value only is none."""
    assert settings(Circle, radius=0.0, label=None) == [
        "radius: 0.0 is not allowed (allowed: greater than 0)",
        "label: None is not allowed (allowed: a valid string)",
    ]
    assert settings(Square, side="big") == ["side: 'big' is not allowed (allowed: a valid integer)"]
    assert settings(Square, side=0, corners="rond", layers=(1, "x")) == [
        "side: 0 is not allowed (allowed: at least 1)",
        "corners: 'rond' is not allowed (allowed: 'round' or 'sharp')",
        "layers: (1, 'x') is not allowed (allowed: all, a number or a list)",
    ]
    assert settings(Square, side=1) == ["side: 1 needs corners: round"]
    assert settings(Square) == ["side: is missing (allowed: a whole number, at least 1, at most 9)"]
    assert settings(Circle, depth=1) == ["depth: there is no such setting (allowed: radius, label)"]
    assert settings(Circle, radios=1) == [
        "radios: there is no such setting; did you mean 'radius'? (allowed: radius, label)"
    ]


def test_settings_inside_a_record() -> None:
    shapes = [{"kind": "circle", "radius": 0}, {"kind": "line"}, {"kind": "square", "side": 2, "x": 1}]
    assert settings(Drawing, shapes=shapes, words=3) == [
        "shapes[0].radius: 0 is not allowed (allowed: greater than 0)",
        "shapes[1].kind: unknown kind 'line' (allowed: circle, square)",
        "shapes[2].x: unknown key",
        "words: 3 is not allowed (allowed: a valid tuple)",
    ]


def test_nothing_else_reads_the_errors_of_pydantic() -> None:
    """`error.errors()` is called in one module; others catch the error to go on without the value."""
    source = Path(transfix.__file__).parent
    reading = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "errors"
    }
    assert reading == {"config/validation.py"}
