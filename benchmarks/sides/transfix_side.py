"""transfix: what `transfix train` and `transfix evaluate` do, without the files."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.sides import rows as data_rows
from benchmarks.sides import shapes
from benchmarks.sides.clock import Clock, now
from transfix import adapters, batches, models
from transfix.adapters import architecture
from transfix.adapters.methods import METHODS
from transfix.data import Example
from transfix.runs.training import encode_rows
from transfix.training.kept import KeptLayers
from transfix.training.trainer import AdapterTrainer, Settings


def train(
    model: str,
    method: dict[str, Any],
    rows: int,
    dtype: str = "bfloat16",
    batch_rows: int = 16,
    batch_tokens: int = 2048,
    epochs: int = 1,
    longer: int = 1,
    keep: bool = False,
    checkpointing: bool = False,
    compile: bool = False,
) -> dict[str, Any]:
    """Trains an adapter on `rows` English rows and says how fast.

    Args:
        model: the base model.
        method: the settings of the method.
        rows: how many.
        dtype: of the base weights.
        batch_rows: rows a step.
        batch_tokens: tokens a forward.
        epochs: passes.
        longer: see `rows.mnli`.
        keep: whether the output of frozen lower layers is kept.
        checkpointing: whether activations are computed again in the backward pass.
        compile: whether the layers are compiled; that happens in the steps that are not timed.
    """
    base, tokenizer, sequences, objective = _given(model, dtype, rows, longer)
    adapter = adapters.attach(base, METHODS[method["method"]](**method), tokenizer=tokenizer, seed=0)
    began = time.perf_counter()
    trees = batches.shared(base, sequences, batch_tokens, widest=batch_rows)
    steps = batches.training_steps(trees, epochs, batch_rows, batch_tokens, seed=0)
    clock = Clock()
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory)
        kept = KeptLayers.of(adapter, steps, epochs, objective.pad, output) if keep else None
        trainer = AdapterTrainer(
            adapter, steps, objective, settings(output, checkpointing, compile), None, [clock], kept
        )
        trainer.run()
    seconds = time.perf_counter() - began
    per_step = [sum(len(tree.sequences) for forward in step for tree in forward) for step in steps]
    tokens = [sum(tree.size for forward in step for tree in forward) for step in steps]
    body = sum(p.numel() for layer in architecture.stack(base) for p in layer.parameters() if not p.requires_grad)
    return {
        "rows_per_s": round(clock.rate(per_step), 3),
        "tokens_per_s": round(clock.rate(tokens), 1),
        "teraflops": round(4 * body * clock.rate(tokens) / 1e12, 4),
        "whole_s": round(seconds, 2),
        "rows": sum(per_step),
        "tokens": sum(tokens),
        "largest_forward": max(len(forward) * max(tree.size for tree in forward) for step in steps for forward in step),
        "tokens_unshared": epochs * sum(len(row.tokens) for row in sequences),
        "trainable": adapter.trainable,
        "kept_layers": kept.below if kept else 0,
        "losses": [round(entry["loss"], 4) for entry in trainer.state.log_history if "loss" in entry],
        **shapes.peak(base.device),
    }


def _given(model: str, dtype: str, rows: int, longer: int) -> tuple[Any, Any, Any, Any]:
    """The base model, its tokenizer, the rows and the objective: MultiNLI, or random rows for a model of random weights."""
    if model in shapes.SHAPES:
        random_rows = shapes.rows(rows)
        return shapes.model(model, dtype), None, random_rows.sequences(), random_rows.objective()
    loaded = models.load(model, dtype=dtype, device="cpu")
    found = data_rows.mnli(loaded.tokenizer, rows, longer)
    encoded = encode_rows(loaded, found.task, found.examples, 4096)
    return loaded.model, loaded.tokenizer, encoded.sequences, encoded.objective


def hold(rows: int) -> dict[str, Any]:
    """Makes `rows` MultiNLI rows into what a training holds before its first step: texts, tokens, trees.

    Rows beyond those of the development set are the same ones behind a number of their own.

    Returns:
        How long tokens and trees take, and the process's resident memory at the end; without the weights, which are not
        read. What a row takes is the difference between two sizes, over the rows between them.
    """
    loaded = models.load("gemma-3-270m", dtype="bfloat16", device="cpu")
    tokenizer: Any = loaded.tokenizer
    found = data_rows.mnli(tokenizer, min(rows, 9000))
    examples: list[Example] = []
    for copy in range(-(-rows // len(found.examples))):
        examples += [_numbered(example, copy) for example in found.examples]
    began = time.perf_counter()
    encoded = encode_rows(loaded, found.task, examples[:rows], 1024)
    trees = batches.grow(encoded.sequences, 512, widest=16)
    return {
        "rows": len(encoded.sequences),
        "tokens": sum(len(row.tokens) for row in encoded.sequences),
        "trees": len(trees),
        "whole_s": round(time.perf_counter() - began, 2),
        "resident": _resident(),
    }


def _numbered(example: Example, number: int) -> Example:
    fields = {name: f"{number} {text}" for name, text in example.fields.items()}
    return dataclasses.replace(example, id=f"{number}/{example.id}", fields=fields)


def _resident() -> int:
    """Bytes of this process that are in memory now."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def settings(output: Path, checkpointing: bool = False, compile: bool = False) -> Settings:
    """Of a training that is timed: no development rows, no checkpoints."""
    return Settings(output, 1e-3, 0.0, "constant", 0.0, 1.0, 10**9, None, 10**9, checkpointing, 0, compile)


