"""A few dozen inputs of every parser, and some that hypothesis makes; `make faults` gives them a million."""

from __future__ import annotations

import json
import os
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.faults.fuzzing import fuzz, parsers
from tests.faults.fuzzing.mutation import VALUES, WORDS

from transfix.errors import TransfixError
from transfix.report import where
from transfix.runs.specification import RunSpec
from transfix.tasks import templates

COUNTS = {"study": 12, "specification": 40, "task": 30}
CHECKED = settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> dict[str, parsers.Parser]:
    return parsers.all_parsers(tmp_path_factory.mktemp("corpora"))


def test_inputs_of_every_parser(every: dict[str, parsers.Parser]) -> None:
    for name, parser in every.items():
        findings, slowest = fuzz.fuzz(parser, 0, COUNTS.get(name, 60))
        assert findings == []
        assert slowest < 5, name


def test_an_input_is_known_by_its_number(every: dict[str, parsers.Parser]) -> None:
    for parser in every.values():
        assert fuzz.made(parser, 7) == fuzz.made(parser, 7)
        assert len({repr(fuzz.made(parser, number)) for number in range(20)}) > 10


class EndlessError(TransfixError):
    """An error whose message is not shortened, as all others are."""

    def __str__(self) -> str:
        return "x" * 100_000


def test_what_breaks_is_found() -> None:
    """Planted: a parser that raises, one that ends its process, one that returns something else."""

    def parse(content: int, home: Path) -> None:
        if content == 3:
            raise KeyError(content)
        if content == 5:
            os._exit(11)
        if content == 6:
            raise EndlessError

    parser = parsers.Parser("planted", lambda draw: draw.randrange(8), parse, 1.0)
    wanted = {3: "KeyError", 5: "the process ended with 11", 6: "a message of 100,000 characters"}
    made = [fuzz.made(parser, number) for number in range(60)]
    findings, _ = fuzz.fuzz(parser, 0, 60)
    assert [entry.number for entry in findings] == [number for number, content in enumerate(made) if content in wanted]
    assert all(entry.what.startswith(wanted[made[entry.number]]) for entry in findings)


settings_trees = st.recursive(
    st.sampled_from([value for value in VALUES if not isinstance(value, dict | list)]) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["method", "task", "rows", "x"]), inner)
    ),
    max_leaves=6,
)
specifications = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("model", "dtype", "seed", "quantization", "revision"), settings_trees),
        "adapter": settings_trees | st.just({"method": "lora", "rank": 2}),
        "train": settings_trees | st.dictionaries(st.sampled_from(["task", "rows", "epochs", "data"]), settings_trees),
        "evaluate": settings_trees
        | st.lists(st.dictionaries(st.sampled_from(["task", "languages", "limit"]), settings_trees)),
    },
)


@CHECKED
@given(specifications)
def test_specifications(content: dict[str, Any]) -> None:
    try:
        spec = RunSpec.load(content)
    except TransfixError:
        return
    assert RunSpec.load(json.loads(spec.model_dump_json())) == spec


@CHECKED
@given(
    st.lists(
        st.sampled_from(WORDS) | st.sampled_from(["{{premise}}", "{% if premise %}", "{% endif %}"]) | st.text(),
        max_size=5,
    )
)
def test_templates(parts: list[str]) -> None:
    text = "".join(parts)
    if not templates.problems(text, ("premise",)):
        assert isinstance(templates.render(text, {"premise": "{{x}}"}), str)


@CHECKED
@given(
    st.lists(
        st.sampled_from(["seed", "task", "==", "<", "in", "(", ")", "and", "not", "'a'", "1"])
        | st.text(string.printable),
        max_size=8,
    )
)
def test_conditions(parts: list[str]) -> None:
    row = {"seed": 1, "task": "a"}
    try:
        found = where.select([row], " ".join(parts), ("seed", "task"))
    except TransfixError:
        return
    assert found in ([], [row])
