"""From what the user does in the viewer to masks, and from masks to labels.

Event handlers only mark that something has changed. Once per turn of the event loop
the scene is read off the layers, compared with what was submitted, and the difference
is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sam._history import State
from napari_sam._layers import BACKGROUND, FOREGROUND, ObjectPrompts, PromptLayers
from napari_sam._layers_view import image_shape
from napari_sam._qt import workspace
from napari_sam._qt.adoption import Adopter
from napari_sam._qt.autosave import Autosave
from napari_sam._qt.engine import Answer, Encoded, Engine, Picture, Request, Source
from napari_sam._qt.history import Undo
from napari_sam._qt.label_actions import LabelActions
from napari_sam._qt.learning import Learning
from napari_sam._qt.numbering import Numbering
from napari_sam._qt.plane_index import Known
from napari_sam._qt.prefetch import Prefetcher
from napari_sam._qt.preview import Preview
from napari_sam._qt.report import report_error, reporting
from napari_sam._qt.runner import Receiver, Runner
from napari_sam._qt.scene import read_scene
from napari_sam._qt.state import (
    Choices,
    LabelKey,
    Scene,
    Work,
    resolve_request,
    shown_answer,
    with_labels,
)
from napari_sam._qt.turns import NextTurn, timer_once
from napari_sam._qt.watch import Watcher
from napari_sam.registry import get_spec
from napari_sam.types import Plane

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from napari.layers import Image, Labels

# Milliseconds until it is shown what the worker does. Most answers come before, and the
# worker waits for Python's lock while the window is drawn.
SOON = 150


class Annotator(QObject):
    """Turns prompts in the layers of a viewer into masks, and these into labels.

    Parameters
    ----------
    viewer : napari.Viewer
    engine : Engine
        What the worker thread calls.
    parent : QObject, optional

    Notes
    -----
    `changed` is sent when there is something new to show in the widget, `asked` when a
    mask of an encoded plane was asked for (`changed` follows in a moment), `reverted`,
    with changes of planes, when labels were undone or done again.
    """

    changed = Signal()
    asked = Signal()
    reverted = Signal(object)

    def __init__(
        self, viewer: Any, engine: Engine, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.engine = engine
        self.runner = Runner(self)
        self.runner.busy_changed.connect(self._on_busy)
        self.image: Image | None = None
        self.target: Labels | None = None
        self.choices = Choices()
        self.scene = Scene()
        self.work = Work()
        self.ready: set[tuple[Source, Plane]] = set()
        self.preview = Preview(viewer)
        self.layers = PromptLayers()
        self.corrections: dict[LabelKey, ObjectPrompts] = {}  # those to correct
        self.undo, self.labels = Undo(self), LabelActions(self)
        self.autosave = Autosave(self)
        self.learning = Learning(self)
        self.changed.connect(self.autosave.mark)
        self.edition = 0
        self._is_closed = False
        self._dirty = NextTurn(partial(self._update, is_in_layers=True), self)
        self._soon = timer_once(self, SOON, self.changed.emit)
        self.changed.connect(self._soon.stop)
        idle = self._receiver(lambda _: None)
        self._prefetcher = Prefetcher(self.runner, engine, idle, self)
        self.numbering = Numbering(self.runner)
        self._watcher = Watcher(viewer, self._mark_dirty, self._on_pixels)
        self._adopter = Adopter(viewer, self._mark_dirty)

    def _mark_dirty(self, event: Any = None) -> None:
        if not self._is_closed:
            self._dirty.start()

    def _on_pixels(self, event: Any = None) -> None:
        self.edition += 1
        self.ready.clear()
        self._prefetcher.forget()
        self.autosave.identify(self.image)
        self._mark_dirty()

    # What the user does

    def set_image(self, image: Image | None) -> None:
        """Choose the image to segment."""
        if image is not self.image:
            self._take_image(image)
            self._update()

    def _take_image(self, image: Image | None) -> None:
        self.autosave.switch(self.image, image)  # which saves what is there now
        state = self.undo.switch(self.image, image)
        self.image = image
        self.target = None
        # Answers, and the session of the worker, hold the pixels of the image before.
        self.runner.cancel()
        self.runner.submit_idle(self.engine.forget, Receiver())
        self.work = Work(cache=self.work.cache)
        self.take_state(state)
        self.ready.clear()
        self._prefetcher.forget()
        if image is not None:
            is_stack = len(image_shape(image)) > 2
            self.choices = replace(self.choices, next_after_accept=not is_stack)

    def take_state(self, state: State) -> None:
        """Go on with these corrections, what was accepted, and the chosen object."""
        self.corrections = dict(state.corrections)
        self.work = replace(self.work, accepted=state.accepted)
        self.choices = replace(self.choices, object_id=state.object_id)

    def set_target(self, target: Labels | None) -> None:
        """Choose the labels to write into; None makes a layer when needed."""
        self.target = target
        self._update()

    def choose(self, **choices: Any) -> None:
        """Change choices; see `Choices`.

        Raises
        ------
        ValueError
            If there is no such model or the object's number is not 1 or more.
        """
        changed = replace(self.choices, **choices)
        get_spec(changed.model)
        if changed.object_id < 1:
            raise ValueError(f"object_id must be 1 or more, got {changed.object_id}.")
        if changed != self.choices:
            self.choices = changed
            self._update()

    def start(self) -> None:
        """Set up layers for prompts, or make them active again; download the model."""
        if self.scene.download is not None:
            self.download()
        elif self.image is not None:
            workspace.make_prompts(self.viewer, self.image)
            if self.scene.view is not None:
                self.preview.prepare(self.image, self.scene.view)
            self._update()

    def download(self) -> None:
        """Fetch the chosen model."""
        work = partial(self.engine.prepare, self.choices.model)
        self.runner.submit(work, self._receiver(lambda _: self._update()))

    def toggle_label(self) -> None:
        """Switch between foreground and background."""
        is_foreground = self.choices.label == FOREGROUND
        self.choose(label=BACKGROUND if is_foreground else FOREGROUND)

    def next_free_object(self) -> None:
        """Go on with a number that no object has."""
        go_on = self._receiver(
            lambda number: self.choose(object_id=number, label=FOREGROUND)
        )
        with self.errors():
            taken = workspace.object_numbers(self.layers) | {self.choices.object_id}
            self.numbering.find(self.target, taken, go_on)

    def step_object(self, step: int) -> None:
        """Go to an object before or after."""
        self.choose(object_id=max(1, self.choices.object_id + step))

    def choose_mask(self, index: int) -> None:
        """Choose one of the masks of the answer that is shown."""
        answer = shown_answer(self.scene, self.choices, self.work)
        if answer is not None and 0 <= index < len(answer.prediction.masks):
            self.undo.choose(answer, index)
            self.show_mask(index)

    def show_mask(self, index: int) -> None:
        """Show one of the masks of the answer."""
        self.work = replace(self.work, mask_index=index)
        self._show()

    def say(self, text: str) -> None:
        """Say in the status line what was done."""
        self.work = replace(self.work, written=text)
        self.changed.emit()

    def cycle_mask(self) -> None:
        """Choose the next of the masks."""
        answer = shown_answer(self.scene, self.choices, self.work)
        if answer is not None:
            self.choose_mask((self.work.mask_index + 1) % len(answer.prediction.masks))

    def accept(self) -> None:
        """Write the mask into the labels, now or as soon as it is there."""
        self._update()
        wanted = resolve_request(self.scene, self.choices)
        answer = shown_answer(self.scene, self.choices, self.work)
        if wanted is None or wanted in self.work.accepted:
            return
        if answer is None or answer.request != wanted:
            self.work = replace(self.work, awaits_accept=wanted)
            self.changed.emit()
            return
        with self.errors():
            self.labels.commit(answer)

    def discard(self) -> None:
        """Remove the prompts of the object in the displayed plane."""
        if self.image is None or self.scene.view is None:
            return
        view, number = self.scene.view, self.choices.object_id
        self.corrections.pop((number, view.plane, view.plane_axes), None)
        with self.errors():
            workspace.remove_prompts(self.layers, self.image, view, number)
        self._update()

    def cancel(self) -> None:
        """Stop what the worker does; what is submitted is not asked for again."""
        self.runner.cancel()
        self._prefetcher.stop()
        self.work = replace(self.work, doing="", awaits_accept=None, error="Cancelled.")
        self.changed.emit()

    def close(self) -> None:
        """Let go of viewer and worker."""
        if self._is_closed:
            return
        self._is_closed = True
        self.autosave.close()
        self._dirty.stop()
        self._soon.stop()
        self._prefetcher.stop()
        self.runner.close()
        self._watcher.stop()
        self._adopter.stop()
        self.numbering.stop()
        self.preview.remove()

    # What follows from it

    def refresh(self) -> None:
        """Look at the layers now."""
        self._update()

    def _update(self, is_in_layers: bool = False) -> None:
        """Read the scene, and do what differs from what was asked before."""
        if self._is_closed:
            return
        self._dirty.stop()
        self.check_layers()
        self.scene = read_scene(
            self.viewer, self.image, self.layers, self.choices, self.edition
        )
        self.scene = with_labels(self.scene, self.corrections)
        self.undo.note()
        wanted = resolve_request(self.scene, self.choices)
        is_asking = False
        if wanted is None and self.work.submitted is not None:
            if self.runner.is_busy:
                self.runner.cancel()
            self.work = replace(self.work, submitted=None, awaits_accept=None)
        elif wanted is not None and wanted != self.work.submitted:
            self.work = replace(self.work, submitted=wanted, error="")
            if wanted != self.work.awaits_accept:
                self.work = replace(self.work, awaits_accept=None)
            if is_asking := not self._is_answered(wanted):
                # Before the worker begins: it would hold Python's lock meanwhile.
                if is_in_layers and (wanted.source, wanted.plane) in self.ready:
                    self.asked.emit()
                work = partial(self.engine.segment, wanted)
                is_begun = self._prefetcher.is_encoding(wanted.source, wanted.plane)
                self.runner.submit(work, self._receiver(self._on_answer), is_begun)
        self._prefetcher.plan(self.scene, self.image)
        self._show(is_soon=is_asking and is_in_layers)

    def _is_answered(self, wanted: Request) -> bool:
        answer = self.work.answer
        is_there = answer is not None and answer.request == wanted
        return is_there or wanted in self.work.accepted

    def check_layers(self) -> None:
        """Let go of layers that were deleted; find those that were made."""
        images = workspace.images_of(self.viewer)
        if self.image is None and images:
            self._take_image(images[0])
        elif self.image is not None and not workspace.is_in(self.viewer, self.image):
            self._take_image(images[0] if images else None)
        if not workspace.is_in(self.viewer, self.target):
            self.target = workspace.labels_of(self.viewer, self.image)
        self._adopter.adopt(self.image, self.choices)
        points, shapes = workspace.find_prompts(self.viewer, self.image)
        for layer in (points, shapes):
            if layer is not None:
                workspace.say_next(layer, self.choices.object_id, self.choices.label)
        self.layers = PromptLayers(points, shapes)
        self._watcher.watch(self.image, self.layers)

    def _receiver(self, done: Callable[[Any], None]) -> Receiver:
        return Receiver(done, self._on_failure, self._on_step)

    def _on_step(self, step: str | Encoded | Picture | Known) -> None:
        if isinstance(step, Picture):
            self.work = replace(self.work, picture=step)
        elif isinstance(step, Known):
            self.ready |= {(step.source, plane) for plane in step.planes}
        elif isinstance(step, Encoded):
            self.ready.add((step.source, step.plane))
            self.work = replace(self.work, cache=step.cache)
        else:
            self.work = replace(self.work, doing=step)
        self._tell_soon()

    def _tell_soon(self) -> None:
        """Send `changed` in a moment, unless the answer does it before."""
        if not self._soon.isActive():
            self._soon.start()

    def _on_answer(self, answer: Answer) -> None:
        request = answer.request
        self.ready.add((request.source, request.plane))
        index = self.undo.mask_index(answer)
        self.work = replace(
            self.work, answer=answer, mask_index=index, cache=answer.cache, error=""
        )
        if self.work.awaits_accept == request:
            self.work = replace(self.work, awaits_accept=None)
            self._show()
            self.accept()
        self._prefetcher.plan(self.scene, self.image)
        self._show()

    def _on_failure(self, error: Exception) -> None:
        text = report_error(error)
        self.work = replace(self.work, doing="", awaits_accept=None, error=text)
        self.changed.emit()

    def _on_busy(self, is_busy: bool) -> None:
        if not is_busy:
            self.work = replace(self.work, doing="")
            self._prefetcher.plan(self.scene, self.image)
        self._tell_soon()

    def _show(self, is_soon: bool = False) -> None:
        """Show the mask of now, or none; tell of it now, or soon."""
        answer = shown_answer(self.scene, self.choices, self.work)
        view = self.scene.view
        if answer is None or self.image is None or view is None:
            self.preview.hide()
        else:
            self.preview.show(
                answer.prediction,
                self.work.mask_index,
                answer.request.object_id,
                self.image,
                view,
            )
        (self._tell_soon if is_soon else self.changed.emit)()

    def errors(self) -> AbstractContextManager[None]:
        return reporting(self._on_failure)
