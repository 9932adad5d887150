"""A run calibrated on a user's unlabelled rows: what is measured, kept, applied to answers, and refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file
from tests.calling import call, done, refused
from transformers import AutoTokenizer
from typer.testing import Result

from transfix import tasks
from transfix.adapters import files as adapter_files
from transfix.data import Example
from transfix.errors import TransfixError
from transfix.runs import run as experiment
from transfix.runs.answering import Answer, Session
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run, RunStore
from transfix.storage import checksums

ENGLISH, GERMAN, SWAHILI = "eng_Latn", "deu_Latn", "swh_Latn"
CLASSES = ("billing", "delivery", "quality")
TASK: dict[str, Any] = {
    "name": "topics",
    "kind": "choice",
    "fields": ["text"],
    "label": "topic",
    "prompt": "{{text}}\nSo?",
    "labels": {"billing": " yes", "delivery": " maybe", "quality": " no"},
    "languages": ["en", "de", "sw"],
    "data": {"test": {"files": "test.csv"}},
}
WORDS = {"en": "the {} of {}", "de": "die {} von {}", "sw": "ya {} na {}"}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    Path("task.yaml").write_text(yaml.safe_dump(TASK))
    Path("test.csv").write_text("text,topic\na,billing\n")
    Path("unlabelled").mkdir()
    for code in WORDS:
        write(f"unlabelled/{code}.jsonl", texts(code, 9))


def texts(code: str, count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"text": WORDS[code].format(CLASSES[n % 3], n)} for n in range(start, start + count)]


def write(path: str, rows: Sequence[dict[str, Any]]) -> None:
    Path(path).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def opened(model: Path, **changes: Any) -> Run:
    content = {
        "model": str(model),
        "dtype": "float32",
        "device": "cpu",
        "adapter": "base",
        "evaluate": {"task": "task.yaml"},
    }
    return experiment.train(RunSpec.load({**content, **changes}), RunStore("runs"))


@pytest.fixture
def run(tiny_model: Path) -> Run:
    return opened(tiny_model)


def calibrate(run: Run, *more: object, source: str = "unlabelled/{lang}.jsonl") -> Result:
    return done("calibrate", run.path, "--input", source, *more)


@pytest.fixture
def skewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that finds the topic that a text names, and in other languages than English `quality` whatever it says."""

    def answers(
        self: Session, task: Any, examples: Sequence[Example], advance: Any = None, settings: Any = None
    ) -> list[Answer]:
        found = []
        for example in examples:
            assert example.label is None
            away = 0.0 if example.language == ENGLISH else 3.0
            text = example.fields["text"]
            scores = np.array([2.0 * (name in text) + away * (name == "quality") for name in CLASSES])
            scores += 0.1 * (len(text) % 3)
            scores -= np.log(np.exp(scores).sum())
            found.append(Answer(CLASSES[int(scores.argmax())], "", False, tuple(map(float, scores)), CLASSES))
        return found

    monkeypatch.setattr(Session, "answers", answers)


def measured_rows() -> list[dict[str, Any]]:
    return [
        {**row, "language": code, "topic": CLASSES[n % 3]}
        for code in ("de", "en")
        for n, row in enumerate(texts(code, 6, 30))
    ]


