"""What all dock widgets have in common: an end, with their dock."""

from __future__ import annotations

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget


class DockWidget(QWidget):
    """A widget that ends its work when its dock is closed.

    Parameters
    ----------
    parent : QWidget, optional

    Attributes
    ----------
    is_open : bool
        Whether it still belongs to its viewer.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.is_open = True

    def event(self, event: QEvent | None) -> bool:
        """Close with the dock: napari takes the widget out of it, and forgets it."""
        is_moved = event is not None and event.type() == QEvent.Type.ParentChange
        if is_moved and self.parent() is None:
            self.close_work()
            # It is of no use any more, and without a parent nobody would delete it.
            self.deleteLater()
        return super().event(event)

    def close_work(self) -> None:
        """End the work; called again, nothing happens."""
        if self.is_open:
            self.is_open = False
            self._end_work()

    def _end_work(self) -> None:
        raise NotImplementedError
