"""`transfix study` and `transfix reproduce` from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.calling import call, refused

import transfix


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def content(tiny_model: Path) -> dict[str, Any]:
    """Written to tiny.yaml: two runs of the base model."""
    made = {
        "base": {
            "model": str(tiny_model),
            "dtype": "float32",
            "device": "cpu",
            "adapter": "base",
            "evaluate": [{"task": "xnli", "languages": ["de"], "limit": 3}],
        },
        "matrix": {
            "evaluate.0.verbaliser": [None, {"entailment": " no", "neutral": " maybe", "contradiction": " yes"}]
        },
    }
    Path("tiny.yaml").write_text(yaml.safe_dump(made))
    return made


def test_the_whole_way(content: dict[str, Any]) -> None:
    planned = call("study", "--no-calibration", "tiny.yaml", "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "1 run, time not known." in planned.stdout
    assert not Path("studies").exists()

    done = call("study", "tiny.yaml")
    assert done.exit_code == 0, done.output
    assert done.stdout == "Tables: transfix report studies/tiny\n"
    assert "1 run: 0 done, 0 running, 0 failed, 1 left" in done.stderr
    assert "done: Base after" in done.stderr

    found = json.loads(call("study", "status", "studies/tiny", "--json").stdout)
    assert (found["total"], found["done"]) == (1, 1)
    assert len(found["runs"][0]["settings"]) == 2
    (run,) = Path("studies/tiny/runs").iterdir()
    assert len(json.loads((run / "metrics.json").read_text())["results"]) == 2
    assert "1 done, 0 running, 0 failed, 0 left" in call("study", "status", "studies/tiny").stdout
    again = call("study", "run", "tiny.yaml")
    assert "1 run: 1 done, 0 running, 0 failed, 0 left" in again.stderr

    content["base"]["dtype"] = "bfloat16"
    Path("tiny.yaml").write_text(yaml.safe_dump(content))
    assert call("study", "tiny.yaml").exit_code == 0
    reported = call("report", "studies/tiny", "--markdown")
    assert "Left out, from before the study was changed: 1 run (transfix report studies/tiny/runs" in reported.stderr
    assert "Dtype: bfloat16" in reported.stdout
    assert "float32" not in reported.stdout
    assert "float32" in call("report", "studies/tiny/runs", "--markdown").stdout


def test_a_failed_run_ends_with_status_1_and_says_where_to_look(content: dict[str, Any]) -> None:
    content |= {"name": "mine"}
    content["base"] |= {"adapter": "prefix", "train": {"task": "mnli", "rows": 3, "development_rows": 0}}
    content["matrix"] = {"adapter.layers": [[9]]}
    Path("tiny.yaml").write_text(yaml.safe_dump(content))
    result = call("study", "tiny.yaml", "--dir", "here", "--jobs", 1)
    assert result.exit_code == 1, result.output
    assert "1 of 1 runs failed; --retry-failed begins them again:" in result.stderr
    assert "here/work/" in result.stderr
    assert "layers" in result.stderr
    assert "Traceback" not in result.output
    assert "failed: layers" in call("study", "status", "here").stdout
    reported = call("report", "here")
    assert "0 of 1 run of this study are done: its numbers are not final" in reported.stdout.replace("\n", " ")
    assert "failed: layers" in reported.stdout
    assert "the same command again continues it" not in reported.stdout
    assert "--retry-failed begins it again" in Path("here/report.html").read_text()
    assert "! failed: layers" in call("report", "here", "--csv").stderr


def test_mistakes(content: dict[str, Any], tmp_path: Path) -> None:
    assert "there is no such file. YAML files there: tiny.yaml" in refused("study", "tinny.yaml")
    Path("my study.yaml").write_text(Path("tiny.yaml").read_text())
    assert "the file's name 'my study' cannot stand for it" in refused("study", "my study.yaml")
    assert "matrix.seed: 3 is not allowed" in refused("study", "tiny.yaml", "--set", "matrix.seed=3")
    assert "--scale huge: the study has no scales" in refused("study", "tiny.yaml", "--scale", "huge")
    assert "is not the directory of a study" in refused("study", "status", tmp_path)
    assert "there is no preset 'layer'. Did you mean layers?" in refused("reproduce", "layer")
    assert "base.model: 3 is not text" in refused("study", "tiny.yaml", "--set", "model=3")


def test_reproduce(tiny_model: Path) -> None:
    listed = call("reproduce").stdout.splitlines()
    assert len(listed) == 18
    assert listed[0] == "methods-xnli         Every method on XNLI, 15 languages"
    printed = call("reproduce", "layers", "--print").stdout
    assert printed.startswith("# The top 10, 20, 30 and all of 32 layers")
    Path("my.yaml").write_text(printed)
    mine = call("study", "my.yaml", "--set", f"model={tiny_model}", "--dry-run", "--no-calibration")
    theirs = call("reproduce", "layers", "--model", tiny_model, "--dry-run", "--no-calibration")
    assert theirs.exit_code == 0, theirs.output
    assert mine.stdout == theirs.stdout
    assert "4 runs" in theirs.stdout
    changed = call(
        "reproduce", "layers", "--print", "--scale", "full", "--model", "some/llama", "--set", "matrix.seed=[7]"
    )
    content = yaml.safe_load(changed.stdout)
    assert content["base"]["model"] == "some/llama"
    assert content["matrix"]["seed"] == [7]
    assert "scales" not in content


def test_help_needs_nothing_heavy() -> None:
    code = "import sys; from transfix.cli import app; app(sys.argv[1:], standalone_mode=False)\n"
    code += "heavy = {'torch', 'transformers', 'pandas', 'numpy'} & set(sys.modules); assert not heavy, heavy"
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(transfix.__file__).parents[1]),
    }  # absolute: tests change directory
    for arguments in (["study", "--help"], ["study", "run", "--help"], ["reproduce", "--help"], ["reproduce"]):
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, env=environment)
