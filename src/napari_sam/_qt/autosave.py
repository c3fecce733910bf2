"""Sessions that save themselves, and are there again after a crash."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sam._history import History, State, Step
from napari_sam._layers_make import make_labels_layer, session_arguments
from napari_sam._qt import workspace
from napari_sam._qt.drawn_planes import DrawnPlanes, lacks_axes
from napari_sam._qt.logbook import Logbook, painted_planes
from napari_sam._qt.report import report_error, report_note
from napari_sam._qt.runner import Receiver, Runner
from napari_sam._qt.session_store import (
    Found,
    find_session,
    load_session,
    own_name,
    sessions_directory,
    short_key,
    write_sessions,
)
from napari_sam._qt.session_values import (
    in_axes,
    restored_choices,
    restored_state,
    saved_request,
    saved_session,
)
from napari_sam._qt.turns import timer_once
from napari_sam.session_file import (
    Commit,
    SavedModel,
    SavedSession,
    with_decoders,
    write_session,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Image, Labels

    from napari_sam._label_changes import PlaneChange
    from napari_sam._qt.controller import Annotator
    from napari_sam._qt.engine import Answer

# Milliseconds from the first change that is not saved yet to the next save.
DELAY = 500


class Autosave(QObject):
    """Saves what an annotator does, about half a second after it was done.

    It has workers of its own, so that a save neither waits for a volume to be followed
    nor drops a mask that is asked for. One slot is right here, too: of the saves that
    wait, the newest has it all.

    Parameters
    ----------
    annotator : Annotator

    Notes
    -----
    `changed` is sent when there is another session to offer, or none.
    """

    changed = Signal()

    def __init__(self, annotator: Annotator) -> None:
        super().__init__(annotator)
        self._annotator = annotator
        self.runner = Runner(self)
        self._reader = Runner(self)
        self._pending: dict[Path, SavedSession] = {}
        self.book = Logbook()
        self.found: Found | None = None
        self.path: Path | None = None
        self._kept: dict[str, tuple[Logbook, Path | None]] = {}
        self._models: dict[str, SavedModel] = {}
        self._saved: tuple[Any, ...] = ()
        self._has_failed = False
        self._planes = DrawnPlanes()
        self._painted: set[tuple[tuple[int, int], tuple[int, ...]]] = set()
        self._target: Labels | None = None
        self._timer = timer_once(self, DELAY, self.save)

    @property
    def offer(self) -> SavedSession | None:
        """The session that can be restored, if nothing has been done yet."""
        if self.found is None or self.found.path in (None, self.path):
            return None
        return self.found.session

    def switch(self, before: Image | None, image: Image | None) -> None:
        """Go on with the session of another image, and look whether there is one."""
        if before is not None:
            self.save()
            self._kept[str(before.unique_id)] = self.book, self.path
        key = "" if image is None else str(image.unique_id)
        self.book, self.path = self._kept.pop(key, (Logbook(), None))
        self._saved = ()
        self._annotator.learning.switch(before, image)
        self.identify(image)

    def identify(self, image: Image | None) -> None:
        """Find out which image it is; also when its pixels have changed."""
        self.found = None
        if image is not None:
            seen = session_arguments(image)
            work = partial(find_session, seen.image, seen.rgb, sessions_directory())
            self._reader.submit(work, Receiver(self._on_found, self._report))
        self.changed.emit()

    @staticmethod
    def _report(error: Exception) -> None:
        report_error(error)

    def _on_found(self, found: Found) -> None:
        image = self._annotator.image
        if image is None or session_arguments(image).image is not found.image:
            return
        self.found = found
        if self.path is not None and not self.path.name.startswith(
            short_key(found.key)
        ):
            self.path = None  # the pixels are others now: so is the session
        if found.problem:
            report_note(f"The last session cannot be restored: {found.problem}")
        self.mark()
        self.changed.emit()

    # What is noted

    def before_commit(self, target: Labels, is_new: bool) -> None:
        """Note what is in a plane before a mask is written into it."""
        view = self._annotator.scene.view
        if view is not None:
            self.book.sync(target, view, is_new)

    def note_commit(
        self, answer: Answer, changes: tuple[PlaneChange, ...], target: Labels
    ) -> None:
        """Note a mask that was written."""
        own = self._annotator
        models = dict(self._models)
        if answer.model is not None:
            name = answer.model.name
            models[name] = answer.model
            # What was accepted is noted without what the model had learned.
            self._models[name] = replace(answer.model, decoder="")
        request = saved_request(answer.request, models)
        number, overlap = self.book.target(target), own.choices.overlap
        index = own.work.mask_index
        self.book.commit(Commit(request, index, overlap, number, changes))
        self.mark()

    def note_step(
        self, target: Labels, changes: tuple[PlaneChange, ...], is_undone: bool
    ) -> None:
        """Note that a commit was taken back, or written again."""
        view = self._annotator.scene.view
        if view is not None:
            note = self.book.undone if is_undone else self.book.redone
            note(target, changes, view)

    def mark(self) -> None:
        """Save in a moment; but what is painted is noticed from now on."""
        own = self._annotator
        self._follow(own.target)
        drawn = own.layers.points, own.layers.shapes
        if own.image is not None and any(lacks_axes(one, own.image) for one in drawn):
            self._placed(own.image)  # before the viewer shows another plane
        if not self._timer.isActive():
            self._timer.start()

    def _follow(self, target: Labels | None) -> None:
        """Notice what is painted into the labels."""
        if target is self._target:
            return
        if self._target is not None:
            self._target.events.paint.disconnect(self._on_paint)
        if target is not None:
            target.events.paint.connect(self._on_paint)
        self._target = target

    def _on_paint(self, event: Any) -> None:
        view = self._annotator.scene.view
        if view is not None:
            found = painted_planes(event.value, view.sliced_axes)
            self._painted |= {(view.plane_axes, index) for index in found}
            self.mark()

    # Files

    def snapshot(self) -> SavedSession | None:
        """Gather what there is to save; None if there is nothing."""
        own = self._annotator
        self._follow(own.target)
        view = own.scene.view
        if own.image is None or self.found is None:
            return None
        if own.target is not None and view is not None:
            for axes, index in sorted(self._painted):
                place = replace(view, plane_axes=axes, index=index)
                self.book.sync(own.target, place)
        self._painted.clear()
        placed = self._placed(own.image)
        session = saved_session(own.image, placed, own.choices, self._models)
        session = replace(
            session,
            image=replace(session.image, key=self.found.key),
            targets=self.book.targets,
            log=self.book.log,
            decoder=own.learning.version,
        )
        session = with_decoders(session, own.learning.known)
        # An empty session is no reason for a file, but may replace one that is not.
        return None if session.is_empty and self.path is None else session

    def _placed(self, image: Image) -> State:
        """Return the state of now, prompts in data coordinates of the image."""
        own, placed = self._annotator, self._planes.placed
        state, layers, view = own.undo.present, own.layers, own.scene.view
        points = placed(layers.points, state.points, image, view)
        shapes = placed(layers.shapes, state.shapes, image, view)
        return replace(state, points=points, shapes=shapes)

    def _is_saved(self) -> bool:
        """Whether nothing has changed since the last snapshot that was taken."""
        own = self._annotator
        now = own.undo.present, self.book.log, own.choices, own.learning.version
        before, self._saved = self._saved, now
        if not before or self._painted:
            return False
        same_work = bool(before[0].is_same_work(now[0]))
        return same_work and before[1] is now[1] and before[2:] == now[2:]

    def save(self) -> None:
        """Save in the worker, if there is something new."""
        session = None if self._is_saved() else self.snapshot()
        if session is None:
            return
        # A save that waits may be of another image: the next one does it, too.
        self._pending[self._own_path()] = session
        work = partial(write_sessions, dict(self._pending))
        self.runner.submit(work, Receiver(self._on_saved, self._on_failure))

    def save_as(self, path: Path) -> None:
        """Save a copy that the user asked for."""
        session = self.snapshot()
        if session is None:
            report_note("There is nothing to save yet.")
            return
        work = partial(write_session, path, session)
        self._reader.submit(work, Receiver(failed=self._report))

    def _own_path(self) -> Path:
        if self.path is None:
            key = "" if self.found is None else self.found.key
            self.path = sessions_directory() / own_name(key, os.getpid())
            self.changed.emit()
        return self.path

    def _on_saved(self, written: dict[Path, SavedSession]) -> None:
        self._has_failed = False
        for path, session in written.items():
            if self._pending.get(path) is session:
                del self._pending[path]

    def _on_failure(self, error: Exception) -> None:
        # Once: a full disk stays full for a while, and work goes on.
        if not self._has_failed:
            report_note(f"The session could not be saved, and work goes on: {error}")
        self._has_failed = True
        self._saved = ()

    def restore(self, path: Path | None = None) -> None:
        """Open a session; that of the offer if no file is named."""
        image = self._annotator.image
        if path is None and self.found is not None:
            path = self.found.path
        if image is None or path is None:
            return
        seen = session_arguments(image)
        work = partial(load_session, path, seen.image, seen.rgb)
        done = partial(self._on_loaded, path, image)
        self._reader.submit(work, Receiver(done, self._report))

    def _on_loaded(
        self,
        path: Path,
        image: Image,
        loaded: tuple[SavedSession, list[NDArray[Any]]],
    ) -> None:
        own: Any = self._annotator
        session, labels = loaded
        if own.image is not image:
            return
        with own.errors():
            for drawn in (session.points, session.shapes):
                in_axes(drawn, image)
            if workspace.release_prompts(own.viewer, image):
                own.refresh()
            self._show_labels(image, session, labels)
            limits = [session.choices.get(f"contrast_{n}") for n in ("low", "high")]
            if None not in limits and not image.rgb:
                image.contrast_limits = limits
            own.choices = restored_choices(session, own.choices)
            before = own.undo.present
            state = restored_state(session, image, own.edition)
            own.undo.show(state)
            step = Step("work restored", "other", before, own.undo.present)
            own.undo.history = History().pushed(step)
            if path.parent == sessions_directory():
                self.path = path
            own.learning.restore(session, image, labels)
            own.say("Your work is here again.")
            self.changed.emit()

    def _show_labels(
        self, image: Image, session: SavedSession, labels: list[NDArray[Any]]
    ) -> None:
        """Make new layers: what is in the viewer is never written over."""
        own = self._annotator
        layers = []
        for about, data in zip(session.targets, labels, strict=True):
            layer = make_labels_layer(image, about.name, data.dtype)
            layer.data = data
            workspace.add_keeping_selection(own.viewer, layer, own.preview.layer)
            layers.append(layer)
        own.target = layers[-1] if layers else own.target
        made = [about.is_new for about in session.targets]
        self.book = Logbook(session.log, layers, made)
        for entry in session.log:
            if isinstance(entry, Commit):
                used = entry.request.model
                self._models[used.name] = replace(used, decoder="")

    def close(self) -> None:
        """Save what is not saved yet, now, and end the worker."""
        self._timer.stop()
        session = None if self._is_saved() else self.snapshot()
        if session is not None:
            self._pending[self._own_path()] = session
        self.runner.close()
        self._reader.close()
        self._follow(None)
        try:
            write_sessions(self._pending)
        except OSError as error:
            report_note(f"The session could not be saved: {error}")
