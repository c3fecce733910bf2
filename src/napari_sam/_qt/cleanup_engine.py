"""What the worker does to clean labels; no Qt, no layers."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._label_changes import PlaneChange, plane_change
from napari_sam._qt.progress import Progress
from napari_sam.cleanup import CleanupStep, apply_steps


@dataclass(frozen=True, eq=False)
class Cleaning:
    """Labels that are to be cleaned.

    Parameters
    ----------
    labels : array of shape (..., row, column), int
        The user's own: copied by the worker before anything else. Of more than three
        axes the last three are space.
    steps : sequence of CleanupStep
    spacing : tuple of float
        Along each axis.
    selected : frozenset of int
        Labels of steps for "selected".
    this : int, optional
        Label of steps for "this".
    """

    labels: Any
    steps: Sequence[CleanupStep]
    spacing: tuple[float, ...]
    selected: frozenset[int] = frozenset()
    this: int | None = None


def cleaned(
    request: Cleaning,
) -> Generator[Progress, None, tuple[NDArray[Any], NDArray[Any]]]:
    """Clean labels.

    Parameters
    ----------
    request : Cleaning

    Yields
    ------
    Progress

    Returns
    -------
    tuple of ndarray
        Labels before and after.
    """
    yield Progress(0, "Reading the labels")
    before = np.array(request.labels)
    after = np.empty_like(before)
    volumes = list(np.ndindex(before.shape[:-3]))
    count = len(volumes) * max(1, len(request.steps))
    for number, index in enumerate(volumes):
        work = apply_steps(
            before[index],
            request.steps,
            request.spacing[-before[index].ndim :],
            request.selected,
            request.this,
        )
        while True:
            try:
                step = next(work)
            except StopIteration as end:
                after[index] = end.value.labels
                break
            name = words(request.steps[step.step].operation)
            parts = number * len(request.steps) + step.step + step.done / step.total
            yield Progress(parts / count, name)
    return before, after


def changes(request: Cleaning) -> Generator[Progress, None, tuple[PlaneChange, ...]]:
    """Clean labels, and return what that changes, plane by plane.

    Parameters
    ----------
    request : Cleaning

    Yields
    ------
    Progress

    Returns
    -------
    tuple of PlaneChange
        Of the planes of the last two axes.
    """
    before, after = yield from cleaned(request)
    axes = (before.ndim - 2, before.ndim - 1)
    found = []
    for index in np.ndindex(before.shape[:-2]):
        old, new = before[index], after[index]
        change = plane_change(axes, index, old, new, old != new)
        if change is not None:
            found.append(change)
    return tuple(found)


def words(operation: str) -> str:
    """Name of an operation as a user reads it.

    Examples
    --------
    >>> words("fill_holes")
    'Fill holes'
    """
    return operation.replace("_", " ").capitalize()
