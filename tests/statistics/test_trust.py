"""Estimates without labels, on scores whose accuracy is known; and what their lines and errors were fitted to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transfix.errors import TransfixError
from transfix.statistics.bootstrap import ENGLISH, Floats
from transfix.statistics.label_probabilities import Places
from transfix.statistics.trust import ERRORS, FEWEST, LINES, Known, estimates

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "trust.json"
GOOD, BAD, SHIFTED, LOST = "deu_Latn", "swh_Latn", "spa_Latn", "ewe_Latn"
NOISE = {ENGLISH: 0.0, GOOD: 0.8, SHIFTED: 1.0, BAD: 2.5, LOST: 12.0}
BIAS = {SHIFTED: np.array([16.0, 0.0, 0.0])}


class World:
    """Rows in five languages, translations of each other, as two adapters score them.

    Labels are drawn from what the first adapter knows in English. It is three times as sure as it ought to be; in other
    languages it knows the same, with noise.
    """

    def __init__(self, rows: int, seed: int, known: int = 200) -> None:
        self.generator = np.random.default_rng(seed)
        logits, anchor = (1.4 * self.generator.normal(size=(count, 3)) for count in (rows, known))
        self.golds, self.known_golds = self._labels(logits), self._labels(anchor)
        self.scores = {
            code: [self._scores(self._heard(logits, noise), code, adapter) for adapter in (0, 1)]
            for code, noise in NOISE.items()
        }
        self.anchor = [self._scores(anchor, ENGLISH, one) for one in (0, 1)]

    def _labels(self, logits: Floats) -> Places:
        found: Places = (logits + self.generator.gumbel(size=logits.shape)).argmax(axis=1)
        return found

    def _heard(self, logits: Floats, noise: float) -> Floats:
        """What is still known through noise: the less, the less sure."""
        return (logits + noise * self.generator.normal(size=logits.shape)) / (1 + (noise / 1.4) ** 2)

    def _scores(self, logits: Floats, code: str, adapter: int) -> Floats:
        logits = 3 * (logits + 0.5 * adapter * self.generator.normal(size=logits.shape)) + BIAS.get(code, 0.0)
        found: Floats = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return found

    def estimates(self, adapters: int = 1, translated: bool = True, **changes: Any) -> Any:
        places = np.arange(len(self.golds))
        asked = {code: own[:adapters] for code, own in self.scores.items()}
        pairs = {code: (places, places) for code in asked if code != ENGLISH}
        known = Known(tuple(self.anchor[:adapters]), self.known_golds)
        return estimates(known, asked, pairs if translated else None, **changes)

    def right(self, code: str, answers: Places | None = None) -> float:
        found = self.scores[code][0].argmax(axis=1) if answers is None else answers
        return float((found == self.golds).mean())


def test_translations_tell_how_many_answers_are_right() -> None:
    errors = []
    for seed in range(6):
        world = World(1000, seed, known=1000)
        found = world.estimates()
        errors += [found[code].raw.value - world.right(code) for code in found]
        assert {one.kind for one in found.values()} == {"translations"}
        assert world.right(GOOD) > world.right(BAD) + 0.05 > world.right(LOST) + 0.06
    assert np.abs(errors).mean() < 0.015


@pytest.mark.parametrize("adapters", [1, 2])
def test_as_many_intervals_hold_the_truth_as_they_say(adapters: int) -> None:
    nothing = dict.fromkeys(ERRORS, 0.0)
    worlds = [World(60, seed, known=100) for seed in range(25)]
    held, narrow = [], []
    for world in worlds:
        for code, one in world.estimates(adapters, errors=nothing).items():
            held.append(one.raw.low <= world.right(code) <= one.raw.high)
            narrow.append(one.raw.high - one.raw.low)
    assert 0.9 < np.mean(held) < 0.99
    assert np.mean(narrow) < 0.26


def test_an_interval_is_wider_by_what_the_estimate_is_off() -> None:
    world = World(120, 0)
    without, with_it = (world.estimates(errors=dict.fromkeys(ERRORS, error))[GOOD].raw for error in (0.0, 0.1))
    assert without.value == with_it.value
    one, other = (found.high - found.value for found in (without, with_it))
    assert other**2 - one**2 == pytest.approx((1.959964 * 0.1) ** 2, rel=1e-3)
    half = world.estimates(level=0.5)[GOOD].raw
    assert half.high - half.low < without.high - without.low


@pytest.mark.parametrize("adapters", [1, 2])
def test_without_translations_a_language_that_is_not_understood_is_seen(adapters: int) -> None:
    world = World(400, 1)
    found = world.estimates(adapters, translated=False)
    assert {one.kind for one in found.values()} == {("rows alone", "another adapter")[adapters - 1]}
    assert found[GOOD].calibrated.value > found[BAD].calibrated.value + 0.03
    assert (found[GOOD].is_guessing, found[LOST].is_guessing) == (False, True)
    for code, one in found.items():
        assert 0.333 < one.calibrated.value <= world.right(ENGLISH) + 0.05, code
    assert found[SHIFTED].raw.value < found[SHIFTED].calibrated.value - 0.05


def test_the_line_is_what_is_said() -> None:
    world = World(300, 2)
    found = world.estimates(translated=False, lines={"rows alone": (0.5, 0.0, 0.0)})
    known = Known((world.anchor[0],), world.known_golds).accuracy
    assert found[BAD].calibrated.value == pytest.approx(1 / 3 + 0.5 * (known - 1 / 3))


def test_collapsed_answers_are_named_and_calibration_takes_it_out() -> None:
    world = World(300, 3)
    found = world.estimates()
    assert (found[SHIFTED].raw_spread.spread, found[SHIFTED].raw_spread.label) == ("collapsed", 0)
    assert found[SHIFTED].calibrated_spread.spread == "as in English"
    assert found[GOOD].raw_spread.spread == "as in English"
    assert found[SHIFTED].calibrated.value > found[SHIFTED].raw.value + 0.1


def test_rows_that_are_no_translations_are_suspect() -> None:
    world = World(300, 4)
    places = np.arange(300)
    mixed = np.random.default_rng(0).permutation(300)
    asked = {code: own[:1] for code, own in world.scores.items()}
    known = Known((world.anchor[0],), world.known_golds)
    found = estimates(known, asked, {GOOD: (places, mixed), BAD: (places, places)})
    assert (found[GOOD].by_chance, found[BAD].by_chance) == (True, False)


def test_too_few_pairs_are_not_used() -> None:
    world = World(100, 5)
    few = np.arange(FEWEST - 1)
    asked = {code: own[:1] for code, own in world.scores.items()}
    found = estimates(Known((world.anchor[0],), world.known_golds), asked, {GOOD: (few, few)})
    assert found[GOOD].kind == "rows alone"
    assert found[GOOD].rows == 100


def test_without_english_rows_the_anchor_stands_for_them() -> None:
    world = World(200, 6)
    asked = {SHIFTED: world.scores[SHIFTED][:1]}
    found = estimates(Known((world.anchor[0],), world.known_golds), asked)
    assert found[SHIFTED].raw_spread.spread == "collapsed"
    assert found[SHIFTED].calibrated_spread.spread == "as in English"


def test_a_model_that_has_learned_nothing_is_at_chance() -> None:
    generator = np.random.default_rng(0)
    scores = [np.log(generator.dirichlet(np.ones(3), 200)) for _ in range(3)]
    golds = generator.integers(0, 3, 200)
    places = np.arange(200)
    for pairs in (None, {GOOD: (places, places)}):
        found = estimates(Known((scores[0],), golds), {ENGLISH: [scores[1]], GOOD: [scores[2]]}, pairs)[GOOD]
        assert found.calibrated.value == pytest.approx(found.chance, abs=0.05)
        assert found.is_guessing


def test_too_few_rows_are_refused() -> None:
    world = World(100, 7)
    with pytest.raises(TransfixError, match="30 English rows"):
        estimates(Known((world.anchor[0][:20],), world.known_golds[:20]), {GOOD: world.scores[GOOD][:1]})
    with pytest.raises(TransfixError, match="deu_Latn: 30 rows are needed, and there are 29"):
        estimates(Known((world.anchor[0],), world.known_golds), {GOOD: [world.scores[GOOD][0][:29]]})


def test_the_lines_and_errors_are_those_that_were_measured() -> None:
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    for kind, line in LINES.items():
        rows = [row[-3:] for row in found["fitted_to"][kind]]
        design = np.array([[1.0, *row[:2]] for row in rows])
        again = np.linalg.lstsq(design, np.array([row[2] for row in rows]), rcond=None)[0]
        assert line == pytest.approx(again, abs=5e-3)
    for (kind, form), error in ERRORS.items():
        measured = found["errors"][f"{kind}, {form}"]
        assert measured <= error + 5e-4, (kind, form)
