"""Arrays that loader processes share: no name in the file system, gone with the last process that maps them."""

import ctypes
import os
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from contract.errors import UserError

SHARED_MEMORY = Path("/dev/shm")  # where Linux keeps it; elsewhere the room is not known beforehand
MEMORY = Path("/proc/meminfo")


class SharedArray:
    """An array of zeros that worker processes see and write too.

    Its memory is taken at once, so that what does not fit is refused here by one line, with ``remedy`` as advice,
    and does not kill a process later. Nothing is left when a process is killed: the file behind it has no name.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, purpose: str, remedy: str) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        size = int(np.prod(shape)) * self.dtype.itemsize
        _refuse_without_room(size, purpose, remedy)
        self._memory = RawArray(ctypes.c_byte, max(1, size))

    @property
    def array(self) -> NDArray[Any]:
        """A view of the memory; none may outlive the need, each keeps all of it."""
        count = int(np.prod(self.shape))
        return np.frombuffer(memoryview(self._memory), self.dtype, count).reshape(self.shape)


def room() -> int | None:
    """Bytes that shared memory can still take; None where the system does not say."""
    if not SHARED_MEMORY.is_dir():
        return None
    free = os.statvfs(SHARED_MEMORY)
    rooms = [free.f_bavail * free.f_frsize]
    for line in MEMORY.read_text().splitlines() if MEMORY.is_file() else []:
        if line.startswith("MemAvailable:"):
            rooms.append(int(line.split()[1]) * 1024)
    return min(rooms)


def _refuse_without_room(size: int, purpose: str, remedy: str) -> None:
    free = room()
    if free is not None and size > free:
        raise UserError(
            f"{purpose} needs {_mib(size)} of shared memory, {SHARED_MEMORY} has room for {_mib(free)}: {remedy}"
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
