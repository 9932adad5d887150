"""The specifications under examples/ are what this version reads, and their rows are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfix.runs.specification import RunSpec

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
LORA = ["adapter={method: lora, rank: 8}", "train.learning_rate=0.002"]
BASE = ["adapter=base", "train=null"]


def test_there_is_one_for_every_benchmark() -> None:
    assert {"belebele", "mgsm", "xnli", "xquad"} <= {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize(("method", "overrides"), [("prefix", []), ("lora", LORA), ("base", BASE)])
def test_an_example_can_be_run(path: Path, method: str, overrides: list[str], tmp_path: Path) -> None:
    if path.stem == "belebele" and method != "base":
        (tmp_path / "train.json").write_text("[]")
        overrides = [*overrides, f"train.data.files={tmp_path}/{{split}}.json"]
    spec = RunSpec.load(path, overrides)
    spec.check_data()
    assert spec.method == method
    assert {entry.task for entry in spec.evaluate} == {path.stem}


def test_few_shot_prompting_as_the_example_says() -> None:
    few = "evaluate.0.few_shot={shots: 8, language: target}"
    path = next(path for path in EXAMPLES if path.stem == "mgsm")
    spec = RunSpec.load(path, [*BASE, "evaluate.0.template=native", few])
    assert spec.evaluate[0].few_shot is not None
    assert (spec.evaluate[0].few_shot.shots, spec.evaluate[0].few_shot.language) == (8, "target")