@pytest.mark.usefixtures("skewed")
def test_a_preference_is_taken_out(run: Run) -> None:
    write("rows.jsonl", measured_rows())
    before = done("predict", run.path, "-i", "rows.jsonl", "-o", "before.jsonl")
    assert "alibrat" not in before.stderr
    assert [row["answer"] for row in read("before.jsonl")][:6] == ["quality"] * 6
    said = calibrate(run).stdout
    assert f"Means of 3 languages are in {run.path}/label_means.json" in said
    assert "German (deu_Latn): 9 rows of unlabelled/{lang}.jsonl" in said
    result = done("predict", run.path, "-i", "rows.jsonl", "-o", "after.jsonl")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Calibrated on ")]
    assert line.startswith("Calibrated on unlabelled rows of unlabelled/{lang}.jsonl: German 9, English 9 (not moved).")
    after, raw = read("after.jsonl"), read("before.jsonl")
    assert [row["answer"] for row in after] == [row["topic"] for row in after]
    assert [row["calibration"] for row in after] == [
        *["9 rows of deu_Latn, 9 of eng_Latn"] * 6,
        *["none: English is not moved"] * 6,
    ]
    assert [row["probabilities"] for row in after[6:]] == [row["probabilities"] for row in raw[6:]]
    assert [sum(row["probabilities"].values()) for row in after] == pytest.approx([1.0] * 12, abs=1e-5)
    assert after[0]["probabilities"]["billing"] == pytest.approx(after[6]["probabilities"]["billing"], abs=1e-3)
    assert "alibrat" not in done("predict", run.path, "-i", "rows.jsonl", "-o", "raw.jsonl", "--raw").stderr
    assert Path("raw.jsonl").read_bytes() == Path("before.jsonl").read_bytes()
    done("predict", run.path, "-i", "rows.jsonl", "-o", "after.csv")
    assert Path("after.csv").read_text().splitlines()[0].endswith("probability_quality,calibration")


@pytest.mark.parametrize("spelt", ["de", "German", "deu_Latn", "Deutsch", "column", "one language"])
def test_the_means_and_the_answers_are_those_of_the_formula(run: Run, spelt: str) -> None:
    german = Path("unlabelled/de.jsonl")
    if spelt == "column":
        rows = [
            {**row, "language": code, "topic": 7} for code in ("en", "Deutsch") for row in texts(code[:2].lower(), 9)
        ]
        write("all.jsonl", rows)
        calibrate(run, source="all.jsonl")
    elif spelt == "one language":
        calibrate(run, "--languages", "en")
        calibrate(run, "--languages", "German", source="unlabelled/de.jsonl")
    else:
        german.rename(f"unlabelled/{spelt}.jsonl")
        calibrate(run, "--languages", "de")
    kept = run.own_label_means()
    assert kept is not None
    means = kept.by_form["unlabelled"]
    assert means.keys() == {ENGLISH, GERMAN}

    task, session = tasks.get("task.yaml"), Session(run)

    def scores(code: str, spoken: str, rows: Sequence[dict[str, Any]]) -> Any:
        asked = [Example(str(n), code, {"text": row["text"]}, None) for n, row in enumerate(rows)]
        return np.array([answer.scores for answer in session.answers(task, asked)])

    average = {code: scores(code, own, texts(own, 9)).mean(axis=0) for code, own in ((ENGLISH, "en"), (GERMAN, "de"))}
    for code, mean in average.items():
        assert means[code].mean == pytest.approx(mean - mean.mean(), abs=1e-5)
    asked = texts("de", 4, 40)
    write(
        "rows.jsonl",
        [{**row, "language": name} for row, name in zip(asked, ("de", "German", GERMAN, "DE"), strict=True)],
    )
    done("predict", run.path, "-i", "rows.jsonl", "-o", "out.jsonl")
    moved = scores(GERMAN, "de", asked) - average[GERMAN] + average[ENGLISH]
    shares = np.exp(moved) / np.exp(moved).sum(axis=1, keepdims=True)
    found = read("out.jsonl")
    assert np.array([list(row["probabilities"].values()) for row in found]) == pytest.approx(shares, abs=2e-5)
    assert [row["answer"] for row in found] == [CLASSES[place] for place in shares.argmax(axis=1)]


@pytest.mark.usefixtures("skewed")
def test_languages_are_added_and_measured_anew(run: Run) -> None:
    calibrate(run, "--languages", "de")
    first = run.own_label_means()
    assert first is not None
    write("unlabelled/de.jsonl", texts("de", 12, 3))
    Path("unlabelled/en.jsonl").unlink()  # measured already
    calibrate(run, "--languages", "sw")
    added = run.own_label_means()
    assert added is not None
    assert {**first.by_form["unlabelled"], SWAHILI: added.by_form["unlabelled"][SWAHILI]} == added.by_form["unlabelled"]
    calibrate(run, "--languages", "de,sw", "--rows", "10")
    second = run.own_label_means()
    assert second is not None
    before, after = first.by_form["unlabelled"], second.by_form["unlabelled"]
    assert list(before) == [ENGLISH, GERMAN] or list(before) == [GERMAN, ENGLISH]
    assert set(after) == {ENGLISH, GERMAN, SWAHILI}
    assert after[ENGLISH] == before[ENGLISH]
    assert (before[GERMAN].rows, after[GERMAN].rows) == (9, 10)
    assert before[GERMAN].mean != after[GERMAN].mean


