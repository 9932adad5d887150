"""What the command's processes set up: a library's memory stays bounded, and what a user has set stays."""

import os
import subprocess
import sys

GROWTH = """
import torch
from torch.nn.functional import linear

def resident():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

up, down = torch.randn(2048, 640).bfloat16(), torch.randn(640, 2048).bfloat16()
linear(linear(torch.randn(16, 640).bfloat16(), up), down)
before = resident()
for rows in range(17, 417, 2):
    linear(linear(torch.randn(rows, 640).bfloat16(), up), down)
print(resident() - before)
"""


def _printed(code: str, **environment: str) -> str:
    code = f"from transfix import quiet\nquiet.settle()\n{code}"
    clean = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "LRU_CACHE_CAPACITY")}
    done = subprocess.run([sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_memory_does_not_grow_with_the_number_of_batch_shapes() -> None:
    """200 shapes of two products; 275 MiB if torch and oneDNN keep all of them prepared (with AVX512-BF16)."""
    assert float(_printed(GROWTH)) < 150


def test_what_is_set_stays() -> None:
    """A user's own choice of the waiting policy and of the caches."""
    shown = (
        "import os; print(*(os.environ.get(n) for n in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'LRU_CACHE_CAPACITY')))"
    )
    clean = {"GOMP_SPINCOUNT": "7"}
    assert _printed(shown, **clean) == "PASSIVE 7 32"
    assert _printed(shown, OMP_WAIT_POLICY="ACTIVE", LRU_CACHE_CAPACITY="5").split()[::2] == ["ACTIVE", "5"]
