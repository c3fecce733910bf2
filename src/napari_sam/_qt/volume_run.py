"""Objects on their way through a stack, and into the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_sam._layers_commit import write_plane
from napari_sam._qt.engine import Request
from napari_sam._qt.volume_engine import PlaneFound, VolumeRequest
from napari_sam._qt.volume_state import Followed, prompts_of, shows_object
from napari_sam.review import MaskPatch

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_sam._label_changes import PlaneChange
    from napari_sam._layers import CommitOptions, ViewPlane


@dataclass(eq=False)
class Run:
    """Objects on their way through a stack.

    Parameters
    ----------
    request : VolumeRequest
    image : Image layer
    target : Labels layer
    view : ViewPlane
        Of it the axes count.
    options : CommitOptions
    records : dict of int to Followed
        Of each object.
    done : int
        Number of planes that are done.
    doing : str
        What is being done before the first one.
    changes : list of PlaneChange
        What was written so far.
    """

    request: VolumeRequest
    image: Image
    target: Labels
    view: ViewPlane
    options: CommitOptions
    records: Mapping[int, Followed]
    done: int = 0
    doing: str = ""
    changes: list[PlaneChange] = field(default_factory=list)

    def write(self, found: PlaneFound) -> bool:
        """Write a plane into the labels; returns whether that changed them.

        Parameters
        ----------
        found : PlaneFound
        """
        rows, columns = self.view.plane_axes
        size = self.target.data.shape[rows], self.target.data.shape[columns]
        wanted = np.zeros(size, self.target.dtype)
        for number, patch in found.masks.items():
            wanted[patch.to_mask(size)] = number
        plane = self.request.line.at(found.position), wanted
        numbers = set(found.masks)
        change = write_plane(self.target, self.view, plane, numbers, self.options)
        for number, patch in found.masks.items():
            self.records[number].take(found.position, patch, found.scores[number])
        if change is not None:
            self.changes.append(change)
        self.done += 1
        return change is not None

    def accepted(self, edition: int) -> frozenset[Request]:
        """Prompts that were followed from, whose masks are in the labels now.

        Parameters
        ----------
        edition : int
            Of the image's pixels; see `Request`.
        """
        request = self.request
        return frozenset(
            Request(
                request.source,
                request.line.plane(position),
                number,
                prompts_of(seed),
                edition,
            )
            for number, seeds in request.seeds.items()
            for position, seed in seeds.items()
            if not isinstance(seed, MaskPatch)
            and shows_object(seed)
            and position in self.records[number].masks
        )
