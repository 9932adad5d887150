"""Training and development rows: never of one premise, drawn by the seed."""

from __future__ import annotations

import random

import pytest

from transfix.data import Example
from transfix.training import split
from transfix.training.rows import balance


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    """40 premises of one to four rows in two languages, some rows without a label, in no order."""
    draw = random.Random(0)
    rows = []
    for language in ("eng_Latn", "deu_Latn"):
        for premise in range(20):
            for number in range(draw.randint(1, 4)):
                fields = {"premise": f"premise {premise}", "hypothesis": str(number)}
                label = draw.choice(["entailment", "neutral", "contradiction", None])
                rows.append(Example(f"{premise}-{number}", language, fields, label))
    return draw.sample(rows, len(rows))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("rows", "development"), [(None, 10), (20, 7), (5, 0), (1000, 1)])
def test_no_premise_is_in_both(examples: list[Example], rows: int | None, development: int, seed: int) -> None:
    training, kept = split(examples, "premise", rows, development, seed)
    premises = [{(row.language, row.fields["premise"]) for row in part} for part in (training, kept)]
    assert not premises[0] & premises[1]
    assert len(kept) == development
    assert all(row.label for row in [*training, *kept])
    assert len({id(row) for row in [*training, *kept]}) == len(training) + len(kept)
    if rows == 1000 or rows is None:
        assert len(training) > 50
    else:
        assert len(training) == rows


def test_development_rows_stay_when_there_are_more_to_train_on(examples: list[Example]) -> None:
    few, many = split(examples, "premise", 10, 9, 1), split(examples, "premise", 40, 9, 1)
    assert few[1] == many[1]
    assert many[0][:10] == few[0]


def test_the_draw_is_the_seeds(examples: list[Example]) -> None:
    random.seed(5)
    first = split(examples, "premise", 20, 5, 3)
    random.seed(6)
    assert split(examples, "premise", 20, 5, 3) == first
    assert split(examples, "premise", 20, 5, 4) != first


def test_more_development_rows_than_there_are(examples: list[Example]) -> None:
    training, kept = split(examples, "premise", 10, 10_000, 0)
    assert training == []
    assert len(kept) == sum(row.label is not None for row in examples)
    assert split([], "premise", 10, 10, 0) == ([], [])


def test_balance(examples: list[Example]) -> None:
    rows = [row for row in examples if row.label]
    found = balance(rows, ("entailment", "neutral", "contradiction"))
    assert list(found) == ["entailment", "neutral", "contradiction"]
    assert sum(found.values()) == len(rows)
