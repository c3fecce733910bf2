"""Segment prompted objects, plane by plane, into one label array."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._cli.console import progress
from napari_sam._cli.label_images import paint, smallest_dtype
from napari_sam._cli.prompts_file import PromptedObject

if TYPE_CHECKING:
    from napari_sam.session import Session
    from napari_sam.types import Prediction, Prompts

PlaneIndex = tuple[int, ...]

# Prompts decoded between two steps of the progress bar.
PROMPTS_AT_ONCE = 16


def by_plane(
    session: "Session", objects: Sequence[PromptedObject]
) -> dict[PlaneIndex, list[PromptedObject]]:
    """Sort objects by plane, and refuse those that do not fit, before any long work.

    Raises
    ------
    ValueError
        If there is no such plane, or a prompt lies outside it.
    """
    from napari_sam.prompting import check_prompts

    found: dict[PlaneIndex, list[PromptedObject]] = {}
    for one in objects:
        index = session.check_plane(one.plane)
        check_prompts(one.prompts, session.plane_size)
        found.setdefault(index, []).append(one)
    return dict(sorted(found.items()))


def predict_planes(
    session: "Session",
    planes: Mapping[PlaneIndex, Sequence[PromptedObject]],
    what: str = "Segmenting",
) -> dict[PlaneIndex, list["Prediction"]]:
    """Segment all objects of each plane, with a progress bar.

    Parameters
    ----------
    session : Session
    planes : mapping
        As `by_plane` returns them.
    what : str
        Shown with the bar.

    Returns
    -------
    dict of plane to list of Prediction
        In the order of the objects.
    """
    found: dict[PlaneIndex, list[Prediction]] = {}
    with progress(what, sum(len(objects) for objects in planes.values())) as step:
        for index, objects in planes.items():
            found[index] = []
            for first in range(0, len(objects), PROMPTS_AT_ONCE):
                some = [o.prompts for o in objects[first : first + PROMPTS_AT_ONCE]]
                found[index] += _predict(session, index, some)
                step(len(some))
    return found


def _predict(
    session: "Session", index: PlaneIndex, prompts: Sequence["Prompts"]
) -> list["Prediction"]:
    """Answer prompts of a plane together, or each by a closer look of its own."""
    if session.sharp.mode == "off" and not session.is_large:
        return session.predictor.predict_batch(session.embed(index), prompts)
    size = session.plane_size
    return [session.segment(one, index).in_plane(size) for one in prompts]


def label_planes(
    session: "Session",
    planes: Mapping[PlaneIndex, Sequence[PromptedObject]],
    predictions: Mapping[PlaneIndex, Sequence["Prediction"]],
) -> dict[PlaneIndex, NDArray[Any]]:
    """Make a label image of each plane.

    Returns
    -------
    dict of plane to ndarray of shape (H, W), unsigned
        In the smallest type that holds the labels of all planes.
    """
    dtype = smallest_dtype(max(o.label for group in planes.values() for o in group))
    return {
        index: paint(
            zip((o.label for o in group), predictions[index], strict=True),
            session.plane_size,
        ).astype(dtype)
        for index, group in planes.items()
    }


def assemble(
    session: "Session", planes: Mapping[PlaneIndex, NDArray[Any]]
) -> NDArray[Any]:
    """Put label images of planes into an array of the image's shape.

    Parameters
    ----------
    session : Session
    planes : mapping of plane to ndarray of shape (H, W)
        At least one.

    Returns
    -------
    ndarray
        Of the image's shape without colour; 0 in the other planes.
    """
    axes = session.axes
    shape = session.image.shape[: len(axes.sliced) + 2]
    labels = np.zeros(shape, next(iter(planes.values())).dtype)
    for index, plane in planes.items():
        put_plane(session, labels, index, plane)
    return labels


def put_plane(
    session: "Session", labels: NDArray[Any], index: PlaneIndex, plane: NDArray[Any]
) -> None:
    """Write a plane (H, W) into an array of the image's shape without colour."""
    rows, columns = session.axes.plane
    place: list[int | slice] = [slice(None)] * labels.ndim
    for axis, position in zip(session.axes.sliced, index, strict=True):
        place[axis] = position
    labels[tuple(place)] = plane.T if rows > columns else plane
