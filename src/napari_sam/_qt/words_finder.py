"""From words to objects in the labels: what the widget "Words" does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam._detections import TextBox, check_phrases
from napari_sam._layers import ViewPlane, check_target
from napari_sam._layers_view import image_shape
from napari_sam._qt.label_steps import taken_back
from napari_sam._qt.model_chooser import lacking_for_words, text_download
from napari_sam._qt.object_finder import ObjectFinder
from napari_sam._qt.scene import download_text
from napari_sam._qt.turns import timer_once
from napari_sam._qt.words_choices import FoundWords, WordChoices
from napari_sam._qt.words_engine import (
    BoxSearch,
    Detected,
    Detectors,
    Masked,
    Named,
    PlaneOfBoxes,
    WordSearch,
    find_words,
    label_boxes,
    paint,
    segment_boxes,
)
from napari_sam._qt.words_layers import BoxLayer, forget_objects, note_objects
from napari_sam._text_models import check_folder
from napari_sam.text_detector import DETECTORS, KINDS, load_detector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Image, Labels
    from qtpy.QtCore import QObject

    from napari_sam._qt.engine import Engine
    from napari_sam.types import Plane

# Milliseconds that a slider rests before boxes and masks follow.
REST = 60
Job = Literal["", "find", "masks", "write"]


class WordsFinder(ObjectFinder):
    """Finds what words name, filters it, and writes it into labels.

    Parameters
    ----------
    viewer : napari.Viewer
    engine : Engine
        What the worker calls.
    detectors : KeptModel of TextDetector, optional
    parent : QObject, optional
    """

    def __init__(
        self,
        viewer: Any,
        engine: Engine,
        detectors: Detectors | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(viewer, engine, WordChoices(), parent)
        self.detectors = detectors or Detectors(load_detector, DETECTORS)
        self.found: FoundWords | None = None
        self.job: Job = ""
        self.boxes = BoxLayer(viewer, self._on_deleted)
        self._drawn: tuple[Any, ...] = ()
        self._noted: tuple[Labels, list[int]] | None = None
        self._resting = timer_once(self, REST, self._follow)

    def _on_refreshed(self) -> None:
        self._follow()

    @property
    def lacking(self) -> str:
        """What must be installed first; "" if nothing."""
        return lacking_for_words(DETECTORS)

    @property
    def downloads(self) -> str:
        """What will be downloaded at the first search; "" if nothing."""
        detector = text_download(DETECTORS, self.choices.detector)
        model = download_text(self.choices.model)
        return " ".join(one for one in (detector, model) if one)

    @property
    def shown(self) -> dict[int, TextBox]:
        """Boxes in the displayed plane that pass the sliders."""
        found, view = self.found, self.view
        if found is None or view is None or self.image is not found.image:
            return {}
        here = view.plane
        if view.plane_axes != found.view.plane_axes or here not in found.planes:
            return {}
        return found.shown(here, self.choices.options)

    # What the user does

    def choose(self, **choices: Any) -> None:
        """Change choices; see `WordChoices`."""
        before, self.choices = self.choices, replace(self.choices, **choices)
        self.message = ""
        if self.choices.options != before.options:
            self._resting.start()
        if "phrases" not in choices and "options" not in choices:
            self.refresh()
        self.changed.emit()

    def choose_folder(self, folder: str) -> None:
        """Choose a folder with a detector; refused in a sentence if it has none."""
        with self._errors():
            check_folder(Path(folder), KINDS)
            self.choose(detector=str(folder))

    def find(self) -> None:
        """Look for the words in the displayed plane."""
        if self.view is not None:
            self._find([self.view.plane])

    def find_stack(self) -> None:
        """Look for the words in every plane along the last axis that is not shown."""
        planes = self.stack_planes()
        if planes:
            self._find(planes)

    def _find(self, planes: Sequence[Plane]) -> None:
        self.refresh()
        if self.image is None or self.view is None or self.source is None:
            return
        with self._errors():
            if self.lacking:
                raise ValueError(self.lacking)
            phrases = check_phrases(self.choices.phrases)
            request = WordSearch(self.source, planes, phrases, self.choices.detector)
            work = partial(find_words, self.engine, self.detectors, request)
            self.message = ""
            done = partial(self._on_found, self.image, self.view, request)
            self._begin("find", work, done)

    def accept(self) -> None:
        """Write what is shown into the labels, of all planes that were searched."""
        found = self.found
        if found is None or self.job in ("find", "write"):
            return
        shown = {
            plane: found.shown(plane, self.choices.options) for plane in found.planes
        }
        planes = [
            # Of several planes also those without: objects may go on across them.
            PlaneOfBoxes(plane, boxes, found.runs.get(plane, {}))
            for plane, boxes in shown.items()
        ]
        if not any(shown.values()):
            return
        with self._errors():
            if self.target is not None:
                check_target(self.target, found.image, found.view)
            self.runner.cancel()
            work = partial(label_boxes, self.engine, found.request.source, planes)
            taken = {(plane, n) for plane, boxes in shown.items() for n in boxes}
            self._begin("write", work, partial(self._on_named, found, taken))

    def undo(self) -> None:
        """Take back what was written last, where nothing else was written since."""
        with self._errors():
            left = self.writer.steps.undo()
            if self._noted is not None and not left:
                forget_objects(*self._noted)
            self._noted = None
            if self.found is not None:
                self.found.dismissed.clear()
            self._say(taken_back(left))
            self._follow()

    def cancel(self) -> None:
        """Stop what is being done; nothing is changed."""
        self.job = ""
        super().cancel()

    # What follows from it

    def _let_go(self) -> None:
        super()._let_go()
        self._resting.stop()
        self.boxes.remove()

    def _begin(
        self, job: Job, work: Callable[[], Any], done: Callable[[Any], None]
    ) -> None:
        def finished(result: Any) -> None:
            self.job = ""
            done(result)

        self.job = job
        self._submit(work, finished)

    def _on_step(self, step: Any) -> None:
        if isinstance(step, Masked) and self.found is not None:
            self.found.runs.setdefault(step.plane, {}).update(step.runs)
            self._draw()
            self.changed.emit()
        super()._on_step(step)

    def _on_found(
        self, image: Image, view: ViewPlane, request: WordSearch, planes: Detected
    ) -> None:
        self.found = FoundWords(image, view, request, planes)
        self._follow()
        self.changed.emit()

    def _follow(self) -> None:
        """Show the boxes that pass, and have masks made of those that have none."""
        self._draw()
        found, view = self.found, self.view
        shown = self.shown
        if not shown or found is None or view is None or self.job in ("find", "write"):
            return
        known = found.runs.setdefault(view.plane, {})
        missing = {n: box for n, box in shown.items() if n not in known}
        if self.job == "masks":
            self.runner.cancel()
            self.job = ""
        if missing:
            request = BoxSearch(found.request.source, view.plane, missing)
            work = partial(segment_boxes, self.engine, request)
            self._begin("masks", work, lambda _: self._draw())
        self.changed.emit()

    def _draw(self) -> None:
        """Draw boxes and masks, if they are others than before."""
        found, view, shown = self.found, self.view, self.shown
        if found is None or view is None or not shown:
            self.boxes.hide()
            self.preview.hide()
            self._drawn = ()
            return
        runs = found.runs.get(view.plane, {})
        known = [number for number in shown if number in runs]
        drawn = found, view.plane, tuple(shown)
        with self._errors():
            if self._drawn[:-1] != drawn:
                phrases = found.request.phrases
                self.boxes.show(shown, phrases, found.image, view)
            if self._drawn != (*drawn, len(known)):
                rows, columns = (image_shape(found.image)[i] for i in view.plane_axes)
                labels = paint([runs[n] for n in known], (rows, columns), known)
                self.preview.show(labels, found.image, view)
            self._drawn = *drawn, len(known)

    def _on_deleted(self, numbers: set[int]) -> None:
        """Forget boxes that the user deleted from the layer."""
        if self.found is not None and self.view is not None:
            self.found.dismissed |= {(self.view.plane, n) for n in numbers}
            # After napari is done with the deletion.
            self._resting.start()

    def _on_named(
        self, found: FoundWords, taken: set[tuple[Plane, int]], named: Named
    ) -> None:
        def written(count: int) -> None:
            found.dismissed |= taken
            target, shift = self.target, self.writer.shift
            if target is not None:
                drawn = {n for _, one in named.planes for n in np.unique(one).tolist()}
                rows = [
                    replace(one, label=one.label + shift)
                    for one in named.objects
                    if one.label in drawn
                ]
                note_objects(target, rows)
                self._noted = target, [row.label for row in rows]
            name = "" if target is None else target.name
            self._say(f"{count} object{'s' * (count != 1)} written into {name}.")
            self._follow()

        with self._errors():
            self.writer.prepare(found.image, found.view, self.preview.layer)
            overlap, receiver = self.choices.overlap, self._receiver(written)
            self.writer.write(found.view, named.planes, overlap, receiver)

    def _forget(self) -> None:
        self.found = None
        self._drawn = ()
        self.boxes.remove()
        self.preview.remove()

    def _on_failure(self, error: Exception) -> None:
        self.job = ""
        super()._on_failure(error)
