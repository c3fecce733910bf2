"""The section "Volume" of the widget; it knows nothing of layers or models."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QLabeledRangeSlider

from napari_sam._qt.confidence_plot import ConfidencePlot
from napari_sam._qt.controls import button, choice, row, text
from napari_sam._qt.keys import ACTIONS
from napari_sam._qt.progress_bar import ProgressBar

CONSENSUS = (
    "<p>Also follow objects along the two other axes, and keep what two of the three "
    "say: fewer leaks where the image is equally sharp along all axes.</p><p>Takes "
    "three times as long or more: planes along the other axes must be encoded once, "
    "and the labels are written at the end. Only for voxels of nearly equal sides, at "
    "most 1 to 2.</p>"
)


class VolumeControls(QWidget):
    """All controls for whole stacks, usable at a width of 300 pixels.

    Notes
    -----
    superqt's collapsible fixes its height when it unfolds, and squeezes what appears
    later; so this one shows and hides its content itself.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = QToolButton()
        self.title.setText("Volume")
        self.title.setToolTip("Objects through a whole stack, and their review")
        self.title.setCheckable(True)
        self.title.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.title.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.title.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.title.setStyleSheet("font-weight: bold; border: none; padding: 3px")
        self.title.toggled.connect(self.unfold)
        self._make_choosers()
        self._make_actions()
        self._make_review()
        self.content = QWidget()
        self._fill(QVBoxLayout(self.content))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.title)
        layout.addWidget(self.content)
        self.unfold(False)

    def _fill(self, layout: QVBoxLayout) -> None:
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Along", self.along)
        form.addRow("Planes", self.extend)
        layout.addLayout(form)
        layout.addWidget(self.between)
        layout.addWidget(self.consensus)
        layout.addLayout(row(self.follow_object, self.follow_all))
        layout.addLayout(row(self.progress, self.cancel))
        layout.addWidget(self.plot)
        layout.addLayout(row(self.next_doubtful, self.approve))
        layout.addWidget(self.about)
        layout.addWidget(self.measures)

    def unfold(self, is_open: bool) -> None:
        """Show or hide all but the title."""
        self.title.setChecked(is_open)
        arrow = Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow
        self.title.setArrowType(arrow)
        self.content.setVisible(is_open)

    def _make_choosers(self) -> None:
        self.along = choice("The axis that objects are followed along; it may be time")
        self.extend = choice("Which planes to look at")
        for name, value in (
            ("whole stack", "whole"),
            ("from here on", "onwards"),
            ("from … to …", "between"),
        ):
            self.extend.addItem(name, value)
        self.between = QLabeledRangeSlider(Qt.Orientation.Horizontal)
        self.between.setToolTip("The first and the last plane")
        self.between.setEdgeLabelMode(QLabeledRangeSlider.EdgeLabelMode.NoLabel)
        self.between.setVisible(False)
        self.consensus = QCheckBox("Look along all three axes")
        self.consensus.setToolTip(CONSENSUS)

    def _make_actions(self) -> None:
        self.follow_object = button("This object", ACTIONS["follow_object"].tooltip)
        self.follow_all = button("All objects", ACTIONS["follow_all"].tooltip)
        self.progress = ProgressBar()
        self.progress.setToolTip("Planes that are done")
        self.cancel = button("Stop", "Stop here; the planes that are done are kept")
        for widget in (self.progress, self.cancel):
            widget.setVisible(False)

    def _make_review(self) -> None:
        self.plot = ConfidencePlot()
        self.next_doubtful = button("Next doubtful", ACTIONS["next_doubtful"].tooltip)
        self.approve = button("Approve plane", ACTIONS["approve"].tooltip, True)
        self.about = text("What is known of the object, and what to do next")
        self.measures = text(
            "Volume and lengths of the object, in the units of the image, as far as it "
            "was followed"
        )

    def show_axes(self, names: Sequence[str], along: int) -> None:
        """Offer axes, in their order, without telling anyone.

        Parameters
        ----------
        names : sequence of str
        along : int
            The one that is chosen.
        """
        self.along.blockSignals(True)
        if [self.along.itemText(i) for i in range(self.along.count())] != list(names):
            self.along.clear()
            self.along.addItems(list(names))
        self.along.setCurrentIndex(along)
        self.along.blockSignals(False)

    def show_between(self, between: tuple[int, int], count: int) -> None:
        """Show the range of planes without telling anyone.

        Parameters
        ----------
        between : (int, int)
        count : int
            Number of planes.
        """
        last = max(count - 1, 0)
        self.between.blockSignals(True)
        self.between.setRange(0, last)
        first, end = sorted(min(max(i, 0), last) for i in between)
        self.between.setValue((first, end))
        self.between.blockSignals(False)

    def show_progress(self, done: int, count: int, doing: str) -> None:
        """Show how far it is; a count of 0 hides it.

        Parameters
        ----------
        done, count : int
            Planes.
        doing : str
            What is being done before the first of them.
        """
        for widget in (self.progress, self.cancel):
            widget.setVisible(count > 0)
        for widget in (self.follow_object, self.follow_all):
            widget.setEnabled(count == 0)
        if done:
            self.progress.show_done(done / count, f"{done} of {count} planes")
        else:
            self.progress.show_unknown(text=doing)