def test_of_parallel_files_parallel_rows_are_asked_and_of_equal_ones_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, list[str]] = {}
    answers = Session.answers

    def told(self: Session, task: Any, examples: Sequence[Example], *more: Any) -> list[Answer]:
        asked[examples[0].language] = [example.fields["text"] for example in examples]
        return answers(self, task, examples, *more)

    monkeypatch.setattr(Session, "answers", told)
    for code in WORDS:
        write(f"unlabelled/{code}.jsonl", [row for row in texts(code, 40) for _ in range(2)])
    calibrate(run, "--rows", "12")
    numbers = {code: [text.split()[-1] for text in found] for code, found in asked.items()}
    assert len(set(numbers[ENGLISH])) == 12
    assert numbers[ENGLISH] == numbers[GERMAN] == numbers[SWAHILI]
    assert numbers[ENGLISH] != [str(n) for n in range(12)]


def test_few_rows_are_said_and_fewer_are_refused(run: Run) -> None:
    assert "Few rows" in calibrate(run, "--languages", "de").stderr
    before = (run.path / "label_means.json").read_bytes()
    write("unlabelled/de.jsonl", texts("de", 7) * 3)
    assert "at least, and German has 7." in refused("calibrate", run.path, "-i", "unlabelled/{lang}.jsonl")
    assert (run.path / "label_means.json").read_bytes() == before
    for code in ("en", "de"):
        write(f"unlabelled/{code}.jsonl", texts(code, 30))
    assert "Few rows" not in calibrate(run, "--languages", "de,en").stderr


def _no_english() -> None:
    Path("unlabelled/en.jsonl").unlink()


def _two_files() -> None:
    shutil.copy("unlabelled/de.jsonl", "unlabelled/German.jsonl")


def _other_language() -> None:
    write("unlabelled/de.jsonl", [{**row, "language": "sw"} for row in texts("de", 9)])


def _bad_row() -> None:
    write("unlabelled/de.jsonl", [*texts("de", 9), {"words": "x"}])


def _column(**rows: str) -> Callable[[], None]:
    return lambda: write("one.jsonl", [{**row, **rows} for row in texts("de", 9)])


def _some_silent() -> None:
    write("one.jsonl", [{**row, "language": "en" if n else None} for n, row in enumerate(texts("en", 9))])


PATTERN = "unlabelled/{lang}.jsonl"


@pytest.mark.parametrize(
    ("change", "source", "more", "said"),
    [
        (_no_english, PATTERN, (), "has no English rows, and the run has none measured"),
        (
            _no_english,
            PATTERN,
            ("--languages", "de"),
            "Add unlabelled English rows of the same kind, with `en` or `eng_Latn`",
        ),
        (_column(language="de"), "one.jsonl", (), "has no English rows, and the run has none measured"),
        (None, PATTERN, ("--languages", "fr"), "has no rows of French (fra_Latn); it has rows of English (eng_Latn)"),
        (_two_files, PATTERN, (), "are all files of"),
        (_other_language, PATTERN, (), "its `language` is 'sw', and its file is called after deu_Latn"),
        (_bad_row, PATTERN, (), "unlabelled/de.jsonl:10"),
        (_column(), "one.jsonl", (), "its rows do not say their language: give them a column `language`, write {lang}"),
        (_column(language="Klingon"), "one.jsonl", (), "unknown language 'Klingon'"),
        (_some_silent, "one.jsonl", (), "one.jsonl:1: `language` is empty"),
        (None, "nothing/{lang}.jsonl", (), "no file is there with a language's code or name for {lang}"),
        (None, "nothing.jsonl", (), "nothing.jsonl: "),
    ],
)
def test_rows_that_are_refused(
    run: Run, change: Callable[[], None] | None, source: str, more: tuple[str, ...], said: str
) -> None:
    if change is not None:
        change()
    assert said in refused("calibrate", run.path, "--input", source, *more)
    assert not (run.path / "label_means.json").exists()


