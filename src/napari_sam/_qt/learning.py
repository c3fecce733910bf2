"""Learn while annotating: what is remembered, and when it is learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sam._qt.learning_engine import Remembered
from napari_sam._qt.report import report_error
from napari_sam._qt.runner import Receiver
from napari_sam._qt.session_values import restored_request
from napari_sam._qt.workspace import images_of
from napari_sam.learning import FEWEST, Learned
from napari_sam.review import MaskPatch
from napari_sam.session_file import MOST_DECODERS, Commit
from napari_sam.sharpening import LARGE_PLANE

if TYPE_CHECKING:
    import numpy as np
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_sam._label_changes import PlaneChange
    from napari_sam._qt.controller import Annotator
    from napari_sam._qt.engine import Answer, Request
    from napari_sam.session_file import SavedDecoder, SavedSession

MOST_REMEMBERED = 12
"""Accepted masks that are learned from: the newest."""
READY = "Accept two objects or more; then the model learns from them."


@dataclass(eq=False)
class _Pupil:
    """What was learned of one image, and from what."""

    remembered: dict[int, Remembered] = field(default_factory=dict)
    undone: dict[int, Remembered] = field(default_factory=dict)
    steps: dict[int, tuple[PlaneChange, ...]] = field(default_factory=dict)
    count: int = 0
    known: dict[str, SavedDecoder] = field(default_factory=dict)
    current: SavedDecoder | None = None
    said: str = ""


class Learning(QObject):
    """The part of an annotator that has the model learn from what is accepted.

    It learns in the worker, in steps of some hundredths of a second, while nothing
    else is asked for. Every image has its own; the model is never changed itself.

    Parameters
    ----------
    annotator : Annotator

    Notes
    -----
    `changed` is sent when there is something new to show.
    """

    changed = Signal()

    def __init__(self, annotator: Annotator) -> None:
        super().__init__(annotator)
        self._annotator = annotator
        self.is_on = False
        self.is_learning = False
        self._is_stale = False
        self._pupil = _Pupil()
        self._kept: dict[str, _Pupil] = {}

    @property
    def version(self) -> str:
        """Version of the decoder in force; "" is the model itself."""
        return "" if self._pupil.current is None else self._pupil.current.version

    @property
    def known(self) -> Mapping[str, SavedDecoder]:
        """All decoders of this image, by version."""
        return self._pupil.known

    @property
    def text(self) -> str:
        """What to say about it, in a sentence."""
        if self.is_learning:
            return f"Learning from {self._count()} objects, between your clicks ..."
        return self._pupil.said or (READY if self.is_on else "")

    def switch(self, before: Image | None, image: Image | None) -> None:
        """Go on with what was learned of another image."""
        if before is not None:
            self._kept[str(before.unique_id)] = self._pupil
        there = {str(one.unique_id) for one in images_of(self._annotator.viewer)}
        self._kept = {key: kept for key, kept in self._kept.items() if key in there}
        key = "" if image is None else str(image.unique_id)
        self._stop()
        self._pupil = self._kept.pop(key, _Pupil())
        self._use(self._pupil.current)

    def set_on(self, is_on: bool) -> None:
        """Begin to learn, or stop; what was learned stays in force."""
        self.is_on = is_on
        self._stop()
        self._plan()
        self.changed.emit()

    def back_to_base(self) -> None:
        """Use the model itself again, and learn no more."""
        self.is_on = False
        self._stop()
        self._pupil.said = "The base model is in use again."
        self._use(None)
        own = self._annotator
        # The mask that is shown is asked for once more.
        own.work = replace(own.work, submitted=None, answer=None)
        own.refresh()

    def note_commit(
        self,
        answer: Answer,
        mask: NDArray[Any],
        changes: tuple[PlaneChange, ...],
    ) -> None:
        """Remember a mask that was written into labels."""
        if not changes or not mask.any():
            return
        if mask.size > LARGE_PLANE:
            self._pupil.said = "Planes of this size are too large to learn from."
            return
        self._remember(answer.request, mask, changes)
        # A round that has begun is ended first, lest a quick user never sees one end.
        self._is_stale = self.is_learning
        if not self.is_learning:
            self._plan()

    def _remember(
        self, request: Request, mask: NDArray[Any], changes: tuple[PlaneChange, ...]
    ) -> None:
        """Remember a mask by what it changed, in place of an older one there."""
        pupil = self._pupil
        place = request.object_id, request.plane, request.source.plane_axes
        same = {k: v for k, v in pupil.remembered.items() if _object(v) == place[0]}
        number = next((one.number for one in same.values()), pupil.count)
        pupil.count = max(pupil.count, number + 1)
        for key, one in same.items():
            if _place(one) == place:  # corrected since
                del pupil.remembered[key]
        pupil.remembered[id(changes)] = Remembered(number, request, MaskPatch.of(mask))
        pupil.steps[id(changes)] = changes  # held, so that the id stays its own
        while len(pupil.remembered) > MOST_REMEMBERED:
            del pupil.remembered[next(iter(pupil.remembered))]

    def note_step(self, changes: tuple[PlaneChange, ...], is_undone: bool) -> None:
        """Forget a mask whose commit is taken back; remember it if done again."""
        pupil = self._pupil
        before, after = pupil.remembered, pupil.undone
        if not is_undone:
            before, after = after, before
        one = before.pop(id(changes), None)
        if one is not None:
            after[id(changes)] = one
            self._plan()

    def restore(
        self, session: SavedSession, image: Image, labels: Sequence[NDArray[Any]]
    ) -> None:
        """Go on with what a session had learned, and from what was accepted in it.

        Parameters
        ----------
        session : SavedSession
        image : Image layer
        labels : sequence of ndarray of int
            What its log made of each of its targets.
        """
        known = {one.version: one for one in session.decoders}
        self._stop()
        self._pupil = pupil = _Pupil(known=known)
        for entry, mask in accepted_masks(session, labels):
            request = restored_request(entry.request, image, self._annotator.edition)
            self._remember(request, mask, entry.changes)
        if session.decoder:
            pupil.said = "What was learned before is in use."
        self._use(known.get(session.decoder))

    # What follows from it

    def _asked(self) -> list[Remembered]:
        """Masks of what SAM saw when the last was accepted."""
        every = list(self._pupil.remembered.values())
        if not every:
            return []
        last = every[-1].request
        return [
            one
            for one in every
            if (one.request.source, one.request.edition) == (last.source, last.edition)
        ]

    def _count(self) -> int:
        return len({one.number for one in self._asked()})

    def _plan(self) -> None:
        """Learn from what is remembered now, in place of what was begun."""
        own, asked = self._annotator, self._asked()
        if not self.is_on:
            return
        self._stop()
        if self._count() >= FEWEST:
            source = asked[-1].request.source
            learn = partial(own.engine.decoders.learn, own.engine, source, asked)
            self.is_learning = True
            done = partial(self._on_done, self._pupil)
            own.runner.submit_background(learn, Receiver(done, self._on_failed))
        elif self._pupil.current is not None and self._pupil.undone:
            self._pupil.said = "What it was learned from is undone."
            self._use(None)
        self.changed.emit()

    def _stop(self) -> None:
        self.is_learning = self._is_stale = False
        self._annotator.runner.cancel_background()

    def _on_done(
        self, pupil: _Pupil, result: tuple[Learned, SavedDecoder | None]
    ) -> None:
        if pupil is not self._pupil:
            return
        learned, decoder = result
        self.is_learning = False
        pupil.said = learned_text(learned)
        self._use(decoder)
        if self._is_stale:
            self._plan()

    def _on_failed(self, error: Exception) -> None:
        self.is_learning = self.is_on = False
        self._pupil.said = report_error(error)
        self.changed.emit()

    def _use(self, decoder: SavedDecoder | None) -> None:
        pupil = self._pupil
        if decoder is not None:
            # The same object for the same version: it is not built anew then.
            decoder = pupil.known.setdefault(decoder.version, decoder)
        pupil.current = self._annotator.engine.decoders.current = decoder
        self._let_go()
        self._annotator.autosave.mark()
        self.changed.emit()

    def _let_go(self) -> None:
        """Let go of decoders, first of those that made no accepted mask."""
        known, log = self._pupil.known, self._annotator.autosave.book.log
        used = {e.request.model.decoder for e in log if isinstance(e, Commit)}
        by_use = sorted(known, key=lambda version: version in used)
        for version in by_use[: max(0, len(known) - MOST_DECODERS)]:
            if version != self.version:
                del known[version]


def accepted_masks(
    session: SavedSession, labels: Sequence[NDArray[Any]]
) -> Iterator[tuple[Commit, NDArray[np.bool_]]]:
    """Yield what was accepted last in a session, if it is in the labels still.

    Parameters
    ----------
    session : SavedSession
    labels : sequence of ndarray of int
        What its log made of each of its targets.

    Yields
    ------
    Commit
        The last of each object in each plane, `MOST_REMEMBERED` at most.
    ndarray of shape (H, W), bool
        The object's label in that plane: with what was painted since, and without
        what was undone.
    """
    last: dict[tuple[Any, ...], Commit] = {}
    for entry in session.log:
        if isinstance(entry, Commit) and entry.changes:
            what = entry.request.what
            place = what.object_id, what.plane, what.plane_axes
            last.pop(place, None)  # to the end
            last[place] = entry
    for entry in list(last.values())[-MOST_REMEMBERED:]:
        plane = entry.changes[0].plane_of(labels[entry.target])
        mask = plane == entry.request.what.object_id
        if mask.any() and mask.size <= LARGE_PLANE:
            yield entry, mask


def _object(one: Remembered) -> int:
    return one.request.object_id


def _place(one: Remembered) -> tuple[Any, ...]:
    request = one.request
    return request.object_id, request.plane, request.source.plane_axes


def learned_text(learned: Learned) -> str:
    """Say what came of a round.

    Parameters
    ----------
    learned : Learned
    """
    before, after = learned.before.mean, learned.after.mean
    if not learned.changes:
        return (
            "Nothing was found that is better than the model itself: overlap with the "
            f"objects held back {before:.2f}."
        )
    many = "s" * (learned.objects != 1)
    return (
        f"Learned from {learned.objects} object{many}: overlap with those held back "
        f"{before:.2f} → {after:.2f}."
    )
