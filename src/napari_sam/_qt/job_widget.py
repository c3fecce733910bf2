"""What dock widgets with long work have in common: status, progress, Cancel, an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from napari_sam._qt.controls import row, status_widgets
from napari_sam._qt.dock_widget import DockWidget
from napari_sam._qt.turns import timer_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QLayout

    from napari_sam._qt.runner import Runner

# Milliseconds: what is shorter than this needs no progress bar.
PATIENCE = 200


class JobWidget(DockWidget):
    """A dock widget with a line that says what to do, a progress bar and Cancel.

    Parameters
    ----------
    runner : Runner
        Whose work the bar shows.
    on_close : callable
        Called once, when the dock is closed.
    parent : QWidget, optional
    """

    def __init__(
        self,
        runner: Runner,
        on_close: Callable[[], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._on_close = on_close
        self.destroyed.connect(on_close)
        self.status, self.progress, self.cancel = status_widgets()
        # Methods, not functions: Qt lets go of them with the widget.
        self._patience = timer_once(self, PATIENCE, self._on_patience)
        runner.busy_changed.connect(self._on_busy)

    def lay_out(self, content: QLayout, stretch: int = 0) -> None:
        """Put controls above the status line, scrolled where there is little room.

        Parameters
        ----------
        content : QLayout
        stretch : int
            1 leaves what is too much room at the end, for controls that do not grow.
        """
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(6)
        layout.addLayout(content)
        layout.addWidget(self.status)
        layout.addLayout(row(self.progress, self.cancel))
        if stretch:
            layout.addStretch(stretch)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        self.inside = inside
        outside = QVBoxLayout(self)
        outside.setContentsMargins(0, 0, 0, 0)
        outside.addWidget(area)

    def show_progress(self, done: float, text: str) -> None:
        """Move the progress bar; 0 is a bar that only says that something is done."""
        if done > 0:
            self.progress.show_done(done, f"{text}  %p%")
        else:
            self.progress.show_unknown(text=text)
        self.progress.setToolTip(text)

    def _on_busy(self, is_busy: bool) -> None:
        if is_busy:
            self._patience.start()
        else:
            self._patience.stop()
            self._show_progress(False)
        self.refresh()

    def _on_patience(self) -> None:
        self._show_progress(True)

    def refresh(self) -> None:
        """Show what is known now."""
        raise NotImplementedError

    def _show_progress(self, is_shown: bool) -> None:
        self.progress.setVisible(is_shown)
        self.cancel.setVisible(is_shown)

    def _end_work(self) -> None:
        self._on_close()
