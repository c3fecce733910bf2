"""From words to objects in the labels: what the widget "Words" does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from napari_sam._detections import TextBox, check_phrases
from napari_sam._layers import PromptLayers, ViewPlane, check_target
from napari_sam._layers_view import image_shape, plane_name
from napari_sam._qt import workspace
from napari_sam._qt.automatic_engine import Progress
from napari_sam._qt.label_steps import taken_back
from napari_sam._qt.object_writer import ObjectWriter
from napari_sam._qt.plane_layer import PlaneLayer
from napari_sam._qt.report import report_error, reporting
from napari_sam._qt.runner import Receiver, Runner
from napari_sam._qt.scene import download_text, read_scene
from napari_sam._qt.state import Choices
from napari_sam._qt.watch import Watcher
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
from napari_sam.registry import is_available, missing_extra
from napari_sam.text_detector import DETECTORS, check_detector_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Image, Labels

    from napari_sam._qt.engine import Engine, Source
    from napari_sam.types import Plane

# Milliseconds that a slider rests before boxes and masks follow.
REST = 60
Job = Literal["", "find", "masks", "write"]


class WordsFinder(QObject):
    """Finds what words name, filters it, and writes it into labels.

    Parameters
    ----------
    viewer : napari.Viewer
    engine : Engine
        What the worker calls.
    detectors : Detectors, optional
    parent : QObject, optional

    Notes
    -----
    `changed` is sent when there is something new to show.
    """

    changed = Signal()

    def __init__(
        self,
        viewer: Any,
        engine: Engine,
        detectors: Detectors | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.viewer, self.engine = viewer, engine
        self.detectors = detectors or Detectors()
        self.runner = Runner(self)
        self.writer = ObjectWriter(viewer, self.runner)
        self.writer.steps.changed.connect(self.changed)
        self.choices = WordChoices()
        self.image: Image | None = None
        self.view: ViewPlane | None = None
        self.source: Source | None = None
        self.problem = ""
        self.message = ""
        self.found: FoundWords | None = None
        self.job: Job = ""
        self.progress = Progress(0, "")
        self.boxes = BoxLayer(viewer, self._on_deleted)
        self.preview = PlaneLayer(viewer, "found objects")
        self._drawn: tuple[Any, ...] = ()
        self._noted: tuple[Labels, list[int]] | None = None
        self._is_closed = False
        self._dirty = QTimer(self)
        self._dirty.setSingleShot(True)
        self._dirty.timeout.connect(self.refresh)
        self._resting = QTimer(self)
        self._resting.setSingleShot(True)
        self._resting.setInterval(REST)
        self._resting.timeout.connect(self._follow)
        self._watcher = Watcher(viewer, self._mark_dirty, self._mark_dirty)

    def _mark_dirty(self, event: Any = None) -> None:
        if not self._is_closed:
            self._dirty.start()

    def refresh(self) -> None:
        """Read off the viewer what can be done now."""
        if self._is_closed:
            return
        images = workspace.images_of(self.viewer)
        if not workspace.is_in(self.viewer, self.image):
            self.image = images[0] if images else None
        if not workspace.is_in(self.viewer, self.target):
            self.writer.target = workspace.labels_of(self.viewer, self.image)
        if self.found and not workspace.is_in(self.viewer, self.found.image):
            self._forget()
        scene = read_scene(
            self.viewer, self.image, PromptLayers(), Choices(self.choices.model)
        )
        self.view, self.source = scene.view, scene.source
        self.problem = scene.problem or ""
        self._watcher.watch(self.image, PromptLayers())
        self._follow()
        self.changed.emit()

    @property
    def target(self) -> Labels | None:
        """Labels that are written into; made when needed."""
        return self.writer.target

    @property
    def is_stack(self) -> bool:
        """Whether the image has more than one plane."""
        return self.image is not None and len(image_shape(self.image)) > 2

    @property
    def lacking(self) -> str:
        """What must be installed first; "" if nothing."""
        if missing_extra(next(iter(DETECTORS.values()))) is None:
            return ""
        return (
            "Words need the transformers library; install it, and start napari again: "
            'pip install "napari-sam-stacks[text]"'
        )

    @property
    def downloads(self) -> str:
        """What will be downloaded at the first search; "" if nothing."""
        spec = DETECTORS.get(self.choices.detector)
        parts = []
        if spec is not None and not is_available(spec):
            parts.append(
                f"Downloads {spec.name} once: {spec.size}, licence {spec.license}. "
                "Without a network, choose a folder with its files."
            )
        model = download_text(self.choices.model)
        return " ".join([*parts, *([model] if model else [])])

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
            check_detector_folder(Path(folder))
            self.choose(detector=str(folder))

    def set_layers(self, **layers: Any) -> None:
        """Choose the `image`, or the `target` labels."""
        for name, layer in layers.items():
            setattr(self.writer if name == "target" else self, name, layer)
        self.refresh()

    def find(self) -> None:
        """Look for the words in the displayed plane."""
        if self.view is not None:
            self._find([self.view.plane])

    def find_stack(self) -> None:
        """Look for the words in every plane along the last axis that is not shown."""
        view = self.view
        if view is None or self.image is None or not view.index:
            return
        count = image_shape(self.image)[view.sliced_axes[-1]]
        self._find([plane_name((*view.index[:-1], at)) for at in range(count)])

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
            self._submit("find", work, done)

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
            self._submit("write", work, partial(self._on_named, found, taken))

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
        self.engine.transfer.cancel()
        self.runner.cancel()
        self.job = ""
        self._say("Cancelled; nothing was changed.")

    def close(self) -> None:
        """Let go of viewer and worker."""
        if not self._is_closed:
            self._is_closed = True
            self._dirty.stop()
            self._resting.stop()
            self._watcher.stop()
            self.writer.close()
            self.runner.close()
            self.boxes.remove()
            self.preview.remove()

    # What follows from it

    def _submit(
        self, job: Job, work: Callable[[], Any], done: Callable[[Any], None]
    ) -> None:
        def finished(result: Any) -> None:
            self.job = ""
            done(result)

        self.job = job
        self.progress = Progress(0, "Starting")
        self.runner.submit(work, Receiver(finished, self._on_failure, self._on_step))
        self.changed.emit()

    def _on_step(self, step: Any) -> None:
        if isinstance(step, Progress):
            self.progress = step
        elif isinstance(step, Masked) and self.found is not None:
            self.found.runs.setdefault(step.plane, {}).update(step.runs)
            self._draw()
        self.changed.emit()

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
            self._submit("masks", work, lambda _: self._draw())
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
            receiver = Receiver(written, self._on_failure, self._on_step)
            self.writer.write(found.view, named.planes, self.choices.overlap, receiver)

    def _forget(self) -> None:
        self.found = None
        self._drawn = ()
        self.boxes.remove()
        self.preview.remove()

    def _say(self, text: str) -> None:
        self.message = text
        self.changed.emit()

    def _on_failure(self, error: Exception) -> None:
        self.job = ""
        self._say(report_error(error))

    def _errors(self) -> Any:
        return reporting(self._on_failure)