def ceiling(gpu: bool = False) -> dict[str, Any]:
    """The machine's own large matrix product in bfloat16, in TFLOP/s: the best of five (4096 wide, 8192 on a GPU)."""
    device = shapes.device() if gpu else torch.device("cpu")
    size, times = (4096, 1) if device.type == "cpu" else (8192, 10)
    left, right = (torch.randn(size, size, dtype=torch.bfloat16, device=device) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        began = now()
        for _ in range(times):
            _ = left @ right
        best = min(best, (now() - began) / times)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    return {"teraflops": round(2 * size**3 / best / 1e12, 4), "device": name}


def evaluate(
    task: str, files: str, rows: int, new: int = 32, dtype: str = "bfloat16", template: str = "lm-eval"
) -> dict[str, Any]:
    """Evaluates the base model as `transfix evaluate` does: loading of the model not counted, all else counted.

    Args:
        task: the task's name.
        files: the pattern of its files.
        rows: how many, in German.
        new: tokens of a generated answer, at the most.
        dtype: of the weights.
        template: of the prompts.
    """
    from transfix.runs import run as experiment
    from transfix.runs.answering import Session
    from transfix.runs.evaluation import measure
    from transfix.runs.metrics import compute_metrics
    from transfix.runs.progress import Display
    from transfix.runs.specification import RunSpec
    from transfix.runs.store import RunStore

    evaluation: dict[str, Any] = {"task": task, "template": template, "data": {"files": files}, "languages": ["de"]}
    evaluation |= {"limit": rows} | ({"max_new_tokens": new} if task in ("xquad", "mgsm") else {})
    spec = RunSpec.load({"model": "gemma-3-270m", "dtype": dtype, "adapter": "base", "evaluate": [evaluation]})
    with tempfile.TemporaryDirectory() as directory:
        run = experiment.train(spec, RunStore(directory))
        session = Session(run)
        tokenizer: Any = session.load().tokenizer
        began = time.perf_counter()
        measure(session, spec.evaluate[0], Display())
        run.write_metrics(compute_metrics(run))
        seconds = time.perf_counter() - began
        frame = run.predictions(task, "deu_Latn")
    assert frame is not None
    texts = [str(text) for text in frame["text"]] if "text" in frame else []
    return data_rows.answered(seconds, [float(score) for score in frame["score"]], texts, tokenizer)
