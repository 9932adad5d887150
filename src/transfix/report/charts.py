"""What the page draws: a mark for every method, scales, and charts whose places are percentages of their box.

Percentages, so that a chart fills any screen and its words keep the size of the text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transfix.report import labels
from transfix.report.contents import Curve, Method, Point, TaskReport

FEW = 8
"""Up to so many methods each has a mark of its own; of more, those of one kind (LoRA, soft prompt ...) share one."""

_SHAPES = (
    "M-4.6,0A4.6,4.6 0 1 0 4.6,0A4.6,4.6 0 1 0 -4.6,0Z",  # circle
    "M-4,-4H4V4H-4Z",  # square
    "M0,-5.6L5.6,0L0,5.6L-5.6,0Z",  # diamond
    "M0,-5.2L5,4H-5Z",  # triangle
    "M0,5.2L5,-4H-5Z",  # triangle, point down
)
_COLOURS = 5
_LOGARITHMIC = 12
"""From this ratio of the largest to the smallest value on, a scale is logarithmic."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How a method is drawn. Colour and shape say the same, so that neither is needed to tell methods apart.

    Attributes:
        css: its class, `m0` for the base.
        path: its shape around the origin, in pixels.
    """

    css: str
    path: str


BASE = Mark("m0", _SHAPES[0])


def mark(number: int) -> Mark:
    """The mark of the trained method with this number, from 0; after the last colour the shapes shift by one."""
    return Mark(f"m{number % _COLOURS + 1}", _SHAPES[(number + number // _COLOURS) % len(_SHAPES)])


def marks(methods: Sequence[Method]) -> list[Mark]:
    """A mark for every method: the base a grey ring, the others colours and shapes in turn."""
    trained = [method for method in methods if not method.run.is_base]
    names = {m.label: m.label if len(trained) <= FEW else labels.method(m.run) for m in trained}
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    return [BASE if method.run.is_base else mark(numbers[names[method.label]]) for method in methods]


def legend(methods: Sequence[Method]) -> list[tuple[Mark, str]]:
    """What each mark stands for, once."""
    found = dict(zip(marks(methods), methods, strict=True))
    shared = len(found) < len(methods)
    return [(drawn, labels.method(method.run) if shared else method.label) for drawn, method in found.items()]


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places along one side of a chart.

    Attributes:
        low, high: the values at its ends.
        ticks: (value, its text).
        log: whether equal ratios are equally far apart.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    @classmethod
    def shares(cls, ends: Iterable[float]) -> Scale:
        """A scale for shares, in full tens or, where they lie close together, full fives or twos, in percent."""
        found = list(ends)
        low, high = min(found), max(found)
        step = next(s for s in (2, 5, 10, 20) if (high - low) * 100 / s <= 6 or s == 20)
        first, last = math.floor(100 * low / step - 0.1), math.ceil(100 * high / step + 0.1)
        first, last = max(0, first), min(100 // step, max(last, first + 2))
        ticks = tuple((number * step / 100, str(number * step)) for number in range(first, last + 1))
        return cls(ticks[0][0], ticks[-1][0], ticks)

    @classmethod
    def values(cls, values: Iterable[float]) -> Scale:
        """A scale for the values of a setting, with a tick at each that has room."""
        found = sorted(set(values))
        low, high = found[0], found[-1]
        log = low > 0 and high / low >= _LOGARITHMIC
        if low == high:
            low, high = (low / 2, high * 2) if low > 0 else (low - 1, high + 1)
        scale = cls(low, high, (), log)
        ticks: list[tuple[float, str]] = []
        for value in found:
            if not ticks or scale.place(value) - scale.place(ticks[-1][0]) >= 0.07:
                ticks.append((value, short(value)))
        return cls(low, high, tuple(ticks), log)

    @classmethod
    def powers(cls, values: Iterable[float]) -> Scale:
        """A logarithmic scale with ticks at powers of ten."""
        found = list(values)
        first, last = math.floor(math.log10(min(found))), math.ceil(math.log10(max(found)))
        ticks = tuple((10.0**power, short(10.0**power)) for power in range(first, max(last, first + 1) + 1))
        return cls(ticks[0][0], ticks[-1][0], ticks, log=True)

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (value - low) / (high - low)

    def at(self, value: float) -> str:
        """Where a value lies, from the left: `33.33%`."""
        return f"{100 * self.place(value):.2f}%"

    def up(self, value: float) -> str:
        """Where a value lies, from the top."""
        return f"{100 * (1 - self.place(value)):.2f}%"


def short(value: float) -> str:
    """An amount in few characters: `0.7`, `30`, `4K`, `1.2M`."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def axis(task: TaskReport) -> Scale:
    """The scale of a task's plot: it holds every interval and the chance line."""
    entries = [entry for method in task.methods for code in task.languages if (entry := method.language(code.code))]
    ends = [end for entry in entries for end in entry["interval"]]
    return Scale.shares(ends if task.chance is None else [*ends, task.chance])


