"""Sliders and forms, as the widgets that find objects have them."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QWidget
from superqt import QLabeledDoubleSlider


def slider(low: float, tooltip: str) -> QLabeledDoubleSlider:
    """Make a slider up to 1 with its number beside it."""
    made = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
    made.setRange(low, 1.0)
    made.setDecimals(2)
    made.setSingleStep(0.01)  # type: ignore[arg-type]
    made.setToolTip(tooltip)
    made.setMinimumWidth(60)
    return made


def form(*rows: tuple[str, QWidget]) -> QFormLayout:
    """Put controls below each other, with their names."""
    made = QFormLayout()
    made.setContentsMargins(0, 0, 0, 0)
    made.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    for name, widget in rows:
        made.addRow(name, widget)
    return made
