"""Ctrl-C and SIGTERM: finish the step, save, leave; while nothing can be lost, leave at once."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class StopSignals:
    """Context in which the first SIGINT or SIGTERM is noted in ``received``; a second one acts at once."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._at_once = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.getsignal(number) for number in self.SIGNALS}
        self.arm()
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: not set from Python

    def arm(self) -> None:
        """Take the signals again: MindSpore, when it compiles, turns every SIGINT into a SIGTERM."""
        for number in self.SIGNALS:
            signal.signal(number, self._handle)

    @property
    def exit_code(self) -> int:
        """128 + signal number, as shells report it; 0 if there was none."""
        return 128 + self.received if self.received else 0

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within this block a signal ends the program immediately."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._at_once or self.received:
            raise SystemExit(128 + number)
        self.received = signal.Signals(number)
        print(f"{self.received.name} received: finishing the step (again to leave at once)", flush=True)