@dataclass(frozen=True, slots=True)
class Dot:
    """A value with its interval; `words` is the whole of it for a reader."""

    x: str
    y: str
    low: str
    high: str
    words: str


@dataclass(frozen=True, slots=True)
class Line:
    """The dots of one mark, joined in their order or, if `joined` is false, not."""

    mark: Mark
    label: str
    dots: tuple[Dot, ...]
    joined: bool = True
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, ready to be written as SVG.

    Attributes:
        title, description: what it shows, and what it says, for those who do not see it.
        across: the name of the horizontal axis.
        levels: (place from the top, name) of horizontal lines: chance, or a method without parameters.
    """

    title: str
    description: str
    across: str
    x: Scale
    y: Scale
    lines: tuple[Line, ...]
    levels: tuple[tuple[str, str, str], ...] = ()


def average(method: Method) -> Mapping[str, Any] | None:
    """The average a method is judged by: without English, or with it where that is all there is."""
    return method.macro("without_english") or method.macro("all")


def point_average(point: Point) -> Mapping[str, Any] | None:
    """The same of a point of a curve."""
    return point.without_english or point.all or point.english


def setting_name(found: Curve) -> str:
    """`Tokens`, `Top-p`."""
    return (found.setting[0].upper() + found.setting[1:]).replace("_", "-")


def _dot(x: Scale, y: Scale, value: float, entry: Mapping[str, Any], words: str) -> Dot:
    low, high = entry["interval"]
    text = f"{words}: {labels.estimate(entry['score'], entry['interval'])}"
    return Dot(x.at(value), y.up(entry["score"]), y.up(low), y.up(high), text)


def curve(found: Curve, chance: float | None = None) -> Chart | None:
    """The scores over one setting; None if there is nothing to draw."""
    known = [[(p, entry) for p in s.points if (entry := point_average(p))] for s in found.series]
    flat = [pair for points in known for pair in points]
    if not flat:
        return None
    x = Scale.values(point.x for point, _ in flat)
    ends = [end for _, entry in flat for end in entry["interval"]]
    y = Scale.shares(ends if chance is None else [*ends, chance])
    lines, said = [], []
    for number, (series, points) in enumerate(zip(found.series, known, strict=True)):
        if not points:
            continue
        dots = tuple(
            _dot(x, y, p.x, entry, f"{series.label}, {setting_name(found).lower()} {short(p.x)}") for p, entry in points
        )
        lines.append(Line(mark(number), series.label, dots, shift=4.0 * (number - (len(known) - 1) / 2)))
        top_point, top = max(points, key=lambda pair: pair[1]["score"])
        said.append(f"{series.label} is highest at {short(top_point.x)}, {labels.percent(top['score'])} %")
    levels = () if chance is None else ((y.up(chance), "chance", "chance"),)
    name = setting_name(found)
    words = f"{'; '.join(said)}. The numbers are in the table below."
    return Chart(f"{found.title} by {name.lower()}", words, name, x, y, tuple(lines), levels)


def parameters(task: TaskReport) -> Chart | None:
    """Score against trained parameters; None with fewer than two trained methods of known size."""
    drawn = list(zip(task.methods, marks(task.methods), strict=True))
    sized = [
        (float(count), entry, method, drawn_as)
        for method, drawn_as in drawn
        if method.complete and (entry := average(method))
        if isinstance(count := method.training("trainable_parameters"), (int, float)) and count > 0
    ]
    if len(sized) < 2:
        return None
    bases = [(method, entry) for method, _ in drawn if method.run.is_base and (entry := average(method))]
    ends = [end for _, entry, _, _ in sized for end in entry["interval"]]
    y = Scale.shares(ends + [entry["score"] for _, entry in bases])
    x = Scale.powers(count for count, _, _, _ in sized)
    lines: dict[Mark, list[Dot]] = {}
    for count, entry, method, drawn_as in sized:
        words = f"{method.label}, {labels.number(int(count))} parameters"
        lines.setdefault(drawn_as, []).append(_dot(x, y, count, entry, words))
    named = dict(legend(task.methods))
    top = max(sized, key=lambda found: found[1]["score"])
    said = (
        f"{len(sized)} methods from {short(min(s[0] for s in sized))} to {short(max(s[0] for s in sized))} trained "
        f"parameters; the highest score is that of {top[2].label} with {short(top[0])}. The numbers are in the table above."
    )
    return Chart(
        f"{task.title}: score against trained parameters",
        said,
        "Trained parameters",
        x,
        y,
        tuple(Line(drawn_as, named[drawn_as], tuple(dots), joined=False) for drawn_as, dots in lines.items()),
        tuple((y.up(entry["score"]), method.label, "base") for method, entry in bases[:1]),
    )
