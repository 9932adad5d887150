"""Seeds of a method as one column, what it is compared with, groups of languages, and curves over a setting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transfix import languages, report
from transfix.report.contents import Method, Report
from transfix.statistics import one_run, over_seeds, tests
from transfix.statistics.bootstrap import Scored

LANGUAGES = ["eng_Latn", "deu_Latn", "rus_Cyrl", "bul_Cyrl", "tha_Thai", "swh_Latn"]


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory, study: Path, request: pytest.FixtureRequest) -> Path:
    """A base, a LLaMA-Adapter with three seeds and a LoRA with two."""
    from tests.report.conftest import Store

    store = Store(tmp_path_factory.mktemp("seeds") / "runs")
    store.run("base", "base", 0.35, 0.34, seed=3, languages=LANGUAGES)
    for number, skill in enumerate((0.62, 0.5, 0.68)):
        store.run(f"adapter-{number}", "llama_adapter", 0.6, skill, seed=10 + number, languages=LANGUAGES,
                  trained_with=number)  # fmt: skip
    for number in (2, 0):
        store.run(f"lora-{number}", "lora", 0.6, 0.42, seed=20 + number, languages=LANGUAGES, trained_with=number)
    return store.root


def frames(method: Method) -> list[dict[str, Any]]:
    return [{code: p.columns for code, p in run.predictions["xnli"].items()} for run in method.runs]


def scored(method: Method) -> list[dict[str, Scored]]:
    return [{code: one_run.scored(frame, code) for code, frame in one.items()} for one in frames(method)]


def difference(first: Method, second: Method, paired: bool | None = None) -> dict[str, Any]:
    return over_seeds.difference_of(*(over_seeds.together(scored(method)) for method in (first, second)), paired=paired)


def test_runs_that_differ_by_seed_are_one_column(seeded: Path) -> None:
    found = report.collect(seeded)
    (task,) = found.tasks
    base, adapter, lora = task.methods
    assert [method.label for method in task.methods] == ["Base model", "LLaMA-Adapter", "LoRA"]
    assert [method.seeds for method in task.methods] == [1, 3, 2]
    assert [run.spec["seed"] for run in lora.runs] == [0, 2]
    assert [label for label, _ in found.runs] == [
        "Base model",
        *(f"LLaMA-Adapter, seed {seed}" for seed in (0, 1, 2)),
        "LoRA, seed 0",
        "LoRA, seed 2",
    ]
    expected = over_seeds.summary_of(scored(adapter))
    assert adapter.summary == expected
    assert adapter.summary["languages"]["deu_Latn"]["sd"] > 0
    assert base.summary["macro"]["all"]["sd"] is None
    assert adapter.against_base == difference(adapter, base)
    assert base.against_base is None
    seeds = next(setting for setting in task.settings if setting.name == "Seeds")
    assert ("LLaMA-Adapter", "0, 1 and 2") in seeds.by_method


def test_every_method_is_compared_with_base_and_lora(seeded: Path) -> None:
    (task,) = report.collect(seeded).tasks
    base, adapter, lora = task.methods
    assert task.references == ("base", "lora")
    assert task.reference(adapter, "lora") is task.reference(base, "lora") is lora
    assert task.reference(lora, "lora") is task.reference(base, "base") is None
    against = task.against(adapter, "lora")
    # 3 seeds against 2: not paired
    assert against == difference(adapter, lora, paired=False)
    assert against is task.against(adapter, "lora")
    assert against["wins"] + against["ties"] + against["losses"] == len(LANGUAGES)
    codes = LANGUAGES[1:]
    scores = [{code: np.mean([f[code]["score"] for f in frames(m)]) for code in codes} for m in (adapter, lora)]
    assert task.rank_correlation(adapter, lora) == pytest.approx(tests.rank_correlation(*scores))


def test_seeds_of_other_numbers_are_not_paired(store: Any) -> None:
    for number in (0, 1):
        store.run(f"a{number}", "lora", seed=number, trained_with=number, languages=LANGUAGES)
        store.run(f"b{number}", "llama_adapter", seed=5 + number, trained_with=number, languages=LANGUAGES)
        store.run(f"c{number}", [{"method": "prefix"}], seed=8, trained_with=number + 4, languages=LANGUAGES)
    (task,) = report.collect(store.root).tasks
    prefix, adapter, lora = (next(m for m in task.methods if m.label == name) for name in
                             ("Prefix tuning", "LLaMA-Adapter", "LoRA"))  # fmt: skip
    same, other = task.difference(adapter, lora), task.difference(prefix, lora)
    assert same is not None
    assert other is not None
    assert (same["seeds_paired"], other["seeds_paired"]) == (True, False)


def test_an_unfinished_seed_is_left_out_and_said(store: Any) -> None:
    store.run("a", "lora", languages=LANGUAGES, seed=1)
    store.run("b", "lora", languages=LANGUAGES, seed=2, trained_with=1)
    store.run("c", "lora", languages=LANGUAGES[:2], seed=3, trained_with=2)
    (task,) = report.collect(store.root).tasks
    (lora,) = task.methods
    assert lora.seeds == 2
    assert lora.complete
    assert "LoRA, seed 2 has 2 of 6 languages: it is not in its column" in task.notes


def test_seeds_of_other_rows_are_not_averaged(store: Any) -> None:
    store.run("a", "lora", languages=LANGUAGES, seed=1)
    store.run("b", "lora", languages=LANGUAGES, seed=2, trained_with=1, rows=60)
    (task,) = report.collect(store.root).tasks
    assert task.rows("deu_Latn") == "60"
    assert f"LoRA: {40 * len(LANGUAGES)} rows that not every seed answered are not counted" in task.notes
    folder = store.run("c", "lora", languages=LANGUAGES, seed=2, trained_with=2, rows=60)
    columns = store.answers(0.5, 1)
    columns["gold"][:3] = columns["gold"][1:4]
    store.predictions(folder / "predictions" / "xnli" / "deu_Latn.parquet", columns)
    (task,) = report.collect(store.root).tasks
    assert task.methods[0].seeds == 1
    assert any("the seeds of LoRA do not go together" in note for note in task.notes)


def test_the_same_seed_twice_is_two_columns(store: Any) -> None:
    store.run("a", "lora", languages=["deu_Latn"])
    store.run("b", "lora", languages=["deu_Latn"])
    store.run("c", "lora", languages=["deu_Latn"], trained_with=1)
    (task,) = report.collect(store.root).tasks
    assert sorted((method.label, method.seeds) for method in task.methods) == [("LoRA (a)", 2), ("LoRA (b)", 1)]


def test_groups_are_averages_of_their_languages(seeded: Path) -> None:
    (task,) = report.collect(seeded).tasks
    scripts = {group.name: group for group in task.groups["script"]}
    assert {name: set(group.codes) for name, group in scripts.items()} == {
        "Latin": {"deu_Latn", "swh_Latn"},
        "Cyrillic": {"rus_Cyrl", "bul_Cyrl"},
        "Thai": {"tha_Thai"},
    }
    adapter = task.methods[1]
    entry = scripts["Cyrillic"].by_method[1]
    assert entry is not None
    scores = np.array([[f[c]["score"] for c in scripts["Cyrillic"].codes] for f in frames(adapter)])
    assert entry["score"] == pytest.approx(scores.mean())
    assert entry["sd"] == pytest.approx(scores.mean(axis=(1, 2)).std(ddof=1))
    assert entry["interval"][0] < entry["score"] < entry["interval"][1]
    alone = scripts["Thai"].by_method[1]
    thai = adapter.language("tha_Thai")
    assert alone is not None
    assert thai is not None
    assert alone["interval"] == pytest.approx(thai["interval"])
    families = {group.name for group in task.groups["family"]}
    assert families == {languages.get(code).family for code in LANGUAGES[1:]}
    classes = [group.name for group in task.groups["resources"]]
    assert classes == sorted({f"class {languages.get(code).resource_class}" for code in LANGUAGES[1:]}, reverse=True)


def curve(found: Report, setting: str) -> list[tuple[str, list[float]]]:
    (one,) = (curve for curve in found.curves if curve.setting == setting)
    return [(series.label, [point.x for point in series.points]) for series in one.series]


def test_curves_are_over_the_one_setting_that_differs(store: Any) -> None:
    adapter, lora = store.parts["llama_adapter"][0], store.parts["lora"][0]
    short = LANGUAGES[:3]
    for number, tokens in enumerate((10, 5, 30)):
        folder = store.run(f"a{tokens}", [adapter | {"tokens": tokens}], languages=short, seed=number)
        (folder / "adapter").mkdir()
        shapes = {f"llama_adapter.{layer}.embedding": [tokens, 640] for layer in range(18)}
        (folder / "adapter" / "adapter.json").write_text(json.dumps({"shapes": shapes}))
    store.run("layers", [adapter | {"layers": 4}], languages=short)
    store.run("other", [adapter | {"layers": [0, 2], "tokens": 7}], languages=short)  # differs in two: in no curve
    store.run("r8", [lora], languages=short)
    store.run("r8-1", [lora], languages=short, trained_with=1, seed=5)
    store.run("r4", [lora | {"rank": 4}], languages=short)
    store.run("r64", [lora | {"rank": 64}], languages=short, model="other/Model-1.5B")
    found = report.collect(store.root)
    assert curve(found, "tokens") == [("LLaMA-Adapter", [5, 10, 30])]
    assert curve(found, "layers") == [("LLaMA-Adapter", [4, 18])]
    assert curve(found, "rank") == [("LoRA", [4, 8])]
    assert {one.setting for one in found.curves} == {"tokens", "layers", "rank"}
    (rank,) = (one for one in found.curves if one.setting == "rank")
    eight = rank.series[0].points[1]
    method = next(m for m in found.tasks[0].methods if m.label == eight.label)
    assert method.seeds == 2
    assert eight.without_english == method.macro("without_english")
    assert eight.english == method.language("eng_Latn")


def test_curves_over_temperature_rows_and_model_size(store: Any) -> None:
    for number, temperature in enumerate((0.7, 0.0, 1.0)):
        meta = store.meta | {"task": "xquad", "temperature": temperature, "top_p": 1.0}
        for name, parts in (("lora", "lora"), ("base", "base")):
            store.run(name, parts, languages=LANGUAGES[:3], meta=meta, result=f"xquad-{number}")
    train = {"task": "mnli", "data": "snapshot", "languages": ["eng_Latn"], "epochs": 3}
    for rows in (500, 3000, 1000):
        store.run(f"rows-{rows}", [{"method": "prefix"}], languages=LANGUAGES[:3], train=train | {"rows": rows})
    store.run("1b", "lora", languages=LANGUAGES[:3], model="google/gemma-3-1b-pt")
    store.run("270m", "lora", languages=LANGUAGES[:3], model="google/gemma-3-270m")
    found = report.collect(store.root)
    assert [len(values) for _, values in curve(found, "temperature")] == [3, 3]
    assert {label for label, _ in curve(found, "temperature")} == {"Base model", "LoRA"}
    assert curve(found, "rows") == [("Prefix tuning", [500, 1000, 3000])]
    assert curve(found, "model size") == [("LoRA", [270e6, 1e9])]
    (one,) = (entry for entry in found.curves if entry.setting == "temperature")
    assert one.title == "XQuAD"


def test_a_share_of_the_layers_is_no_other_setting_where_models_differ(store: Any) -> None:
    prefix = {"method": "prefix", "tokens": 10}
    for model, layers in (("some/llama-1B", [0, 1, 2]), ("some/llama-8B", [1, 2, 3, 4])):
        store.run(model[-2:], [prefix | {"layers": layers}], languages=LANGUAGES[:3], model=model)
    found = report.collect(store.root)
    assert curve(found, "model size") == [("Prefix tuning", [1e9, 8e9])]
    store.run("other", [prefix | {"layers": [4]}], languages=LANGUAGES[:3], model="some/llama-8B")
    assert "model size" not in {one.setting for one in report.collect(store.root).curves}


def test_exact_match_has_a_curve_over_temperature_too(store: Any) -> None:
    for number, temperature in enumerate((0.0, 0.7)):
        meta = store.meta | {"task": "xquad", "temperature": temperature, "top_p": 1.0}
        folder = store.run("lora", "lora", languages=LANGUAGES[:2], meta=meta, result=f"xquad-{number}")
        for code in LANGUAGES[:2]:
            columns = store.answers(0.5, 1)
            columns["metric_exact_match"] = [float(row < 40 + 20 * number) for row in range(100)]
            store.predictions(folder / "predictions" / f"xquad-{number}" / f"{code}.parquet", columns, meta)
    found = {one.title: one for one in report.collect(store.root).curves if one.setting == "temperature"}
    assert set(found) == {"XQuAD", "XQuAD, exact match"}
    points = found["XQuAD, exact match"].series[0].points
    assert [point.all["score"] for point in points if point.all] == pytest.approx([0.4, 0.6])
    assert all(
        point.all["interval"][0] < point.all["score"] < point.all["interval"][1] for point in points if point.all
    )


@pytest.mark.parametrize("torn", ["{", "[]", '{"shapes": 3}'])
def test_a_torn_adapter_leaves_the_point_out(store: Any, torn: str) -> None:
    adapter = store.parts["llama_adapter"][0]
    for layers in ("all", 4, 9):
        folder = store.run(f"l{layers}", [adapter | {"layers": layers}], languages=["deu_Latn"])
        (folder / "adapter").mkdir()
        (folder / "adapter" / "adapter.json").write_text(torn)
    assert curve(report.collect(store.root), "layers") == [("LLaMA-Adapter", [4, 9])]


def test_the_same_run_in_two_studies_is_called_by_its_study(store: Any) -> None:
    root = store.root
    for name in ("one", "two"):
        store.root = root / name / "runs"
        store.run("base-aaa", "base", languages=LANGUAGES[:3])
    assert [m.label for m in report.collect(root).tasks[0].methods] == ["Base model (one)", "Base model (two)"]


def test_intervals_stay_on_the_scale_of_scores(store: Any) -> None:
    """What drawing seeds adds is stretched: beside 0 and 1 it would leave it."""
    for seed, skill in enumerate((0.01, 0.4)):
        store.run(f"lora-{seed}", "lora", skill, skill, languages=LANGUAGES[:3], rows=20, trained_with=seed, seed=seed)
    (method,) = report.collect(store.root).tasks[0].methods
    bounds = [method.language(code)["interval"] for code in LANGUAGES[:3]] + [method.macro("all")["interval"]]
    assert min(low for low, _ in bounds) == 0.0
    assert all(0 <= low < high <= 1 for low, high in bounds)
