"""From a study's file to its runs: the order, what merges, what is left out, and every mistake where it stands."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from transfix.errors import ProblemsError, TransfixError
from transfix.runs.specification import RunSpec
from transfix.studies.expansion import StudyRun, expand, runs
from transfix.studies.specification import StudySpec

Make = Callable[..., dict[str, Any]]
LORA = {"adapter": {"method": "lora", "rank": 4}, "train.learning_rate": 0.002}


def of(content: dict[str, Any], *overrides: str, **how: Any) -> tuple[StudyRun, ...]:
    loaded = StudySpec.load(content, overrides, **how)
    return runs(loaded, expand(loaded))


def labels(content: dict[str, Any], *overrides: str, **how: Any) -> list[str]:
    return [run.label for run in of(content, *overrides, **how)]


def problems(content: dict[str, Any], *overrides: str, **how: Any) -> list[str]:
    with pytest.raises(ProblemsError) as caught:
        of(content, *overrides, **how)
    return [str(problem) for problem in caught.value.problems]


def test_the_first_axis_varies_slowest_and_base_has_no_seeds(study: Make) -> None:
    content = study(matrix={"seed": [0, 1], "method": {"base": {"adapter": "base"}, "lora": LORA, "prefix": {}}})
    assert labels(content) == [
        "method base",
        "seed 0, method lora",
        "seed 0, method prefix",
        "seed 1, method lora",
        "seed 1, method prefix",
    ]
    base, lora, prefix, *_ = of(content)
    assert [cell.varied["seed"] for cell in base.cells] == ["0", "1"]
    assert (base.spec.train, base.spec.seed) == (None, 0)
    assert lora.spec.train is not None
    assert prefix.spec.train is not None
    assert (lora.spec.train.learning_rate, prefix.spec.train.learning_rate) == (0.002, 0.01)
    assert labels(content) == labels(content)


def test_values_of_a_path(study: Make) -> None:
    content = study(matrix={"adapter": ["prefix", {"method": "lora", "rank": 2}, "base"], "train.rows": [6, 9]})
    assert labels(content) == [
        "adapter Prefix tuning, 10 tokens, rows 6",
        "adapter Prefix tuning, 10 tokens, rows 9",
        "adapter LoRA r=2, rows 6",
        "adapter LoRA r=2, rows 9",
        "adapter Base",
    ]
    tokens = of(study(matrix={"adapter.0.tokens": [2, 3], "adapter.init": ["zero"]}))
    assert [run.spec.title for run in tokens] == [f"Prefix tuning, {n} tokens, zero start" for n in (2, 3)]


def test_exclude(study: Make) -> None:
    matrix = {"seed": [0, 1, 2], "method": {"lora": LORA, "prefix": {}}}
    assert labels(
        study(matrix=matrix, exclude=[{"method": "lora", "seed": [1, 2]}, {"method": "prefix", "seed": 0}])
    ) == [
        "seed 0, method lora",
        "seed 1, method prefix",
        "seed 2, method prefix",
    ]


def test_groups_have_settings_and_axes_of_their_own_and_share_runs(study: Make) -> None:
    content = study(
        matrix={"seed": [0, 1]},
        groups={
            "length": {"matrix": {"adapter.tokens": [2, 4]}},
            "methods": {"matrix": {"method": {"lora": LORA, "prefix": {}}, "seed": [0]}, "base": {"train.epochs": 1}},
        },
    )
    found = of(content)
    assert [run.spec.title for run in found] == [
        "Prefix tuning, 2 tokens",
        "Prefix tuning, 4 tokens",
        "Prefix tuning, 2 tokens",
        "Prefix tuning, 4 tokens",
        "LoRA r=4",
    ]
    assert [cell.group for cell in found[0].cells] == ["length", "methods"]


def test_a_share_of_the_layers(study: Make) -> None:
    shares = [{"share": "1/4"}, {"share": 0.7}, {"share": 1}, 1]
    found = of(study(matrix={"adapter.layers": shares}))
    assert [run.spec.adapter[0].layers for run in found] == [1, 3, "all"]  # type: ignore[attr-defined]
    assert [len(run.cells) for run in found] == [2, 1, 1]
    (problem,) = problems(study(matrix={"adapter.layers": [{"share": 2}]}))
    assert (
        problem == "matrix.adapter.layers[0]: {'share': 2} is not allowed (allowed: {share: 30/32}, above 0, at most 1)"
    )
    began = time.monotonic()
    for endless in ("1e-9999999", "1e9999999", "1e-9999999/2"):
        (problem,) = problems(study(matrix={"adapter.layers": [{"share": endless}]}))
        assert "(allowed: {share: 30/32}, above 0, at most 1)" in problem
    assert time.monotonic() - began < 5
    (problem,) = problems(study(matrix={"adapter.layers": [{"share": 0.5}]}), "base.model=/no/such/model")
    assert "how many layers has /no/such/model?" in problem


def test_one_run_measured_in_several_ways(study: Make) -> None:
    evaluate = [{"task": "xquad", "languages": ["de"], "limit": 3}]
    sampling = {"evaluate.0.temperature": [0, 0.7], "evaluate.0.top_p": [1, 0.9]}
    left_out = [{"evaluate.0.temperature": 0, "evaluate.0.top_p": 0.9}]
    content = study(matrix=sampling, exclude=left_out)
    content["base"]["evaluate"] = evaluate
    (run,) = of(content)
    results = [(entry.result, entry.temperature, entry.top_p) for entry in run.spec.evaluate]
    assert results == [
        ("xquad", 0, 1),
        ("xquad-temperature0.7", 0.7, 1),
        ("xquad-temperature0.7-top_p0.9", 0.7, 0.9),
    ]
    # a study that grows renames nothing
    sampling["evaluate.0.temperature"].insert(0, 0.3)
    (more,) = of(content)
    assert {entry.result for entry in run.spec.evaluate} < {entry.result for entry in more.spec.evaluate}


def test_rows_of_one_measurement_are_added_up(study: Make) -> None:
    some = [{"task": "xnli", "languages": ["de", "fr"], "limit": 9}]
    (run,) = of(study(matrix={"evaluate": [some, [{"task": "xnli", "languages": ["sw"], "limit": 30}]]}))
    (entry,) = run.spec.evaluate
    assert (entry.languages, entry.limit, entry.name) == (("deu_Latn", "fra_Latn", "swh_Latn"), 30, None)
    (run,) = of(study(matrix={"evaluate.languages": ["de", "all"]}))
    assert run.spec.evaluate[0].languages == "all"


def test_names_that_collide_are_a_problem(study: Make) -> None:
    named = [[{"task": "xquad", "name": "mine", "temperature": t}] for t in (0, 1)]
    (problem,) = problems(study(matrix={"evaluate": named}))
    assert "'mine' would name 2 different measurements of one run" in problem


def test_all_problems_at_once_where_they_stand(study: Make) -> None:
    content = study(
        matrix={"sed": [0, 1], "adapter": ["prefix", {"method": "lora", "rankk": 4}], "train.rows": ["many", 3]},
        exclude=[{"seed": 2}],
        groups={"a": {"base": {"train.epochs": 0}}, "b": {"matrix": {"big": {"x": {"train.batch_rows": -1}}}}},
    )
    content["base"]["train"]["task"] = "mnlii"
    found = problems(content)
    for start in (
        "exclude[0].seed: there is no such axis; did you mean 'sed'?",
        "base.train.task: unknown task 'mnlii'",
        "matrix.sed[0]: unknown key; did you mean 'seed'?",
        "matrix.sed[1]: unknown key",
        "matrix.adapter[1].rankk: unknown key; did you mean 'rank'?",
        "matrix.train.rows[0]: 'many' is not allowed",
        "groups.a.base.train.epochs: 0 is not allowed",
        "groups.b.matrix.big.x.train.batch_rows: -1 is not allowed",
    ):
        assert [problem for problem in found if problem.startswith(start)], (start, found)
    assert len(found) == len(set(found)) == 8


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"matrix": {"seed": 3}}, "matrix.seed: 3 is not allowed (allowed: a list of values"),
        ({"matrix": {"seed": []}}, "matrix.seed: is empty"),
        ({"matrix": {"method": {"a": "prefix"}}}, "matrix.method.a: 'prefix' is not allowed"),
        ({"matrx": {}}, "matrx: unknown key; did you mean 'matrix'?"),
        ({"name": "a/b"}, "name: 'a/b' is no name: use letters"),
        ({"groups": {"a b": {}}}, "groups.a b: 'a b' is no name: use letters"),
        ({"exclude": [{}]}, "exclude[0]: is empty: nothing would be left out"),
        ({"exclude": [{"method": "lora"}]}, "exclude[0]: no combination is like this"),
        ({"scales": {"small": {"matrx": {}}}}, "scales.small.matrx: unknown key; did you mean 'matrix'?"),
        ({"scales": {"small": {"title": "x"}}}, "scales.small.title: unknown key (allowed: base, matrix, exclude)"),
        ({"scales": {"small": 3}}, "scales.small: 3 is not a mapping"),
        ({"groups": {"a": {"seed": 1}}}, "groups.a.seed: unknown key"),
        ({"base": [1]}, "base: [1] is not allowed"),
        ({"scales": 3}, "scales: 3 is not allowed"),
        ({"exclude": "lora"}, "exclude: 'lora' is not allowed"),
    ],
)
def test_mistakes_of_the_study_itself(study: Make, changes: dict[str, Any], problem: str) -> None:
    found = problems(study(**changes))
    assert any(item.startswith(problem) for item in found), found


def test_an_axis_into_a_base_of_another_shape(study: Make) -> None:
    wrong = "evaluate[0] is [[]], which has no keys"
    base = {**study()["base"], "evaluate": [[[]]]}
    found = problems(study(base=base, matrix={"evaluate.limit": [1, 2]}))
    assert {f"matrix.evaluate.limit[{index}]: {wrong}" for index in (0, 1)} <= set(found)
    named = {"few": {"evaluate.limit": 1}}
    assert f"matrix.size.few.evaluate.limit: {wrong}" in problems(study(base=base, matrix={"size": named}))
    scaled = study(base=base, scales={"small": {"base": {"evaluate.limit": 1}}})
    assert f"base.evaluate.limit: {wrong}" in problems(scaled)
    assert f"base.evaluate.limit: {wrong}" in problems(study(base=base), "evaluate.limit=3")
    with pytest.raises(ProblemsError, match=re.escape(f"evaluate.limit: {wrong}")):
        RunSpec.load(base, ["evaluate.limit=3"])


def test_nothing_left_and_other_files(study: Make, tmp_path: Path) -> None:
    with pytest.raises(TransfixError, match="all combinations are excluded"):
        of(study(exclude=[{"method": ["base", "prefix"]}]))
    path = tmp_path / "run.yaml"
    path.write_text("model: a\nadapter: base\n")
    with pytest.raises(TransfixError, match=r"looks like one run's specification: `transfix train`"):
        StudySpec.load(path)
    path.write_text("[1]")
    with pytest.raises(TransfixError, match="where a mapping is needed"):
        StudySpec.load(path)


def test_excluded_names_that_are_numbers(study: Make) -> None:
    content = study(matrix={"rank": {1: {"adapter": "base"}, 2: {"adapter": "prefix"}}}, exclude=[{"rank": 1}])
    assert labels(content) == ["rank 2"]
    assert "no combination is like this" in problems(study(matrix={"seed": [1, 2]}, exclude=[{"seed": True}]))[0]


def test_scales_are_laid_over_the_study(study: Make) -> None:
    content = study(
        scales={
            "small": {"base": {"train.rows": 6}},
            "full": {"base": {"train.rows": 30}, "matrix": {"seed": [0, 1]}, "exclude": [{"seed": 1}]},
        }
    )
    assert [run.spec.train.rows for run in of(content) if run.spec.train] == [6]
    assert [run.spec.train.rows for run in of(content, scale="full") if run.spec.train] == [30]
    assert problems(content, scale="huge") == ["--scale huge: there is no such scale (allowed: small, full)"]
    assert "the study has no scales" in problems(study(), scale="small")[0]


def test_overrides_and_models(study: Make, tiny_model: Path) -> None:
    content = study(groups={"a": {"matrix": {"train.rows": [6, 9]}, "exclude": []}})
    assert len(of(content)) == 3
    found = of(content, "train.epochs=2", "matrix.seed=[3, 4]", "groups.a.matrix.train.rows=[12]")
    assert [(run.spec.train.rows, run.spec.train.epochs) for run in found if run.spec.train] == [(12, 2)] * 2
    assert {run.spec.seed for run in found if run.spec.train} == {3, 4}
    assert "base.train.epochs: 0 is not allowed" in problems(content, "base.train.epochs=0")[0]
    assert "groups.b.base.seed: there is no such part of the study (allowed: groups: a)" in problems(
        content, "groups.b.base.seed=1"
    )
    (problem,) = problems(content, "matrix.method.prefx.train.epochs=2")
    assert "method has no value 'prefx'; did you mean 'prefix'? (allowed: base, prefix)" in problem
    (problem,) = problems(content, "matrix.methd.prefix.train.epochs=2")
    assert "there is no axis 'methd'; did you mean 'method'?" in problem
    seeds = study(matrix={"seed": [0], "method": {"lora": LORA, "prefix": {}}})
    assert labels(seeds, "matrix.seed=[5]") == ["seed 5, method lora", "seed 5, method prefix"]  # in its place
    assert "seed: an axis sets it in its runs, after the base: --set matrix.seed=..." in problems(seeds, "seed=5")
    rates = study(matrix={"method": {"lora": LORA | {"train.learning_rate": 0.1}, "prefix": {}}})
    (problem,) = problems(rates, "train.learning_rate=0.5")
    assert "--set matrix.method.lora.train.learning_rate=..." in problem
    lora, prefix = of(rates, "matrix.method.lora.train.learning_rate=0.5")
    assert lora.spec.train is not None
    assert prefix.spec.train is not None
    assert lora.spec.train.learning_rate == 0.5 != prefix.spec.train.learning_rate
    assert [run.spec.method for run in of(rates, "matrix.method.lora={adapter: base}")] == ["base", "prefix"]
    two = of(study(), models=[str(tiny_model), "smollm2-135m"])
    assert [run.label for run in two][::2] == ["model tiny-gemma, method base", "model smollm2-135m, method base"]
    varied = study(matrix={"model": ["a", "b"]})
    assert [run.spec.model for run in of(varied, models=["c"])] == ["c"]


def test_written_and_read_back(study: Make, tmp_path: Path) -> None:
    content = study(groups={"a": {"title": "A", "matrix": {"seed": [1]}}}, exclude=[{"method": "base"}])
    loaded = StudySpec.load(content, ["train.rows=9"])
    again = StudySpec.load(yaml.safe_load(loaded.to_yaml()))
    assert again == loaded
    assert [run.name for run in runs(again, expand(again))] == [run.name for run in runs(loaded, expand(loaded))]
    path = tmp_path / "mine.yaml"
    del content["name"]
    path.write_text(yaml.safe_dump(content))
    assert StudySpec.load(path).name == "mine"