def test_bad_rows_are_left_out_and_said(run: Run) -> None:
    _bad_row()
    result = calibrate(run, "--on-bad-rows", "skip")
    assert "1 bad rows were left out. The first: unlabelled/de.jsonl:10" in result.stderr
    write("unlabelled/notes.jsonl", texts("en", 1))
    assert (
        "unlabelled/notes.jsonl was not read: its name has no language"
        in calibrate(run, "--on-bad-rows", "skip").stderr
    )


def test_rows_that_the_model_cannot_read(tiny_model: Path, tmp_path: Path) -> None:
    """A token without an embedding is found when rows are asked."""
    shutil.copytree(tiny_model, "model")
    tokenizer = AutoTokenizer.from_pretrained("model")
    tokenizer.add_tokens(["zzz"])
    tokenizer.save_pretrained("model")
    run = opened(tmp_path / "model")
    write("unlabelled/de.jsonl", [*texts("de", 8), {"text": "zzz"}])
    assert "unlabelled/de.jsonl:9: the text " in refused("calibrate", run.path, "-i", PATTERN)
    assert (
        "1 bad rows were left out. The first: unlabelled/de.jsonl:9" in calibrate(run, "--on-bad-rows", "skip").stderr
    )
    kept = run.own_label_means()
    assert kept is not None
    assert kept.by_form["unlabelled"][GERMAN].rows == 8
    write("unlabelled/de.jsonl", [*texts("de", 7), {"text": "zzz"}])
    said = refused("calibrate", run.path, "-i", PATTERN, "--on-bad-rows", "skip")
    assert "German has 7" in said
    assert run.own_label_means() == kept


def test_only_choices_are_calibrated(tiny_model: Path) -> None:
    texts_run = opened(tiny_model, evaluate={"task": "xquad", "languages": ["en"], "max_new_tokens": 2})
    assert "xquad with texts: only choices between labels" in refused("calibrate", texts_run.path, "-i", PATTERN)
    assert "texts, which are not calibrated" in refused(
        "predict", texts_run.path, "-i", "task.yaml", "-o", "out.jsonl", "--calibration", "xquad"
    )


@pytest.mark.usefixtures("skewed")
def test_rows_that_are_not_calibrated_are_refused(run: Run) -> None:
    calibrate(run, "--languages", "de")
    rows = [
        *measured_rows()[:2],
        {"text": "ya sw", "language": "Swahili"},
        {"text": "und"},
        {"text": "x", "language": ""},
    ]
    write("rows.jsonl", rows)
    said = refused("predict", run.path, "-i", "rows.jsonl", "-o", "out.jsonl")
    assert "Swahili (swh_Latn): 1 row (the first: rows.jsonl:3)" in said
    assert "no language said: 2 rows (the first: rows.jsonl:4)" in said
    assert f"`transfix calibrate {run.path} --input 'unlabelled/{{lang}}.jsonl' --languages swh_Latn`" in said
    assert not Path("out.jsonl").exists()
    done("predict", run.path, "-i", "rows.jsonl", "-o", "raw.jsonl", "--raw")
    done("calibrate", run.path, "--input", PATTERN, "--languages", "swh_Latn")  # what was advised
    write("rows.jsonl", rows[:3])
    done("predict", run.path, "-i", "rows.jsonl", "-o", "out.jsonl")
    write("taken.jsonl", [{**row, "calibration": 1} for row in rows[:3]])
    assert "have calibration already" in refused("predict", run.path, "-i", "taken.jsonl", "-o", "o.jsonl")
    done("predict", run.path, "-i", "taken.jsonl", "-o", "taken-out.jsonl", "--raw")


