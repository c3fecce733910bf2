"""Objects that were found, written into labels as one step that can be taken back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._layers import CommitOptions, ViewPlane, check_target
from napari_sam._layers_commit import write_labels
from napari_sam._qt import workspace
from napari_sam._qt.label_steps import LabelSteps
from napari_sam._qt.numbering import Numbering
from napari_sam._qt.report import reporting
from napari_sam._qt.runner import Receiver, Runner

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Image, Labels, Layer
    from numpy.typing import NDArray

    from napari_sam.types import Plane

Planes = list[tuple["Plane", "NDArray[Any]"]]


class ObjectWriter:
    """Gives objects numbers that are free, and writes them.

    Parameters
    ----------
    viewer : napari.Viewer
    runner : Runner
        Searches large labels for the highest number.
    """

    def __init__(self, viewer: Any, runner: Runner) -> None:
        self.viewer = viewer
        self.target: Labels | None = None
        self.numbering = Numbering(runner)
        self.shift = 0  # what was added to the labels that were written last
        self.steps = LabelSteps(viewer)

    def prepare(self, image: Image, view: ViewPlane, below: Layer | None) -> None:
        """Make labels for an image if there are none.

        Parameters
        ----------
        image : Image layer
        view : ViewPlane
        below : Layer, optional
            Under which they are put.

        Raises
        ------
        ValueError
            If the labels are not for this image, or cannot be written to.
        """
        if self.target is None:
            self.target = workspace.make_target(image, 1)
            workspace.add_keeping_selection(self.viewer, self.target, below)
        check_target(self.target, image, view)

    def write(
        self,
        view: ViewPlane,
        planes: Planes,
        overlap: Any,
        receiver: Receiver,
    ) -> None:
        """Write label images of planes, each of its labels under a free number.

        Parameters
        ----------
        view : ViewPlane
        planes : list of (plane, ndarray of shape (H, W))
            Labels from 1; a label is the same object in all planes.
        overlap : {"protect", "overwrite"}
            What happens to other labels.
        receiver : Receiver
            Gets the number of objects.
        """
        options = CommitOptions(overlap, replace=False)
        begin = partial(self._write, view, planes, options, receiver)
        found = Receiver(begin, receiver.failed, receiver.stepped)
        self.numbering.find(self.target, (), found)

    def _write(
        self,
        view: ViewPlane,
        planes: Planes,
        options: CommitOptions,
        receiver: Receiver,
        first: int,
    ) -> None:
        if self.target is None:
            return
        self.shift = first - 1
        own = np.unique(np.concatenate([np.unique(labels) for _, labels in planes]))
        ids = (own[own > 0].astype(np.int64) + self.shift).tolist()
        with reporting(receiver.failed):
            moved = _moved(planes, self.shift)
            changes = write_labels(self.target, view, moved, ids, options)
            if ids:
                self.numbering.note(self.target, ids[-1])
            if changes:
                text = f"{count_text(len(ids))} found, {self.target.name}"
                self.steps.note(self.target, changes, text)
            receiver.done(len(ids))

    def close(self) -> None:
        """Let go of the labels."""
        self.numbering.stop()
        self.steps.close()


def count_text(count: int) -> str:
    """Say how many objects.

    Examples
    --------
    >>> count_text(1), count_text(3)
    ('1 object', '3 objects')
    """
    return f"{count} object{'s' if count != 1 else ''}"


def _moved(
    planes: Sequence[tuple[Plane, NDArray[Any]]], by: int
) -> Iterable[tuple[Plane, NDArray[Any]]]:
    for plane, labels in planes:
        yield plane, np.where(labels > 0, labels.astype(np.int64) + by, 0)
