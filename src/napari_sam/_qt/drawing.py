"""The viewer's window is not drawn for a moment, so that a mask comes sooner."""

from __future__ import annotations

from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QAbstractItemView, QDockWidget, QMainWindow, QWidget


class DrawingPause:
    """Keeps the canvas and the list of layers from being drawn, for a moment.

    Parameters
    ----------
    widget : QWidget
        In a dock of the viewer's window.

    Notes
    -----
    A click changes the points: napari draws them on the canvas and in the list of
    layers, Python's lock held, and without a graphics card on the processor that the
    decoder needs. If the mask is made first, all is drawn once, and sooner.
    """

    def __init__(self, widget: QWidget) -> None:
        self._widget = widget
        # Not kept for longer than a pause: napari counts on its canvas being let go of.
        self._held: list[QWidget] = []

    @property
    def is_on(self) -> bool:
        """Whether drawing waits."""
        return bool(self._held)

    def begin(self) -> None:
        """Draw nothing until `end`; the caller sees to it that it comes soon."""
        if self.is_on:
            return
        # What somebody else holds is not ours to let go.
        self._held = [one for one in self._find_drawn() if one.updatesEnabled()]
        for one in self._held:
            one.setUpdatesEnabled(False)

    def end(self) -> None:
        """Draw what has changed meanwhile."""
        held, self._held = self._held, []
        for one in held:
            if isalive(one):  # type: ignore[no-untyped-call]
                one.setUpdatesEnabled(True)

    def _find_drawn(self) -> list[QWidget]:
        """Canvas and lists, where they can be: a window has a thousand widgets."""
        window = self._widget.window()
        if not isinstance(window, QMainWindow):  # a dock that was torn off
            return []
        found: list[QWidget] = []
        centre = window.centralWidget()
        if centre is not None:
            found += centre.findChildren(QOpenGLWidget)
        directly = Qt.FindChildOption.FindDirectChildrenOnly
        for dock in window.findChildren(QDockWidget, options=directly):
            if not dock.isAncestorOf(self._widget):
                found += dock.findChildren(QAbstractItemView)
        return found
