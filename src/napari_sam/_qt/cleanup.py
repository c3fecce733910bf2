"""The dock widget "Clean up"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_sam._qt.cleaner import Cleaner
from napari_sam._qt.cleanup_controls import CleanupControls
from napari_sam._qt.cleanup_list import new_step
from napari_sam._qt.controls import fill
from napari_sam._qt.job_widget import JobWidget

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtWidgets import QWidget

FILES = "Clean-up steps (*.json)"
NO_LABELS = "no labels"
_MOST_SELECTED = 1_000_000


class CleanUpWidget(JobWidget):
    """Morphology of labels in physical units, as a list of steps with a preview.

    Parameters
    ----------
    viewer : napari.Viewer
    parent : QWidget, optional
    """

    def __init__(
        self,
        viewer: napari.viewer.Viewer,  # napari looks for this very name
        parent: QWidget | None = None,
    ) -> None:
        # No child of this widget: it must live until it has been told to close.
        self.cleaner = Cleaner(viewer)
        super().__init__(self.cleaner.runner, self.cleaner.close, parent)
        self.controls = CleanupControls()
        self.lay_out(self.controls.layout)
        self._connect()
        self.cleaner.refresh()

    def _connect(self) -> None:
        own, controls = self.cleaner, self.controls
        own.changed.connect(self.refresh)
        controls.target.activated.connect(
            lambda: own.set_target(controls.target.currentData())
        )
        controls.selected.editingFinished.connect(self._on_selected)
        controls.add.clicked.connect(self._add)
        controls.remove.clicked.connect(lambda: own.set_steps(own.steps.removed()))
        controls.up.clicked.connect(lambda: own.set_steps(own.steps.moved(-1)))
        controls.down.clicked.connect(lambda: own.set_steps(own.steps.moved(1)))
        controls.steps.currentRowChanged.connect(
            lambda row: own.set_steps(own.steps.with_row(row))
        )
        controls.steps.itemChanged.connect(self._on_switched)
        controls.form.edited.connect(
            lambda step: own.set_steps(own.steps.with_chosen(step))
        )
        controls.preview.toggled.connect(own.set_previewing)
        controls.apply.clicked.connect(own.apply)
        controls.undo.clicked.connect(own.undo)
        controls.save.clicked.connect(self._save)
        controls.load.clicked.connect(self._load)
        self.cancel.clicked.connect(own.cancel)

    def _add(self) -> None:
        own = self.cleaner
        pixel = min(own.scale[0][-2:])
        dimensions = 3 if own.is_stack else 2
        operation = self.controls.operation.currentData()
        own.set_steps(own.steps.added(new_step(operation, pixel, dimensions)))

    def _on_switched(self, item: Any) -> None:
        is_on = item.checkState() == Qt.CheckState.Checked
        row = self.controls.steps.row(item)
        self.cleaner.set_steps(self.cleaner.steps.switched(row, is_on))

    def _on_selected(self) -> None:
        self.cleaner.set_selected(read_numbers(self.controls.selected.text()))

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save steps", "steps.json", FILES)
        if path:
            self.cleaner.save(path)

    def _load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load steps", "", FILES)
        if path:
            self.cleaner.load(path)

    def refresh(self) -> None:
        """Show in the controls what is known now."""
        own, controls = self.cleaner, self.controls
        unit = own.scale[1]
        targets: list[tuple[str, Any]] = [(one.name, one) for one in own.targets]
        fill(controls.target, targets or [(NO_LABELS, None)], own.target)
        controls.show_steps(own.steps, unit)
        controls.form.show_step(own.steps.chosen, unit, own.is_stack)
        wants_selected = any(step.labels == "selected" for step in own.steps.active)
        controls.choosers.setRowVisible(controls.selected, wants_selected)
        row, count = own.steps.row, len(own.steps.steps)
        controls.remove.setEnabled(row >= 0)
        controls.up.setEnabled(row > 0)
        controls.down.setEnabled(0 <= row < count - 1)
        controls.save.setEnabled(bool(own.steps.active))
        controls.preview.blockSignals(True)
        controls.preview.setChecked(own.is_previewing)
        controls.preview.blockSignals(False)
        is_ready = own.target is not None and bool(own.steps.active)
        controls.apply.setEnabled(is_ready and not own.is_applying)
        controls.undo.setEnabled(own.written.can_undo and not own.is_applying)
        self.status.setText(self._text())
        self.show_progress(own.progress.done, own.progress.text)

    def _text(self) -> str:
        """Say what was done, and what to do next."""
        own = self.cleaner
        if own.is_applying:
            return f"{own.progress.text} ..."
        if own.target is None:
            return "Open or make a Labels layer first."
        if not own.steps.steps:
            return "Choose a step above, and add it."
        if own.problem:
            return f"No preview: {own.problem}"
        if own.message:
            return own.message
        return "Apply the steps to the whole layer."


def read_numbers(text: str) -> frozenset[int]:
    """Read numbers and ranges off a text; what is neither is passed over.

    Parameters
    ----------
    text : str

    Examples
    --------
    >>> sorted(read_numbers("3, 7-9 x"))
    [3, 7, 8, 9]
    """
    found: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:\s*-\s*(\d+))?", text):
        low, high = int(first), int(last or first)
        found.update(range(low, min(high, low + _MOST_SELECTED) + 1))
    return frozenset(found)
