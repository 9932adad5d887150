"""Every table of runs in the documentation is what the answers give that are kept in `results/`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from transfix.runs import calibration, records
from transfix.statistics import one_run
from transfix.statistics.bootstrap import LEVEL, resample

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import kept_results  # noqa: E402

NAMES = sorted(path.name for path in kept_results.KEPT.iterdir())
MOST = 6_000_000
"""Bytes of all kept results."""


def test_they_are_small() -> None:
    assert NAMES
    assert sum(path.stat().st_size for path in kept_results.KEPT.rglob("*")) < MOST


@pytest.mark.parametrize("name", NAMES)
def test_kept_again_they_are_the_same(name: str, tmp_path: Path) -> None:
    kept_results.unpack(kept_results.KEPT / name, tmp_path / "runs")
    kept_results.keep(tmp_path, tmp_path / "again")
    for path in (kept_results.KEPT / name).iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_results_page() -> None:
    text = kept_results.PAGE.read_text(encoding="utf-8")
    assert kept_results.with_tables(text) == text, "run `make results`"


def test_readme_shows_the_quickstart() -> None:
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- the tables")[1].split("Accuracy in %")[0]
    lines = [line for line in shown.splitlines() if line.startswith(("| ", "- "))]
    assert len(lines) > 25
    printed = kept_results.markdown("quickstart").splitlines()
    assert not [line for line in lines if line not in printed]


def test_the_page_of_calibration(tmp_path: Path) -> None:
    """Its table: as answered, on unlabelled rows, on the rows asked; the average of the 14 other languages."""
    kept_results.unpack(kept_results.KEPT / "quickstart", tmp_path)
    page = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    for start in ("base", "prefix", "lora"):
        (path,) = tmp_path.glob(f"{start}-*")
        run = records.read(path)
        rows = {code: one.scored for code, one in run.predictions["xnli"].items()}
        forms = {"raw": one_run.summary_of(rows, resample(rows), LEVEL), **calibration.summaries(run, "xnli")}
        cells = []
        for form in ("raw", "unlabelled", "batch"):
            average = forms[form]["macro"]["without_english"]
            low, high = average["interval"]
            cells.append(rf"{100 * average['score']:.1f} \[{100 * low:.1f}, {100 * high:.1f}\]")
        assert re.search(rf"^\| .* \| {re.escape(' | '.join(cells))} \|$", page, re.MULTILINE), (start, cells)


def test_the_page_that_chooses_a_method() -> None:
    page = (ROOT / "docs" / "choosing-a-method.md").read_text(encoding="utf-8")
    shown = [line for line in page.splitlines() if line.startswith(("| **Average", "| Trained"))]
    assert len(shown) == 4
    for name, lines in (("methods-xnli", shown[:2]), ("quickstart", shown[2:])):
        printed = kept_results.markdown(name).splitlines()
        for line in lines:  # the last table is the calibrated one
            start = line[:20]
            assert line == [other for other in printed if other.startswith(start)][-1], name
