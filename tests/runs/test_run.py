"""A run from its specification to its metrics, on a tiny model: what it writes, and what it does not do again."""

from __future__ import annotations

import errno
import io
import json
import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import Tensor

from transfix import data, load_adapter, models, tasks
from transfix.adapters.host import Host
from transfix.batches import TokenSequence, Tree, sharing
from transfix.data import Example
from transfix.errors import ProblemsError, TransfixError
from transfix.evaluation import scoring
from transfix.runs import answering
from transfix.runs import run as experiment
from transfix.runs.progress import Display
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run, RunStore

Spec = Callable[..., RunSpec]

ADAPTERS: dict[str, Any] = {
    "prefix": {"method": "prefix", "tokens": 4, "norm": "layer", "init": "text", "learning_rate_scale": "relative"},
    "llama_adapter": {"method": "llama_adapter", "tokens": 3, "layers": 2},
    "soft_prompt": {"method": "soft_prompt", "tokens": 3},
    "lora": {"method": "lora", "rank": 2, "dropout": 0.1},
    "full": "full",
    "prefix+lora": [{"method": "prefix", "tokens": 3}, {"method": "lora", "rank": 2, "learning_rate": 0.001}],
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of all rows that a model is asked, as `language/id`."""
    found: list[str] = []
    whole = answering.Session.answers

    def answers(session: Any, task: Any, examples: Sequence[Example], *more: Any) -> Any:
        found.extend(f"{row.language}/{row.id}" for row in examples)
        return whole(session, task, examples, *more)

    monkeypatch.setattr(answering.Session, "answers", answers)
    return found


def no_model(*_: Any) -> Any:
    raise AssertionError("a model is loaded")


def contents(run: Run) -> dict[str, tuple[bytes, int]]:
    """Every file of a run, with the time of its last change."""
    files = [path for path in run.path.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(run.path)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def scores_of(run: Run, rows: Sequence[Example]) -> Tensor:
    """The rows' log-probabilities with the saved adapter on a fresh model, a row at a time."""
    loaded = models.load(run.spec.model, dtype="float32", device="cpu")
    load_adapter(loaded.model, run.adapter_dir)
    task, tokenizer = tasks.get("xnli"), loaded.tokenizer
    assert callable(tokenizer)
    words = [tokenizer(task.verbaliser[name], add_special_tokens=False)["input_ids"][0] for name in task.classes]
    found = []
    for row in rows:
        ids = torch.tensor([tokenizer(task.prompt(row))["input_ids"]])
        with torch.no_grad():
            found.append(loaded.model(ids).logits[0, -1, words].log_softmax(-1))
    return torch.stack(found)


@pytest.mark.parametrize("method", ADAPTERS)
def test_from_specification_to_metrics(spec: Spec, store: RunStore, method: str) -> None:
    run = experiment.train(spec(ADAPTERS[method]), store)
    assert run.path.parent == store.root
    assert run.spec.method == method
    assert {path.name for path in run.adapter_dir.iterdir()} == {"adapter.json", "adapter.safetensors"}
    assert not run.checkpoints_dir.exists()
    training = run.read_json("training.json")
    assert training is not None
    assert (training["rows"], training["rows_seen"], training["steps"]) == (18, 18, 3)
    assert training["development_rows"] == 6
    assert sum(training["class_balance"].values()) == 18
    assert [entry["step"] for entry in training["development"]] == [3]
    assert training["tokens_computed_per_epoch"] <= training["tokens_without_sharing_per_epoch"]
    assert 0 < training["final_loss"] < 10

    metrics = experiment.evaluate(run)
    assert run.metrics == metrics
    assert set(metrics["xnli"]["languages"]) == {"eng_Latn", "deu_Latn"}
    means = {}
    for code, entry in metrics["xnli"]["languages"].items():
        rows = data.load("xnli", "snapshot", code, "test", 6)
        frame = run.predictions("xnli", code)
        assert frame is not None
        assert list(frame["id"]) == [row.id for row in rows]
        assert list(frame["gold"]) == [row.label for row in rows]
        assert list(frame["language"]) == [code] * 6
        scores = torch.tensor([list(row) for row in frame["option_scores"]], dtype=torch.float32)
        torch.testing.assert_close(scores, scores_of(run, rows), atol=1e-4, rtol=1e-4)
        answers = [("entailment", "neutral", "contradiction")[best] for best in scores.argmax(-1).tolist()]
        assert list(frame["answer"]) == answers
        right = [answer == row.label for answer, row in zip(answers, rows, strict=True)]
        assert list(frame["score"]) == [float(value) for value in right]
        assert entry["n"] == 6
        assert entry["score"] == pytest.approx(sum(right) / 6)
        means[code] = entry["score"]
    macro = metrics["xnli"]["macro"]
    assert macro["all"]["score"] == pytest.approx(sum(means.values()) / 2)
    assert macro["without_english"]["score"] == pytest.approx(means["deu_Latn"])
    assert metrics["xnli"]["chance"] == pytest.approx(1 / 3)


def test_the_second_time_nothing_is_done(spec: Spec, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run = experiment.train(spec(), store)
    metrics = experiment.evaluate(run)
    before = contents(run)
    monkeypatch.setattr(answering, "load_model", no_model)
    again = experiment.train(spec(), store)
    assert again.path == run.path
    assert experiment.evaluate(again) == metrics
    after = contents(run)
    assert {name: content for name, (content, _) in after.items()} == {
        name: content for name, (content, _) in before.items()
    }
    assert {name for name in after if after[name][1] != before[name][1]} <= {"metrics.json"}


def test_the_same_specification_gives_the_same_adapter(spec: Spec, tmp_path: Path) -> None:
    parts = ADAPTERS["prefix+lora"]
    saved = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)
        run = experiment.train(spec(parts, seed=seed), RunStore(tmp_path / str(number)))
        saved.append((run.adapter_dir / "adapter.safetensors").read_bytes())
    assert saved[0] == saved[1]
    assert saved[0] != saved[2]


def test_base_needs_no_training(spec: Spec, store: RunStore, asked: list[str]) -> None:
    run = experiment.train(spec("base", None), store)
    assert not run.adapter_dir.exists()
    metrics = experiment.evaluate(run)
    assert len(asked) == 12
    assert metrics["xnli"]["max_tokens"] is None
    with pytest.raises(TransfixError, match="nothing to measure"):
        experiment.evaluate(experiment.train(spec("base", None, evaluate=None, seed=1), store))


def test_only_missing_rows_are_asked(spec: Spec, store: RunStore, asked: list[str]) -> None:
    run = experiment.train(spec("base", None), store)
    experiment.evaluate(run, limit=3)
    first = {code: run.predictions("xnli", code) for code in ("eng_Latn", "deu_Latn")}
    assert len(asked) == 6
    metrics = experiment.evaluate(run)
    assert len(asked) == len(set(asked)) == 12
    assert all(entry["n"] == 6 for entry in metrics["xnli"]["languages"].values())
    for code, frame in first.items():
        now = run.predictions("xnli", code)
        assert now is not None
        pd.testing.assert_frame_equal(now[:3], frame)
        assert list(now["id"]) == [row.id for row in data.load("xnli", "snapshot", code, "test", 6)]
    experiment.evaluate(run, ["xnli"], ["swh_Latn"], 2)
    assert asked[12:] == [f"swh_Latn/{row.id}" for row in data.load("xnli", "snapshot", "swh_Latn", "test", 2)]
    metrics = experiment.evaluate(run, limit=1)
    assert len(asked) == 14
    assert set(metrics["xnli"]["languages"]) == {"deu_Latn", "eng_Latn", "swh_Latn"}, "what was measured is kept"


def test_a_task_that_the_specification_does_not_name(spec: Spec, store: RunStore) -> None:
    run = experiment.train(spec("base", None), store)
    metrics = experiment.evaluate(run, ["afrixnli"], ["hau_Latn"], 3)
    assert metrics["afrixnli"]["languages"]["hau_Latn"]["n"] == 3
    assert "xnli" not in metrics


def test_what_cannot_be_measured(spec: Spec, store: RunStore) -> None:
    run = experiment.train(spec("base", None), store)
    with pytest.raises(ProblemsError, match="xnli cannot be measured like this") as caught:
        experiment.evaluate(run, ["xnli"], ["tpi_Latn"], 0)
    languages, limit = map(str, caught.value.problems)
    assert languages.startswith("languages: xnli has no rows in tpi_Latn (allowed: all, arb_Arab, ")
    assert limit == "limit: 0 is not allowed (allowed: a whole number, at least 1 or null)"
    with pytest.raises(ProblemsError, match="task: unknown task 'xnly': did you mean xnli"):
        experiment.evaluate(run, ["xnly"])
    with pytest.raises(ProblemsError) as caught:
        experiment.evaluate(run, ["xnli"], ["de", "klingon"])
    (problem,) = caught.value.problems
    assert problem.where == "languages[1]"


def test_another_question_is_asked_anew(spec: Spec, store: RunStore, asked: list[str]) -> None:
    run = experiment.train(spec("base", None), store)
    experiment.evaluate(run)
    before = run.predictions("xnli", "deu_Latn")
    other = {"task": "xnli", "languages": ["en", "de"], "limit": 6, "template": "{{premise}} So {{hypothesis}}?"}
    again = experiment.train(spec("base", None, evaluate=[other]), store)
    assert again.path == run.path
    metrics = experiment.evaluate(again)
    assert len(asked) == 24
    assert metrics["xnli"]["template"] == "{{premise}} So {{hypothesis}}?"
    now = again.predictions("xnli", "deu_Latn")
    assert before is not None
    assert now is not None
    assert list(now["id"]) == list(before["id"])
    assert not set(now["prompt_hash"]) & set(before["prompt_hash"])


def test_answers_of_another_adapter_are_asked_anew(spec: Spec, store: RunStore, asked: list[str]) -> None:
    """A run that was trained anew, on another machine say, does not mix its answers with those of before."""
    run, other = (experiment.train(spec("lora", seed=seed), store) for seed in (0, 1))
    experiment.evaluate(run)
    before = run.predictions("xnli", "deu_Latn")
    shutil.rmtree(run.adapter_dir)
    shutil.copytree(other.adapter_dir, run.adapter_dir)
    asked.clear()
    experiment.evaluate(run)
    assert len(asked) == 12
    frame, meta = run.predictions("xnli", "deu_Latn"), run.predictions_meta("xnli", "deu_Latn")
    assert frame is not None
    assert meta is not None
    assert before is not None
    assert list(map(list, frame["option_scores"])) != list(map(list, before["option_scores"]))
    assert meta.pop("adapter") == other.adapter_digest
    run.write_predictions("xnli", "deu_Latn", frame, meta)  # as earlier versions did
    experiment.evaluate(run)
    assert len(asked) == 12
    assert "adapter" not in (run.predictions_meta("xnli", "deu_Latn") or {})


def test_rows_of_a_file_that_changed_are_asked_anew(
    spec: Spec, store: RunStore, asked: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "test-de.jsonl"
    rows = [{"premise": f"p{n}", "hypothesis": "h", "label": "neutral"} for n in range(4)]

    def write() -> None:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    write()
    source = {"task": "xnli", "languages": ["de"], "data": {"files": str(tmp_path / "test-{lang}.jsonl")}}
    run = experiment.train(spec("base", None, evaluate=[source]), store)
    experiment.evaluate(run)
    rows[1]["hypothesis"] = "another"
    rows[2]["label"] = "entailment"
    write()
    experiment.evaluate(run)
    assert len(asked) == 6
    assert asked[4:] == [asked[1], asked[2]]
    frame = run.predictions("xnli", "deu_Latn")
    assert frame is not None
    assert dict(zip(frame["id"], frame["gold"], strict=True))[asked[2].split("/")[1]] == "entailment"
    assert sorted(frame["id"]) == sorted(name.split("/")[1] for name in asked[:4])


def test_bfloat16(spec: Spec, store: RunStore) -> None:
    run = experiment.train(spec([{"method": "prefix", "tokens": 3}, "lora"], dtype="bfloat16"), store)
    metrics = experiment.evaluate(run, limit=3)
    assert metrics["xnli"]["dtype"] == "bfloat16"
    assert "bfloat16" not in run.adapter_dir.joinpath("adapter.json").read_text(), "the adapter itself is float32"


def test_auto_is_resolved_before_the_run_gets_its_name(spec: Spec, store: RunStore, tiny_model: Path) -> None:
    full = experiment.resolve(spec("full", dtype="auto", device="auto"))
    assert full.dtype == "float32", "steps of full fine-tuning are too small for bfloat16"
    assert full.device != "auto"
    assert experiment.resolve(spec("lora", dtype="auto")).dtype in ("float32", "bfloat16")


def test_early_stopping_gives_the_best_adapter(spec: Spec, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    right = iter([2, 5, 3, 4])  # of six development rows; patience 2 ends it after the fourth step
    seen: list[dict[str, Tensor]] = []

    def scripted(scorer: scoring.ChoiceScorer) -> Tensor:
        attached = Host.of(scorer.model).adapters["default"]
        learned = {f"{m.part.method}.{name}": tensor for m in attached for name, tensor in m.tensors.items()}
        seen.append({name: tensor.detach().clone() for name, tensor in learned.items()})
        found = next(right)
        scores = torch.nn.functional.one_hot(gold, 3).float()
        scores[found:] = 1 - scores[found:]
        return scores.log_softmax(-1)

    whole = experiment.tasks.get("mnli")
    _, kept = __import__("transfix.training", fromlist=["split"]).split(
        data.load("mnli", "snapshot", "eng_Latn", "train"), "premise", 18, 6, 0
    )
    gold = torch.tensor([whole.classes.index(str(row.label)) for row in kept])
    monkeypatch.setattr(scoring.ChoiceScorer, "score", scripted)
    run = experiment.train(spec(train={"epochs": 3, "evaluate_every": 1, "early_stopping": 2}), store)
    training = run.read_json("training.json")
    assert training is not None
    assert [entry["accuracy"] for entry in training["development"]] == pytest.approx([2 / 6, 5 / 6, 3 / 6, 4 / 6])
    assert (training["steps"], training["rows_seen"]) == (4, 23)
    from safetensors.torch import load_file

    saved = load_file(run.adapter_dir / "adapter.safetensors")
    assert all(torch.equal(saved[name], tensor) for name, tensor in seen[1].items())
    assert not all(torch.equal(saved[name], tensor) for name, tensor in seen[3].items())


@pytest.mark.parametrize("task", ["mnli", "squadshifts"])
def test_trees_are_grown_once(spec: Spec, store: RunStore, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    grown: list[int] = []
    whole = sharing.grow

    def counted(sequences: Sequence[TokenSequence], *limits: Any) -> list[Tree]:
        grown.append(len(sequences))
        return whole(sequences, *limits)

    monkeypatch.setattr(sharing, "grow", counted)
    settings = {"task": task, "rows": 9, "batch_rows": 3, "max_tokens": 64, "evaluate_every": 1}
    training = experiment.train(spec(train=settings), store).read_json("training.json")
    assert training is not None
    assert len(training["development"]) == training["steps"] > 1
    assert grown == [9, 6], "the rows that are trained on, and those of all evaluations"


def test_long_prompts_are_cut_and_counted(spec: Spec, store: RunStore) -> None:
    evaluation = [{"task": "xnli", "languages": ["en", "de"], "limit": 6, "max_tokens": 16}]
    run = experiment.train(spec(train={"max_tokens": 16}, evaluate=evaluation), store)
    training = run.read_json("training.json")
    assert training is not None
    assert training["truncated"] == 18
    metrics = experiment.evaluate(run)
    assert metrics["xnli"]["max_tokens"] == 16
    assert all(entry["truncated"] == 6 for entry in metrics["xnli"]["languages"].values())


def test_an_instruction_in_front_does_not_make_steps_larger(spec: Spec, store: RunStore) -> None:
    """All prompts begin alike, so all could share; a step still has about the rows that were asked for."""
    instruction = "Read both sentences, then say whether the first one implies the second one."
    template = instruction + "\n{{premise}}\n{{hypothesis}}\nAnswer:"
    run = experiment.train(
        spec(train={"template": template, "rows": 40, "batch_rows": 5, "development_rows": 0}), store
    )
    training = run.read_json("training.json")
    assert training is not None
    assert training["tokens_computed_per_epoch"] < 0.95 * training["tokens_without_sharing_per_epoch"]
    assert training["steps"] >= 5


def test_files_to_train_on(spec: Spec, store: RunStore, tmp_path: Path) -> None:
    labels = ("entailment", "neutral", "contradiction")
    rows = [{"premise": f"p{n // 3}", "hypothesis": f"h{n}", "label": labels[n % 3]} for n in range(12)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"files": str(tmp_path / "train.jsonl")}
    run = experiment.train(spec(train={"data": source, "rows": None, "development_rows": 3}), store)
    training = run.read_json("training.json")
    assert training is not None
    assert (training["rows"], training["development_rows"]) == (9, 3)
    with pytest.raises(
        TransfixError, match=r"no rows are left to train on; 12 are kept for development.+lower, or to 0"
    ):
        experiment.train(spec(train={"data": source, "development_rows": 50}), store)


def test_what_training_says_on_a_terminal(spec: Spec, store: RunStore) -> None:
    shown = io.StringIO()
    display = Display(Console(file=shown, force_terminal=True, width=150))
    run = experiment.train(spec(), store, display)
    experiment.evaluate(run, display=display)
    text = shown.getvalue()
    for part in ("Training Prefix tuning, 10 tokens", "18/18", "Measuring", "12/12", "German", "rows/s"):
        assert part in text


def test_what_training_says_in_a_log(spec: Spec, store: RunStore) -> None:
    shown = io.StringIO()
    experiment.train(spec(), store, Display(Console(file=shown, width=40)))
    (line,) = shown.getvalue().splitlines()
    assert line.startswith("Training Prefix tuning, 10 tokens: 18/18 rows, ")


def test_tensorboard_gets_the_curves(spec: Spec, store: RunStore) -> None:
    pytest.importorskip("tensorboard")
    run = experiment.train(spec(), store)
    (events,) = (run.path / "logs").iterdir()
    assert b"train/loss" in events.read_bytes()


def test_logs_that_cannot_be_written_end_no_training(
    spec: Spec, store: RunStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self) -> None:
            self.write("")

    monkeypatch.setattr("sys.stderr", Full())
    run = store.open(experiment.resolve(spec()))
    (run.path / "logs").write_text("a file where the directory should be")
    assert experiment.train(spec(), store).has_adapter
    if find_spec("tensorboard"):
        assert "are written no more" in caplog.text


# ---- predict


def some(path: Path, **extra: Any) -> list[dict[str, Any]]:
    """German rows with keys of the user's own; written to `path`."""
    examples = data.load("xnli", "snapshot", "deu_Latn", "test", 6)
    rows = [{"id": row.id, "mine": [n, "ü"], **row.fields, **extra} for n, row in enumerate(examples)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return rows


def test_predict(spec: Spec, store: RunStore, tmp_path: Path) -> None:
    run = experiment.train(spec("lora"), store)
    experiment.evaluate(run)
    rows = some(tmp_path / "rows.jsonl")
    assert experiment.predict(run, tmp_path / "rows.jsonl", tmp_path / "out.jsonl") == 6
    written = (tmp_path / "out.jsonl").read_text()
    assert "ü" in written
    found = [json.loads(line) for line in written.splitlines()]
    frame = run.predictions("xnli", "deu_Latn")
    assert frame is not None
    for row, own, answer in zip(found, rows, frame["answer"], strict=True):
        assert {name: row[name] for name in own} == own
        assert list(row) == [*own, "answer", "probabilities"]
        assert row["answer"] == answer == max(row["probabilities"], key=row["probabilities"].get)
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_predict_does_not_overwrite(
    spec: Spec, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "load_model", no_model)
    run = experiment.train(spec("base", None), store)
    some(tmp_path / "rows.jsonl")
    (tmp_path / "out.jsonl").write_text("precious")
    with pytest.raises(TransfixError, match=r"out\.jsonl exists already"):
        experiment.predict(run, tmp_path / "rows.jsonl", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "precious"
    some(tmp_path / "rows.jsonl", answer="mine")
    with pytest.raises(TransfixError, match=r"rows\.jsonl: rows have answer already"):
        experiment.predict(run, tmp_path / "rows.jsonl", tmp_path / "new.jsonl")
    assert not (tmp_path / "new.jsonl").exists()


def test_what_is_not_trained_says_so(spec: Spec, store: RunStore, tmp_path: Path) -> None:
    run = store.open(experiment.resolve(spec()))
    some(tmp_path / "rows.jsonl")
    with pytest.raises(TransfixError, match="not trained yet: run `transfix train"):
        experiment.evaluate(run)
    with pytest.raises(TransfixError, match="not trained yet"):
        experiment.predict(run, tmp_path / "rows.jsonl", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_rows_that_changed_under_the_same_path_make_another_run(
    spec: Spec, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.tsv"
    rows = [
        f"It rained {n} times.\tIt rained.\tentailment\nIt rained {n} times.\tIt snowed.\tneutral\n" for n in range(20)
    ]
    path.write_text("".join(rows[:15]))
    settings = {"data": {"files": str(path)}, "rows": 6, "development_rows": 0}
    first = experiment.train(spec(train=settings), store)
    copied = tmp_path / "copied.tsv"
    copied.write_bytes(path.read_bytes())
    path.write_text("".join(rows[5:]))
    second = experiment.train(spec(train=settings), store)
    assert first.path != second.path
    assert (first.adapter_dir / "adapter.json").exists(), "what was trained on the old rows is kept"
    trained = [(run.adapter_dir / "adapter.safetensors").read_bytes() for run in (first, second)]
    assert trained[0] != trained[1]
    with pytest.raises(TransfixError, match="not those this run was started with"):
        experiment.train(RunSpec.load(first.path / "spec.yaml"), store)
    path.write_bytes(copied.read_bytes())
    monkeypatch.setattr(answering, "load_model", no_model)
    again = experiment.train(RunSpec.load(first.path / "spec.yaml"), store)
    assert again.path == first.path, "with the old rows back it is the old run, and done"
