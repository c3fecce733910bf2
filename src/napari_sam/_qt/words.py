"""The dock widget "Words"."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

# In the main thread, and before there is work: see `annotation`.
import torch  # noqa: F401

from napari_sam._qt.finder_widget import FinderWidget
from napari_sam._qt.model_chooser import offer_text_models
from napari_sam._qt.preferences import read_preferences
from napari_sam._qt.shared_cache import new_engine
from napari_sam._qt.words_choices import WordChoices
from napari_sam._qt.words_controls import WordsControls
from napari_sam._qt.words_finder import WordsFinder
from napari_sam.text_detector import DETECTORS

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtWidgets import QComboBox, QWidget

    from napari_sam._qt.engine import Engine


class WordsWidget(FinderWidget):
    """What words name: boxes, filtered with sliders, masks, and labels.

    Parameters
    ----------
    viewer : napari.Viewer
    engine : Engine, optional
        What computes; its own by default.
    parent : QWidget, optional
    """

    finder: WordsFinder
    controls: WordsControls

    def __init__(
        self,
        viewer: napari.viewer.Viewer,  # napari looks for this very name
        engine: Engine | None = None,
        parent: QWidget | None = None,
    ) -> None:
        preferences = read_preferences()
        finder = WordsFinder(viewer, engine or new_engine(preferences))
        super().__init__(finder, WordsControls(), parent)
        self.lay_out(self.controls.layout, 1)
        self._connect()
        self.begin(WordChoices(preferences.model))

    @property
    def choosers(self) -> dict[str, QComboBox]:
        """Choosers of what is not a layer, by the name of the choice."""
        return {"model": self.controls.model, "overlap": self.controls.overlap}

    def _connect(self) -> None:
        own, controls = self.finder, self.controls
        title = "Folder of an OWLv2 or Grounding DINO model"
        self.connect_text_models(detector=(controls.detector, title))
        controls.words.textChanged.connect(
            lambda: own.choose(phrases=tuple(controls.phrases))
        )
        for one in (controls.score, controls.overlap_limit):
            one.valueChanged.connect(lambda _: own.choose(options=controls.options))
        controls.find.clicked.connect(own.find)
        controls.find_stack.clicked.connect(own.find_stack)
        controls.accept.clicked.connect(own.accept)

    def refresh(self) -> None:
        """Show in the controls what is known now."""
        own, controls = self.finder, self.controls
        self.refresh_choosers()
        offer_text_models(controls.detector, DETECTORS, own.choices.detector)
        is_free = own.job not in ("find", "write")
        can_find = is_free and own.source is not None and not own.lacking
        can_find = can_find and bool(own.choices.phrases)
        controls.find.setEnabled(can_find)
        controls.find_stack.setVisible(own.is_stack)
        controls.find_stack.setEnabled(can_find)
        about = "" if own.lacking else own.downloads
        controls.about.setText(about)
        controls.about.setVisible(bool(about))
        count = self._count()
        controls.accept.setEnabled(is_free and sum(count.values()) > 0)
        controls.undo.setEnabled(is_free and own.writer.steps.can_undo)
        controls.counts.setText(
            ", ".join(f"{count[name]} {name}" for name in self._phrases())
        )
        controls.counts.setVisible(sum(count.values()) > 0)
        self.status.setText(self._text(sum(count.values())))
        self.refresh_progress()

    def _phrases(self) -> tuple[str, ...]:
        found = self.finder.found
        return () if found is None else found.request.phrases

    def _count(self) -> Counter[str]:
        """Boxes that are shown, of each phrase, in all planes."""
        found, options = self.finder.found, self.finder.choices.options
        counts: Counter[str] = Counter()
        for plane in () if found is None else found.planes:
            shown = found.shown(plane, options) if found is not None else {}
            counts.update(one.phrase for one in shown.values())
        return counts

    def _text(self, shown: int) -> str:
        """Say what was done, and what to do next."""
        own = self.finder
        if own.lacking:
            return own.lacking
        if own.job in ("find", "write"):
            return f"{own.progress.text} ..."
        if own.image is None:
            return "Open an image, or choose one above."
        if own.problem:
            return own.problem
        if own.message:
            return own.message
        if not own.choices.phrases:
            return "Type what to look for, such as: nucleus, dark spot."
        if own.found is None:
            return "Press Find; then choose with the sliders among what is found."
        if shown == 0:
            return "No box passes: lower the score, or say it in other words."
        planes = len(own.found.planes)
        where = f" in {planes} planes" if planes > 1 else ""
        here = len(own.shown)
        if planes == 1 and not here:
            return f"{shown} found in another plane. Find looks in this one."
        return (
            f"{shown} found{where}. Move the sliders, delete boxes that are wrong, "
            "then press Accept all."
        )
