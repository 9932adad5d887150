"""What the command's processes set up: memory stays bounded where batches differ in shape, and what a user has set stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

CAPACITIES = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")
SET = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", *CAPACITIES)

GROWTH = """
import torch
from torch.nn.functional import linear

def resident():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

up, down = torch.randn(2048, 640).bfloat16(), torch.randn(640, 2048).bfloat16()
linear(linear(torch.randn(16, 640).bfloat16(), up), down)
before = resident()
for rows in range(17, 217):
    linear(linear(torch.randn(rows, 640).bfloat16(), up), down)
print(resident() - before)
"""


def _printed(code: str, **environment: str) -> str:
    code = f"from transfix.runs import process\nprocess.settle()\n{code}"
    clean = {name: value for name, value in os.environ.items() if name not in SET}
    clean["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run([sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' account of a process's memory")
@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN makes no products in bfloat16 here"
)
def test_memory_does_not_grow_with_the_number_of_batch_shapes() -> None:
    """Two products of 200 shapes each, beside a process that keeps all of them prepared, as torch does by itself."""
    all_kept = float(_printed(GROWTH, **dict.fromkeys(CAPACITIES, "1024")))
    assert float(_printed(GROWTH)) < all_kept / 2


def test_what_is_set_stays() -> None:
    """A user's own choice of the waiting policy and of the caches."""
    shown = f"import os; print(*(os.environ.get(name) for name in {SET}))"
    assert _printed(shown, GOMP_SPINCOUNT="7") == "PASSIVE 7 32 32"
    own = {"OMP_WAIT_POLICY": "ACTIVE", **dict.fromkeys(CAPACITIES, "5")}
    assert _printed(shown, **own) == "ACTIVE None 5 5"
