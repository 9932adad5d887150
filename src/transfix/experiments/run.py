"""One run from its specification to its metrics: `train`, `evaluate`, `predict`. Read this first.

    specification ─▶ model + adapter ─▶ English rows ─▶ steps ─▶ adapter/
                                       rows of every language ─▶ predictions/TASK/LANGUAGE.parquet ─▶ metrics.json

Each arrow ends in files that are whole if they exist, and what exists is not done again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfix import atomic, data, languages, tasks
from transfix.data import Example, FilesSource, benchmarks
from transfix.data.digests import files_digest
from transfix.data.files import find
from transfix.errors import Problem, ProblemsError, TransfixError
from transfix.experiments.progress import Display
from transfix.experiments.spec import RunSpec
from transfix.experiments.spec_parts import Evaluation, OnTask, Train
from transfix.experiments.store import Run, RunStore
from transfix.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

    from transfix.models import LoadedModel


def train(spec: RunSpec, store: RunStore, display: Display | None = None) -> Run:
    """Trains the adapter of a specification, or finds it trained. A killed training goes on from its last checkpoint.

    Args:
        spec: the run; `auto` settings are resolved here.
        store: where the run's directory is, or will be.
        display: where progress is shown.

    Raises:
        TransfixError: if model, data or settings do not allow it; the message says why.
    """
    display = display or Display()
    run = store.open(resolve(spec))
    if run.spec.train is None:
        return run
    with run.lock():
        if not (run.adapter_dir / "adapter.json").exists():
            _train(run, run.spec.train, display)
        shutil.rmtree(run.checkpoints_dir, ignore_errors=True)
    return run


def evaluate(
    run: Run,
    task_names: Sequence[str] | None = None,
    codes: Sequence[str] | None = None,
    limit: int | None = None,
    display: Display | None = None,
) -> dict[str, Any]:
    """Measures a run's adapter and returns its metrics. Rows that were predicted already are not asked again.

    Args:
        run: trained, unless its adapter is `base`.
        task_names: only these tasks; one that the specification does not name is measured on the snapshot.
        codes: only these languages; `None` is what the specification says.
        limit: rows a language; `None` is what the specification says.
        display: where progress is shown.

    Raises:
        TransfixError: if the run is not trained, or rows cannot be read.
    """
    display = display or Display()
    with run.lock():
        session = Session(run)
        for evaluation in _evaluations(run.spec, task_names, codes, limit):
            _evaluate(session, evaluation, display)
        metrics = compute_metrics(run)
        run.write_metrics(metrics)
    return metrics


def predict(run: Run, source: Path, target: Path, display: Display | None = None) -> int:
    """Answers the rows of a jsonl file: each gets `answer` and `probabilities`. Returns how many.

    Raises:
        TransfixError: if a row lacks a field of the task, or `target` exists already.
    """
    display = display or Display()
    if target.exists():
        raise TransfixError(f"{target} exists already: name another file, or move it away.")
    on = run.spec.train or next(iter(run.spec.evaluate), None)
    if on is None:
        raise TransfixError(f"{run.path}: its specification names no task. Add `evaluate: {{task: xnli}}` to it.")
    task = _task(on)
    rows = data.read_unlabelled(source, task.fields)
    if taken := sorted({name for row in rows for name in ("answer", "probabilities") if name in row}):
        raise TransfixError(
            f"{source}: rows have {' and '.join(taken)} already, which would be overwritten: rename it."
        )
    examples = [
        Example(str(index), "und", {name: str(row[name]) for name in task.fields}, None)
        for index, row in enumerate(rows)
    ]
    with display.bar(f"Answering {source.name}", len(rows)) as bar:
        answers = Session(run).answers(task, examples, bar.advance)
    lines = [
        json.dumps({**row, "answer": answer.answer, "probabilities": answer.probabilities}, ensure_ascii=False)
        for row, answer in zip(rows, answers, strict=True)
    ]
    atomic.write_file(target, "\n".join(lines) + "\n")
    return len(rows)


def resolve(spec: RunSpec) -> RunSpec:
    """The specification with `auto` replaced by what this machine does best.

    Full fine-tuning keeps its weights in float32: steps are too small for bfloat16's eight bits. Files of training rows get
    their digest, so that a run is named by what it is trained on and not by where that lies.

    Raises:
        TransfixError: the specification has a digest (it is a run's own) and the files have changed since.
    """
    from transfix.models.loading import choose_device, choose_dtype

    device = choose_device(spec.device)
    wanted = "float32" if spec.dtype == "auto" and spec.method == "full" else spec.dtype
    digest = _rows_digest(spec.train)
    if spec.train and spec.train.rows_digest not in (None, digest):
        raise TransfixError(
            f"the files of train.data ({spec.train.data}) are not those this run was started with: their digest is "
            f"{digest}, the specification says {spec.train.rows_digest}. Bring the old files back, or take rows_digest "
            "out of your copy of the specification to train on the new ones in a run of their own."
        )
    dtype = str(choose_dtype(wanted, device)).removeprefix("torch.")
    return spec.resolved(dtype=dtype, device=str(device), rows_digest=digest)  # type: ignore[arg-type]


def _rows_digest(settings: Train | None) -> str | None:
    """See `Train.rows_digest`; None for rows that are in no files of the user's."""
    if settings is None or not isinstance(settings.data, FilesSource):
        return None
    task = _task(settings)
    split = settings.split or task.train_split or task.default_split
    codes = task.languages if isinstance(settings.languages, str) else settings.languages
    benchmark = benchmarks.get(task.name)
    files = {find(settings.data, benchmark, code, benchmark.split(split)): None for code in codes}
    return files_digest(files)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one row.

    Attributes:
        answer: the class with the highest probability.
        scores: log-probabilities of the classes, in the task's order.
        prompt_hash: of the prompt's text (12 hex digits).
        truncated: whether the prompt was cut.
        classes: the classes.
    """

    answer: str
    scores: tuple[float, ...]
    prompt_hash: str
    truncated: bool
    classes: tuple[str, ...]

    @property
    def probabilities(self) -> dict[str, float]:
        """Class -> probability."""
        import math

        return {name: round(math.exp(score), 6) for name, score in zip(self.classes, self.scores, strict=True)}


@dataclass(slots=True)
class Session:
    """A run's model with its adapter, loaded when it is first needed."""

    run: Run
    _loaded: LoadedModel | None = field(default=None, repr=False)

    def load(self) -> LoadedModel:
        """The model, its adapter on.

        Raises:
            TransfixError: if the run is not trained yet.
        """
        if self._loaded is None:
            spec = self.run.spec
            if spec.trained and not (self.run.adapter_dir / "adapter.json").exists():
                raise TransfixError(
                    f"{self.run.path} is not trained yet: run `transfix train {self.run.path}/spec.yaml`."
                )
            loaded = load_model(spec)
            if spec.trained:
                from transfix.adapters import load_adapter

                load_adapter(loaded.model, self.run.adapter_dir)
            self._loaded = loaded
        return self._loaded

    def answers(self, task: Task, examples: Sequence[Example], advance: Any = None) -> list[Answer]:
        """The model's answers, in the order of `examples`."""
        import torch

        from transfix import batches
        from transfix.evaluation.scoring import score_choices

        loaded = self.load()
        tokenizer: Any = loaded.tokenizer
        words = tasks.check_verbaliser(task, tokenizer, examples[:3])
        prompts = [task.prompt(example) for example in examples]
        longest = self.run.spec.train.max_tokens if self.run.spec.train else None
        encoded = batches.encode(tokenizer, prompts, longest)
        scores = score_choices(
            loaded.model, encoded, torch.tensor(list(words.values())), tokenizer.pad_token_id, advance
        )
        best = scores.argmax(-1).tolist()
        return [
            Answer(task.classes[best[row]], tuple(scores[row].tolist()), _hash(prompt), cut.truncated, task.classes)
            for row, (prompt, cut) in enumerate(zip(prompts, encoded, strict=True))
        ]


def load_model(spec: RunSpec) -> LoadedModel:
    """The base model of a specification."""
    from transfix import models

    return models.load(spec.model, dtype=spec.dtype, device=spec.device, revision=spec.revision)


def compute_metrics(run: Run) -> dict[str, Any]:
    """The metrics of every task that has predictions, computed from them."""
    from transfix.evaluation import metrics

    found: dict[str, dict[str, Any]] = {}
    for task, code in run.predicted():
        found.setdefault(task, {})[code] = run.predictions(task, code)
    return {
        task: {
            **(run.predictions_meta(task, next(iter(frames))) or {}),
            **metrics.summarise(frames, chance=1 / len(tasks.get(task).classes)),
        }
        for task, frames in found.items()
    }


def _train(run: Run, settings: Train, display: Display) -> None:
    import torch

    from transfix import adapters, batches, training
    from transfix.evaluation.scoring import score_choices
    from transfix.experiments.callbacks import Told, tensorboard
    from transfix.training.rows import balance

    spec, task = run.spec, _task(settings)
    examples = _rows(settings, task, settings.split or task.train_split or task.default_split)
    rows, kept = training.split(examples, task.fields[0], settings.rows, settings.development_rows, spec.seed)
    if not rows:
        raise TransfixError(f"{settings.task}: no rows are left to train on; {len(kept)} are kept for development.")
    loaded = load_model(spec)
    model, tokenizer = loaded.model, loaded.tokenizer
    words = torch.tensor(list(tasks.check_verbaliser(task, tokenizer, rows[:3]).values()))
    adapter = adapters.attach(model, *spec.adapter, tokenizer=tokenizer, seed=spec.seed)
    encoded = batches.encode(tokenizer, [task.prompt(row) for row in rows], settings.max_tokens)
    sequences = [batches.Sequence(index, prompt.tokens) for index, prompt in enumerate(encoded)]
    # a tree is not split over steps, so one as wide as a step at the most
    trees = batches.shared(model, sequences, settings.batch_tokens, widest=settings.batch_rows)
    steps = batches.training_steps(trees, settings.epochs, settings.batch_rows, settings.batch_tokens, spec.seed)
    pad: Any = tokenizer.pad_token_id
    choices = training.Choices(torch.tensor([task.classes.index(str(row.label)) for row in rows]), words, pad)
    develop = None
    if kept:
        questions = batches.encode(tokenizer, [task.prompt(row) for row in kept], settings.max_tokens)
        gold = torch.tensor([task.classes.index(str(row.label)) for row in kept])

        def develop() -> dict[str, float]:
            scores = score_choices(model, questions, words, pad)
            loss = torch.nn.functional.nll_loss(scores, gold)
            return {"accuracy": float((scores.argmax(-1) == gold).float().mean()), "loss": float(loss)}

    per_step = [sum(len(tree.sequences) for forward in step for tree in forward) for step in steps]
    done = training.trainer.newest_checkpoint(run.checkpoints_dir)
    finished = int(done.name.rsplit("-", 1)[1]) if done else 0
    with display.bar(f"Training {spec.title}", sum(per_step), sum(per_step[:finished])) as bar:
        trainer = training.AdapterTrainer(
            adapter,
            steps,
            choices,
            _settings(run, settings, len(steps)),
            develop,
            [Told(bar, per_step), *tensorboard(run.path / "logs")],
        )
        trainer.run()
    seconds = trainer.seconds
    if settings.early_stopping and trainer.best_dir.exists():
        from transfix.adapters.saving import fill, read_tensors

        fill(adapter, read_tensors(trainer.best_dir / "adapter.safetensors"), trainer.best_dir)
    history = trainer.state.log_history
    measured = [entry for entry in history if "eval_accuracy" in entry]
    run.write_json(
        "training.json",
        {
            "trainable_parameters": adapter.trainable,
            "rows": len(rows),
            "rows_seen": sum(per_step[: trainer.state.global_step]),
            "development_rows": len(kept),
            "class_balance": balance(rows, task.classes),
            "truncated": sum(e.truncated for e in encoded),
            "tokens_computed_per_epoch": sum(tree.size for tree in trees),
            "tokens_without_sharing_per_epoch": sum(len(e.tokens) for e in encoded),
            "steps": trainer.state.global_step,
            "seconds": round(seconds, 2),
            "examples_per_second": round(sum(per_step[: trainer.state.global_step]) / max(seconds, 1e-9), 3),
            "resumed_at_step": finished,
            "final_loss": next((entry["loss"] for entry in reversed(history) if "loss" in entry), None),
            "development": [
                {"step": e["step"], "accuracy": e["eval_accuracy"], "loss": e["eval_loss"]} for e in measured
            ],
        },
    )
    run.write_adapter(adapter.save)


def _settings(run: Run, settings: Train, steps: int) -> Any:
    from transfix import training

    every = settings.evaluate_every or -(-steps // settings.epochs)
    return training.Settings(
        output=run.checkpoints_dir,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        schedule=settings.schedule,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        evaluate_every=every,
        early_stopping=settings.early_stopping,
        checkpoint_every=settings.checkpoint_every,
        gradient_checkpointing=settings.gradient_checkpointing,
        seed=run.spec.seed,
    )


def _evaluations(
    spec: RunSpec, names: Sequence[str] | None, codes: Sequence[str] | None, limit: int | None
) -> list[Evaluation]:
    """What is to be measured: the specification's evaluations, narrowed or widened by what was asked for."""
    known = list(spec.evaluate)
    chosen = known if names is None else [e for e in known if e.task in names]
    missing = [name for name in names or () if all(e.task != name for e in known)]
    chosen += [_checked({"task": name}) for name in missing]
    if not chosen:
        raise TransfixError(
            "there is nothing to measure: name a task (--task xnli), or add `evaluate:` to the specification."
        )
    languages_asked = "all" if codes is not None and list(codes) == ["all"] else tuple(codes) if codes else None
    updates = {"languages": languages_asked, "limit": limit}
    given = {name: value for name, value in updates.items() if value is not None}
    return [_checked({**e.model_dump(), **given}) for e in chosen]


def _checked(content: dict[str, Any]) -> Evaluation:
    """An evaluation as it was asked for on the command line.

    Raises:
        ProblemsError: with everything that its task does not allow.
    """
    from pydantic import ValidationError

    try:
        return Evaluation.model_validate(content)
    except ValidationError as error:
        problems = [
            Problem(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.errors()
        ]
        raise ProblemsError(f"{content['task']} cannot be measured like this:", problems) from error


def _evaluate(session: Session, evaluation: Evaluation, display: Display) -> None:
    """Predicts what is missing of one task, language by language."""
    run, task = session.run, _task(evaluation)
    split = evaluation.split or task.default_split
    meta = _meta(run.spec, evaluation, task, split)
    codes = task.languages if isinstance(evaluation.languages, str) else evaluation.languages
    wanted = {code: data.load(task.name, evaluation.data, code, split, evaluation.limit) for code in codes}
    kept = {code: _kept(run, task, code, meta, wanted[code]) for code in codes}
    missing = {code: rows for code in codes if (rows := _unanswered(wanted[code], kept[code]))}
    total = sum(len(rows) for rows in wanted.values())
    if not missing:
        return
    done = total - sum(len(rows) for rows in missing.values())
    session.load()
    with display.bar(f"Measuring {run.spec.title} on {task.name}", total, done) as bar:
        for code, rows in missing.items():
            name = languages.get(code).name
            answers = session.answers(task, rows, lambda n, name=name: bar.advance(n, name))
            frame = _frame(rows, answers, kept[code])
            run.write_predictions(task.name, code, frame, meta)


def _unanswered(rows: Sequence[Example], before: pd.DataFrame | None) -> list[Example]:
    """The rows that have no prediction yet."""
    answered = set() if before is None else set(before["id"])
    return [row for row in rows if row.id not in answered]


def _frame(rows: Sequence[Example], answers: Sequence[Answer], before: pd.DataFrame | None) -> pd.DataFrame:
    """Predictions as a table, after those made before."""
    import pandas as pd

    new = pd.DataFrame(
        {
            "id": [row.id for row in rows],
            "language": [row.language for row in rows],
            "prompt_hash": [answer.prompt_hash for answer in answers],
            "answer": [answer.answer for answer in answers],
            "gold": [row.label for row in rows],
            "score": [float(answer.answer == row.label) for row, answer in zip(rows, answers, strict=True)],
            "truncated": [answer.truncated for answer in answers],
            "option_scores": [list(answer.scores) for answer in answers],
        }
    )
    return new if before is None else pd.concat([before, new], ignore_index=True)


def _kept(run: Run, task: Task, code: str, meta: dict[str, Any], wanted: Sequence[Example]) -> pd.DataFrame | None:
    """Predictions made before, as far as they answer the same questions: a file's rows may have changed since."""
    frame = run.predictions(task.name, code) if run.predictions_meta(task.name, code) == meta else None
    if frame is None:
        return None
    asked = {row.id: (_hash(task.prompt(row)), row.label) for row in wanted}
    same = []
    for row in frame.itertuples():
        answered = (row.prompt_hash, row.gold if isinstance(row.gold, str) else None)
        same.append(asked.get(row.id, answered) == answered)
    return frame[same] if any(same) else None


def _meta(spec: RunSpec, evaluation: Evaluation, task: Task, split: str) -> dict[str, Any]:
    return {
        "task": task.name,
        "split": split,
        "data": evaluation.model_dump(mode="json")["data"],
        "classes": list(task.classes),
        "template": task.template,
        "verbaliser": dict(task.verbaliser),
        "prompt_language": "eng_Latn",
        "few_shot": 0,
        "model": spec.model,
        "dtype": spec.dtype,
        "max_tokens": spec.train.max_tokens if spec.train else None,
    }


def _rows(on: Train, task: Task, split: str) -> list[Example]:
    codes = task.languages if isinstance(on.languages, str) else on.languages
    return [row for code in codes for row in data.load(task.name, on.data, code, split)]


def _task(on: OnTask) -> Task:
    return tasks.get(on.task).with_options(on.template, on.verbaliser)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
