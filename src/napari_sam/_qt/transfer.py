"""A download that the worker makes, and the window follows."""

from __future__ import annotations

import threading


class CancelledDownload(Exception):
    """Raised in the worker once nobody wants a download any more."""


class Transfer:
    """How far a download is: pooch counts, the window looks, and may cancel."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self._is_cancelled = threading.Event()

    @property
    def fraction(self) -> float:
        """How much is there, 0 to 1; 0 also if nothing is downloaded."""
        return self.done / self.total if self.total else 0.0

    def begin(self) -> None:
        """Forget the last download."""
        self.total = self.done = 0
        self._is_cancelled.clear()

    def cancel(self) -> None:
        """Stop at the next part."""
        self._is_cancelled.set()

    def update(self, count: int) -> None:
        """Count bytes; called by pooch, which removes what it has if this raises."""
        if self._is_cancelled.is_set():
            raise CancelledDownload
        self.done += count

    def reset(self) -> None:
        """Count anew; called by pooch."""
        self.done = 0

    def close(self) -> None:
        """Do nothing more; called by pooch at the end."""
        self.total = self.done = 0
