"""Compiled layers learn what ordinary ones learn."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def trained(case: str) -> dict[str, Any]:
    """What `compiled.py` finds."""
    script = Path(__file__).with_name("compiled.py")
    done = subprocess.run([sys.executable, str(script), case], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize(
    "case",
    ["kept", *(pytest.param(name, marks=pytest.mark.slow) for name in ("hybrid", "checkpointed", "soft_prompt"))],
)
def test_compiled_layers_learn_the_same(case: str) -> None:
    found = trained(case)
    assert found["frames"] > 0  # something was compiled
    assert found["apart"] < 1e-3


def test_without_a_compiler_it_says_what_to_do() -> None:
    said = trained("no-compiler")["said"]
    assert "compile: true" in said
    assert "C++ compiler" in said
    assert "compile: false" in said
