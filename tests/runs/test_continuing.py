"""A run goes on with the threads it was begun with, whatever `study --jobs` has set since; what else differs is said."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor
from transformers import AutoConfig, Gemma3ForCausalLM

from transfix.adapters.files import read_tensors
from transfix.runs import continuing
from transfix.runs import run as experiment
from transfix.runs.continuing import LATER, NUMBERS, as_begun
from transfix.runs.environment import cores
from transfix.runs.progress import Display
from transfix.runs.specification import RunSpec
from transfix.runs.store import Run, RunStore
from transfix.training import AdapterTrainer

Spec = Callable[..., RunSpec]

TWO_CORES = pytest.mark.skipif(cores() < 2, reason="needs two cores")


def work(spec: RunSpec, root: Path, threads: int, limit: int, until: int = -1) -> Run:
    """Trains and measures on so many threads; a training that is interrupted after `until` steps is begun only."""
    torch.set_num_threads(threads)
    whole = AdapterTrainer.training_step

    def step(self: AdapterTrainer, *args: Any) -> Tensor:
        if self.state.global_step == until:
            raise KeyboardInterrupt
        return whole(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdapterTrainer, "training_step", step)
        with nullcontext() if until < 0 else pytest.raises(KeyboardInterrupt):
            experiment.evaluate(experiment.train(spec, RunStore(root)), limit=limit)
    assert torch.get_num_threads() == threads
    (run,) = RunStore(root).runs()
    return run


@pytest.fixture(scope="module")
def wide_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `tiny_model`, wide enough for its sums to be shared among threads."""
    directory = tmp_path_factory.mktemp("models") / "wide-gemma"
    shutil.copytree(tiny_model, directory)
    config = AutoConfig.from_pretrained(directory)
    config.hidden_size, config.intermediate_size = 256, 512
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Gemma3ForCausalLM(config).save_pretrained(directory)
    return directory


def tensors(run: Run) -> dict[str, bytes]:
    found = read_tensors(run.adapter_dir / "adapter.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in found.items()}


def scores(run: Run) -> list[list[float]]:
    frame = run.predictions("xnli", "deu_Latn")
    assert frame is not None
    return [list(row) for row in frame.sort_values("id")["option_scores"]]


@TWO_CORES
def test_a_run_that_goes_on_with_other_threads_is_the_unbroken_one(
    spec: Spec, wide_model: Path, tmp_path: Path
) -> None:
    """Its training is interrupted, and its measurement, in the midst of a language."""
    training = {"rows": 24, "epochs": 1, "checkpoint_every": 1, "batch_rows": 12, "development_rows": 0}
    german = [{"task": "xnli", "languages": ["de"]}]
    wanted = spec({"method": "prefix", "tokens": 6}, training, model=str(wide_model), evaluate=german)
    one, two, broken = (tmp_path / name for name in ("one", "two", "broken"))
    for root, threads, limit in ((one, 1, 4), (one, 1, 8), (two, 2, 4)):
        work(wanted, root, threads, limit)
    work(wanted, broken, 1, 4, until=1)
    work(wanted, broken, 2, 4)
    work(wanted, broken, 2, 8)
    first, other, again = (RunStore(root).runs()[0] for root in (one, two, broken))
    assert tensors(first) != tensors(other), "else nothing here depends on the number of threads"
    assert tensors(again) == tensors(first)
    assert scores(again) == scores(first)
    assert [run.environment[NUMBERS]["threads"] for run in (first, other, again)] == [1, 2, 1]
    assert again.training is not None
    assert again.training["threads"] == 1
    assert again.training["resumed_at_step"] == 1


def said(run: Run) -> tuple[str, int]:
    """What is said when a run goes on, and how many threads it has then."""
    text = io.StringIO()
    with as_begun(run, Display(Console(file=text))):
        threads = torch.get_num_threads()
    return text.getvalue().replace("\n", " "), threads


@pytest.fixture
def begun(spec: Spec, store: RunStore) -> Run:
    """A run that has begun."""
    run = store.open(experiment.resolve(spec("base", None)))
    assert said(run) == ("", 1)
    run.checkpoints_dir.mkdir()
    return run


def changed(run: Run, **numbers: Any) -> Run:
    facts = run.environment
    run.write_environment({**facts, NUMBERS: {**facts[NUMBERS], **numbers}})
    return run


def test_nothing_is_said_where_nothing_differs(begun: Run) -> None:
    before = begun.environment
    assert said(begun) == ("", 1)
    assert begun.environment == before


@TWO_CORES
def test_its_threads_come_back_and_go_again(begun: Run) -> None:
    text, threads = said(changed(begun, threads=2))
    assert threads == 2
    assert "goes on with 2 threads, as it was begun, not with 1" in text
    assert torch.get_num_threads() == 1
    assert LATER not in begun.environment


def test_threads_that_cannot_be_had_are_said_and_recorded(begun: Run) -> None:
    text, threads = said(changed(begun, threads=cores() + 1))
    assert threads == 1
    assert f"threads: {cores() + 1}, now 1" in text
    for _ in range(2):  # once, however often it goes on
        said(begun)
    (entry,) = begun.environment[LATER]
    assert entry["differs"] == {"threads": [cores() + 1, 1]}
    assert begun.environment[NUMBERS]["threads"] == cores() + 1


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"torch": "1.0"}, "torch: 1.0, now"),
        ({"processor": "Z80"}, "processor: Z80, now"),
        ({"instructions": "MMX"}, "the processor's instructions: MMX, now"),
        ({"kernels": {"MKL_CBWR": "COMPATIBLE"}}, "kernels: {'MKL_CBWR': 'COMPATIBLE'}, now {}"),
        ({"device": "cuda", "accelerator": "H100"}, "device: cuda, now cpu; accelerator: H100, now None"),
    ],
)
def test_what_cannot_be_chosen_is_said(begun: Run, numbers: dict[str, Any], words: str) -> None:
    text, _ = said(changed(begun, **numbers))
    assert words in text
    assert "may differ in the last digits" in text


def test_a_run_of_before_keeps_the_threads_of_its_next_start(begun: Run) -> None:
    facts = begun.environment
    del facts[NUMBERS]
    begun.write_environment(facts)
    assert said(begun) == ("", 1)
    assert begun.environment[NUMBERS]["threads"] == 1


def test_a_start_that_failed_binds_to_nothing(spec: Spec, store: RunStore) -> None:
    run = store.open(experiment.resolve(spec("base", None)))
    said(run)
    assert said(changed(run, threads=cores() + 1)) == ("", 1)
    assert run.environment[NUMBERS]["threads"] == 1


def test_threads_go_back_after_a_failure(begun: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuing, "cores", lambda: 64)
    changed(begun, threads=2)
    seen = []

    def fails() -> None:
        with as_begun(begun, Display(Console(file=io.StringIO()))):
            seen.append(torch.get_num_threads())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert [*seen, torch.get_num_threads()] == [2, 1]


def test_the_record_is_plain_data(begun: Run) -> None:
    numbers = json.loads((begun.path / "environment.json").read_text())[NUMBERS]
    assert {"threads", "processor", "instructions", "device", "torch", "transformers"} <= numbers.keys()
