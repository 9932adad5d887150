"""A few faults of every kind; `make faults` injects all of them. And that the suite sees what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from tests.faults import damage, disturbed, operations, paths, results, scenes
from tests.faults.disturbed import Fault
from tests.faults.scenes import Stage
from tests.faults.verdicts import BAD, BADLY, GOOD, LOST, SILENT


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home = tmp_path_factory.mktemp("faults")
    with scenes.settled(home) as model:
        yield Stage(home, model)


def outcomes(faults: list[Fault], place: Path) -> list[str]:
    """What came of faults, none of which may be a failure."""
    found = {fault.name: fault.inject(place) for fault in faults}
    assert {name: verdict for name, verdict in found.items() if verdict.outcome in BAD} == {}
    return [verdict.outcome for verdict in found.values()]


def some(faults: list[Fault], kind: str, count: int) -> list[Fault]:
    """Faults of a kind, spread over all of them."""
    alike = [fault for fault in faults if fault.kind == kind]
    return [alike[(2 * number + 1) * len(alike) // (2 * count)] for number in range(count)]


def test_kills_of_a_training(stage: Stage, tmp_path: Path) -> None:
    faults = list(disturbed.faults(stage["train"], tmp_path / "place"))
    assert sum(fault.kind == "kill" for fault in faults) > 100
    chosen = [*some(faults, "kill", 2), *some(faults, "power loss", 1)]
    assert set(outcomes(chosen, tmp_path / "place")) == {"recovered"}


def test_kills_and_errors_of_a_measurement(stage: Stage, tmp_path: Path) -> None:
    faults = list(disturbed.faults(stage["evaluate"], tmp_path / "place"))
    chosen = [
        fault
        for kind in ("kill", "power loss", "full disk", "no permission", "input/output error")
        for fault in some(faults, kind, 1)
    ]
    found = outcomes(chosen, tmp_path / "place")
    assert found[:2] == ["recovered", "recovered"]
    assert "refused" in found[2:]


def test_damage_to_a_run(stage: Stage, tmp_path: Path) -> None:
    kept = next(damage.all_kept(stage))
    faults = list(damage.faults(kept))
    assert len(faults) > 200
    found = outcomes(faults[7 :: len(faults) // 6], tmp_path / "place")
    assert found.count("refused") >= 3


def test_faults_of_a_calibration(stage: Stage, tmp_path: Path) -> None:
    faults = list(disturbed.faults(stage["calibrate"], tmp_path / "place"))
    chosen = [fault for kind in ("kill", "power loss", "full disk") for fault in some(faults, kind, 1)]
    assert outcomes(chosen, tmp_path / "place") == ["recovered", "recovered", "refused"]
    kept = next(kept for kept in damage.all_kept(stage) if "label_means" in kept.files[0])
    found = [fault for fault in damage.faults(kept) if not fault.which.endswith("gone")]
    assert set(outcomes(found[3 :: len(found) // 3], tmp_path / "place")) == {"refused"}


def test_refused_paths(stage: Stage, tmp_path: Path) -> None:
    every = {(fault.where, fault.which): fault for fault in paths.faults(stage)}
    chosen = [
        ("report DIR", "not there"),
        ("train SPEC", "a folder"),
        ("study FILE", "an archive"),
        ("runs DIR", "nothing"),
    ]
    assert "refused" in outcomes([every[which] for which in chosen], tmp_path / "place")


# ---- what the suite sees


def test_a_write_that_is_not_atomic_is_seen(stage: Stage, tmp_path: Path) -> None:
    """Planted: predictions are written right where they are to be, and the machine loses its power."""
    from transfix.storage import atomic

    def write(path: Path, content: object) -> None:
        if callable(content):
            content(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)  # type: ignore[arg-type]

    scene, place = stage["evaluate"], tmp_path / "place"
    with mock.patch.object(atomic, "write_file", write):
        changes = sum(operation.kind in operations.CHANGES for operation in disturbed.noted(scene, place))
        found = (disturbed.killed(scene, number, True, place).outcome for number in range(changes // 2, changes))
        assert LOST in found


def test_an_error_that_is_swallowed_is_seen(stage: Stage, tmp_path: Path) -> None:
    """Planted: what cannot be read of a run is taken for what is not there, and what is raised ends in a traceback."""
    from transfix.runs.store import files

    kept = next(damage.all_kept(stage))
    faults = [fault for fault in damage.faults(kept) if "deu_Latn.parquet, bit" in fault.which]
    with mock.patch.object(files, "prediction_files", return_value=[]):
        assert faults[0].inject(tmp_path / "place").outcome == SILENT
    with mock.patch.object(files, "prediction_files", side_effect=ZeroDivisionError):
        assert faults[0].inject(tmp_path / "place").outcome == BADLY


# ---- what is said of all of them


def test_the_page_says_what_was_counted() -> None:
    content = json.loads(results.RESULTS.read_text(encoding="utf-8"))
    page = results.PAGE.read_text(encoding="utf-8")
    assert results.table(content) == page.partition(f"{results.BEGIN}\n")[2].partition(results.END)[0]
    assert all(set(entry) <= {"kind", "where", *GOOD, *BAD} for entry in content["faults"])


def test_unflushed_files_are_lost_and_flushed_ones_are_not(tmp_path: Path) -> None:
    flushed = operations._states(tmp_path)
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"x" * 8)
    flushed.update({os.stat(tmp_path / "one").st_ino: operations._states(tmp_path)[os.stat(tmp_path / "one").st_ino]})
    operations._lose(tmp_path, flushed)
    assert (tmp_path / "one").read_bytes() == b"x" * 8
    assert (tmp_path / "two").read_bytes() == b"xxxx\0\0\0\0"
