"""What the user has marked and approved along a line of planes, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_sam._layers import ObjectPrompts, seeds_from_layers
from napari_sam._layers_view import image_shape, world_matrix
from napari_sam._qt.state import LabelKey, merge_prompts
from napari_sam._qt.volume_state import (
    ChosenMask,
    Followed,
    Review,
    Seed,
    StackLine,
    certain_planes,
)
from napari_sam.review import MaskPatch, next_plane
from napari_sam.types import Plane

if TYPE_CHECKING:
    from napari_sam._layers import ViewPlane
    from napari_sam._qt.controller import Annotator
    from napari_sam._qt.engine import Request

RecordKey: TypeAlias = tuple[str, int, StackLine]
"""Image, number of an object, and line."""


class Reviewer:
    """Seeds of all objects along a line, and what is known of each.

    Parameters
    ----------
    annotator : Annotator
    """

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator
        self.records: dict[RecordKey, Followed] = {}
        self._approved: dict[LabelKey, ObjectPrompts | None] = {}
        self._withdrawn: set[Request] = set()
        self._masks: dict[tuple[str, LabelKey], MaskPatch] = {}

    def line(self, along: int) -> StackLine | None:
        """Line through the displayed plane; None where there is none.

        Parameters
        ----------
        along : int
            Which of the sliced axes.
        """
        image, view = self._annotator.image, self._annotator.scene.view
        if image is None or view is None or not 0 <= along < len(view.index):
            return None
        return StackLine.of(view, image_shape(image), along)

    def record(self, number: int, line: StackLine) -> Followed:
        """Return what is known of an object along a line; nothing at first."""
        return self.records.setdefault((self._image, number, line), Followed())

    @property
    def _image(self) -> str:
        image = self._annotator.image
        return "" if image is None else str(image.unique_id)

    @property
    def basis(self) -> tuple[Any, ...]:
        """What results stand on besides the seeds."""
        own = self._annotator
        target = "" if own.target is None else str(own.target.unique_id)
        return own.scene.source, own.scene.edition, target

    # Seeds

    def seeds(self, line: StackLine) -> dict[int, dict[int, Seed]]:
        """Prompts and approved masks of all objects along a line, by position.

        Parameters
        ----------
        line : StackLine
        """
        drawn = self._prompts(line)
        found: dict[int, dict[int, Seed]] = {
            number: {
                position: self._as_chosen((number, line.plane(position)), line, seed)
                for position, seed in own.items()
            }
            for number, own in drawn.items()
        }
        for key in self._approvals():
            number, plane, plane_axes = key
            position = line.position(plane)
            if position is None or plane_axes != line.plane_axes:
                continue
            if self._is_approved(key, drawn.get(number, {}).get(position)):
                found.setdefault(number, {})[position] = self._mask(key, line, position)
        return found

    def _as_chosen(
        self, where: tuple[int, Plane], line: StackLine, prompts: ObjectPrompts
    ) -> Seed:
        """Prompts with the mask that the user has chosen, if any."""
        chosen = self._annotator.undo.present.chosen.get((*where, line.plane_axes))
        if chosen is None or chosen[0] != prompts:
            return prompts
        return ChosenMask(prompts, chosen[1])

    def _prompts(self, line: StackLine) -> dict[int, dict[int, ObjectPrompts]]:
        """Read layers, and labels that are being corrected, along a line."""
        own = self._annotator
        if own.image is None or own.scene.view is None:
            return {}
        planes = [line.at(position) for position in range(line.count)]
        drawn = seeds_from_layers(own.image, own.scene.view, own.layers, planes)
        found: dict[int, dict[int, ObjectPrompts]] = {}
        for number, seeds in drawn.items():
            for plane, seed in seeds.items():
                position = line.position(plane)
                if position is not None:
                    found.setdefault(number, {})[position] = seed
        for (number, plane, plane_axes), label in own.corrections.items():
            position = line.position(plane)
            if position is not None and plane_axes == line.plane_axes:
                at = found.setdefault(number, {})
                at[position] = merge_prompts(at.get(position), label)
        return found

    # What the user has approved

    def _approvals(self) -> set[LabelKey]:
        accepted = {
            (one.object_id, one.plane, one.source.plane_axes)
            for one in self._annotator.work.accepted
        }
        return accepted | set(self._approved)

    def _is_approved(self, key: LabelKey, prompts: ObjectPrompts | None) -> bool:
        """Whether a plane was approved, and nothing has been drawn in it since."""
        if key in self._approved and self._approved[key] == prompts:
            return True
        return any(
            (one.object_id, one.plane, one.source.plane_axes) == key
            and one.prompts == prompts
            and one not in self._withdrawn
            for one in self._annotator.work.accepted
        )

    def _mask(self, key: LabelKey, line: StackLine, position: int) -> MaskPatch:
        """Label of an object in a plane, read once and again by `read_again`."""
        target, view = self._annotator.target, self._annotator.scene.view
        if target is None or view is None:
            return MaskPatch.of(np.zeros((1, 1), bool))
        cached = str(target.unique_id), key
        if cached not in self._masks:
            labels = view.read(target.data, line.at(position))
            self._masks[cached] = MaskPatch.of(labels == key[0])
        return self._masks[cached]

    def read_again(self) -> None:
        """Look into the labels again: the user may have painted in them."""
        self._masks.clear()

    def _key(self, view: ViewPlane) -> LabelKey:
        return self._annotator.choices.object_id, view.plane, view.plane_axes

    @property
    def is_here_approved(self) -> bool:
        """Whether the displayed plane is approved for the chosen object."""
        scene = self._annotator.scene
        if scene.view is None:
            return False
        prompts = scene.prompts.get(self._annotator.choices.object_id)
        return self._is_approved(self._key(scene.view), prompts)

    def approve(self) -> None:
        """Approve the object's label in the displayed plane, or take that back.

        Raises
        ------
        ValueError
            If there are no labels yet, or no plane is displayed.
        """
        own = self._annotator
        view = own.scene.view
        if own.target is None or view is None:
            raise ValueError("there are no labels yet to approve a plane of.")
        key = self._key(view)
        if not self.is_here_approved:
            self._approved[key] = own.scene.prompts.get(key[0])
            self._masks.pop((str(own.target.unique_id), key), None)
            return
        self._approved.pop(key, None)
        self._withdrawn |= {
            one
            for one in own.work.accepted
            if (one.object_id, one.plane, one.source.plane_axes) == key
        }

    def settle(self, line: StackLine, records: Mapping[int, Followed]) -> None:
        """Note that planes that were followed from are approved now.

        Parameters
        ----------
        line : StackLine
        records : mapping of object id to Followed
        """
        now = self.seeds(line)
        for number, record in records.items():
            for position in record.seeds:
                seed = now.get(number, {}).get(position)
                if isinstance(seed, MaskPatch):
                    record.seeds[position] = seed

    # What came of it

    def review(self, line: StackLine, along: int, wanted: range) -> Review:
        """Gather what there is to show of the chosen object.

        Parameters
        ----------
        line : StackLine
        along : int
        wanted : range
            Positions that the user wants.
        """
        own = self._annotator
        number = own.choices.object_id
        seeds = self.seeds(line).get(number, {})
        record = self.records.get((self._image, number, line), Followed())
        is_begun = bool(record.masks)
        return Review(
            object_id=number,
            count=line.count,
            here=own.scene.view.index[along] if own.scene.view is not None else 0,
            seeds=seeds,
            masks=record.masks,
            confidence=record.confidence(certain_planes(seeds)),
            pending=len(record.pending(self.basis, seeds, wanted)) if is_begun else 0,
            is_here_approved=self.is_here_approved,
        )

    def forget_planes(
        self, plane_axes: tuple[int, int], indices: set[tuple[int, ...]]
    ) -> None:
        """Take planes for not looked at: their labels were taken back.

        Parameters
        ----------
        plane_axes : (int, int)
        indices : set of tuple of int
            Index along each sliced axis of each plane.
        """
        for (_, _, line), record in self.records.items():
            if line.plane_axes == plane_axes:
                gone = [p for p in record.masks if line.at(p) in indices]
                record.forget(gone)

    def go_to(self, line: StackLine, position: int) -> None:
        """Show one of the planes of a line.

        Parameters
        ----------
        line : StackLine
        position : int
        """
        own = self._annotator
        image, view = own.image, own.scene.view
        if image is None or view is None:
            return
        index = np.zeros(image.ndim + 1)
        index[-1] = 1
        index[list(view.sliced_axes)] = line.at(position)
        world = world_matrix(image, view.units) @ index
        extra = own.viewer.dims.ndim - image.ndim
        for axis in view.sliced_axes:
            own.viewer.dims.set_point(axis + extra, float(world[axis]))

    def next_doubtful(self, line: StackLine, review: Review) -> bool:
        """Show the next plane that is worth a look; False if there is none.

        Parameters
        ----------
        line : StackLine
        review : Review
        """
        position = next_plane(review.doubtful, review.here)
        if position is not None:
            self.go_to(line, position)
        return position is not None
