"""What a training is given: each row's own target, what the seed decides, and how development rows are measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transfix import data, models, tasks
from transfix.runs import answering, training
from transfix.runs.evaluation import describe
from transfix.runs.progress import Display
from transfix.runs.rows import draw, exposure_rows
from transfix.runs.settings import Evaluation, Train
from transfix.runs.specification import RunSpec
from transfix.runs.store import RunStore
from transfix.tasks import Task
from transfix.training import AdapterTrainer, Choices, Texts

Spec = Callable[..., RunSpec]


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> models.LoadedModel:
    return models.load(tiny_model, dtype="float32", device="cpu")


def rows_of(name: str, count: int = 6) -> list[data.Example]:
    return data.load(name, "snapshot", "eng_Latn", "train", count)


def text(loaded: models.LoadedModel, tokens: Any) -> str:
    tokenizer: Any = loaded.tokenizer
    return str(tokenizer.decode(list(tokens), skip_special_tokens=True))


def test_a_text_is_learned_after_its_own_prompt_and_with_its_end(loaded: models.LoadedModel) -> None:
    task, rows = tasks.get("gsm8k"), rows_of("gsm8k")
    tokenizer: Any = loaded.tokenizer
    encoded = training.encode_rows(loaded, task, rows, 10_000)
    assert isinstance(encoded.objective, Texts)
    for row, sequence, target in zip(rows, encoded.sequences, encoded.objective.targets, strict=True):
        assert target[-1] == tokenizer.eos_token_id
        assert text(loaded, target) == task.target(row)
        assert tuple(sequence.tokens[-len(target) + 1 :]) == tuple(target[:-1])
        assert sequence.reads == len(target)
        assert text(loaded, sequence.tokens) == task.prompt(row) + task.target(row)


def test_a_class_is_its_place_among_the_tasks_classes(loaded: models.LoadedModel) -> None:
    task, rows = tasks.get("mnli"), rows_of("mnli", 12)
    encoded = training.encode_rows(loaded, task, rows, 10_000)
    assert isinstance(encoded.objective, Choices)
    tokenizer: Any = loaded.tokenizer
    for row, sequence, target in zip(rows, encoded.sequences, encoded.objective.targets.tolist(), strict=True):
        word = int(encoded.objective.words[target])
        assert tokenizer.decode([word]) == task.verbaliser[str(row.label)]
        assert text(loaded, sequence.tokens) == task.prompt(row)


def plain(loaded: models.LoadedModel, encoded: training.EncodedRows) -> tuple[float, float]:
    """Accuracy and loss, a row at a time."""
    right, losses = [], []
    for sequence in encoded.sequences:
        with torch.no_grad():
            logits = loaded.model(torch.tensor([tuple(sequence.tokens)])).logits[0, -sequence.reads :].float()
        if isinstance(encoded.objective, Choices):
            logits, wanted = logits[:, encoded.objective.words], encoded.objective.targets[sequence.index][None]
        else:
            assert isinstance(encoded.objective, Texts)
            wanted = torch.tensor(encoded.objective.targets[sequence.index])
        right.append(bool((logits.argmax(-1) == wanted).all()))
        losses.append(nn.functional.cross_entropy(logits, wanted, reduction="none"))
    return sum(right) / len(right), float(torch.cat(losses).mean())


@pytest.mark.parametrize(("name", "count"), [("mnli", 12), ("gsm8k", 3)])
def test_development_rows_are_measured_as_one_by_one(loaded: models.LoadedModel, name: str, count: int) -> None:
    encoded = training.encode_rows(loaded, tasks.get(name), rows_of(name, count), 64)
    found = training._development_metrics(loaded, encoded)()
    accuracy, loss = plain(loaded, encoded)
    assert found == pytest.approx({"accuracy": accuracy, "loss": loss}, rel=1e-4)
    assert name != "mnli" or 0 < accuracy < 0.6, "the least likely class would be another share"


def begun(
    spec: RunSpec, root: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Tensor], list[list[int]], set[str]]:
    """What a training starts from: its adapter's numbers, the rows of each step, the ids of the development rows."""
    found: list[Any] = []
    whole = training.encode_rows

    class BegunError(Exception):
        pass

    def encode(loaded: Any, task: Task, rows: Any, *more: Any) -> Any:
        found.append([row.id for row in rows])
        return whole(loaded, task, rows, *more)

    def run(trainer: AdapterTrainer, *_: Any) -> None:
        plan: Any = trainer.train_dataset
        steps = [[s.index for forward in step for tree in forward for s in tree.sequences] for step in plan.steps]
        tensors = {name: tensor.detach().clone() for name, tensor in trainer.adapter.tensors().items()}
        found.append((tensors, steps, trainer.settings.seed))
        raise BegunError

    with monkeypatch.context() as patch:
        patch.setattr(training, "encode_rows", encode)
        patch.setattr(AdapterTrainer, "run", run)
        with pytest.raises(BegunError):
            training.train_adapter(RunStore(root).open(spec), spec.train, Display())  # type: ignore[arg-type]
    trained, *developed, (tensors, steps, seed) = found
    assert seed == spec.seed
    return tensors, [[trained[index] for index in step] for step in steps], {row for rows in developed for row in rows}


