"""What a report says of runs that are whole, half done, torn, foreign or not comparable."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transfix import report
from transfix.errors import TransfixError
from transfix.runs import records
from transfix.statistics import one_run, over_seeds


def test_numbers_come_from_the_predictions(store: Any) -> None:
    folder = store.three_methods()
    for run in folder.iterdir():  # what a run says of itself is not believed
        (run / "metrics.json").write_text(
            json.dumps({"format": 2, "results": {"xnli": {"languages": {"deu_Latn": {"score": 1.0}}}}})
        )
    found = report.collect(folder)
    (task,) = found.tasks
    assert (task.name, task.title) == ("xnli", "XNLI")
    assert [method.label for method in task.methods] == ["Base model", "LLaMA-Adapter", "LoRA"]
    assert {language.code for language in task.languages} == set(store.xnli)
    assert task.chance == pytest.approx(1 / 3)
    assert found.notes == task.notes == ()
    for method in task.methods:
        means = []
        for code in store.xnli:
            columns = method.run.predictions["xnli"][code].columns
            right = [answer == gold for answer, gold in zip(columns["answer"], columns["gold"], strict=True)]
            entry = method.language(code)
            assert entry is not None
            assert entry["score"] == pytest.approx(np.mean(right))
            assert entry["n"] == 100
            means.append(np.mean(right))
        everything, others = method.macro("all"), method.macro("without_english")
        assert everything is not None
        assert everything["score"] == pytest.approx(np.mean(means))
        assert others is not None
        assert others["score"] == pytest.approx(np.mean(means[1:]))


def test_only_some_runs(store: Any) -> None:
    """The others do not move a number, a label or a note."""
    folder = store.three_methods()
    alone = report.collect(folder)
    store.run("lora-gemma-3-270m-dddddddddddd", "lora", 0.4, 0.4, seed=6, languages=store.xnli[:3])
    (folder / "torn" / "predictions").mkdir(parents=True)
    names = [path.name for path in folder.iterdir() if path.name[-1] in "abc"]
    found = report.collect(folder, only=names)
    assert report.markdown(found) == report.markdown(alone)
    assert [label for label, _ in found.runs] == ["Base model", "LLaMA-Adapter", "LoRA"]
    assert found.notes == ()
    assert report.markdown(report.collect(folder)) != report.markdown(alone)
    with pytest.raises(TransfixError, match="has no run nothing"):
        report.collect(folder, only=[*names, "nothing"])


def test_languages_are_english_first_then_by_the_best_method(study: Path) -> None:
    (task,) = report.collect(study).tasks
    lora = task.methods[2]
    assert task.languages[0].code == "eng_Latn"
    values = [entry["score"] for language in task.languages[1:] if (entry := lora.language(language.code))]
    assert values == sorted(values, reverse=True)


def test_claims_say_what_the_intervals_say(study: Path) -> None:
    (task,) = report.collect(study).tasks
    base, _, lora = task.methods
    macro = lora.macro("without_english")
    assert macro is not None
    assert task.headline.replace("\xa0", " ") == (
        f"LoRA: {100 * macro['score']:.1f} % [{100 * macro['interval'][0]:.1f}, {100 * macro['interval'][1]:.1f}]"
        " on the 14 other languages, chance 33.3 %"
    )
    above = sum(
        entry["interval"][0] > 1 / 3
        for code in lora.run.predictions["xnli"]
        if code != "eng_Latn" and (entry := lora.language(code))
    )
    sentence = next(text for text in task.claims if text.startswith("LoRA"))
    assert f"above chance in {above} of 14" in sentence
    sides = [
        {code: one_run.scored(p.columns, code) for code, p in m.run.predictions["xnli"].items()} for m in (lora, base)
    ]
    gain = over_seeds.difference_of(*sides)["macro"]["without_english"]
    assert f"{100 * gain['difference']:.1f} points above the base model [{100 * gain['interval'][0]:.1f}, " in sentence
    assert any("On the same rows LoRA is" in text and "LLaMA-Adapter" in text for text in task.claims)


def test_no_better_than_chance_is_said(store: Any) -> None:
    store.run("lora", "lora", 0.36, 0.33)
    (task,) = report.collect(store.root).tasks
    assert "not distinguishable from chance" in task.headline
    store.run("worse", [{"method": "full"}], 0.2, 0.2)
    found = report.collect(store.root / "worse")
    assert "below chance" in found.headline


def test_one_run_directory_or_a_folder_above_the_store(study: Path) -> None:
    run = study / "lora-gemma-3-270m-cccccccccccc"
    assert [label for label, _ in report.collect(run).runs] == ["LoRA"]
    assert len(report.collect(study.parent).runs) == 3


def test_runs_are_found_at_any_depth_and_links_do_not_go_in_circles(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "studies" / "first" / "runs"
    folder.mkdir(parents=True)
    for run in study.iterdir():
        (folder / run.name).symlink_to(run)
    (folder.parent / "again").symlink_to(tmp_path / "studies")
    assert [path.name for path in records.find(tmp_path)[0]] == sorted(run.name for run in study.iterdir())


def test_only_english_is_no_average(store: Any) -> None:
    store.run("lora", "lora", languages=["eng_Latn"])
    (task,) = report.collect(store.root / "lora").tasks
    assert " on English, chance" in task.headline


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "foreign"])
def test_nothing_there_says_what_to_do(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "runs"
    if kind == "file":
        path.write_text("x")
    elif kind != "missing":
        (path / "photos").mkdir(parents=True)
    if kind == "foreign":
        (path / "notes.txt").write_text("x")
    with pytest.raises(TransfixError) as caught:
        report.collect(path)
    assert str(path) in str(caught.value)
    assert "folder" in str(caught.value)


def test_unfinished_runs_are_shown_as_such(store: Any) -> None:
    store.run("base", "base", 0.34, 0.33)
    store.run("training", "lora", languages=[], training=None)
    store.run("half", "llama_adapter", languages=store.xnli[:5])
    found = report.collect(store.root)
    states = {run.name: run.state for _, run in found.runs}
    assert states == {"base": "complete", "training": "training", "half": "evaluating"}
    notes = "\n".join(found.notes)
    assert "run training has no predictions yet" in notes
    assert "run half has not finished xnli: 10 languages to go" in notes
    (task,) = found.tasks
    assert [method.complete for method in task.methods] == [True, False]
    assert "LLaMA-Adapter has 5 of 15 languages: do not compare its averages" in task.notes
    assert task.headline.startswith("Base model")


def test_no_predictions_at_all(store: Any) -> None:
    store.run("lora", "lora", languages=[], training=None)
    found = report.collect(store.root)
    assert (found.tasks, found.headline) == ((), "No predictions yet")


def test_torn_and_foreign_files_are_named_and_left_out(store: Any) -> None:
    folder = store.run("lora", "lora")
    predictions = folder / "predictions" / "xnli"
    torn = predictions / "tha_Thai.parquet"
    torn.write_bytes(torn.read_bytes()[:200])
    (predictions / "urd_Arab.parquet").write_bytes(b"")
    store.predictions(predictions / "deu_Latn.parquet", {"x": [1]})
    twice = store.answers(0.5, 1)
    twice["id"][1] = twice["id"][0]
    store.predictions(predictions / "fra_Latn.parquet", twice)
    (predictions / ".zho_Hans.parquet.tmp").write_bytes(b"PAR1")
    (folder / "environment.json").write_text("{")
    (store.root / "leftover" / "predictions").mkdir(parents=True)
    found = report.collect(store.root)
    notes = "\n".join(found.notes)
    for words in (
        "predictions of xnli in tha_Thai cannot be read",
        "predictions of xnli in urd_Arab cannot be read",
        "deu_Latn cannot be read (it has no column id",
        "'00000' more than once",
        "environment.json cannot be read",
        "leftover is left out",
        "4 languages to go",
    ):
        assert words in notes
    assert len(found.tasks[0].languages) == 11


def test_broken_specification_is_named_and_predictions_still_count(store: Any) -> None:
    folder = store.run("lora", "lora")
    (folder / "spec.yaml").write_text("a: [", "utf-8")
    found = report.collect(folder)
    assert "spec.yaml cannot be read" in found.notes[0]
    assert len(found.tasks[0].languages) == 15


def test_runs_of_one_method_are_told_apart_by_what_differs(store: Any) -> None:
    adapter = store.parts["llama_adapter"][0]
    store.run("a", [adapter], languages=["deu_Latn"])
    store.run("b", [adapter | {"tokens": 20}], languages=["deu_Latn"])
    store.run("c", [adapter | {"tokens": 20}], languages=["deu_Latn"], seed_=1, evaluate=[])
    store.run("d", "lora", languages=["deu_Latn"])
    store.run("e", "lora", languages=["deu_Latn"])
    store.run("f", [{"method": "prefix"}, {"method": "lora"}], languages=["deu_Latn"])
    labels = {run.name: label for label, run in report.collect(store.root).runs}
    assert labels["a"].startswith("LLaMA-Adapter (tokens 10")
    assert labels["b"].startswith("LLaMA-Adapter (tokens 20")
    assert labels["d"] == "LoRA (d)"
    assert labels["f"] == "Prefix tuning + LoRA"
    assert len(set(labels.values())) == 6


def test_references_are_the_best_on_the_same_model(store: Any) -> None:
    """A method is compared with the base model it was trained on, and with the best of several LoRA adapters."""
    other = {"model": "smollm2-135m"}
    few = {"languages": store.xnli[:3], "rows": 40}
    store.run("base", "base", others=0.4, **few)
    store.run("base-other", "base", others=0.6, **few, **other)
    store.run("adapter", "llama_adapter", **few)
    for rank, others in ((4, 0.3), (8, 0.6), (16, 0.45)):
        store.run(f"lora-{rank}", [{"method": "lora", "rank": rank}], others=others, english=others, **few)
    store.run("lora-other", [{"method": "lora", "rank": 8}], others=0.9, **few, **other)
    (task,) = report.collect(store.root).tasks
    by_run = {method.run.name: method for method in task.methods}
    adapter = by_run["adapter"]
    assert task.reference(adapter, "base") is by_run["base"]
    assert task.reference(adapter, "lora") is by_run["lora-8"]
    assert task.reference(by_run["lora-other"], "base") is by_run["base-other"]
    assert task.reference(by_run["lora-4"], "lora") is by_run["lora-8"]


def test_the_headline_is_of_the_best_trained_method(store: Any) -> None:
    """The base model is the control, also where it is better."""
    few = {"languages": store.xnli[:3], "rows": 40}
    store.run("base", "base", 0.9, 0.9, **few)
    store.run("lora", "lora", 0.5, 0.5, **few)
    store.run("adapter", "llama_adapter", 0.7, 0.7, **few)
    assert report.collect(store.root).headline.startswith("LLaMA-Adapter: ")


def test_differences_in_asking_and_in_rows_are_pointed_out(store: Any) -> None:
    store.run("base", "base", 0.34, 0.33)
    store.run("lora", "lora", rows=60, meta=store.meta | {"template": "{hypothesis}"})
    (task,) = report.collect(store.root).tasks
    assert "rows were not asked alike; between methods or languages differ: prompt template" in task.notes
    assert "LoRA and the base: 600 rows that only one has are not in their difference" in task.notes
    template = next(setting for setting in task.settings if setting.name == "Prompt template")
    assert template.value is None
    assert template.by_method == (("Base model", store.meta["template"]), ("LoRA", "{hypothesis}"))
    assert task.rows("deu_Latn") == "60–100"


def test_other_gold_answers_stop_the_comparison_only(store: Any) -> None:
    store.run("base", "base", 0.34, 0.33)
    folder = store.run("lora", "lora")
    columns = store.answers(0.5, 1)
    columns["gold"][:3] = columns["gold"][1:4]
    store.predictions(folder / "predictions" / "xnli" / "deu_Latn.parquet", columns)
    (task,) = report.collect(store.root).tasks
    assert any("cannot be compared with the base" in note for note in task.notes)
    assert task.methods[1].against_base is None


def test_always_the_same_answer_is_pointed_out(store: Any) -> None:
    folder = store.run("base", "base")
    columns = store.answers(0.3, 1)
    columns["answer"] = ["entailment"] * 100
    store.predictions(folder / "predictions" / "xnli" / "deu_Latn.parquet", columns)
    (task,) = report.collect(store.root).tasks
    assert any("answers entailment on at least 90" in note and "in 1 of 15" in note for note in task.notes)
    for seed, codes in ((0, ("deu_Latn", "swh_Latn")), (1, ("deu_Latn",))):
        folder = store.run(f"lora-{seed}", "lora", trained_with=seed)
        for number, code in enumerate(codes):
            columns = store.answers(0.3, 1)
            columns["answer"] = [("entailment", "neutral")[number]] * 100
            store.predictions(folder / "predictions" / "xnli" / f"{code}.parquet", columns)
    (task,) = report.collect(store.root).tasks
    (note,) = [note for note in task.notes if note.startswith("LoRA answers")]
    assert "entailment or neutral" in note
    assert "in up to 2 of 15 languages (2 and 1 by seed)" in note


def test_training_in_a_measured_language_is_pointed_out(store: Any) -> None:
    train = {"task": "mnli", "data": "snapshot", "rows": 30, "epochs": 1}
    store.run("english", "lora", train=train | {"languages": ["eng_Latn"]})
    assert not any("not all transfer" in note for note in report.collect(store.root).tasks[0].notes)
    store.run("german", "lora", train=train | {"languages": ["eng_Latn", "deu_Latn", "kor_Hang"]})
    (task,) = report.collect(store.root).tasks
    (note,) = [note for note in task.notes if "not all transfer" in note]
    assert "was trained on rows in German:" in note


def test_a_run_without_a_specification_is_left_out(store: Any) -> None:
    store.run("base", "base")
    folder = store.run("adapter", "llama_adapter")
    (folder / "spec.yaml").write_text("")
    found = report.collect(store.root)
    assert [method.label for method in found.tasks[0].methods] == ["Base model"]
    assert "run adapter: spec.yaml is not a specification: it is left out" in found.notes


def test_the_language_of_prompts_is_not_guessed(store: Any) -> None:
    own = store.meta | {"task_file": "own/task.yaml", "prompt_language": "eng_Latn", "template": "{text}\nThema:"}
    store.run("lora", "lora", meta=own)
    text = report.markdown(report.collect(store.root))
    assert "Prompt language: that of the template below, the same in every language" in text
    assert "English, whatever the language" not in text


def test_the_rows_that_there_were_are_told(store: Any) -> None:
    train = {"task": "mnli", "data": "snapshot", "rows": 3000, "epochs": 1, "languages": ["eng_Latn"]}
    counted = {"trainable_parameters": 10, "rows_seen": 68, "rows": 78, "exposure_rows": 10}
    store.run("lora", "lora", train=train, training=counted)
    text = report.markdown(report.collect(store.root))
    assert "MNLI, 68 rows, 1 epoch, English" in text


def test_what_was_cut_and_left_out_is_counted(store: Any) -> None:
    folder = store.run("lora", "lora")
    columns = store.answers(0.5, 1)
    columns["truncated"][:3] = [True] * 3
    columns["gold"][5:7] = [None] * 2
    store.predictions(folder / "predictions" / "xnli" / "deu_Latn.parquet", columns)
    (task,) = report.collect(store.root).tasks
    assert task.counted("truncated") == ["LoRA: German 3"]
    assert task.counted("left_out") == ["LoRA: German 2"]
    assert task.rows("deu_Latn") == "98"


def test_examples_are_the_first_rows_with_their_texts(study: Path) -> None:
    asked = []

    def lookup(task: str, language: str, meta: Any) -> dict[str, dict[str, str]]:
        asked.append((task, language, meta["split"]))
        if language == "tha_Thai":
            raise TransfixError("no Thai rows here")
        return {"00000": {"premise": f"premise in {language}"}}

    (task,) = report.collect(study, lookup).tasks
    assert ("xnli", "deu_Latn", "test") in asked
    assert len(asked) == 15
    rows = task.examples["deu_Latn"]
    assert [row.id for row in rows] == [f"{number:05d}" for number in range(30)]
    assert rows[0].texts == {"premise": "premise in deu_Latn"}
    assert rows[1].texts == {}
    answer = task.methods[2].run.predictions["xnli"]["deu_Latn"].columns["answer"][4]
    assert rows[4].answers[2] == (answer, answer == rows[4].gold)
    assert rows[4].right == sum(1 for found in rows[4].answers if found and found[1])
    assert any("texts of Thai are not shown: no Thai rows here" in note for note in task.notes)


def test_unknown_task_language_and_method(store: Any) -> None:
    meta = store.meta | {"task": "own_task", "classes": ["a", "b"]}
    evaluate = [{"task": "own_task", "languages": "all"}]
    store.run("x", [{"method": "new_method"}], languages=["eng_Latn", "xxx_Latn"], meta=meta, evaluate=evaluate)
    (task,) = report.collect(store.root).tasks
    assert task.title == "own_task"
    assert task.chance == 0.5
    assert [language.name for language in task.languages] == ["English", "xxx_Latn"]
    assert task.methods[0].label == "new_method"


def test_neither_torch_nor_pandas_is_imported(study: Path) -> None:
    script = f"""
