"""What the processes of the command set up before libraries are loaded."""

from __future__ import annotations

import logging
import os


def settle() -> None:
    """Lets threads sleep while they wait, and keeps libraries from telling users what these cannot act on."""
    # torch's threads would spin while they wait for each other: beside one busy process that makes a step many times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # PEFT imports bitsandbytes wherever it is installed, and that warns of optional kernels
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