def test_the_seed_decides_the_start_the_order_and_the_development_rows(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again, other = (
        begun(spec("lora", seed=seed), tmp_path / str(number), monkeypatch) for number, seed in enumerate((0, 0, 1))
    )
    for name, tensor in first[0].items():
        assert torch.equal(tensor, again[0][name])
        assert "lora_A" not in name or not torch.equal(tensor, other[0][name])
    assert first[1:] == again[1:]
    assert first[2] != other[2]
    assert first[1] != other[1]


def test_the_order_of_the_same_rows_is_the_seeds(spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "train.tsv"  # all of them are trained on, whatever the seed
    lines = [f"{row.fields['premise']}\t{row.fields['hypothesis']}\t{row.label}" for row in rows_of("mnli", 18)]
    file.write_text("\n".join(lines) + "\n")
    changes = {"data": {"files": str(file)}, "rows": None, "development_rows": 0}
    first, second = (begun(spec("lora", changes, seed=seed), tmp_path / str(seed), monkeypatch)[1] for seed in range(2))
    assert sorted(row for step in first for row in step) == sorted(row for step in second for row in step)
    assert first != second


def test_rows_that_are_drawn_are_the_seeds() -> None:
    rows = rows_of("mnli", 60)
    assert draw(rows, 6, 0, tasks.get("mnli").classes) == draw(rows, 6, 0, tasks.get("mnli").classes)
    assert draw(rows, 6, 0, tasks.get("mnli").classes) != draw(rows, 6, 1, tasks.get("mnli").classes)


def test_exposure_rows_are_the_seeds(tmp_path: Path) -> None:
    rows = data.load("xnli", "snapshot", "swh_Latn", "test", 30)
    lines = [f"{row.fields['premise']}\t{row.fields['hypothesis']}\t{row.label}" for row in rows]
    (tmp_path / "dev-sw.tsv").write_text("\n".join(lines) + "\n")
    exposure = {"rows": 6, "languages": ["sw"], "task": "xnli", "split": "dev"}
    exposure["data"] = {"files": str(tmp_path / "dev-{lang}.tsv")}
    settings = Train.model_validate({"task": "mnli", "exposure": exposure})
    found = [{row.id for row in exposure_rows(settings, tasks.get("mnli"), seed)[0]} for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.7},
        {"temperature": 0.7, "top_p": 0.9},
        {"temperature": 0.7, "generation_seed": 3},
        {"max_new_tokens": 5},
        {"max_tokens": 99},
        {"template": "native"},
        {"few_shot": {"shots": 2}},
        {"few_shot": {"shots": 2, "seed": 1}},
        {"data": {"files": "{lang}.tsv"}},
        {"model": "smollm2-135m"},
        {"dtype": "bfloat16"},
        {"quantization": "int8"},
    ],
    ids=str,
)
def test_predictions_are_not_kept_where_something_else_would_be_asked(spec: Spec, changes: dict[str, Any]) -> None:
    task = tasks.get("mgsm")
    usual = {"task": "mgsm", "languages": ["de"]}
    ways = []
    for own in ({}, changes, {**changes, "few_shot": {"shots": 2}} if "seed" in str(changes.get("few_shot")) else {}):
        of_run = {key: value for key, value in own.items() if key in ("model", "dtype", "quantization")}
        evaluation = Evaluation.model_validate({**usual, **{k: v for k, v in own.items() if k not in of_run}})
        run = spec("base", None).model_copy(update=of_run)
        ways.append(describe(run, evaluation, task.with_options(evaluation.template, evaluation.verbaliser), "test"))
    assert ways[1] != ways[0]
    assert ways[1] != ways[2]
    more = Evaluation.model_validate({**usual, "languages": "all", "limit": 3})
    assert describe(spec("base", None), more, task, "test") == ways[0], "more rows or languages are the same question"


def test_each_temperature_is_a_question_of_its_own(spec: Spec) -> None:
    task, entries = tasks.get("mgsm"), [{"task": "mgsm", "temperature": value} for value in (0.7, 0.9)]
    first, second = (describe(spec("base", None), Evaluation.model_validate(e), task, "test") for e in entries)
    assert first != second


def test_of_equal_scores_the_first_class_is_chosen() -> None:
    task, (row, *_) = tasks.get("xnli"), data.load("xnli", "snapshot", "deu_Latn", "test", 1)
    for scores, place in (((-1.0, -1.0, -1.0), 0), ((-2.0, -1.0, -1.0), 1), ((-2.0, -1.5, -1.0), 2)):
        assert answering._choice(task, row, "", False, False, scores).answer == task.classes[place]
