"""The switch "Learn while annotating", and the way back to the base model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_sam._qt.controls import button, text

if TYPE_CHECKING:
    from napari_sam._qt.learning import Learning


class LearningControls(QWidget):
    """Controls of learning while annotating, usable at a width of 300 pixels.

    Parameters
    ----------
    learning : Learning
    """

    def __init__(self, learning: Learning) -> None:
        super().__init__()
        self._learning = learning
        self.switch = QCheckBox("Learn while annotating")
        self.switch.setToolTip(
            "Accepted objects adapt the model to this image, between your clicks. "
            "What was learned is used only if objects that it did not learn from are "
            "found better than before"
        )
        self.switch.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.back = button(
            "Back to the base model",
            "Use the model as it was before it learned from your objects, and stop "
            "learning; accepted masks stay as they are",
        )
        self.status = text("What was learned, and how much it helps")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.switch, self.status, self.back):
            layout.addWidget(widget)
        self.switch.toggled.connect(learning.set_on)
        self.back.clicked.connect(lambda: learning.back_to_base())
        learning.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show what is known now."""
        learning = self._learning
        self.switch.blockSignals(True)
        self.switch.setChecked(learning.is_on)
        self.switch.blockSignals(False)
        said = learning.text
        self.status.setText(said)
        self.status.setVisible(bool(said))
        self.back.setVisible(bool(learning.version))
