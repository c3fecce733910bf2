"""Do something once for all that happens in one turn of the event loop, or a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Qt, QTimer, Signal  # type: ignore[attr-defined]


class NextTurn(QObject):
    """Calls a function in the next turn of the event loop, however often it is asked.

    Timers wait until the viewer has drawn itself, and a worker that is to be asked for
    something would wait, too. This is a posted event: those of drawing come later.

    Parameters
    ----------
    call : callable
    parent : QObject, optional
    """

    _posted = Signal()

    def __init__(self, call: Callable[[], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._call = call
        self._is_asked = False
        self._posted.connect(self._on_posted, Qt.ConnectionType.QueuedConnection)

    def start(self) -> None:
        """Call soon."""
        if not self._is_asked:
            self._is_asked = True
            self._posted.emit()

    def stop(self) -> None:
        """Do not call, unless asked again."""
        self._is_asked = False

    def _on_posted(self) -> None:
        if self._is_asked:
            self._is_asked = False
            self._call()


def timer_once(parent: QObject, milliseconds: int, call: Callable[[], Any]) -> QTimer:
    """Make a timer that calls once for each start; a start anew begins the wait anew.

    Parameters
    ----------
    parent : QObject
    milliseconds : int
    call : callable
        A method of the parent: Qt lets go of it with the parent.
    """
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(call)
    return timer
