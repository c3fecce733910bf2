"""Objects of a stack as two of its three slicings (XY, XZ, YZ) find them.

What leaks or is lost in one slicing is often found in the others, where the same place
is seen with other surroundings.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._generators import mapped
from napari_sam._mask_boxes import tight_box
from napari_sam._propagation_options import PropagationOptions
from napari_sam._seeds import Seed, is_stop
from napari_sam._stack_along import StackAlong
from napari_sam.types import Prompts

# Planes across slices farther apart than that show steps in place of outlines.
MAX_ANISOTROPY = 2.0

Seeds = Mapping[int, Mapping[int, Seed]]
Labels = NDArray[Any]
Progress = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Consensus:
    """Objects of a stack as two of its three slicings find them.

    Parameters
    ----------
    labels : ndarray of shape (Z, Y, X), unsigned
    planes : ndarray of shape (N, H, W), unsigned
        The same voxels, plane by plane as they were followed.
    scores : dict of object id to ndarray of shape (N,), float
        For each plane that was followed, how well the three slicings agree: the mean
        of the Dice coefficients of pairs of them, each weighed by its voxels. 1 in
        planes where none has the object.
    """

    labels: Labels
    planes: Labels
    scores: Mapping[int, NDArray[np.float64]]


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


def collected(
    stack: StackAlong, seeds: Seeds, options: PropagationOptions
) -> Generator[None, None, Labels]:
    """Follow objects through a whole stack; one step for each plane.

    Returns
    -------
    ndarray of shape (Z, Y, X), unsigned
    """
    volume = stack.empty(np.min_scalar_type(max(seeds)))
    own = {key: dict(one) for key, one in seeds.items()}
    for plane, labels in stack.follow_labels(own, stack.positions(None), options):
        stack.put(volume, plane, labels)
        yield
    return volume


def agreed(
    stack: StackAlong, seeds: Seeds, options: PropagationOptions
) -> Generator[Progress, None, Consensus]:
    """Ask the three slicings one after the other, and keep what two of them say.

    The seeds of the second and third are boxes around what the first has found, in one
    plane each: of those through the middle of the user's own seeds, which are surest.

    Parameters
    ----------
    stack : StackAlong
    seeds : dict of object id to {position: seed}
    options : PropagationOptions

    Yields
    ------
    tuple of int
        Planes that are done, of all three slicings, and how many there are.

    Returns
    -------
    Consensus
        In seed planes, and where seeds say that an object is not, as the first slicing.
    """
    others = [across(stack, axis) for axis in stack.image.axes.plane]
    total = sum(len(one) for one in (stack, *others))
    done = count(1)

    def progress(_: None) -> Progress:
        return next(done), total

    labels = yield from mapped(collected(stack, seeds, options), progress)
    votes = [labels]
    for other in others:
        boxes = {
            key: {position: Prompts(box=box)}
            for key, position, box in _boxes(labels, stack, seeds, other.axis)
        }
        if boxes:
            following = collected(other, boxes, turned(options, stack, other))
            found = yield from mapped(following, progress)
        else:  # no object was found at all
            found = labels
        votes.append(found.astype(labels.dtype, copy=False))
    result = majority(votes[0], votes[1], votes[2])
    along = [stack.planes_of(vote) for vote in votes]
    planes = stack.planes_of(result)
    _obey(planes, along[0], seeds)
    return Consensus(result, planes, _agreement(along, list(seeds)))


def across(stack: StackAlong, axis: int) -> StackAlong:
    """Cut the same stack along another of its axes."""
    rows, columns = (one for one in stack.axes if one != axis)
    image = stack.image.cut((rows, columns))
    place = dict(zip(stack.image.axes.sliced, stack.fixed, strict=True))
    fixed = tuple(place.get(one, 0) for one in image.axes.sliced)
    return StackAlong(image, image.axes.sliced.index(axis), fixed)


def turned(
    options: PropagationOptions, stack: StackAlong, other: StackAlong
) -> PropagationOptions:
    """Options of a stack, with the spacing in the order of another slicing."""
    if options.spacing is None:
        return options
    order = (stack.axis, *stack.image.axes.plane)
    of = dict(zip(order, options.spacing, strict=True))
    rows, columns = other.image.axes.plane
    return replace(options, spacing=(of[other.axis], of[rows], of[columns]))


def _agreement(votes: list[Labels], keys: list[int]) -> dict[int, NDArray[np.float64]]:
    """`Consensus.scores` of three label images, planes along axis 0."""
    length = max(keys) + 1
    shares = np.ones((len(votes[0]), length))
    for plane in range(len(shares)):
        one, two, three = (vote[plane] for vote in votes)
        each = [np.bincount(v.ravel(), minlength=length) for v in (one, two, three)]
        pairs = [
            np.bincount(a[a == b], minlength=length)
            for a, b in ((one, two), (two, three), (three, one))
        ]
        sizes, common = np.sum(each, axis=0), np.sum(pairs, axis=0)
        is_there = sizes > 0
        shares[plane, is_there] = common[is_there] / sizes[is_there]
    return {key: shares[:, key] for key in keys}


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
    labels: Labels, stack: StackAlong, seeds: Seeds, axis: int
) -> Iterator[tuple[int, int, list[int]]]:
    """Id, position along an axis, and box in that plane, of each object."""
    where = stack.axes.index(stack.axis)
    index = stack.axes.index(axis)
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
