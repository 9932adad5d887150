"""The page of a study of 200 runs: it opens in under two seconds and weighs under 15 MB."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest

from transfix import report, tasks
from transfix.runs.specification import RunSpec
from transfix.runs.store import RunStore

ROWS = 40
CLASSES = ["entailment", "neutral", "contradiction"]
LONG = "He said that he would be home before dark, and that nobody needed to wait for him at the gate. "


def methods() -> list[dict[str, Any]]:
    """Adapters of 68 methods."""
    lengths = (5, 10, 20, 30, 40, 50)
    found: list[dict[str, Any]] = [{"method": "soft_prompt", "tokens": tokens} for tokens in lengths]
    found += [
        {"method": "llama_adapter", "tokens": tokens, "layers": layers}
        for tokens in lengths
        for layers in (3, 6, 9, 12, 15, "all")
    ]
    found += [{"method": "prefix", "tokens": tokens} for tokens in lengths]
    found += [{"method": "lora", "rank": rank} for rank in (1, 2, 4, 8, 16, 32, 64, 128)]
    found += [{"method": "lora", "rank": 4, "alpha": float(alpha)} for alpha in range(1, 12)]
    return [*found, {"method": "full"}]


def frame(skill: float, seed: int, code: str) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    ease = np.random.default_rng(7).random(ROWS)
    right = ease + generator.normal(0, 0.6, ROWS) > 0.5 + 0.66 * NormalDist().inv_cdf(1 - skill)
    gold = [row % 3 for row in range(ROWS)]
    answer = [g if ok else (g + int(generator.integers(1, 3))) % 3 for g, ok in zip(gold, right, strict=True)]
    return pd.DataFrame(
        {
            "id": [f"{row:05d}" for row in range(ROWS)],
            "language": code,
            "prompt_hash": "0" * 16,
            "answer": [CLASSES[number] for number in answer],
            "gold": [CLASSES[number] for number in gold],
            "score": [float(a == g) for a, g in zip(answer, gold, strict=True)],
            "truncated": False,
            "option_scores": [[-1.0, -1.1, -1.2]] * ROWS,
        }
    )


@pytest.mark.slow
def test_200_runs_open_in_two_seconds(browser: Any, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    codes = list(tasks.get("xnli").languages)
    train = {"task": "mnli", "languages": ["eng_Latn"], "rows": 4000, "epochs": 1}
    adapters = [(part, seed) for part in methods() for seed in range(3)][:199]
    for number, (part, seed) in enumerate([({"method": "base"}, 0), *adapters]):
        trained = part["method"] != "base"
        given = {"model": "gemma-3-270m", "dtype": "float32", "device": "cpu", "adapter": [part], "seed": seed}
        evaluate = [{"task": "xnli", "languages": codes, "split": "test", "limit": ROWS}]
        run = store.open(RunSpec.load(given | {"evaluate": evaluate} | ({"train": train} if trained else {})))
        meta = {"task": "xnli", "split": "test", "classes": CLASSES, "data": "snapshot", "template": "{premise}"}
        for place, code in enumerate(codes):
            skill = 0.4 + 0.0008 * number + 0.1 * (code == "eng_Latn")
            run.write_predictions("xnli", code, frame(skill, 100 * number + place, code), meta)
        if trained:
            run.write_json("training.json", {"trainable_parameters": 1000 * (number + 1), "seconds": 200.0 + number})
    texts = {f"{row:05d}": {"premise": f"{row} {LONG * 2}", "hypothesis": LONG} for row in range(ROWS)}
    found = report.collect(store.root, lambda task, code, meta: texts)
    assert len(found.runs) == 200
    page = tmp_path / "page.html"
    page.write_text(report.page(found), "utf-8")
    assert page.stat().st_size < 15_000_000
    browser.look(1280)
    browser.open(page)
    loaded = browser.run("performance.getEntriesByType('navigation')[0].loadEventEnd")
    print(f"{page.stat().st_size / 1e6:.1f} MB, load event after {loaded:.0f} ms")
    assert 0 < loaded < 2000
    assert browser.complaints() == []
    assert browser.run("document.querySelectorAll('.results tbody.body tr').length") == len(found.tasks[0].methods)
    browser.choose("[data-filter]", "soft prompt")
    assert browser.run("document.querySelector('.task .count').textContent").startswith("6 of ")
    browser.choose("[data-rows]", "disagree")
    assert browser.run("document.querySelectorAll('.example').length") == 20
