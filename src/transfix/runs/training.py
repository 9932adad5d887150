"""Training one run's adapter: rows, targets, steps, and the record of what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transfix import tasks
from transfix.config import limits
from transfix.data import Example
from transfix.errors import TransfixError
from transfix.runs import answering, classifying
from transfix.runs.progress import Display
from transfix.runs.rows import exposure_rows, require_unmeasured, training_rows
from transfix.runs.settings import OnTask, Train
from transfix.runs.store import Run
from transfix.tasks import Continued, Reader, Task

if TYPE_CHECKING:
    from transfix.batches import TokenSequence
    from transfix.models import LoadedModel
    from transfix.training import Objective, Settings


def task_of(on: OnTask) -> Task:
    """The task of a specification's part, with the prompt template that the part asks for."""
    return tasks.get(on.task).with_options(on.template, on.verbaliser)


def train_adapter(run: Run, settings: Train, display: Display) -> None:
    """Trains the adapter of a run and writes it, with `training.json`. Goes on from the newest checkpoint.

    Raises:
        TransfixError: if model, data or settings do not allow it; the message says why.
    """
    import torch

    from transfix import adapters, batches, training
    from transfix.runs.callbacks import ProgressBarCallback, tensorboard
    from transfix.training import checkpoints
    from transfix.training.kept import KeptLayers
    from transfix.training.rows import balance

    spec, task = run.spec, task_of(settings)
    found, skipped = training_rows(settings, task)
    rows, kept = training.split(found, task.fields[0], settings.rows, settings.development_rows, spec.seed)
    exposed, more_skipped = exposure_rows(settings, task, spec.seed)
    require_unmeasured(spec, task, exposed)
    if settings.rows is not None and 0 < len(rows) < settings.rows:
        display.say(f"{settings.task}: there are {len(rows)} rows to train on, train.rows allows {settings.rows}.")
    rows, skipped = rows + exposed, skipped + more_skipped
    if not rows:
        raise TransfixError(
            f"{settings.task}: no rows are left to train on; {len(kept)} are kept for development. Set "
            f"train.development_rows (now {settings.development_rows}) lower, or to 0."
        )
    if len(rows) * settings.epochs > limits.ROWS_SEEN:
        raise TransfixError(
            f"train.epochs: {settings.epochs:,} epochs of {len(rows):,} rows are {len(rows) * settings.epochs:,} rows; a "
            f"training sees at most {limits.ROWS_SEEN:,}: lower train.epochs or train.rows."
        )
    loaded = answering.load_model(spec)
    model, tokenizer = loaded.model, loaded.tokenizer
    ahead = sum(part.input_tokens for part in spec.adapter)
    encoded = encode_rows(loaded, task, rows, settings.max_tokens, ahead)
    if encoded.merged:
        display.say(answering.merged_said(settings.task, encoded.merged, len(rows), spec.model))
    adapter = adapters.attach(model, *spec.adapter, tokenizer=tokenizer, seed=spec.seed)
    # a tree is not split over steps, so one as wide as a step at the most
    trees = batches.shared(model, encoded.sequences, settings.batch_tokens, widest=settings.batch_rows)
    steps = batches.training_steps(trees, settings.epochs, settings.batch_rows, settings.batch_tokens, spec.seed)
    lower = None
    if settings.keep_lower_layers and not loaded.classes:  # an encoder's layers drop out at random, all of them
        lower = KeptLayers.of(adapter, steps, settings.epochs, encoded.objective.pad, run.checkpoints_dir)
    per_step = [sum(len(tree.sequences) for forward in step for tree in forward) for step in steps]
    done = checkpoints.newest(run.checkpoints_dir, display.say)
    finished = (checkpoints.step_of(done) or 0) if done else 0
    with display.bar(f"Training {spec.title}", sum(per_step), sum(per_step[:finished])) as bar:
        trainer = training.AdapterTrainer(
            adapter,
            steps,
            encoded.objective,
            _settings(run, settings, len(steps)),
            _development_metrics(loaded, encode_rows(loaded, task, kept, settings.max_tokens, ahead)) if kept else None,
            [ProgressBarCallback(bar, per_step), *tensorboard(run.logs_dir)],
            lower,
        )
        trainer.run(done)
    history = trainer.state.log_history
    if settings.early_stopping and any("eval_accuracy" in entry for entry in history):
        adapter.fill(trainer.best(), trainer.best_dir)
    seen = sum(per_step[: trainer.state.global_step])
    run.write_training(
        {
            "trainable_parameters": adapter.trainable,
            "rows": len(rows),
            "rows_seen": seen,
            "exposure_rows": len(exposed),
            "development_rows": len(kept),
            "skipped_rows": skipped,
            "class_balance": balance(rows, task.classes),
            "truncated": encoded.truncated,
            "target_tokens_per_epoch": sum(row.reads for row in encoded.sequences),
            "tokens_computed_per_epoch": sum(tree.size for tree in trees),
            "tokens_without_sharing_per_epoch": sum(len(row.tokens) for row in encoded.sequences),
            "steps": trainer.state.global_step,
            "threads": torch.get_num_threads(),
            "seconds": round(trainer.seconds, 2),
            "examples_per_second": round(seen / max(trainer.seconds, 1e-9), 3),
            "kept_lower_layers": lower.below if lower else 0,
            "resumed_at_step": finished,
            "final_loss": next((entry["loss"] for entry in reversed(history) if "loss" in entry), None),
            **({"head_classes": list(loaded.classes)} if loaded.classes else {}),
            "development": [
                {"step": e["step"], "accuracy": e["eval_accuracy"], "loss": e["eval_loss"]}
                for e in history
                if "eval_accuracy" in e
            ],
        },
    )
    run.write_adapter(adapter.save)


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows as token sequences, with their targets.

    Attributes:
        sequences: what the model reads, cut to size, and how many of its last positions have a target.
        objective: what is right there.
        truncated: how many rows had to be cut.
        merged: in how many rows the boundary between prompt and target lies inside a token.
    """

    sequences: Sequence[TokenSequence]
    objective: Objective
    truncated: int
    merged: int


def encode_rows(
    loaded: LoadedModel, task: Task, rows: Sequence[Example], max_tokens: int, ahead: int = 0
) -> EncodedRows:
    """Rows as token sequences with their targets: a label word's class, or the tokens of a text and its end.

    Args:
        loaded: the model that reads them.
        task: with its template.
        rows: with their reference answers.
        max_tokens: of a prompt; no more than the model reads beside its target.
        ahead: tokens of a soft prompt before each row.

    Raises:
        TransfixError: if label words do not fit the tokenizer, or it cannot read a text as what it is, or a target leaves no
            room for a prompt.
    """
    from transfix import batches, training
    from transfix.evaluation.generation.endings import end_tokens

    tokenizer: Any = loaded.tokenizer
    pad: int = tokenizer.pad_token_id
    if loaded.classes:
        return _classes(loaded, task, rows, answering.longest(loaded, max_tokens, 0, ahead), pad)
    reader = answering.reader_of(loaded)
    if task.kind == "choice" and task.prompt_template.scoring == "word":
        found = _choices(reader, task, rows, answering.longest(loaded, max_tokens, 0, ahead), pad)
        if found is not None:
            return found
    most = answering.longest(loaded, None, 0, ahead)
    end = tuple(number for number in end_tokens(loaded.model, tokenizer) if number < int(reader.size or 0))[:1]
    targets: list[tuple[int, ...]] = []
    truncated = merged = 0

    def tokens() -> Iterator[tuple[int, ...]]:
        nonlocal truncated, merged
        for start in range(0, len(rows), batches.ROWS):
            for pair in _continued(reader, task, rows[start : start + batches.ROWS]):
                # an end, so that generation stops; a choice is compared with other continuations instead
                ends = () if task.kind == "choice" else end
                targets.append((*pair.target, *ends))
                room = max_tokens if most is None else min(max_tokens, most - len(targets[-1]) + 1)
                if not targets[-1] or room < 1:
                    raise TransfixError(
                        f"{task.name}: a target of {len(targets[-1]):,} tokens cannot be learned behind a prompt: the model "
                        f"reads {most} tokens. Leave the row out, or change its answer."
                    )
                context = batches.cut(pair.context, room)
                truncated, merged = truncated + context.truncated, merged + pair.merged
                yield (*context.tokens, *targets[-1][:-1])

    sequences = [
        batches.TokenSequence(index, row, len(targets[index])) for index, row in enumerate(batches.rows_of(tokens()))
    ]
    return EncodedRows(sequences, training.Texts(targets, pad), truncated, merged)


def _continued(reader: Reader, task: Task, rows: Sequence[Example]) -> list[Continued]:
    """Prompts with their targets. Of a choice as its options are scored: from the same place on, all of them."""
    if task.kind != "choice":
        return reader.continued([(task.prompt(row), task.target(row)) for row in rows])
    pairs: list[tuple[str, str]] = []
    owners: list[int] = []
    gold: list[int] = []
    for number, row in enumerate(rows):
        prompt, right = task.prompt(row), task.classes.index(str(row.label))
        for place, (option, there) in enumerate(zip(task.options(row), task.offered(row), strict=True)):
            if place == right:
                gold.append(len(pairs))
            if there or place == right:
                pairs.append((prompt, option))
                owners.append(number)
    found = reader.continued(pairs, owners)
    return [found[place] for place in gold]


def _choices(reader: Reader, task: Task, rows: Sequence[Example], most: int | None, pad: int) -> EncodedRows | None:
    """Rows whose targets are label words of one token; None if words differ from language to language."""
    import torch

    from transfix import batches, training

    by_language: dict[str, list[Example]] = {}
    for row in rows:
        by_language.setdefault(row.language, []).append(row)
    words = [tasks.check_verbaliser(task, reader.tokenizer, group[:3]) for group in by_language.values()]
    if any(found != words[0] for found in words):
        return None
    prompts = [task.prompt(row) for row in rows]
    encoded = batches.encode(reader, prompts, most)
    sequences = [batches.TokenSequence(index, prompt.tokens) for index, prompt in enumerate(encoded)]
    classes = torch.tensor([task.classes.index(str(row.label)) for row in rows])
    choices = training.Choices(classes, torch.tensor(list(words[0].values())), pad)
    merged = tasks.merged_words(reader, prompts, tasks.label_words(task, rows[:1]), words[0])
    return EncodedRows(sequences, choices, sum(prompt.truncated for prompt in encoded), len(merged))


def _classes(loaded: LoadedModel, task: Task, rows: Sequence[Example], most: int | None, pad: int) -> EncodedRows:
    """Rows as an encoder reads them, whose targets are classes of its head."""
    import torch

    from transfix import training

    sequences, pairs = classifying.texts_as_pairs(loaded, task, rows, most)
    targets = torch.tensor([loaded.classes.index(str(row.label)) for row in rows])
    objective = training.Classes(targets, [pair.second for pair in pairs], pad)
    return EncodedRows(sequences, objective, sum(pair.truncated for pair in pairs), 0)


def _development_metrics(loaded: LoadedModel, kept: EncodedRows) -> Callable[[], dict[str, float]]:
    """Measures the development rows: `accuracy` and `loss`.

    For texts the accuracy is the share of rows whose whole target greedy decoding would write.
    """
    from transfix import training
    from transfix.evaluation.scoring import ChoiceScorer, ClassScorer, LikelihoodScorer

    model, objective, sequences = loaded.model, kept.objective, kept.sequences
    if isinstance(objective, training.Choices | training.Classes):
        import torch

        right = objective.targets
        choice_scorer = (
            ChoiceScorer(model, sequences, objective.words, objective.pad)
            if isinstance(objective, training.Choices)
            else ClassScorer(model, sequences, objective.seconds, objective.pad)
        )

        def choices() -> dict[str, float]:
            scores = choice_scorer.score()
            loss = torch.nn.functional.nll_loss(scores, right)
            return {"accuracy": float((scores.argmax(-1) == right).float().mean()), "loss": float(loss)}

        return choices
    assert isinstance(objective, training.Texts)
    text_scorer = LikelihoodScorer(model, sequences, objective.targets, objective.pad)
    tokens = sum(row.reads for row in sequences)

    def texts() -> dict[str, float]:
        totals, greedy = text_scorer.score()
        return {"accuracy": int(greedy.sum()) / len(greedy), "loss": -float(totals.sum()) / tokens}

    return texts


def _settings(run: Run, settings: Train, steps: int) -> Settings:
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
        compile=settings.compile,
    )