import sys
from transfix import report
found = report.collect({str(study)!r})
report.page(found), report.markdown(found)
print([name for name in ("torch", "transformers", "datasets") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_average_over_fewer_languages_is_marked(store: Any) -> None:
    """Also where all runs have lost the same language, so that nobody has more."""
    for name, parts in (("base", "base"), ("lora", "lora")):
        folder = store.run(name, parts)
        file = folder / "predictions" / "xnli" / "deu_Latn.parquet"
        file.write_bytes(file.read_bytes()[:-100])
    found = report.collect(store.root)
    (task,) = found.tasks
    assert [method.complete for method in task.methods] == [False, False]
    assert any("has 14 of 15 languages: do not compare its averages" in note for note in task.notes)
    assert len(found.damage) == 2
    for text in (report.markdown(found, "script"), report.latex(found, "script"), report.page(found)):
        assert "†" in text or r"\dagger" in text
    averages = [
        line for line in csv.DictReader(io.StringIO(report.csv(found, "script"))) if line["level"] != "language"
    ]
    lacking = {line["key"]: line["missing"] for line in averages}
    assert (lacking["all"], lacking["without_english"], lacking["Latin"]) == ("deu_Latn", "deu_Latn", "deu_Latn")
    assert lacking["Cyrillic"] == ""
