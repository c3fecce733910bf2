"""What the worker does, in napari's own list of activities."""

from __future__ import annotations

from napari.utils import cancelable_progress
from qtpy.QtWidgets import QLabel, QWidget

# Per cent of the pace of napari's turning wheel: four pictures a second, not 33.
CALM = 12


class Activity:
    """An entry in napari's activity dialog while something takes long.

    Parameters
    ----------
    widget : QWidget
        In the window of the viewer.

    Notes
    -----
    As long as there is an entry, napari shows a wheel that turns. The whole window is
    drawn for each picture of it, Python's lock held: without a graphics card that takes
    a third of the time from an encoding. So it turns slowly meanwhile.
    """

    def __init__(self, widget: QWidget) -> None:
        self._widget = widget
        self._entry: cancelable_progress | None = None
        self._is_showing = False

    def show(self, text: str, done: int = 0, total: int = 0) -> None:
        """Make the entry, or bring it up to date.

        Parameters
        ----------
        text : str
            What is being done.
        done, total : int
            How far it is; a total of 0 is not known.
        """
        # napari lets Qt handle events meanwhile, which may lead here again, and again
        # before there is an entry.
        if self._is_showing:
            return
        self._is_showing = True
        try:
            self._show(text, done, total)
        finally:
            self._is_showing = False

    def _show(self, text: str, done: int, total: int) -> None:
        if self._entry is None:
            self._entry = cancelable_progress(total=total, desc=text)
            self._turn_wheel(CALM)
        entry = self._entry
        # Only where there is something new, and as long as it is not taken away.
        if entry.desc.removesuffix(": ") != text:
            entry.set_description(text)
        if entry is self._entry and entry.total != total:
            entry.total = total
        if entry is self._entry and done > entry.n:
            entry.update(done - entry.n)

    @property
    def is_cancelled(self) -> bool:
        """Whether the user pressed Cancel there; napari calls nobody."""
        return self._entry is not None and self._entry.is_canceled

    def hide(self) -> None:
        """Take the entry away."""
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.close()
            self._turn_wheel(100)

    def _turn_wheel(self, speed: int) -> None:
        window = self._widget.window()
        for label in [] if window is None else window.findChildren(QLabel):
            if (movie := label.movie()) is not None:
                movie.setSpeed(speed)
