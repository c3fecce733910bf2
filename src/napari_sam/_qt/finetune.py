"""The dock widget "Fine-tune"."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

# In the main thread, and before there is work, as in `annotation`.
import torch  # noqa: F401
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QScrollArea, QVBoxLayout, QWidget

from napari_sam._finetuning_options import FinetuneOptions, TrainingStep
from napari_sam._qt.commands import find_widget
from napari_sam._qt.controls import fill
from napari_sam._qt.dock_widget import DockWidget
from napari_sam._qt.finetune_controls import TuningControls
from napari_sam._qt.finetune_engine import OneImage, Plan, Tuned, TuningEngine
from napari_sam._qt.finetune_layers import PairChooser
from napari_sam._qt.finetune_plot import Curve
from napari_sam._qt.finetune_state import (
    ONE_IMAGE,
    START,
    UNCHECKED,
    WHAT,
    Course,
    free_name,
    name_problem,
    progress_text,
    result_text,
)
from napari_sam._qt.model_chooser import offer_new_models
from napari_sam._qt.preferences import read_preferences
from napari_sam._qt.report import report_error
from napari_sam._qt.runner import Receiver, Runner
from napari_sam._qt.transfer import CancelledDownload
from napari_sam.registry import list_models

if TYPE_CHECKING:
    import napari.viewer

# Told apart by the colour-blind, on light and on dark themes.
LOSS, CLICKS = "#b07cc6", (("1", "#e69f00"), ("3", "#3fa66b"), ("5", "#5b9bd5"))
READY = (
    "Tick images with labels, every object with a number of its own, or choose a "
    "folder; then press Start. A part of the images is held out to see whether the "
    "model gets better."
)


class FineTuneWidget(DockWidget):
    """A model learns from the user's labels.

    Parameters
    ----------
    viewer : napari.Viewer
    engine : TuningEngine, optional
        What trains; its own by default.
    parent : QWidget, optional
    """

    def __init__(
        self,
        viewer: napari.viewer.Viewer,  # napari looks for this very name
        engine: TuningEngine | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.engine = engine or TuningEngine()
        # No child of this widget: it must live until it has been told to close.
        self.runner = Runner()
        self.course = Course()
        self.tuned: Tuned | None = None
        self._plan: Plan | None = None
        self.controls = TuningControls(viewer)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(self.controls)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(area)
        self._list_models(read_preferences().model)
        self.controls.name.setText(free_name(self._names()))
        self._connect()
        self._explain()
        self.controls.status.setText(READY)

    def _connect(self) -> None:
        controls = self.controls
        controls.use_layers.clicked.connect(lambda: self.set_folder(None))
        controls.use_folder.clicked.connect(self._choose_folder)
        controls.what.currentIndexChanged.connect(self._explain)
        controls.start.clicked.connect(self.start)
        controls.cancel.clicked.connect(self.cancel)
        controls.use.clicked.connect(self.use)
        # What was warned of may be otherwise now.
        controls.pairs.itemChanged.connect(self._forget_warning)
        # The window may go without taking the dock out of it first.
        self.destroyed.connect(partial(_end, self.runner, controls.pairs))

    # What the user does

    def set_folder(self, folder: Path | None) -> None:
        """Learn from a folder, or from the layers of the viewer.

        Parameters
        ----------
        folder : Path, optional
            None is the layers.
        """
        self.controls.show_folder(folder)
        self._forget_warning()

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "A folder of labelled images")
        self.set_folder(Path(folder) if folder else self.controls.folder)

    def start(self) -> None:
        """Train, unless there is something in the way."""
        is_unchecked = self.controls.start.text() == UNCHECKED
        self._forget_warning()
        try:
            plan = self._read_plan(is_unchecked)
        except ValueError as error:
            self.controls.status.setText(str(error))
            return
        self._plan, self.course, self.tuned = plan, Course(), None
        self.engine.begin()
        self.controls.show_running(True)
        self.controls.comparison.show_comparison(None)
        self._show_course()
        self.runner.submit(
            partial(self.engine.tune, plan),
            Receiver(self._on_done, self._on_failed, self._on_step),
        )

    def _read_plan(self, is_unchecked: bool) -> Plan:
        controls = self.controls
        name = controls.name.text().strip()
        problem = name_problem(name, self._names())
        if problem:
            raise ValueError(problem)
        data = controls.folder or controls.pairs.pairs()
        options = FinetuneOptions(
            train=controls.what.currentData(), minutes=controls.minutes.value()
        )
        model = str(controls.model.currentData())
        return Plan(data, model, name, options, is_unchecked)

    def cancel(self) -> None:
        """End the training after its step; the best model so far is kept."""
        self.engine.finish()
        self.controls.cancel.setEnabled(False)
        self.controls.status.setText("Ending after this step; the best is kept ...")

    def use(self) -> None:
        """Choose the new model in "Segment Anything"; open that if needed."""
        if self.tuned is not None and self.tuned.path is not None:
            widget = find_widget(self.viewer)
            widget.list_models()
            widget.annotator.choose(model=self.tuned.name)
            self.controls.status.setText(
                f'"Segment Anything" uses {self.tuned.name} from now on.'
            )

    # What happens then

    def _on_step(self, step: str | TrainingStep) -> None:
        controls, plan = self.controls, self._plan
        if isinstance(step, str):
            controls.progress.show_unknown()
            controls.status.setText(f"{step} ...")
            return
        if plan is None:
            return
        controls.show_plots(True)
        self.course = self.course.after(step)
        minutes = plan.options.minutes
        controls.progress.show_done(min(self.course.minutes / minutes, 1.0))
        if controls.cancel.isEnabled():
            controls.status.setText(progress_text(self.course, minutes))
        self._show_course()

    def _show_course(self) -> None:
        course = self.course
        self.controls.loss.show_curves([Curve("", LOSS, course.losses)], course.minutes)
        best = None if course.best is None else course.best[0]
        curves = [
            Curve(
                name,
                colour,
                [(at, getattr(found, f"click{name}")) for at, found in course.checks],
                is_marked=True,
            )
            for name, colour in CLICKS
        ]
        self.controls.quality.show_curves(curves, course.minutes, best)

    def _on_done(self, found: Tuned | OneImage | None) -> None:
        controls, plan = self.controls, self._plan
        controls.show_running(False)
        if found is None or plan is None:
            controls.status.setText(f"Nothing was trained. {READY}")
        elif isinstance(found, OneImage):
            controls.start.setText(UNCHECKED)
            controls.status.setText(ONE_IMAGE)
        else:
            self.tuned = found
            controls.comparison.show_comparison(found.pictures)
            controls.use.setEnabled(found.path is not None)
            controls.status.setText(result_text(found, self.course, plan.model))
            if found.path is not None:
                self._offer_model()

    def _offer_model(self) -> None:
        """Put the new model into all choosers, and suggest a name for the next."""
        offer_new_models()
        self._list_models(self.controls.model.currentData())
        self.controls.name.setText(free_name(self._names()))

    def _on_failed(self, error: Exception) -> None:
        self.controls.show_running(False)
        if isinstance(error, CancelledDownload):
            self.controls.status.setText(f"The download was cancelled. {READY}")
        else:
            self.controls.status.setText(report_error(error))

    def _names(self) -> list[str]:
        return [spec.name for spec in list_models()]

    def _list_models(self, chosen: str) -> None:
        """Offer the models that can be fine-tuned."""
        names = [spec.name for spec in list_models() if not spec.repository]
        box = self.controls.model
        fill(box, [(name, name) for name in names], chosen)
        box.setCurrentIndex(max(0, box.findData(chosen)))

    def _explain(self) -> None:
        self.controls.about.setText(WHAT[self.controls.what.currentData()][1])

    def _forget_warning(self, *_: Any) -> None:
        if self.controls.start.text() == UNCHECKED:
            self.controls.start.setText(START)
            self.controls.status.setText(READY)

    def _end_work(self) -> None:
        """End the training; the best model so far stays, and can be gone on from."""
        self.engine.transfer.cancel()
        _end(self.runner, self.controls.pairs)


def _end(runner: Runner, pairs: PairChooser, *_: Any) -> None:
    """Work and listen no more; the widget may be gone."""
    pairs.close_events()
    runner.close()
