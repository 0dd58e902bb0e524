"""The allocator's free memory, given back to the system.

A round makes and frees hundreds of megabytes of arrays.  glibc keeps what it freed below its heap's top, and what is
allocated meanwhile lies in between: at a million accounts half as much again as is in use.
"""

from __future__ import annotations

import ctypes


def trim() -> None:
    """Give back whole pages that nothing uses; costs milliseconds.  Without glibc nothing happens."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)
