"""What a run ran on: versions, git commit and machine, so that a number can be traced to the code that made it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DISTRIBUTIONS = (
    "transfix",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "bitsandbytes",
    "safetensors",
    "datasets",
    "numpy",
    "pyarrow",
)


def describe(device: str, dtype: str) -> dict[str, Any]:
    """The environment of this process, as plain data. Imports none of the libraries whose versions it tells.

    Args:
        device: the device the model is on, `cpu` or `cuda:0`.
        dtype: the data type of the base weights.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in DISTRIBUTIONS},
        "git": _git(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": cores(),
        "device": device,
        "accelerator": accelerator(device),
        "dtype": dtype,
    }


def version(name: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if name == "transfix":  # run from a checkout, not installed
            import transfix

            return transfix.__version__
        return None


def _git() -> dict[str, Any] | None:
    """The commit of the checkout this code runs from, and whether it was changed since; None outside a checkout."""
    here = Path(__file__).resolve()

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=here.parent, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # installed into a virtual environment inside someone's repository, this file is not one of the repository's
    if git("ls-files", "--error-unmatch", here.name) is None:
        return None
    commit = git("rev-parse", "HEAD")
    return {"commit": commit, "changed": bool(git("status", "--porcelain", "--untracked-files=no"))} if commit else None


def cores() -> int:
    """How many of the processor's cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, or its kind."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Hardware")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def accelerator(device: str) -> str | None:
    """The name of the GPU, if torch has been loaded (which it has, where a model is on one)."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name(torch.device(device)))
