"""Scores of sums: where the function of the sums is a mean, they are what means over rows are, to the last digits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from transfix.statistics import bootstrap, one_run, over_seeds
from transfix.statistics.bootstrap import Floats, Scored

CODES = ["eng_Latn", "deu_Latn", "arb_Arab", "swh_Latn"]


def mean(sums: Floats) -> Floats:
    """Of the score of each row and of a one for each row."""
    share: Floats = sums[..., 0] / sums[..., 1]
    return share


def counted(rows: Scored) -> Scored:
    return replace(rows, values=np.stack([rows.values, np.ones(len(rows))], axis=1), of_sums=mean)


def scored(seed: int, sizes: tuple[int, ...]) -> dict[str, Scored]:
    generator = np.random.default_rng(seed)
    found = {}
    for code, size in zip(CODES, sizes, strict=True):
        columns = {
            "id": [f"row-{n}" for n in range(size)],
            "gold": ["yes"] * size,
            "score": generator.random(size) < 0.4,
        }
        found[code] = one_run.scored(columns, code)
    return found


def close(mine: Any, theirs: Any) -> None:
    """Equal to the last digits."""
    assert type(mine) is type(theirs)
    if isinstance(mine, dict):
        assert mine.keys() == theirs.keys()
        for key in mine:
            close(mine[key], theirs[key])
    elif mine is not None:
        assert mine == pytest.approx(theirs, abs=1e-11)


@pytest.mark.parametrize("sizes", [(50, 50, 50, 50), (50, 20, 50, 35), (50, 0, 50, 50)])
@pytest.mark.parametrize("seeds", [1, 3])
def test_means_come_out_as_means(sizes: tuple[int, ...], seeds: int) -> None:
    """Of parallel rows, of languages that have only some of them, and of one without any."""
    by_rows = [scored(seed, sizes) for seed in range(seeds)]
    by_sums = [{code: counted(rows) for code, rows in one.items()} for one in by_rows]
    mine, theirs = over_seeds.summary_of(by_sums), over_seeds.summary_of(by_rows)
    for part in ("languages", "macro", "unpaired", "seeds"):
        close(mine[part], theirs[part])
    assert mine["transfer_gap"]["interval"] == pytest.approx(theirs["transfer_gap"]["interval"], abs=1e-11)


def test_many_languages_are_summed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {code: counted(row) for code, row in scored(3, (60, 60, 40, 60)).items()}
    whole = bootstrap.resample(rows)
    monkeypatch.setattr(bootstrap, "BLOCK", 1)
    apart = bootstrap.resample(rows)
    assert (apart.means == whole.means).all()
    assert apart.points == whole.points


def test_the_signature_goes_along() -> None:
    seeds = [{code: replace(counted(row), signature="v1") for code, row in scored(n, (9,) * 4).items()} for n in (1, 2)]
    assert over_seeds.summary_of(seeds)["languages"]["deu_Latn"]["signature"] == "v1"
    seeds[1] = {code: replace(row, signature="v2") for code, row in seeds[1].items()}
    assert over_seeds.summary_of(seeds)["languages"]["deu_Latn"]["signature"] == "v1, v2"
    assert "signature" not in over_seeds.summary_of([scored(1, (9,) * 4)])["languages"]["deu_Latn"]


def test_a_seed_without_rows_leaves_none() -> None:
    whole = {code: counted(row) for code, row in scored(1, (9,) * 4).items()}
    none = {
        code: replace(row, ids=row.ids[:0], values=np.zeros((0, 0)), golds=row.golds[:0]) for code, row in whole.items()
    }
    found = over_seeds.summary_of([whole, whole | {"deu_Latn": none["deu_Latn"]}])
    assert (found["languages"]["deu_Latn"]["n"], found["languages"]["deu_Latn"]["score"]) == (0, None)
    assert found["macro"]["all"]["languages"] == 3
