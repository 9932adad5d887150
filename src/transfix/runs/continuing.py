"""What a run must find again to go on to the same bits: its number of threads. What else differs is said.

Sums of floating-point numbers depend on their order: on how many threads share them, on the processor's instructions, on the
libraries. A run keeps the number of threads that it was begun with, in `environment.json`; where another number was set since
(`study --jobs`, OMP_NUM_THREADS), it works with the one it has. The rest cannot be chosen: it is recorded and said.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from transfix.runs.environment import accelerator, cores, processor, version
from transfix.runs.progress import Display

if TYPE_CHECKING:
    from transfix.runs.store import Run

NUMBERS = "numbers"
"""The entry of `environment.json` with what numbers depend on, beside the versions."""

LATER = "continued_with"
"""Its entry with what was other when the run was continued, each time that it was."""

LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes")
KERNELS = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
)
"""Variables by which a user chooses other kernels."""

_WORDS = {"instructions": "the processor's instructions", "float32_products": "precision of products in float32"}


@contextmanager
def as_begun(run: Run, display: Display) -> Iterator[None]:
    """For the time of the block, a run on a CPU has the number of threads it was begun with; one that begins keeps today's.

    What differs otherwise from the beginning, and a number of threads that cannot be had here, is said and recorded.

    Args:
        run: held by this process.
        display: where it is said.
    """
    import torch

    own, now = torch.get_num_threads(), _numbers(run.spec.device)
    environment = run.environment
    begun = environment.get(NUMBERS)
    if run.blank or not isinstance(begun, Mapping):
        run.write_environment({**environment, NUMBERS: now})
        begun = now
    wanted = begun.get("threads")
    if run.spec.device == "cpu" and isinstance(wanted, int) and wanted != own and 1 <= wanted <= cores():
        display.say(f"{run.name} goes on with {_threads(wanted)}, as it was begun, not with {own}: sums depend on it.")
        now["threads"] = wanted
    if differs := {key: [begun[key], value] for key, value in now.items() if begun.get(key, value) != value}:
        _record(run, differs)
        changes = "; ".join(f"{_WORDS.get(key, key)}: {was}, now {value}" for key, (was, value) in differs.items())
        display.say(
            f"{run.name} was begun with other things that numbers depend on ({changes}). What is computed now may differ in "
            "the last digits from what would have been computed then."
        )
    if now["threads"] != own:
        torch.set_num_threads(now["threads"])
    try:
        yield
    finally:
        if now["threads"] != own:
            torch.set_num_threads(own)


def _numbers(device: str) -> dict[str, Any]:
    """What numbers depend on in this process, besides the specification."""
    import torch

    amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return {
        "threads": torch.get_num_threads(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability() + (" and AMX" if amx else ""),
        "device": device.partition(":")[0],
        "accelerator": accelerator(device),
        "float32_products": torch.get_float32_matmul_precision(),
        "kernels": {name: os.environ[name] for name in KERNELS if name in os.environ},
        **{name: version(name) for name in LIBRARIES},
    }


def _threads(count: int) -> str:
    return f"{count} threads" if count > 1 else "1 thread"


def _record(run: Run, differs: Mapping[str, Any]) -> None:
    """Adds to the record what is other now, once for as long as it stays the same."""
    environment = run.environment
    later = environment.get(LATER)
    later = [entry for entry in later if isinstance(entry, dict)] if isinstance(later, list) else []
    if later and later[-1].get("differs") == differs:
        return
    entry = {"started": datetime.now(UTC).isoformat(timespec="seconds"), "differs": differs}
    run.write_environment({**environment, LATER: [*later, entry]})
