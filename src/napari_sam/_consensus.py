"""Objects of a stack as two of its three slicings (XY, XZ, YZ) find them.

What leaks or is lost in one slicing is often found in the others, where the same place
is seen with other surroundings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sam._mask_boxes import tight_box
from napari_sam._propagation_options import PropagationOptions
from napari_sam._seeds import Seed, is_stop
from napari_sam.stack_axes import StackAxes
from napari_sam.types import Plane, Prompts

# Planes across slices farther apart than that show steps in place of outlines.
MAX_ANISOTROPY = 2.0

Seeds = Mapping[int, Mapping[int, Seed]]
Labels = NDArray[Any]


class Sliceable(Protocol):
    """What a session offers, as far as a consensus needs it."""

    @property
    def axes(self) -> StackAxes: ...
    def cut(self, plane_axes: Sequence[int]) -> Sliceable: ...
    def segment_objects(
        self,
        seeds: Mapping[int, Mapping[Plane, Seed]],
        along: int,
        options: PropagationOptions,
        consensus: bool = False,
    ) -> Labels: ...


@dataclass(frozen=True, eq=False)
class Slicing:
    """Which of three axes of an image is followed, and where the stack is in it.

    Parameters
    ----------
    image : Sliceable
    along : int
        Of the sliced axes, the one that is followed.
    fixed : tuple of int
        Index along each sliced axis; of no meaning at `along`.
    """

    image: Sliceable
    along: int
    fixed: tuple[int, ...]

    @property
    def axis(self) -> int:
        """Axis of the image that is followed."""
        return self.image.axes.sliced[self.along]

    @property
    def axes(self) -> list[int]:
        """Axes of the image that the stack has, in order."""
        return sorted((self.axis, *self.image.axes.plane))

    def plane(self, position: int) -> Plane:
        """Index of a plane as `Session.segment` takes it."""
        index = list(self.fixed)
        index[self.along] = position
        return index[0] if len(index) == 1 else tuple(index)

    def across(self, axis: int) -> Slicing:
        """Cut the same stack along another of its axes."""
        rows, columns = (one for one in self.axes if one != axis)
        image = self.image.cut((rows, columns))
        place = dict(zip(self.image.axes.sliced, self.fixed, strict=True))
        fixed = tuple(place.get(one, 0) for one in image.axes.sliced)
        return Slicing(image, image.axes.sliced.index(axis), fixed)

    def turned(self, options: PropagationOptions, other: Slicing) -> PropagationOptions:
        """Options of this slicing, with the spacing in the order of another one."""
        if options.spacing is None:
            return options
        order = (self.axis, *self.image.axes.plane)
        of = dict(zip(order, options.spacing, strict=True))
        rows, columns = other.image.axes.plane
        return replace(options, spacing=(of[other.axis], of[rows], of[columns]))


def check_nearly_isotropic(options: PropagationOptions) -> None:
    """Refuse a spacing at which planes across the slices show no outlines.

    Raises
    ------
    ValueError
    """
    spacing = options.spacing or (1.0, 1.0, 1.0)
    if max(spacing) > MAX_ANISOTROPY * min(spacing):
        raise ValueError(
            f"consensus must be False unless the largest spacing is at most "
            f"{MAX_ANISOTROPY:g} times the smallest, got spacing {spacing}."
        )


def agreed(
    labels: Labels, slicing: Slicing, seeds: Seeds, options: PropagationOptions
) -> Labels:
    """Ask the two other slicings, and keep what two of three say.

    The seeds of the others are boxes around the objects in one plane each: of those
    through the middle of the user's own seeds, which are surest.

    Parameters
    ----------
    labels : ndarray of shape (Z, Y, X), unsigned
        Of `segment_objects`.
    slicing : Slicing
        How they were found.
    seeds : dict of object id to {position: seed}
    options : PropagationOptions

    Returns
    -------
    ndarray of shape (Z, Y, X)
        In seed planes, and where seeds say that an object is not, as before.
    """
    votes = [labels]
    for axis in slicing.image.axes.plane:
        other = slicing.across(axis)
        boxes = {
            key: {other.plane(position): Prompts(box=box)}
            for key, position, box in _boxes(labels, slicing, seeds, axis)
        }
        if not boxes:  # no object was found at all
            return labels
        votes.append(
            other.image.segment_objects(
                boxes, other.along, slicing.turned(options, other)
            )
        )
    result = majority(*votes)
    where = slicing.axes.index(slicing.axis)
    _obey(np.moveaxis(result, where, 0), np.moveaxis(labels, where, 0), seeds)
    return result


def majority(first: Labels, second: Labels, third: Labels) -> Labels:
    """Label that at least two of three images have in a voxel, 0 if all differ.

    Examples
    --------
    >>> import numpy as np
    >>> majority(np.array([1, 1, 1]), np.array([1, 0, 2]), np.array([0, 0, 3]))
    array([1, 0, 0])
    """
    by_two = np.where(second == third, second, 0)
    agreed = (first == second) | (first == third)
    result: Labels = np.where(agreed, first, by_two).astype(first.dtype)
    return result


def _boxes(
    labels: Labels, slicing: Slicing, seeds: Seeds, axis: int
) -> Iterator[tuple[int, int, list[int]]]:
    """Id, position along an axis, and box in that plane, of each object."""
    where = slicing.axes.index(slicing.axis)
    index = slicing.axes.index(axis)
    for key, own in seeds.items():
        mask = labels == key
        rest = tuple(i for i in range(mask.ndim) if i != index)
        given = mask.take([p for p, seed in own.items() if not is_stop(seed)], where)
        # Overlapped in all of its own planes: then all that is left of it counts.
        sizes = (given if given.any() else mask).sum(axis=rest)
        if not sizes.any():
            continue
        widest = np.flatnonzero(sizes == sizes.max())
        position = int(widest[len(widest) // 2])
        yield key, position, [*tight_box(mask.take(position, index))]


def _obey(result: Labels, first: Labels, seeds: Seeds) -> None:
    """Put back, in place, what the user's seeds say; planes are along axis 0."""
    for key, own in seeds.items():
        positions = sorted(own)
        shown = [p for p in positions if not is_stop(own[p])]
        barred = set(range(len(first))) - set(_reached(positions, shown, len(first)))
        for plane in barred.union(shown):
            found = result[plane]
            found[found == key] = 0
            if plane in own:
                found[first[plane] == key] = key


def _reached(positions: list[int], shown: Iterable[int], count: int) -> Iterator[int]:
    """Planes to which a way leads from a seed that shows the object."""
    for seed in shown:
        yield from range(
            max((p + 1 for p in positions if p < seed), default=0),
            min((p for p in positions if p > seed), default=count),
        )
