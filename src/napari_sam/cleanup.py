"""Clean-up as a list of steps, which can be saved, previewed and run with progress.

A step is one function of `napari_sam.postprocess` with its parameters, in physical
units. Only the boxes of the objects that a step works on are computed, and those of
objects that cannot meet are computed one after the other, so that there is progress,
and a stop, within a step too.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from napari_sam import postprocess
from napari_sam._cleanup_steps import (
    OPERATIONS,
    CleanupStep,
    Parameter,
    read_steps,
    write_steps,
)
from napari_sam._generators import result_of
from napari_sam._label_regions import Box, LabelRegions, Labels

__all__ = [
    "OPERATIONS",
    "Cleaned",
    "CleanupProgress",
    "CleanupStep",
    "Parameter",
    "apply_steps",
    "changed_box",
    "clean_up",
    "read_steps",
    "write_steps",
]

_NO_SPACING = ("keep_largest", "split_components")


@dataclass(frozen=True)
class CleanupProgress:
    """How far a clean-up is.

    Parameters
    ----------
    step : int
        Index of the step.
    done, total : int
        Parts of this step that are done, and all of them: planes, or groups of
        objects.
    """

    step: int
    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Cleaned:
    """Result of a clean-up.

    Parameters
    ----------
    labels : ndarray
        Of the shape and dtype of what was cleaned.
    box : tuple of slice, optional
        Smallest box of all pixels that changed; None if none did.
    """

    labels: Labels
    box: Box | None


def apply_steps(
    labels: Labels,
    steps: Sequence[CleanupStep],
    spacing: Sequence[float] | None = None,
    selected: Iterable[int] = (),
    this: int | None = None,
) -> Generator[CleanupProgress, None, Cleaned]:
    """Apply steps to a label image, one after the other.

    Parameters
    ----------
    labels : ndarray of shape ((plane,) row, column), bool or integer
        Not changed.
    steps : sequence of CleanupStep
    spacing : sequence of float, optional
        Size of a pixel along each axis, in µm, mm or any unit; 1 by default.
    selected : iterable of int
        Labels of steps for "selected".
    this : int, optional
        Label of steps for "this". Labels that are not, or no longer, in the image are
        passed over.

    Yields
    ------
    CleanupProgress
        After each part of a step. Closing the generator stops the work.

    Returns
    -------
    Cleaned
        The value of the generator; see `clean_up`.

    Raises
    ------
    ValueError
        At the first step of the generator, if an argument is not as above, or "this"
        is wanted but not given; later, if new labels do not fit the dtype.
    """
    regions = LabelRegions.read(labels, spacing, None)
    labels = regions.labels
    steps = _checked_steps(steps)
    wanted = {"this": [] if this is None else [int(this)], "selected": [*selected]}
    if this is None and any(step.labels == "this" for step in steps):
        raise ValueError("this must be a label, as there is a step for this label.")
    result = labels.copy()
    for number, step in enumerate(steps):
        only = None if step.labels == "all" else {*map(int, wanted[step.labels])}
        views = [*_views(result, regions.spacing, step.dimensions)]
        done = 0
        for view, widths in views:
            parts = [*_parts(view, step, widths, only)]
            # Planes are counted, or, where there is one view only, groups of objects.
            total = len(parts) if len(views) == 1 else len(views)
            for box, ids in parts:
                view[box] = _run(step, view[box], widths, ids)
                if len(views) == 1:
                    done += 1
                    yield CleanupProgress(number, done, total)
            if len(views) > 1:
                done += 1
                yield CleanupProgress(number, done, total)
    return Cleaned(result, changed_box(labels, result))


def clean_up(
    labels: Labels,
    steps: Sequence[CleanupStep],
    spacing: Sequence[float] | None = None,
    selected: Iterable[int] = (),
    this: int | None = None,
) -> Labels:
    """Apply steps to a label image: `apply_steps`, run to its end.

    Parameters
    ----------
    labels, steps, spacing, selected, this
        As in `apply_steps`.

    Returns
    -------
    ndarray of the shape and dtype of `labels`

    Raises
    ------
    ValueError
        As `apply_steps`.

    Examples
    --------
    >>> steps = [CleanupStep("fill_holes"), CleanupStep("erode", {"radius": 1})]
    >>> ring = np.pad(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]), 1)
    >>> np.argwhere(clean_up(ring, steps)).tolist()
    [[2, 2]]
    """
    work = apply_steps(labels, steps, spacing, selected, this)
    return result_of(work).labels


def _checked_steps(steps: Sequence[CleanupStep]) -> list[CleanupStep]:
    found = [*steps] if isinstance(steps, Iterable) else [steps]
    for step in found:
        if not isinstance(step, CleanupStep):
            raise ValueError(f"steps must be a list of CleanupStep, got {step!r}.")
    return found


def _views(
    labels: Labels, spacing: tuple[float, ...], dimensions: int
) -> Iterator[tuple[Labels, tuple[float, ...]]]:
    """Parts that a step works on by themselves, with the spacing of their axes."""
    if dimensions == 3 or labels.ndim <= 2:
        yield labels, spacing
        return
    for index in np.ndindex(labels.shape[:-2]):
        yield labels[index], spacing[-2:]


def _parts(
    labels: Labels,
    step: CleanupStep,
    spacing: tuple[float, ...],
    only: set[int] | None,
) -> Iterator[tuple[Box, list[int]]]:
    """Yield groups of labels that cannot meet another one, each with its box."""
    regions = LabelRegions.read(labels, spacing, None)
    # A pixel more, so that the edge of the box is no edge of the image to them.
    objects = [
        (label, tuple(slice(s.start, min(s.stop, n)) for s, n in _sides(box, labels)))
        for label, box in regions.around(step.reach)
        if only is None or label in only
    ]
    if not objects:
        return
    if step.operation == "split_components":
        # New ids go on from the highest of the image.
        yield (slice(None),) * labels.ndim, [label for label, _ in objects]
        return
    sides = np.array([[(s.start, s.stop) for s in box] for _, box in objects])
    for group in _groups(sides):
        low, high = sides[group, :, 0].min(axis=0), sides[group, :, 1].max(axis=0)
        box = tuple(map(slice, low.tolist(), high.tolist()))
        yield box, [objects[i][0] for i in group]


def _sides(box: Box, labels: Labels) -> Iterator[tuple[slice, int]]:
    return zip(box, labels.shape, strict=True)


def _groups(sides: NDArray[Any]) -> list[NDArray[np.intp]]:
    """Group the indices of boxes that overlap, directly or through others.

    `sides` has shape (boxes, axes, 2), the low and high edges.
    """
    order = np.argsort(sides[:, 0, 0], kind="stable")
    starts = sides[order, 0, 0]
    pairs: list[tuple[int, int]] = []
    for place, i in enumerate(order.tolist()):
        # Only boxes that begin before this one ends along the first axis can meet it.
        last = np.searchsorted(starts, sides[i, 0, 1])
        others = order[place + 1 : last]
        meet = (sides[others, :, 0] < sides[i, :, 1]) & (
            sides[others, :, 1] > sides[i, :, 0]
        )
        pairs += [(i, j) for j in others[meet.all(axis=1)].tolist()]
    rows, columns = np.array(pairs, int).reshape(-1, 2).T
    shape = (len(sides), len(sides))
    graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    count, group = connected_components(graph, directed=False)
    return [np.flatnonzero(group == number) for number in range(count)]


def _run(
    step: CleanupStep, labels: Labels, spacing: tuple[float, ...], ids: list[int]
) -> Labels:
    function = getattr(postprocess, step.operation)
    keywords: dict[str, Any] = dict(step.parameters)
    if step.operation not in _NO_SPACING:
        keywords["spacing"] = spacing
    cleaned: Labels = function(labels, only=ids, **keywords)
    return cleaned


def changed_box(before: Labels, after: Labels) -> Box | None:
    """Smallest box of the pixels in which two label images of a shape differ."""
    differs = before != after
    box = []
    for axis in range(differs.ndim):
        others = tuple(other for other in range(differs.ndim) if other != axis)
        (places,) = np.nonzero(differs.any(axis=others))
        if not len(places):
            return None
        box.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(box)
