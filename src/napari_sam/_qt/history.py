"""Undo and redo of what the user does with prompts, masks and commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_sam._history import TEXTS, History, Kind, State, Step, continues, kind_of
from napari_sam._label_changes import PlaneChange
from napari_sam._layers_commit import repeat_labels, revert_labels
from napari_sam._layers_history import drawn_prompts, put_prompts
from napari_sam._qt import workspace
from napari_sam._qt.report import report_note
from napari_sam._qt.state import LabelKey, shown_answer

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_sam._qt.controller import Annotator
    from napari_sam._qt.engine import Answer, Request

# Seconds within which a prompt that is dragged on makes no new step.
PAUSE = 1.0

Exchange = Callable[["Labels", Sequence[PlaneChange]], int]


class Undo:
    """Notes what changes in an annotator, and takes it back.

    napari's own history of a Labels layer and this one do not know each other, and need
    not: a commit that is taken back is one more edit of the layer, and pixels that hold
    anything but what was committed stay as they are.

    Parameters
    ----------
    annotator : Annotator
        Calls `switch`, `note` and `note_commit`.
    """

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator
        self._kept: dict[str, tuple[History, State]] = {}  # of the other images
        self._noted = 0.0
        self._layers = (False, False)
        self.history = History()
        self.present = State()

    def switch(self, before: Image | None, image: Image | None) -> State:
        """Go on with the history of another image.

        Parameters
        ----------
        before, image : Image layer, optional

        Returns
        -------
        State
            What is corrected, chosen and accepted of that image.
        """
        if before is not None:
            self._kept[str(before.unique_id)] = self.history, self.present
        there = {str(one.unique_id) for one in workspace.images_of(self._viewer)}
        self._kept = {key: kept for key, kept in self._kept.items() if key in there}
        fresh = History(), State()
        key = None if image is None else str(image.unique_id)
        self.history, self.present = self._kept.pop(key, fresh) if key else fresh
        self._layers = (False, False)
        return self.present

    @property
    def _viewer(self) -> Any:
        return self._annotator.viewer

    def note(self) -> None:
        """Make a step of what has changed since the last one, if anything has."""
        before, after = self.present, self._read()
        layers = self._annotator.layers
        were, self._layers = self._layers, (bool(layers.points), bool(layers.shapes))
        if before.is_same_work(after):
            self.present = after
            return
        self.present = after
        if self._is_adoption(were, before, after):
            return
        kind = kind_of(before, after)
        step = self._step(kind, before, after)
        now = time.monotonic()
        is_recent, self._noted = now - self._noted < PAUSE, now
        past = self.history.past
        if past and continues(
            past[-1], before, after, is_recent, self._is_drawing(layers.shapes)
        ):
            self.history = self.history.merged(step)
        else:
            self.history = self.history.pushed(step)

    def note_commit(
        self, answer: Answer, changes: tuple[PlaneChange, ...], target: Labels
    ) -> None:
        """Make a step of a mask that was written into labels."""
        before, request = self.present, answer.request
        key = request.object_id, request.plane, request.source.plane_axes
        chosen = {k: v for k, v in before.chosen.items() if k != key}
        accepted = before.accepted | {request}
        after = replace(before, chosen=chosen, accepted=accepted)
        step = self._step("commit", before, after)
        step = replace(step, changes=changes, target=str(target.unique_id))
        self.history, self.present = self.history.pushed(step), after

    def note_volume(
        self,
        changes: tuple[PlaneChange, ...],
        target: Labels,
        accepted: frozenset[Request],
    ) -> None:
        """Make a step of what was written into many planes of labels."""
        before = self.present
        after = replace(before, accepted=before.accepted | accepted)
        step = self._step("volume", before, after)
        step = replace(step, changes=changes, target=str(target.unique_id))
        self.history, self.present = self.history.pushed(step), after

    def note_labels(
        self, text: str, changes: tuple[PlaneChange, ...], target: Labels
    ) -> None:
        """Make a step of what another widget wrote into labels."""
        self.note()  # what was done before
        now = self.present
        step = replace(self._step("labels", now, now), text=text)
        step = replace(step, changes=changes, target=str(target.unique_id))
        self.history = self.history.pushed(step)

    def is_next(self, changes: tuple[PlaneChange, ...]) -> bool:
        """Whether these changes are what `undo` would take back."""
        self._annotator.refresh()
        past = self.history.past
        return bool(past) and past[-1].changes is changes

    def forget(self, changes: tuple[PlaneChange, ...]) -> None:
        """Leave out the step of changes that were taken back otherwise."""
        past = [one for one in self.history.past if one.changes is not changes]
        self.history = replace(self.history, past=tuple(past))
        self._annotator.changed.emit()

    def choose(self, answer: Answer, index: int) -> None:
        """Note which mask of an answer was chosen."""
        key, prompts = mask_key(answer), answer.request.prompts
        chosen = {**self.present.chosen, key: (prompts, index)}
        after = replace(self.present, chosen=chosen)
        if after != self.present:
            step = self._step("mask", self.present, after)
            self.history, self.present = self.history.pushed(step), after

    def mask_index(self, answer: Answer) -> int:
        """Which mask of an answer counts: that which was chosen, or the best."""
        chosen = self.present.chosen.get(mask_key(answer))
        if chosen is None or chosen[0] != answer.request.prompts:
            return answer.prediction.best_index
        return min(chosen[1], len(answer.prediction.masks) - 1)

    def undo(self) -> None:
        """Take the last step back."""
        self._annotator.refresh()  # what is not noted yet is a step, too
        if self.history.past:
            step = self.history.past[-1]
            self.history = self.history.undone()
            self._go(step, step.before, revert_labels)

    def redo(self) -> None:
        """Do what was undone again."""
        self._annotator.refresh()
        if self.history.future:
            step = self.history.future[-1]
            self.history = self.history.redone()
            self._go(step, step.after, repeat_labels)

    def texts(self) -> tuple[str | None, str | None]:
        """Say what undo and redo would do; None for nothing."""
        past, future = self.history.past, self.history.future
        return past[-1].text if past else None, future[-1].text if future else None

    def _go(self, step: Step, state: State, exchange: Exchange) -> None:
        if step.changes:
            with self._annotator.errors():
                self._exchange(step, exchange)
        self.show(state, step.point)
        verb = "Undone" if exchange is revert_labels else "Done again"
        self._annotator.say(f"{verb}: {step.text}.")

    def _exchange(self, step: Step, exchange: Exchange) -> None:
        layers = workspace.layers_of(self._viewer)
        found = [one for one in layers if str(one.unique_id) == step.target]
        if not found:
            report_note("The labels of this step are gone; only prompts come back.")
            return
        is_undone = exchange is revert_labels
        left = exchange(found[0], step.changes)
        self._annotator.reverted.emit(step.changes)
        self._annotator.learning.note_step(step.changes, is_undone)
        # Of another widget's labels, the session knows only those of this one.
        if step.kind != "labels" or found[0] is self._annotator.target:
            self._annotator.autosave.note_step(found[0], step.changes, is_undone)
        if left:
            report_note(
                f"{left} pixels of {found[0].name!r} were edited since, and stay as "
                "they are."
            )

    def show(self, state: State, point: tuple[float, ...] = ()) -> None:
        """Put a state into the layers and the annotator; labels are left alone.

        Parameters
        ----------
        state : State
        point : tuple of float
            Where the viewer goes to in the world, so that the user sees what changes.
        """
        own = self._annotator
        if own.image is None:
            return
        here = own.scene.view.point if own.scene.view is not None else ()
        if point and point != here and len(point) == self._viewer.dims.ndim:
            self._viewer.dims.set_point(range(len(point)), point)
        layers = own.layers
        wanted = (layers.points, state.points), (layers.shapes, state.shapes)
        if any(layer is None and len(drawn) for layer, drawn in wanted):
            points, shapes = workspace.make_prompts(self._viewer, own.image)
            wanted = (points, state.points), (shapes, state.shapes)
        for layer, drawn in wanted:
            if layer is not None:
                put_prompts(layer, drawn)
        own.take_state(state)
        own.check_layers()
        # As it is read off the layers, lest the difference be taken for a step.
        self.present = replace(self._read(), chosen=state.chosen)
        own.refresh()
        answer = shown_answer(own.scene, own.choices, own.work)
        if answer is not None:
            own.show_mask(self.mask_index(answer))

    def _read(self) -> State:
        own = self._annotator
        return State(
            drawn_prompts(own.layers.points),
            drawn_prompts(own.layers.shapes),
            dict(own.corrections),
            self.present.chosen,
            own.work.accepted,
            own.choices.object_id,
        ).sharing(self.present)

    def _step(self, kind: Kind, before: State, after: State) -> Step:
        own = self._annotator
        view = own.scene.view
        text = f"{TEXTS[kind]}, object {own.choices.object_id}"
        point = () if view is None else view.point
        before = replace(before, object_id=own.choices.object_id)
        return Step(text, kind, before, after, point=point)

    @staticmethod
    def _is_drawing(shapes: Any) -> bool:
        return shapes is not None and str(shapes.mode).startswith("add")

    @staticmethod
    def _is_adoption(were: tuple[bool, bool], before: State, after: State) -> bool:
        """Whether a layer came with prompts in it: undo must not empty that.

        One prompt alone is the first that the user drew, and is a step.
        """
        pairs = (before.points, after.points), (before.shapes, after.shapes)
        return any(
            not was and len(old) == 0 and len(new) > 1
            for was, (old, new) in zip(were, pairs, strict=True)
        )


def mask_key(answer: Answer) -> LabelKey:
    """Object, plane and axes of an answer."""
    request = answer.request
    return request.object_id, request.plane, request.source.plane_axes