@pytest.mark.usefixtures("skewed")
def test_rows_that_are_asked_otherwise_are_refused(run: Run, tiny_model: Path) -> None:
    calibrate(run)
    Path("task.yaml").write_text(yaml.safe_dump({**TASK, "prompt": "{{text}}\nWell?"}))
    changed = opened(tiny_model)
    assert changed.path == run.path
    write("rows.jsonl", measured_rows())
    said = refused("predict", run.path, "-i", "rows.jsonl", "-o", "out.jsonl")
    assert "do not hold for these rows: the prompt was '{{text}}\\nSo?' and is '{{text}}\\nWell?'" in said
    result = calibrate(run, "--languages", "de")
    assert "(German (deu_Latn), English (eng_Latn), Swahili (swh_Latn)) is gone" in result.stderr
    done("predict", run.path, "-i", "rows.jsonl", "-o", "out.jsonl")
    kept = run.own_label_means()
    assert kept is not None
    assert set(kept.by_form["unlabelled"]) == {ENGLISH, GERMAN}


def test_an_adapter_that_is_trained_again_has_no_means(run: Run, tiny_model: Path) -> None:
    write("train.jsonl", [{**row, "topic": CLASSES[n % 3]} for n, row in enumerate(texts("en", 6))])
    Path("task.yaml").write_text(yaml.safe_dump({**TASK, "data": {**TASK["data"], "train": {"files": "train.jsonl"}}}))
    train = {"task": "task.yaml", "rows": 6, "development_rows": 0, "epochs": 1, "batch_rows": 6}
    lora = opened(tiny_model, adapter={"method": "lora", "rank": 2}, train=train)
    calibrate(lora, "--languages", "de")
    write("rows.jsonl", measured_rows())
    done("predict", lora.path, "-i", "rows.jsonl", "-o", "out.jsonl")
    record = json.loads((lora.adapter_dir / "adapter.json").read_text())
    tensors = {name: tensor + 0.01 for name, tensor in load_file(lora.adapter_dir / "adapter.safetensors").items()}
    record["digest"] = adapter_files.digest(tensors)
    (lora.adapter_dir / "adapter.json").write_text(json.dumps(checksums.sealed(record)))
    said = refused("predict", lora.path, "-i", "rows.jsonl", "-o", "again.jsonl")
    assert "do not hold for these rows: the adapter is another one: it was trained again since" in said
    shutil.rmtree(lora.adapter_dir)
    assert "is not trained yet" in refused("predict", lora.path, "-i", "rows.jsonl", "-o", "again.jsonl")
    assert "is not trained yet" in refused("calibrate", lora.path, "-i", PATTERN)


@pytest.mark.usefixtures("skewed")
def test_what_is_damaged_is_named_and_the_advice_works(run: Run) -> None:
    calibrate(run)
    file = run.path / "label_means.json"
    file.write_text(file.read_text().replace('"rows": 9', '"rows": 8', 1))
    write("rows.jsonl", measured_rows())
    for command in (
        ("predict", run.path, "-i", "rows.jsonl", "-o", "out.jsonl"),
        ("calibrate", run.path, "-i", PATTERN),
    ):
        said = refused(*command)
        assert "label_means.json is damaged: its content is not what was written" in said
        assert f"Delete it, then run `transfix calibrate {run.path} --input ...` again" in said
    done("predict", run.path, "-i", "rows.jsonl", "-o", "raw.jsonl", "--raw")
    file.unlink()
    calibrate(run)
    done("predict", run.path, "-i", "rows.jsonl", "-o", "out.jsonl")


@pytest.mark.usefixtures("skewed")
def test_a_kill_leaves_the_means_that_were_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate(run, "--languages", "de")
    before = (run.path / "label_means.json").read_bytes()

    replace = os.replace

    def killed(old: Path, new: Path) -> None:
        if new.name == "label_means.json":
            raise KeyboardInterrupt
        replace(old, new)

    with monkeypatch.context() as patched:
        patched.setattr("transfix.storage.atomic.os.replace", killed)
        result = call("calibrate", run.path, "--input", PATTERN)
    assert result.exit_code == 130
    assert "no mean was kept" in result.stderr
    assert (run.path / "label_means.json").read_bytes() == before
    calibrate(run)
    assert (run.path / "label_means.json").read_bytes() != before


