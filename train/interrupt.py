"""SIGTERM and Ctrl-C: noted where they come, obeyed between two steps, so that a checkpoint can be written first."""

import signal
import threading
from types import FrameType
from typing import Any

from contract.command import Terminated

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(Exception):
    """A signal stopped the run after a checkpoint; says where it stands and how to go on."""

    def __init__(self, line: str, signum: int) -> None:
        super().__init__(line)
        self.status = 128 + signum  # as shells count


class Interruption:
    """Within ``with Interruption() as interruption``, ``interruption.signum`` is the signal that came, 0 before.

    A second signal stops at once, without a checkpoint: whoever sends it does not want to wait.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # Python takes handlers from no other
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, signum: int, _: FrameType | None) -> None:
        if self.signum:
            raise Terminated if signum == signal.SIGTERM else KeyboardInterrupt
        self.signum = signum
