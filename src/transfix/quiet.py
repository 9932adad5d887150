"""What the processes of the command set up before libraries are loaded."""

from __future__ import annotations

import logging
import os

SPINS = "2000"
"""Turns of GNU OpenMP's waiting loop before a thread sleeps: some microseconds."""


def settle() -> None:
    """Lets threads sleep when they wait for long, and keeps libraries from telling users what these cannot act on."""
    # torch's threads would spin for a millisecond while they wait for each other: beside one busy process that makes a step
    # many times slower. With no spinning at all they wake up late: a third slower where nothing else runs.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", SPINS)}
    # PEFT imports bitsandbytes wherever it is installed, and that warns of optional kernels
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
