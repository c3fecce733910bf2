"""The dock widget "Automatic masks"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# In the main thread, and before there is work: see `annotation`.
import torch  # noqa: F401

from napari_sam._qt.automatic_choices import FindChoices
from napari_sam._qt.automatic_controls import AutomaticControls
from napari_sam._qt.automatic_finder import Finder
from napari_sam._qt.controls import fill
from napari_sam._qt.finder_widget import FinderWidget
from napari_sam._qt.plane_layer import lengths
from napari_sam._qt.preferences import read_preferences
from napari_sam._qt.shared_cache import new_engine

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtWidgets import QComboBox, QWidget

    from napari_sam._qt.engine import Engine

NO_SHAPES = "none: add a Shapes layer"


class AutomaticMasksWidget(FinderWidget):
    """Objects found without prompts, chosen with sliders, written into labels.

    Parameters
    ----------
    viewer : napari.Viewer
    engine : Engine, optional
        What computes; its own by default.
    parent : QWidget, optional
    """

    finder: Finder
    controls: AutomaticControls

    def __init__(
        self,
        viewer: napari.viewer.Viewer,  # napari looks for this very name
        engine: Engine | None = None,
        parent: QWidget | None = None,
    ) -> None:
        preferences = read_preferences()
        finder = Finder(viewer, engine or new_engine(preferences))
        super().__init__(finder, AutomaticControls(), parent)
        self.lay_out(self.controls.layout)
        self._connect()
        self.begin(FindChoices(preferences.model))

    @property
    def choosers(self) -> dict[str, QComboBox]:
        """Choosers of what is not a layer, by the name of the choice."""
        controls = self.controls
        return {
            "model": controls.model,
            "mode": controls.mode,
            "points_per_side": controls.grid,
            "overlap": controls.overlap,
        }

    def _connect(self) -> None:
        own, controls = self.finder, self.controls
        own.filtered.connect(self._refresh_table)
        own.chosen_changed.connect(controls.table.select_number)
        controls.table.picked.connect(own.pick)
        self.connect_layers(region=controls.region)
        for one in (
            controls.score,
            controls.stability,
            controls.overlap_limit,
            controls.smallest,
            controls.largest,
        ):
            one.valueChanged.connect(lambda _: own.choose(filters=controls.values))
        controls.fit.connect_choices(own.choose)
        controls.fit.compare.clicked.connect(own.compare)
        title = "Folder of a CLIP or SigLIP model"
        self.connect_text_models(ranker=(controls.fit.ranker, title))
        controls.run.clicked.connect(own.run)
        controls.run_stack.clicked.connect(own.run_stack)
        controls.accept.clicked.connect(lambda: own.accept(controls.table.numbers))
        controls.reject.clicked.connect(lambda: own.reject(controls.table.numbers))
        controls.accept_all.clicked.connect(own.accept_all)
        controls.reject_all.clicked.connect(own.reject_all)
        controls.restore.clicked.connect(own.restore)

    def _refresh_table(self) -> None:
        self.controls.table.show_found(self.finder.found, self.finder.chosen)

    def refresh(self) -> None:
        """Show in the controls what is known now."""
        own, controls = self.finder, self.controls
        self.refresh_choosers()
        is_free = not own.runner.is_busy
        can_run = is_free and own.source is not None
        controls.run.setEnabled(can_run)
        controls.run_stack.setVisible(own.is_stack)
        controls.run_stack.setEnabled(can_run and own.choices.mode == "everything")
        controls.download.setText(own.download or "")
        controls.download.setVisible(bool(own.download))
        shown = 0 if own.found is None else len(own.found.numbers)
        has_found = is_free and own.found is not None
        controls.fit.show_state(own.choices, own.lacking, has_found)
        for one in (controls.accept, controls.reject):
            one.setEnabled(is_free and own.chosen > 0)
        for one in (controls.accept_all, controls.reject_all):
            one.setEnabled(is_free and shown > 0)
        controls.restore.setEnabled(bool(own.dismissed))
        controls.undo.setEnabled(is_free and own.writer.steps.can_undo)
        if own.image is not None and own.view is not None:
            controls.show_unit(lengths(own.image, own.view)[1])
        self.status.setText(self._text(shown))
        self.refresh_progress()

    def refresh_choosers(self) -> None:
        """Offer the layers that there are, and show what is chosen."""
        super().refresh_choosers()
        own, controls = self.finder, self.controls
        shapes: list[tuple[str, Any]] = [(one.name, one) for one in own.regions]
        fill(controls.region, shapes or [(NO_SHAPES, None)], own.region)
        controls.show_region(own.choices.mode == "region")
        if controls.values != own.choices.filters:
            controls.show_filters(own.choices.filters)

    def _text(self, shown: int) -> str:
        """Say what was done, and what to do next."""
        own = self.finder
        if own.runner.is_busy:
            return f"{own.progress.text} ..."
        if own.image is None:
            return "Open an image, or choose one above."
        if own.problem:
            return own.problem
        if own.message:
            return own.message
        if own.found is None:
            return "Press Find objects; then choose among what is found."
        total = len(own.found.masks.every)
        if shown == 0:
            if own.words is not None:
                return "No object fits the words so well: lower Fits from."
            return f"None of {total} masks is shown: widen the filters, or search anew."
        return (
            f"{shown} objects of {total} masks. Move the sliders, click objects to "
            "choose them, then accept one or all."
        )
