"""The controls of "Automatic masks"; they know nothing of layers or models."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QGroupBox,
    QVBoxLayout,
)

from napari_sam._qt.automatic_choices import GRIDS
from napari_sam._qt.automatic_engine import LEAST_SCORE, LEAST_STABILITY, Filters
from napari_sam._qt.candidate_table import CandidateTable
from napari_sam._qt.controls import button, choice, row, text
from napari_sam._qt.fit_controls import FitControls
from napari_sam._qt.forms import form, slider
from napari_sam._qt.keys import UNDO_TIP

MODES = (
    ("everything", "everything"),
    ("objects like the selected label", "similar"),
    ("inside shapes", "region"),
    ("what has no label yet", "free"),
)
GRID_NAMES = ("coarse", "medium", "normal", "fine")
LARGEST_AREA = 1e9


def area_box(tooltip: str) -> QDoubleSpinBox:
    """Make a field for an area; its lowest value is no limit."""
    made = QDoubleSpinBox()
    made.setRange(0, LARGEST_AREA)
    made.setDecimals(1)
    made.setSpecialValueText("any")
    made.setToolTip(tooltip)
    made.setMinimumWidth(50)
    made.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
    made.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
    return made


class AutomaticControls:
    """All controls, and their layout, usable at a width of 300 pixels."""

    def __init__(self) -> None:
        self._make_search()
        self._make_filters()
        self._make_objects()
        self.layout = QVBoxLayout()
        self.layout.setSpacing(6)
        self._search_form = form(
            ("Image", self.image),
            ("Model", self.model),
            ("Find", self.mode),
            ("Shapes", self.region),
            ("Grid", self.grid),
        )
        self.layout.addLayout(self._search_form)
        self.layout.addWidget(self.download)
        self.layout.addLayout(row(self.run, self.run_stack))
        self.layout.addWidget(self.filters)
        self.fit = FitControls()
        self.layout.addWidget(self.fit)
        self.layout.addWidget(self.table, 1)
        self.layout.addLayout(row(self.accept, self.reject, self.restore))
        self.layout.addLayout(row(self.accept_all, self.reject_all, self.undo))
        self.layout.addLayout(form(("Labels", self.target), ("Others", self.overlap)))

    def _make_search(self) -> None:
        self.image = choice("The image to search")
        self.model = choice("The model; microscopy and medical ones are on offer, too")
        self.mode = choice("What to look for in the displayed plane")
        for name, value in MODES:
            self.mode.addItem(name, value)
        self.region = choice("Shapes whose inside is searched")
        self.grid = choice(
            "Points that are tried in the plane: a finer grid finds smaller objects, "
            "and takes longer"
        )
        for name, count in zip(GRID_NAMES, GRIDS, strict=True):
            self.grid.addItem(f"{name}: {count} x {count} points", count)
        self.download = text("What downloading the model means")
        self.run = button("Find objects", "Look for objects in the displayed plane")
        self.run_stack = button(
            "Whole stack",
            "Look for objects in every plane, link them to 3D objects, and write them "
            "into the labels; with the filters below",
        )

    def _make_filters(self) -> None:
        self.score = slider(LEAST_SCORE, "Objects that SAM is less sure of are hidden")
        self.stability = slider(
            LEAST_STABILITY, "Objects whose outline is less certain are hidden"
        )
        self.overlap_limit = slider(
            0.0, "Of two objects whose boxes overlap more than this, one is shown"
        )
        self.smallest = area_box("Smaller objects are hidden; 0 for any size")
        self.largest = area_box("Larger objects are hidden; 0 for any size")
        self.filters = QGroupBox("Show")
        self.filters.setToolTip("Followed at once: nothing is computed anew")
        content = form(
            ("Score from", self.score),
            ("Stability from", self.stability),
            ("Overlap to", self.overlap_limit),
            ("Area from", self.smallest),
            ("Area to", self.largest),
        )
        content.setContentsMargins(6, 6, 6, 6)
        self.filters.setLayout(content)
        self.show_filters(Filters())

    def _make_objects(self) -> None:
        self.table = CandidateTable()
        self.accept = button("Accept", "Write the selected objects into the labels")
        self.reject = button("Reject", "Take the selected objects off the list")
        self.restore = button(
            "Bring back", "List again what was rejected or accepted so far"
        )
        self.accept_all = button(
            "Accept all", "Write all objects in the list into the labels"
        )
        self.reject_all = button("Reject all", "Take all objects off the list")
        self.undo = button(
            "Undo", f"Take back what was written into the labels last. {UNDO_TIP}"
        )
        self.target = choice("Where accepted objects are written")
        self.overlap = choice("What happens where an object lies on another's label")
        self.overlap.addItem("keep other labels", "protect")
        self.overlap.addItem("overwrite other labels", "overwrite")

    def show_unit(self, unit: str) -> None:
        """Name the unit of length in the fields for areas."""
        for box in (self.smallest, self.largest):
            box.setSuffix(f" {unit}²")

    @property
    def values(self) -> Filters:
        """Filters as the controls say."""
        return Filters(
            self.score.value(),
            self.stability.value(),
            self.overlap_limit.value(),
            self.smallest.value(),
            self.largest.value(),
        )

    def show_filters(self, filters: Filters) -> None:
        """Set the controls."""
        self.score.setValue(filters.score)
        self.stability.setValue(filters.stability)
        self.overlap_limit.setValue(filters.overlap)
        self.smallest.setValue(filters.smallest)
        self.largest.setValue(filters.largest)

    def show_region(self, is_shown: bool) -> None:
        """Show the chooser of shapes, or hide it."""
        self._search_form.setRowVisible(self.region, is_shown)
