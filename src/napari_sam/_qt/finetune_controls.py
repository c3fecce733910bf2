"""The controls of the dock widget "Fine-tune"; they know nothing of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from napari_sam._qt.controls import button, choice, row, text
from napari_sam._qt.finetune_layers import PairChooser
from napari_sam._qt.finetune_pictures import ComparisonPictures
from napari_sam._qt.finetune_plot import CurvePlot
from napari_sam._qt.finetune_state import START, WHAT
from napari_sam._qt.progress_bar import ProgressBar

if TYPE_CHECKING:
    from pathlib import Path


class TuningControls(QWidget):
    """All controls, one below the other, usable at a width of 300 pixels.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.folder: Path | None = None
        self._make_data(viewer)
        self._make_choices()
        self._make_progress()
        self._make_result()
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for name, widget in (
            ("Start from", self.model),
            ("What learns", self.what),
            ("", self.about),
            ("Time", self.minutes),
            ("New model", self.name),
        ):
            form.addRow(name, widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(6)
        layout.addLayout(row(self.use_layers, self.use_folder))
        layout.addWidget(self.pairs)
        layout.addWidget(self.folder_text)
        layout.addLayout(form)
        layout.addWidget(self.start)
        layout.addWidget(self.status)
        layout.addLayout(row(self.progress, self.cancel))
        layout.addWidget(self.loss)
        layout.addWidget(self.quality)
        layout.addWidget(self.comparison)
        layout.addWidget(self.use)
        layout.addStretch(1)
        self.show_folder(None)
        self.show_running(False)
        self.show_plots(False)

    def _make_data(self, viewer: Any) -> None:
        self.use_layers = button("Layers", "Learn from images of this viewer", True)
        self.use_folder = button(
            "Folder ...",
            "Learn from a folder: images/ and labels/ with files of equal names, or "
            "x.tif beside x_labels.tif",
            True,
        )
        self.pairs = PairChooser(viewer)
        self.folder_text = text("Where the labelled images are")

    def _make_choices(self) -> None:
        self.model = choice("The model that learns; it stays as it is itself")
        self.what = choice("Which part of the model learns")
        for value, (name, _) in WHAT.items():
            self.what.addItem(name, value)
        self.about = text("What that means")
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.1, 24 * 60)
        self.minutes.setDecimals(1)
        self.minutes.setValue(10)
        self.minutes.setSuffix(" minutes")
        self.minutes.setToolTip(
            "When to end at the latest; it ends before if nothing gets better any more"
        )
        self.name = QLineEdit()
        self.name.setToolTip("Model choosers and scripts find it by this name")
        self.start = button(START, "Train the model")

    def _make_progress(self) -> None:
        self.status = text("What to do next")
        self.status.setFrameShape(QFrame.Shape.StyledPanel)
        self.status.setMinimumHeight(4 * self.status.fontMetrics().height())
        self.progress = ProgressBar()
        self.progress.setToolTip("How much of the time is over")
        self.cancel = button("Cancel", "End the training, and keep the best model")
        self.loss = CurvePlot(
            "loss", "How wrong the masks are in training; it should fall, with noise"
        )
        self.quality = CurvePlot(
            "held-out IoU, clicks:",
            "Overlap with the labels of the images held out, after 1, 3 and 5 clicks; "
            "1 is perfect. The dashed line is the model that is kept",
            top=1.0,
        )

    def _make_result(self) -> None:
        self.comparison = ComparisonPictures()
        self.use = button(
            "Use this model now", 'Choose the new model in "Segment Anything"'
        )

    def show_folder(self, folder: Path | None) -> None:
        """Show where the images come from.

        Parameters
        ----------
        folder : Path, optional
            None is the layers.
        """
        self.folder = folder
        self.use_layers.setChecked(folder is None)
        self.use_folder.setChecked(folder is not None)
        self.pairs.setVisible(folder is None)
        self.folder_text.setVisible(folder is not None)
        self.folder_text.setText("" if folder is None else str(folder))

    def show_plots(self, are_shown: bool) -> None:
        """Show the curves and what comes below, once there is something to see."""
        for widget in (self.loss, self.quality, self.use):
            widget.setVisible(are_shown)

    def show_running(self, is_running: bool) -> None:
        """Let the user cancel while it runs, and choose before and after.

        Parameters
        ----------
        is_running : bool
        """
        for widget in (
            *(self.use_layers, self.use_folder, self.pairs, self.model),
            *(self.what, self.minutes, self.name, self.start),
        ):
            widget.setEnabled(not is_running)
        self.progress.setVisible(is_running)
        self.cancel.setVisible(is_running)
        self.cancel.setEnabled(True)
        if is_running:
            self.progress.show_unknown()
            self.use.setEnabled(False)
