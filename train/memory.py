"""Memory that one training step frees is kept for the next.

glibc's malloc hands every block of more than 32 MB back to the system as soon as it is free, and smaller ones at the
end of its heap, so that each step on the CPU asks for the same memory again and waits while its pages are filled with
zeros. Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_LARGEST = 2**30  # bytes: above every tensor of a step


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, until it ends; false where the C library is not glibc: nothing changes then.

    The peak is the same; what lies between two peaks is no longer free for other programs.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(mallopt(what, _LARGEST) for what in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
