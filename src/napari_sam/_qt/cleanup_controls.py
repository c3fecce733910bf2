"""The controls of "Clean up"; they know nothing of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFormLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_sam._qt.cleanup_engine import words
from napari_sam._qt.cleanup_list import StepList, summary
from napari_sam._qt.controls import button, choice, fill, row
from napari_sam._qt.keys import UNDO_TIP
from napari_sam.cleanup import OPERATIONS, CleanupStep, Parameter

if TYPE_CHECKING:
    from napari_sam._cleanup_steps import Value

ABOUT = {
    "fill_holes": "Fill holes within each object",
    "remove_small_objects": "Remove small objects, and small pieces of objects",
    "keep_largest": "Keep the largest pieces of each object",
    "split_components": "Give pieces of a label that do not touch labels of their own",
    "erode": "Make objects smaller all around",
    "dilate": "Make objects larger all around, not into others",
    "opening": "Remove thin bridges and spikes",
    "closing": "Close gaps and dents",
    "smooth": "Make outlines smoother",
}
_WHICH = (
    ("all labels", "all"),
    ("selected labels", "selected"),
    ("this label", "this"),
)
_FLAGS = {
    "whole_objects": "Only if the whole object is small",
    "drop_vanished": "Drop objects that vanish",
}
LARGEST = 1e9


class StepForm(QWidget):
    """Parameters of the chosen step.

    Notes
    -----
    `edited` is sent with the step as it is now.
    """

    edited = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._outside = QVBoxLayout(self)
        self._outside.setContentsMargins(0, 0, 0, 0)
        self._content: QWidget | None = None
        self._shown: tuple[str, bool] | None = None
        self._fields: dict[str, Any] = {}
        self._step: CleanupStep | None = None

    def show_step(self, step: CleanupStep | None, unit: str, is_stack: bool) -> None:
        """Show a step; None hides the form.

        Parameters
        ----------
        step : CleanupStep, optional
        unit : str
            Of lengths.
        is_stack : bool
            Whether there is a choice between 2D and 3D.
        """
        self.setVisible(step is not None)
        self._step = step
        if step is None:
            return
        if (step.operation, is_stack) != self._shown:
            self._build(step.operation, is_stack)
            self._shown = step.operation, is_stack
        self.blockSignals(True)
        for one in OPERATIONS[step.operation]:
            self._set(one, step.parameters.get(one.name), unit, step.dimensions)
        self.blockSignals(False)
        self.dimensions.setCurrentIndex(self.dimensions.findData(step.dimensions))
        self.labels.setCurrentIndex(self.labels.findData(step.labels))

    def _build(self, operation: str, is_stack: bool) -> None:
        """Make the fields of an operation, in the place of those of another."""
        if self._content is not None:
            self._content.hide()
            self._content.deleteLater()
        self._content = QWidget()
        self._outside.addWidget(self._content)
        rows = QFormLayout(self._content)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        self._fields = {}
        for one in OPERATIONS[operation]:
            field = self._field(operation, one)
            self._fields[one.name] = field
            name = "" if one.kind == "flag" else one.name.replace("_", " ").capitalize()
            rows.addRow(name, field)
        self.dimensions = choice(
            "3D looks at the whole volume, 2D at each plane by itself"
        )
        self.dimensions.addItem("3D: the whole volume", 3)
        self.dimensions.addItem("2D: each plane by itself", 2)
        self.labels = choice("Which labels the step works on")
        for name, value in _WHICH:
            self.labels.addItem(name, value)
        rows.addRow("Look at", self.dimensions)
        rows.setRowVisible(self.dimensions, is_stack)
        rows.addRow("Labels", self.labels)
        for box in (self.dimensions, self.labels):
            box.activated.connect(self._on_edit)

    def _field(self, operation: str, parameter: Parameter) -> QWidget:
        if parameter.kind == "flag":
            made = QCheckBox(_FLAGS[parameter.name])
            made.setToolTip(ABOUT[operation])
            made.toggled.connect(self._on_edit)
            return made
        if parameter.kind == "count":
            count = QSpinBox()
            count.setRange(1, 1000)
            count.setToolTip("Number of pieces")
            count.valueChanged.connect(self._on_edit)
            return count
        number = QDoubleSpinBox()
        is_optional = (operation, parameter.name) == ("fill_holes", "max_size")
        number.setRange(0 if is_optional else 0.001, LARGEST)
        number.setDecimals(3)
        number.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        if is_optional:
            number.setSpecialValueText("any size")
        number.setToolTip(ABOUT[operation])
        number.valueChanged.connect(self._on_edit)
        return number

    def _set(
        self, parameter: Parameter, value: Value | None, unit: str, dimensions: int
    ) -> None:
        field = self._fields[parameter.name]
        if parameter.kind == "flag":
            field.setChecked(bool(value))
            return
        if parameter.kind != "count":
            size = "²" if dimensions == 2 else "³"
            field.setSuffix(f" {unit}{size if parameter.kind == 'size' else ''}")
        field.setValue(value if value is not None else 0)

    def _on_edit(self, _: Any = None) -> None:
        step = self._step
        if step is None or self.signalsBlocked():
            return
        values: dict[str, Any] = {}
        for one in OPERATIONS[step.operation]:
            field = self._fields[one.name]
            value = field.isChecked() if one.kind == "flag" else field.value()
            if one.kind == "flag" or value > 0:
                values[one.name] = value
        self.edited.emit(
            CleanupStep(
                step.operation,
                values,
                self.dimensions.currentData(),
                self.labels.currentData(),
            )
        )


class CleanupControls:
    """All controls, and their layout, usable at a width of 300 pixels."""

    def __init__(self) -> None:
        self.target = choice("The labels to clean")
        self.operation = choice("What a new step does")
        fill(self.operation, [(words(name), name) for name in OPERATIONS], "")
        for place, name in enumerate(OPERATIONS):
            self.operation.setItemData(place, ABOUT[name], Qt.ItemDataRole.ToolTipRole)
        self.add = button("Add step", "Put this step at the end of the list")
        self.steps = QListWidget()
        self.steps.setToolTip(
            "Steps from top to bottom; without a tick a step is left out"
        )
        self.steps.setMinimumHeight(110)
        self.remove = button("Remove", "Take the chosen step off the list")
        self.up = button("Up", "Do the chosen step earlier")
        self.down = button("Down", "Do the chosen step later")
        self.save = button("Save ...", "Save the steps that are ticked as a file")
        self.load = button("Load ...", "Take the steps of a file")
        self.form = StepForm()
        self.selected = QLineEdit()
        self.selected.setPlaceholderText("such as 3, 7-9")
        self.selected.setToolTip("Numbers of the labels that are called selected")
        self.preview = QCheckBox("Preview in the displayed plane")
        self.preview.setToolTip("Red is removed, green is added, yellow is renumbered")
        self.apply = button("Apply", "Clean the whole layer; one Ctrl-Z takes it back")
        self.undo = button("Undo", f"Take back the last clean-up. {UNDO_TIP}")
        self._lay_out()

    def _lay_out(self) -> None:
        self.layout = QVBoxLayout()
        self.layout.setSpacing(6)
        self.choosers = QFormLayout()
        self.choosers.setFieldGrowthPolicy(
            QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow
        )
        self.choosers.addRow("Labels", self.target)
        self.choosers.addRow("Selected", self.selected)
        self.layout.addLayout(self.choosers)
        self.layout.addLayout(row(self.operation, self.add))
        self.layout.addWidget(self.steps, 1)
        self.layout.addLayout(row(self.up, self.down, self.remove))
        self.layout.addWidget(self.form)
        self.layout.addWidget(self.preview)
        self.layout.addLayout(row(self.apply, self.undo))
        self.layout.addLayout(row(self.save, self.load))

    def show_steps(self, steps: StepList, unit: str) -> None:
        """Show the list.

        Parameters
        ----------
        steps : StepList
        unit : str
        """
        self.steps.blockSignals(True)
        while self.steps.count() > len(steps.steps):
            self.steps.takeItem(self.steps.count() - 1)
        while self.steps.count() < len(steps.steps):
            self.steps.addItem(QListWidgetItem())
        for place, listed in enumerate(steps.steps):
            item: Any = self.steps.item(place)
            item.setText(summary(listed.step, unit))
            item.setToolTip(ABOUT[listed.step.operation])
            is_on = listed.is_on
            item.setCheckState(
                Qt.CheckState.Checked if is_on else Qt.CheckState.Unchecked
            )
        self.steps.setCurrentRow(steps.row)
        self.steps.blockSignals(False)
