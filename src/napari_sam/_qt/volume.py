"""Follow objects through a stack, and write them into the labels as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sam._consensus import MAX_ANISOTROPY
from napari_sam._layers import CommitOptions, check_label, check_target
from napari_sam._qt import workspace
from napari_sam._qt.review import Reviewer
from napari_sam._qt.runner import Receiver
from napari_sam._qt.turns import timer_once
from napari_sam._qt.volume_engine import PlaneFound, VolumeRequest, follow
from napari_sam._qt.volume_run import Run
from napari_sam._qt.volume_state import (
    Extend,
    Review,
    Seed,
    StackLine,
    begin_all,
    shows_object,
    wanted_planes,
)
from napari_sam._qt.volume_units import Spacing, extent_text, spacing_along
from napari_sam.review import measure_object

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam._label_changes import PlaneChange
    from napari_sam._layers import ViewPlane
    from napari_sam._qt.controller import Annotator

# What changes is shown, and read off the layers again, at most this often.
PAUSE = 100


@dataclass(frozen=True)
class VolumeChoices:
    """What the user chose in the section "Volume".

    Parameters
    ----------
    along : int
        Which of the sliced axes; counted from the last one if negative.
    extend : {"whole", "onwards", "between"}
    between : (int, int)
        The first and the last plane, for "between".
    consensus : bool
        Whether to look along all three axes, where that is possible.
    """

    along: int = -1
    extend: Extend = "whole"
    between: tuple[int, int] = (0, 0)
    consensus: bool = False


class Volume(QObject):
    """The part of an annotator that follows objects through a stack.

    Parameters
    ----------
    annotator : Annotator
    parent : QObject, optional

    Notes
    -----
    `changed` is sent when there is something new to show.
    """

    changed = Signal()

    def __init__(self, annotator: Annotator, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._annotator = annotator
        self.reviewer = Reviewer(annotator)
        self.choices = VolumeChoices()
        self.run: Run | None = None
        self.said = ""
        self.review = Review()
        self._pause = timer_once(self, PAUSE, self._refresh_when_idle)
        self._redraw = timer_once(self, PAUSE, self._draw)
        annotator.changed.connect(self._mark_dirty)
        annotator.reverted.connect(self._on_reverted)

    def _mark_dirty(self) -> None:
        if not self._pause.isActive():
            self._pause.start()

    def _refresh_when_idle(self) -> None:
        # A mask that is asked for comes first.
        if self._annotator.runner.is_busy:
            self._pause.start()
        else:
            self.refresh()

    # What the user does

    def choose(self, **choices: Any) -> None:
        """Change choices; see `VolumeChoices`."""
        self.choices = replace(self.choices, **choices)
        self.refresh()

    def follow_object(self) -> None:
        """Follow the chosen object."""
        with self._annotator.errors():
            self._start(everything=False)

    def follow_all(self) -> None:
        """Follow all objects that are marked."""
        with self._annotator.errors():
            self._start(everything=True)

    def cancel(self) -> None:
        """Stop; what is done is kept."""
        if self.run is not None:
            self._annotator.runner.cancel_long()
            count = len(self.run.request.planes)
            self._finish(f"Stopped: {self.run.done} of {count} planes are done.")

    def approve(self) -> None:
        """Approve the displayed plane, or take that back."""
        with self._annotator.errors():
            self.reviewer.approve()
        self.refresh()

    def next_doubtful(self) -> None:
        """Go to the next plane that is worth a look."""
        self.refresh()
        line = self.line
        if line is not None and not self.reviewer.next_doubtful(line, self.review):
            self.said = "No plane is doubtful."
            self.changed.emit()

    def go_to(self, position: int) -> None:
        """Show one of the planes."""
        line = self.line
        if line is not None:
            self.reviewer.go_to(line, position)

    # What there is to show

    @property
    def along(self) -> int:
        """Which of the sliced axes is chosen, counted from the first."""
        view = self._annotator.scene.view
        count = 0 if view is None else len(view.index)
        along = self.choices.along
        return along if 0 <= along < count else count - 1

    @property
    def line(self) -> StackLine | None:
        """Planes that objects are followed through."""
        return self.reviewer.line(self.along)

    @property
    def wanted(self) -> range:
        """Positions that are chosen."""
        line, view = self.line, self._annotator.scene.view
        if line is None or view is None:
            return range(0)
        here = view.index[self.along]
        return wanted_planes(
            self.choices.extend, here, self.choices.between, line.count
        )

    @property
    def spacing(self) -> Spacing | None:
        """Distances of voxels, along the line and in its planes."""
        image, view = self._annotator.image, self._annotator.scene.view
        if image is None or view is None or not view.index:
            return None
        return spacing_along(image, view, self.along)

    @property
    def may_agree(self) -> bool:
        """Whether the two other axes show outlines too: spacing is nearly equal."""
        spacing = self.spacing
        return (
            spacing is not None
            and spacing.is_space
            and max(spacing.steps) <= MAX_ANISOTROPY * min(spacing.steps)
        )

    @property
    def size_text(self) -> str:
        """How large the chosen object is, as far as it was followed."""
        spacing = self.spacing if self.review.masks else None
        if spacing is None:
            return ""
        along, *plane = spacing.steps
        steps = (along if spacing.is_space else 1.0, *plane)
        extent = measure_object(self.review.masks, steps)
        return "" if extent is None else extent_text(extent, spacing)

    def refresh(self) -> None:
        """Look at what is marked, approved and found now."""
        self._pause.stop()
        run, viewer = self.run, self._annotator.viewer
        if run is not None and not workspace.is_in(viewer, run.target):
            self._annotator.runner.cancel_long()
            self._finish("Stopped: the labels are gone.")
        line = self.line
        self.review = (
            Review()
            if line is None
            else self.reviewer.review(line, self.along, self.wanted)
        )
        self.changed.emit()

    # From seeds to labels

    def _start(self, everything: bool) -> None:
        own = self._annotator
        if self.run is not None:
            return
        self.said = ""
        own.refresh()
        line, view = self.line, own.scene.view
        reason = own.scene.problem or own.scene.download
        if line is None or view is None or own.scene.source is None or reason:
            raise ValueError(
                reason or "only stacks have planes to follow an object in."
            )
        self.reviewer.read_again()
        seeds = self._chosen_seeds(line, everything)
        target = self._target(view, max(seeds))
        for number in seeds:
            check_label(target, number)
            own.numbering.note(target, number)
        records = {number: self.reviewer.record(number, line) for number in seeds}
        spacing = spacing_along(own.image, view, self.along)
        request = VolumeRequest(
            own.scene.source,
            line,
            seeds,
            begin_all(records, self.reviewer.basis, seeds, self.wanted),
            spacing.steps if spacing.is_space else None,
            self.choices.consensus and self.may_agree,
        )
        options = CommitOptions(own.choices.overlap)
        self.run = Run(request, own.image, target, view, options, records)
        receiver = Receiver(self._on_done, self._on_failure, self._on_step)
        own.runner.submit_long(partial(follow, own.engine, request), receiver)
        self.refresh()

    def _chosen_seeds(
        self, line: StackLine, everything: bool
    ) -> dict[int, dict[int, Seed]]:
        number = self._annotator.choices.object_id
        marked = {
            key: seeds
            for key, seeds in sorted(self.reviewer.seeds(line).items())
            if any(shows_object(seed) for seed in seeds.values())
        }
        chosen = marked if everything else {n: marked[n] for n in marked if n == number}
        if not chosen:
            name = "an object" if everything else f"object {number}"
            raise ValueError(f"mark {name} in one plane or a few before following it.")
        return chosen

    def _target(self, view: ViewPlane, number: int) -> Labels:
        own = self._annotator
        target = own.target or workspace.make_target(own.image, number)
        check_target(target, own.image, view)
        if own.target is None:
            workspace.add_keeping_selection(own.viewer, target, own.preview.layer)
            own.target = target
            own.refresh()
        return target

    def _on_step(self, step: str | PlaneFound) -> None:
        run = self.run
        if run is None:
            return
        if isinstance(step, str):
            run.doing = step
        else:
            try:
                is_changed = run.write(step)
            except Exception as error:
                self._annotator.runner.cancel_long()
                self._on_failure(error)
                return
            view = self._annotator.scene.view
            is_shown = view is None or run.request.line.is_at(view, step.position)
            if is_changed and is_shown and not self._redraw.isActive():
                self._redraw.start()
        self._mark_dirty()

    def _draw(self) -> None:
        """Show what was written."""
        if self.run is not None and workspace.is_in(
            self._annotator.viewer, self.run.target
        ):
            self.run.target.refresh(extent=False)

    def _on_reverted(self, changes: Sequence[PlaneChange]) -> None:
        for change in changes:
            self.reviewer.forget_planes(change.plane_axes, {change.index})
        self._mark_dirty()

    def _on_done(self, result: None) -> None:
        run = self.run
        if run is None:
            return
        numbers = sorted(run.request.seeds)
        is_one = len(numbers) == 1
        name = f"Object {numbers[0]}" if is_one else f"{len(numbers)} objects"
        self._finish(f"{name}: followed through {run.done} planes.")

    def _on_failure(self, error: Exception) -> None:
        with self._annotator.errors():
            self._finish("")
            raise error

    def _finish(self, text: str) -> None:
        """Make one step to undo of what was written."""
        run, self.run = self.run, None
        if run is None:
            return
        self.said = text
        own = self._annotator
        if run.done and workspace.is_in(own.viewer, run.target):
            run.target.refresh(extent=False)
            is_same = own.image is run.image
            accepted = run.accepted(own.scene.edition) if is_same else frozenset()
            own.undo.note_volume(tuple(run.changes), run.target, accepted)
            own.work = replace(own.work, accepted=own.work.accepted | accepted)
            own.refresh()
            self.reviewer.settle(run.request.line, run.records)
        self.refresh()
