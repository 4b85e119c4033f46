"""The time that a fit trains, validation left out."""

from __future__ import annotations

import time


class TrainingClock:
    """Measures the time since the last lap, pauses left out."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin a lap."""
        self._passed, self._since = 0.0, time.perf_counter()
        self._runs = True

    def pause(self) -> None:
        """Stand still until ``go_on``."""
        if self._runs:
            self._passed += time.perf_counter() - self._since
            self._runs = False

    def go_on(self) -> None:
        """Go on after a pause."""
        if not self._runs:
            self._since, self._runs = time.perf_counter(), True

    def lap(self) -> float:
        """Return the seconds of this lap, more than 0, and begin the next one."""
        runs = self._runs
        self.pause()
        seconds = max(self._passed, 1e-9)
        self.start()
        if not runs:
            self.pause()
            self._passed = 0.0
        return seconds
