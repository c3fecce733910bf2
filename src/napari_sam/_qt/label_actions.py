"""What the user does with labels: write masks into them, correct and widen them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_sam._layers import (
    CommitOptions,
    PromptLayers,
    check_target,
    prompts_from_layers,
    widen_labels,
)
from napari_sam._layers_commit import write_mask
from napari_sam._qt import workspace
from napari_sam._qt.state import written_text

if TYPE_CHECKING:
    from napari_sam._qt.controller import Annotator
    from napari_sam._qt.engine import Answer


class LabelActions:
    """The part of an annotator that writes into and reads from its labels.

    Parameters
    ----------
    annotator : Annotator
    """

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator

    def commit(self, answer: Answer) -> None:
        """Write the chosen mask of an answer into the labels.

        Raises
        ------
        ValueError
            If they cannot take it; nothing is changed then.
        """
        own = self._annotator
        view, number = own.scene.view, answer.request.object_id
        if own.image is None or view is None:
            return
        mask = answer.prediction.masks[own.work.mask_index]
        target = own.target or workspace.make_target(own.image, number)
        check_target(target, own.image, view)
        options = CommitOptions(own.choices.overlap)
        own.autosave.before_commit(target, is_new=own.target is None)
        changes = write_mask(target, view, mask, number, options)
        if own.target is None:
            workspace.add_keeping_selection(own.viewer, target, own.preview.layer)
            own.target = target
        own.numbering.note(target, number)
        own.undo.note_commit(answer, changes, target)
        own.autosave.note_commit(answer, changes, target)
        own.learning.note_commit(answer, mask, changes)
        own.work = replace(
            own.work,
            accepted=own.work.accepted | {answer.request},
            written=written_text(number, target.name, bool(changes)),
        )
        if own.choices.next_after_accept:
            own.next_free_object()
        own.refresh()

    def use_label(self) -> None:
        """Take the object's label in the displayed plane as a prompt, to correct it."""
        own = self._annotator
        view, number = own.scene.view, own.choices.object_id
        if own.image is None or own.target is None or view is None:
            return
        with own.errors():
            layers = PromptLayers(labels=own.target, label_ids=[number])
            found = prompts_from_layers(own.image, view, layers)
            if number not in found:
                raise ValueError(
                    f"layer {own.target.name!r} has no label {number} in this plane."
                )
            own.corrections[number, view.plane, view.plane_axes] = found[number]
            own.refresh()

    def widen_target(self) -> None:
        """Convert the labels to a type that holds the object's number."""
        own = self._annotator
        if own.target is not None:
            with own.errors():
                widen_labels(own.target, own.choices.object_id)
            own.refresh()
