"""`metrics.json` as it is written, and as earlier versions wrote it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from transfix.errors import TransfixError
from transfix.runs.store import Run
from transfix.storage import checksums

# As it was written before format 2: a score was `accuracy`, corpus metrics had no intervals.
OLD = """{
  "flores_from_english": {
    "task": "flores_from_english",
    "kind": "generation",
    "metric": "chrf",
    "languages": {
      "bul_Cyrl": {"n": 60, "accuracy": 0.43, "interval": [0.36, 0.51], "truncated": 0, "left_out": 0},
      "hin_Deva": {"n": 0, "accuracy": null, "interval": null, "truncated": 0, "left_out": 60}
    },
    "macro": {"all": {"accuracy": 0.43, "interval": [0.36, 0.51], "languages": 1}, "without_english": null},
    "transfer_gap": null,
    "chance": null,
    "bootstrap": {"resamples": 2000, "level": 0.95, "seed": 0},
    "metrics": {
      "exact_match": {
        "languages": {"bul_Cyrl": {"n": 60, "accuracy": 0.1, "interval": [0.05, 0.2], "truncated": 0, "left_out": 0}},
        "macro": {"all": {"accuracy": 0.1, "interval": [0.05, 0.2], "languages": 1}, "without_english": null}
      }
    },
    "unparsable": {"bul_Cyrl": 5},
    "cut_answers": {"bul_Cyrl": 0},
    "corpus": {"bul_Cyrl": {"bleu": 64.95, "bleu_signature": "nrefs:1|tok:13a|version:2.6.0", "chrf": 77.79}}
  },
  "format": {
    "metric": "accuracy",
    "languages": {"eng_Latn": {"n": 3, "accuracy": 1.0, "interval": [1.0, 1.0], "truncated": 0, "left_out": 0}}
  }
}
"""


def run(folder: Path, text: str) -> Run:
    (folder / "metrics.json").write_text(text)
    return Run(folder)


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    results = {"xnli": {"metric": "accuracy", "languages": {"deu_Latn": {"n": 1, "score": 1.0, "interval": [1, 1]}}}}
    written = Run(tmp_path)
    written.write_metrics(results)
    assert written.metrics == results
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found == {"format": 2, "results": results, "checksum": checksums.of_json(found)}


def test_an_old_file_is_read_with_its_scores_called_so(tmp_path: Path) -> None:
    found = run(tmp_path, OLD).metrics
    assert found is not None
    flores = found["flores_from_english"]
    assert flores["languages"]["bul_Cyrl"]["score"] == 0.43
    assert flores["languages"]["hin_Deva"]["score"] is None
    assert flores["macro"]["all"] == {"score": 0.43, "interval": [0.36, 0.51], "languages": 1}
    assert flores["metrics"]["exact_match"]["languages"]["bul_Cyrl"]["score"] == 0.1
    assert flores["metrics"]["exact_match"]["macro"]["all"]["score"] == 0.1
    assert found["format"]["metric"] == "accuracy"
    assert found["format"]["languages"]["eng_Latn"]["score"] == 1
    same = json.loads(OLD)
    for part in ("task", "metric", "chance", "unparsable", "corpus"):
        assert flores[part] == same["flores_from_english"][part]
    assert "accuracy" not in json.dumps([flores["languages"], flores["macro"], flores["metrics"]])


def test_a_class_may_be_called_accuracy(tmp_path: Path) -> None:
    old = {"own": {"verbaliser": {"accuracy": " yes", "recall": " no"}, "classes": ["accuracy", "recall"]}}
    assert run(tmp_path, json.dumps(old)).metrics == old


def test_a_later_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    later = run(tmp_path, '{"format": 3, "results": {}}')
    with pytest.raises(
        TransfixError, match=r"metrics\.json is of format 3, .* knows 2 at most: install .*`transfix evaluate"
    ):
        _ = later.metrics


@pytest.mark.parametrize("text", ['{"format": 2}', '{"format": 2, "results": []}', '{"format": 1, "results": {}}',
                                  '{"format": "two", "results": {}}'])  # fmt: skip
def test_a_file_without_results_is_damaged(tmp_path: Path, text: str) -> None:
    with pytest.raises(TransfixError, match=r"metrics\.json is damaged.*Delete it"):
        _ = run(tmp_path, text).metrics
