"""What the processes of the command set up before libraries are loaded."""

from __future__ import annotations

import logging
import os

SPINS = "2000"
"""Turns of GNU OpenMP's waiting loop before a thread sleeps: some microseconds."""

PRODUCTS = "32"
"""Matrix products that torch keeps prepared, of one shape each; prefixes, LoRA, full fine-tuning are not slower."""


def settle() -> None:
    """Lets threads sleep when they wait for long, bounds what torch keeps, and silences what users cannot act on.

    What is set in the environment already stays as it is.
    """
    # torch's threads would spin for a millisecond while they wait for each other: beside one busy process that makes a step
    # many times slower. With no spinning at all they wake up late: a third slower where nothing else runs.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", SPINS)}
    # torch and oneDNN would each keep 1,024 of them. Batches differ in shape, so that memory would grow with every new one,
    # and by the holes between what is kept: by most of a gigabyte in 100 steps, which are not faster for it.
    os.environ.setdefault("LRU_CACHE_CAPACITY", PRODUCTS)
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", PRODUCTS)
    # PEFT imports bitsandbytes wherever it is installed, and that warns of optional kernels
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