def test_the_means_of_an_evaluation_serve_where_they_are_named(tiny_model: Path) -> None:
    evaluation = {"task": "xnli", "languages": ["en", "de"], "limit": 2, "calibration": {"rows": 8}}
    run = opened(tiny_model, evaluate=evaluation)
    row = {"premise": "Es regnet.", "hypothesis": "Die Sonne scheint.", "language": "de"}
    write("rows.jsonl", [row])
    predict = ("predict", run.path, "-i", "rows.jsonl")
    assert "has those of: none" in refused(*predict, "-o", "a.jsonl", "--calibration", "xnli")
    done(*predict, "-o", "before.jsonl")
    experiment.evaluate(run)
    file = run.path / "calibration" / "xnli.json"
    result = done(*predict, "-o", "raw.jsonl")
    assert "Not calibrated. `--calibration xnli` would move answers" in result.stderr
    assert Path("raw.jsonl").read_bytes() == Path("before.jsonl").read_bytes()
    result = done(*predict, "-o", "moved.jsonl", "--calibration", "xnli")
    assert "Calibrated on unlabelled rows of the evaluation xnli: German 8, English 8 (not moved)." in result.stderr
    means = run.label_means("xnli")
    assert means is not None
    own, english = (np.array(means.by_form["unlabelled"][code].mean) for code in (GERMAN, ENGLISH))
    before, after = (np.log(list(read(name)[0]["probabilities"].values())) for name in ("before.jsonl", "moved.jsonl"))
    expected = before - own + english
    assert after - after.mean() == pytest.approx(expected - expected.mean(), abs=1e-4)
    assert "give one of them" in refused(*predict, "-o", "b.jsonl", "--calibration", "xnli", "--raw")

    content = checksums.opened(json.loads(file.read_text()))
    for change, said in (({"adapter": "0" * 64}, "trained again since"), ({"adapter": None}, "an earlier version")):
        file.write_text(json.dumps(checksums.sealed({**content, **change})))
        said_of_it = refused(*predict, "-o", "b.jsonl", "--calibration", "xnli")
        assert said in said_of_it
        assert f"Delete {file} and measure them anew" in said_of_it
        done(*predict, "-o", f"{len(said)}.jsonl")
    file.write_text(json.dumps(checksums.sealed({**content, "adapter": "0" * 64})))
    experiment.evaluate(run)  # measures the means of another adapter anew
    done(*predict, "-o", "anew.jsonl", "--calibration", "xnli")
    experiment.evaluate(run, limit=1, calibration_rows=4)
    file.unlink()
    experiment.evaluate(run, calibration_rows=4)
    assert "are of fewer than 8 rows" in refused(*predict, "-o", "b.jsonl", "--calibration", "xnli")
    experiment.evaluate(run, ["xnli"], calibration_rows=64)
    done(*predict, "-o", "b.jsonl", "--calibration", "xnli")


def test_from_python(run: Run) -> None:
    found = experiment.calibrate(run, PATTERN, ["German"], 8)
    assert found.by_form["unlabelled"].keys() == {ENGLISH, GERMAN}
    with pytest.raises(TransfixError, match="rows is 7, and a mean is of 8"):
        experiment.calibrate(run, PATTERN, rows=7)
    assert found == run.own_label_means()
    write("rows.jsonl", measured_rows())
    assert experiment.predict(run, Path("rows.jsonl"), Path("out.jsonl")) == 12
    assert experiment.predict(run, Path("rows.jsonl"), Path("raw.jsonl"), raw=True) == 12
    with pytest.raises(
        TransfixError, match="has no means, with English among them, that an evaluation topics measured"
    ):
        experiment.predict(run, Path("rows.jsonl"), Path("b.jsonl"), calibration="topics")
