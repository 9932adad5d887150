"""lm-evaluation-harness on rows from files, through its own task definitions, of which only the place of the rows is changed.

Its xquad imports `transformers.data.metrics.squad_metrics`, which transformers 5 no longer has: the two functions of SQuAD's
script that it uses, written anew from their rules, stand in its place.
"""

from __future__ import annotations

import json
import re
import string
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

UNTIL = {"xquad_de": ["\n"], "mgsm_direct_de": ["Frage:", "</s>", "<|im_end|>"]}
"""What ends an answer in the harness' own definitions."""

METRICS = {
    "xnli_de": "acc,none",
    "belebele_deu_Latn": "acc,none",
    "xquad_de": "f1,none",
    "mgsm_direct_de": "exact_match,flexible-extract",
}
"""The metric of the harness that is transfix's main one."""


@contextmanager
def squad_metrics() -> Iterator[None]:
    """For the time of the block the module that the harness' xquad imports is there."""
    import transformers.data

    package: Any = transformers.data
    module = types.ModuleType("transformers.data.metrics.squad_metrics")
    module.compute_exact, module.compute_f1 = _compute_exact, _compute_f1  # type: ignore[attr-defined]
    parent = types.ModuleType("transformers.data.metrics")
    parent.squad_metrics = module  # type: ignore[attr-defined]
    ours = {parent.__name__: parent, module.__name__: module}
    before = {name: sys.modules.get(name) for name in ours}
    own = vars(package).get("metrics")
    sys.modules.update(ours)
    package.metrics = parent
    try:
        yield
    finally:
        for name, old in before.items():
            sys.modules.pop(name)
            if old is not None:
                sys.modules[name] = old
        if own is None:
            del package.metrics
        else:
            package.metrics = own


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


def xnli(pool: Path, count: int) -> tuple[str, list[dict[str, Any]]]:
    """XNLI test in German."""
    lines = (pool / "nli/xnli/test-de.tsv").read_text(encoding="utf-8").split("\n")[:count]
    names = ("entailment", "neutral", "contradiction")
    rows = [dict(zip(("premise", "hypothesis", "label"), line.split("\t"), strict=True)) for line in lines]
    return "validation", [row | {"label": names.index(row["label"])} for row in rows]


def belebele(pool: Path, count: int) -> tuple[str, list[dict[str, Any]]]:
    """Belebele in German."""
    lines = (pool / "choice/belebele/deu_Latn.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    rows = [json.loads(line) for line in lines]
    return "test", [row | {"correct_answer_num": str(row["correct_answer_num"])} for row in rows]


def xquad(pool: Path, count: int) -> tuple[str, list[dict[str, Any]]]:
    """XQuAD in German."""
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
    return "validation", rows[:count]


def mgsm(pool: Path, count: int) -> tuple[str, list[dict[str, Any]]]:
    """MGSM in German."""
    lines = (pool / "math/mgsm/mgsm_de.tsv").read_text(encoding="utf-8").splitlines()[:count]
    cells = [line.rsplit("\t", 1) for line in lines]
    rows = [{"question": q, "answer_number": int(n.replace(",", "")), "answer": None} for q, n in cells]
    return "test", rows


ROWS = {"xnli_de": xnli, "belebele_deu_Latn": belebele, "xquad_de": xquad, "mgsm_direct_de": mgsm}
"""Of each of the harness' tasks: split and rows, as its own loader would give them."""


def evaluate(name: str, split: str, file: Path, model: Any, new: int, task: Any = None) -> dict[str, Any]:
    """The harness' evaluation of one of its tasks on the rows of a jsonl file, with answers of at most `new` tokens.

    `task` is the definition of a task that it has not itself.
    """
    import lm_eval

    if task is None:
        (definition,) = Path(lm_eval.__file__).parent.joinpath("tasks").rglob(f"{name}.yaml")
        task = {"include": str(definition), "dataset_name": None, "training_split": None, "validation_split": None}
    content: dict[str, Any] = {
        **task,
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {split: str(file)}},
        "fewshot_split": None,
        "test_split": split,
    }
    if name in UNTIL:
        content["generation_kwargs"] = {"until": UNTIL[name], "do_sample": False, "max_gen_toks": new}
    path = file.with_name(f"{name}.yaml")
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    with squad_metrics():
        found: dict[str, Any] = lm_eval.simple_evaluate(
            model=model, tasks=[str(path)], num_fewshot=0, log_samples=True, bootstrap_iters=0
        )
    return found


def prompts(task: str, pool: Path, count: int, files: str) -> list[dict[str, Any]]:
    """The prompts and label words of transfix for a task's first rows, as rows for the harness."""
    from transfix import data, tasks

    asked = tasks.get(task)
    rows = data.load(asked.benchmark, {"files": str(pool / files)}, "deu_Latn", asked.default_split, count)
    words = [asked.prompt_template.labels["default"][name] for name in asked.classes]
    return [{"prompt": asked.prompt(row), "words": words, "gold": asked.classes.index(str(row.label))} for row in rows]


OWN_PROMPTS = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{prompt}}",
    "doc_to_choice": "{{words}}",
    "doc_to_target": "gold",
    "target_delimiter": "",
    "metric_list": [{"metric": "acc"}],
}
"""A task of the harness that asks with the prompts in its rows."""


def run(
    name: str,
    pool: str,
    rows: int,
    new: int = 32,
    batch: int = 16,
    dtype: str = "bfloat16",
    own: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Evaluates the base model and says how fast: loading of the model not counted, all that the harness does counted.

    Args:
        name: the harness' task.
        pool: the directory of the benchmarks' files.
        rows: how many.
        new: tokens of a generated answer, at the most.
        batch: the harness' batch size.
        dtype: of the weights.
        own: a task of transfix and its files: it is asked with transfix's prompts, and `name` is only a name.
    """
    from lm_eval.models.huggingface import HFLM

    from benchmarks.sides import rows as data_rows
    from transfix import models

    loaded = models.load("gemma-3-270m", dtype=dtype, device="cpu")
    model = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=batch, max_length=4096)
    split, found = ("test", prompts(own[0], Path(pool), rows, own[1])) if own else ROWS[name](Path(pool), rows)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "rows.jsonl"
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), encoding="utf-8")
        began = time.perf_counter()
        result = evaluate(name, split, file, model, new, OWN_PROMPTS if own else None)
        seconds = time.perf_counter() - began
    metric, wanted = METRICS.get(name, "acc,none").split(",")
    samples = sorted(
        (s for s in result["samples"][name] if s.get("filter", "none") == wanted), key=lambda s: s["doc_id"]
    )
    texts = [str(s["resps"][0][0]) for s in samples] if name in UNTIL else []
    return data_rows.answered(seconds, [float(s[metric]) for s in samples], texts, loaded.tokenizer)
