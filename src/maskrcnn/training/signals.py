"""Ctrl-C and SIGTERM: finish the step, save, leave; while nothing can be lost, leave at once."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
from collections.abc import Iterator
from types import FrameType

ACTION_BYTES = 512  # more than a struct sigaction takes on any system
HANDLER = slice(ctypes.sizeof(ctypes.c_void_p))  # its first member, the address of the handler; the rest is not read
WATCH_SECONDS = 0.02


class StopSignals:
    """Context in which the first SIGINT or SIGTERM is noted in ``received``; a second one acts at once.

    MindSpore, whenever it builds or runs a graph, installs a handler that turns every SIGINT into a SIGTERM, and may
    leave it behind. Python is not asked meanwhile, so a thread puts ours back through the C library; ``keep`` does the
    same at once, after a step. A SIGINT in the moments between is noted as the SIGTERM that it has become.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._at_once = False
        self._before: dict[signal.Signals, object] = {}
        self._left = threading.Event()
        self._watch = threading.Thread(target=self._watch_handlers, name="stop-signals", daemon=True)
        self._actions: dict[signal.Signals, bytes] = {}

    def __enter__(self) -> StopSignals:
        for number in self.SIGNALS:
            self._before[number] = signal.signal(number, self._handle)
            self._actions[number] = _action(number)
        self._watch.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._left.set()
        self._watch.join()
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: not set from Python

    @property
    def exit_code(self) -> int:
        """128 + signal number, as shells report it; 0 if there was none."""
        return 128 + self.received if self.received else 0

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Has a signal end the program immediately while the block runs."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def keep(self) -> None:
        """Puts our handlers back where others have taken their place."""
        for number, action in self._actions.items():
            if _action(number)[HANDLER] != action[HANDLER]:
                ctypes.CDLL(None).sigaction(number, action, None)

    def _watch_handlers(self) -> None:
        while not self._left.wait(WATCH_SECONDS):
            self.keep()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._at_once or self.received:
            raise SystemExit(128 + number)
        self.received = signal.Signals(number)
        print(f"{self.received.name} received: finishing the step (again to leave at once)", flush=True)


def _action(number: int) -> bytes:
    """Returns what the process does on a signal: the C library's struct sigaction."""
    action = ctypes.create_string_buffer(ACTION_BYTES)
    ctypes.CDLL(None).sigaction(number, None, action)
    return action.raw
