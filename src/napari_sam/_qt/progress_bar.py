"""Bars that have the window drawn seldom, also while nobody knows how far work is."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QProgressBar, QWidget

if TYPE_CHECKING:
    from qtpy.QtGui import QHideEvent, QShowEvent

# What a full bar counts to.
FULL = 1000
# Milliseconds between two steps of a bar that does not know how far it is.
STEP = 250


class Bar(QProgressBar):
    """A bar that is drawn with the rest of the window.

    Qt's own draws itself before `setValue` returns, and a window with a canvas is drawn
    as a whole then.

    Parameters
    ----------
    parent : QWidget, optional
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setRange(0, FULL)

    def fill(self, fraction: float, text: str) -> None:
        """Fill the bar up to a fraction, 0 to 1, with a text; %p is the percentage."""
        self.setFormat(text)
        self.setValue(round(FULL * fraction))

    def setValue(self, value: int) -> None:
        """Fill the bar; it is drawn soon."""
        if value != self.value() and self.updatesEnabled():
            self.setUpdatesEnabled(False)
            super().setValue(value)
            self.setUpdatesEnabled(True)
        else:
            super().setValue(value)


class ProgressBar(Bar):
    """A bar that fills up to what is done, or ever more slowly if that is not known.

    Qt's own bar for work of unknown length is an animation. A window with a canvas is
    drawn as a whole for each of its pictures, while Python's lock is held: that takes a
    third of the time from the work it tells of.

    Parameters
    ----------
    parent : QWidget, optional
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setToolTip("What is being done now")
        self._seconds: float | None = None
        self._since = 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(STEP)
        self._timer.timeout.connect(self._creep)

    def show_done(self, fraction: float, text: str = "%p%") -> None:
        """Fill the bar up to what is done.

        Parameters
        ----------
        fraction : float
            0 to 1.
        text : str
            On the bar; %p is the percentage.
        """
        self._seconds = None
        self._timer.stop()
        self.fill(fraction, text)

    def show_unknown(self, seconds: float = 3.0, text: str = "") -> None:
        """Fill the bar ever more slowly; asked again, it goes on.

        Parameters
        ----------
        seconds : float
            What the work takes about: by then the bar is filled to 63 %.
        text : str
            On the bar.
        """
        if self._seconds is None:
            self._since = time.monotonic()
        self._seconds = max(seconds, 1e-3)
        self.setFormat(text)
        self._creep()
        if self.isVisible():
            self._timer.start()

    def _creep(self) -> None:
        if self._seconds is not None:
            passed = time.monotonic() - self._since
            self.setValue(round(FULL * crept(passed / self._seconds)))

    def showEvent(self, event: QShowEvent | None) -> None:
        """Begin anew."""
        super().showEvent(event)
        if self._seconds is not None:
            self._since = time.monotonic()
            self._creep()
            self._timer.start()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Do not move where nobody sees it."""
        super().hideEvent(event)
        self._timer.stop()


def crept(share: float) -> float:
    """How far to fill a bar, of the share of the expected time that has passed.

    Examples
    --------
    >>> crept(0.0), round(crept(1.0), 2)
    (0.0, 0.63)
    """
    return 1 - math.exp(-share)
