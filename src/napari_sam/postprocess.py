"""Morphology on label arrays: masks made tidy, in physical units.

Each function returns a new array of the shape and dtype of its first argument, and
raises ValueError if an argument is wrong. These arguments mean the same everywhere:

labels : ndarray of shape (..., row, column), bool or integer
    A mask or a label image of one axis or more. Each id but 0 is a label, negative
    ids too. All axes are space: give a time series one time point after the other.
spacing : sequence of float, optional
    Size of a pixel along each axis, in µm, mm or any unit; 1 by default. The size of
    an object is its number of pixels times the product of the spacing.
radius : float
    Euclidean distance in the unit of the spacing between pixel centres. One shorter
    than the spacing of an axis does nothing along it.
only : int or iterable of int, optional
    Ids to work on; the others stay as they are. All ids by default.
drop_vanished : bool, optional
    A label of which nothing would be left stays whole, unless this is True.

Each label is worked on by itself. It **grows into background only**, never over
another label (but see `smooth`); the nearest label gets a pixel, of equally near ones
the lowest id. The **border of the image** is no edge of an object: nothing is eroded
from there. Parts are connected through faces, edges and corners (8 neighbours in 2D,
26 in 3D), holes through faces only (4 and 6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from operator import index
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

_Labels: TypeAlias = NDArray[Any]
_Mask: TypeAlias = NDArray[np.bool_]
_Spacing: TypeAlias = Sequence[float] | None
_Only: TypeAlias = int | Iterable[int] | None
_Box: TypeAlias = tuple[slice, ...]
# From a label's mask in a box to how strongly it wants each pixel there. Its own it
# keeps from 1 on; the rest and the background go to the strongest above 0, if any.
_Wish: TypeAlias = Callable[[_Mask, _Box], NDArray[Any]]

# Rounding must decide neither what lies at just the radius, or is of just the size,
# nor a tie (the strengths compared there are in single precision).
_EXCESS = 1 + 1e-9
_EXCESS_TIE = 1 + 1e-6


def fill_holes(
    labels: _Labels,
    max_size: float | None = None,
    *,
    axis: int | None = None,
    spacing: _Spacing = None,
    only: _Only = None,
) -> _Labels:
    """Fill the background that a label encloses; other labels in it stay.

    A bay open to the image border is no hole. Of several labels around a pixel, the
    one with the smallest hole gets it.

    Parameters
    ----------
    max_size : float, optional
        Largest hole to fill, what lies in it included: a volume, or an area in 2D
        and with `axis`. All holes by default.
    axis : int, optional
        Fill each plane across this axis by itself, so also a tube along the axis. By
        default a hole is closed on all sides.

    Examples
    --------
    >>> fill_holes(np.array([[3, 3, 3], [3, 0, 3], [3, 3, 3]]))[1].tolist()
    [3, 3, 3]
    """
    job = _Job.read(labels, spacing, only)
    ndim, pixel = job.labels.ndim, math.prod(job.spacing)
    if axis is not None:
        if not (isinstance(axis, Integral) and -ndim <= axis < ndim):
            raise ValueError(f"axis must be one of {ndim} axes, got {axis!r}.")
        pixel /= job.spacing[axis]
    size = math.inf if max_size is None else _positive("max_size", max_size)
    limit = size / pixel * _EXCESS

    def wish(mask: _Mask, box: _Box) -> NDArray[Any]:
        if axis is None:
            return _hole_strength(mask, limit)
        planes = np.moveaxis(mask, axis, 0)
        return np.stack([_hole_strength(p, limit) for p in planes], axis)

    return _apply(job, wish)


def remove_small_objects(
    labels: _Labels,
    min_size: float,
    *,
    whole_objects: bool = False,
    spacing: _Spacing = None,
    only: _Only = None,
) -> _Labels:
    """Remove parts smaller than a size, and with them labels of small parts only.

    Parameters
    ----------
    min_size : float
        Smallest part to keep: an area in 2D, a volume in 3D.
    whole_objects : bool, optional
        Compare all parts of a label together, and keep all or none of them.
    """
    job = _Job.read(labels, spacing, only)
    pixels = _positive("min_size", min_size) / math.prod(job.spacing)

    def wish(mask: _Mask, box: _Box) -> NDArray[Any]:
        parts = mask.astype(np.intp) if whole_objects else _parts(mask)
        sizes = np.bincount(parts[mask])
        return np.asarray(sizes[parts] * _EXCESS >= pixels)

    return _apply(job, wish, drop=True)


def keep_largest(labels: _Labels, count: int = 1, *, only: _Only = None) -> _Labels:
    """Keep the largest connected parts of each label.

    Parameters
    ----------
    count : int, optional
        Number of parts to keep; of equally large ones, those that come first.
    """
    job = _Job.read(labels, None, only)
    if _positive("count", count) % 1:
        raise ValueError(f"count must be a whole number, got {count!r}.")

    def wish(mask: _Mask, box: _Box) -> NDArray[Any]:
        parts = _parts(mask)
        order = np.argsort(-np.bincount(parts.ravel())[1:], kind="stable") + 1
        return np.isin(parts, order[: int(count)])

    return _apply(job, wish)


def keep_at(labels: _Labels, points: ArrayLike, *, only: _Only = None) -> _Labels:
    """Keep the connected parts that points lie on, such as the prompted ones.

    A label that no point lies on stays whole.

    Parameters
    ----------
    points : array_like of shape (N, labels.ndim)
        In pixels of the array, centres at integers; all within the image.

    Examples
    --------
    >>> keep_at(np.array([True, False, True, True]), [[2.4]]).tolist()
    [False, False, True, True]
    """
    job = _Job.read(labels, None, only)
    touched = np.zeros(job.labels.shape, dtype=bool)
    touched[tuple(_check_points(points, touched.shape).T)] = True

    def wish(mask: _Mask, box: _Box) -> NDArray[Any]:
        parts = _parts(mask)
        return mask & np.isin(parts, parts[touched[box]])

    return _apply(job, wish)


def erode(
    labels: _Labels,
    radius: float,
    *,
    drop_vanished: bool = False,
    spacing: _Spacing = None,
    only: _Only = None,
) -> _Labels:
    """Take a margin off each label, also where it meets another one."""
    job = _Job.read(labels, spacing, only)
    far = _positive("radius", radius) * _EXCESS
    return _apply(job, lambda mask, _: job.distance(~mask) > far, drop_vanished)


def dilate(
    labels: _Labels, radius: float, *, spacing: _Spacing = None, only: _Only = None
) -> _Labels:
    """Put a margin of background pixels around each label.

    Examples
    --------
    >>> dilate(np.array([7, 0, 0, 0, 9]), 4, spacing=[2]).tolist()
    [7, 7, 7, 9, 9]
    """
    job = _Job.read(labels, spacing, only)
    far = _positive("radius", radius) * _EXCESS

    def wish(mask: _Mask, box: _Box) -> NDArray[Any]:
        distance = job.distance(mask)
        return (distance <= far) / (1 + distance / far)

    return _apply(job, wish, reach=far)


def opening(
    labels: _Labels,
    radius: float,
    *,
    drop_vanished: bool = False,
    spacing: _Spacing = None,
    only: _Only = None,
) -> _Labels:
    """Remove what is thinner than a ball: spurs, bridges and specks."""
    job = _Job.read(labels, spacing, only)
    far = _positive("radius", radius) * _EXCESS

    def wish(mask: _Mask, box: _Box) -> NDArray[Any]:
        return job.distance(job.distance(~mask) > far) <= far

    return _apply(job, wish, drop_vanished)


def closing(
    labels: _Labels, radius: float, *, spacing: _Spacing = None, only: _Only = None
) -> _Labels:
    """Fill what no ball fits in, in the bounding box of a label: cracks, bays, gaps."""
    job = _Job.read(labels, spacing, only)
    far = _positive("radius", radius) * _EXCESS

    def wish(mask: _Mask, box: _Box) -> NDArray[Any]:
        distance = job.distance(mask)
        closed = job.distance(distance > far) > far
        # What is near the image border must not stick to it.
        inside = np.zeros_like(mask)
        inside[ndimage.find_objects(mask.astype(np.uint8))[0]] = True
        return (closed & inside) / (1 + distance / far)

    return _apply(job, wish, reach=far)


def smooth(
    labels: _Labels, sigma: float, *, spacing: _Spacing = None, only: _Only = None
) -> _Labels:
    """Round off each label and keep its size.

    Its mask is blurred, and the brightest pixels, as many as before, are the new one.
    Labels that touch exchange pixels to straighten their common border.

    Parameters
    ----------
    sigma : float
        Standard deviation of the Gaussian.
    """
    job = _Job.read(labels, spacing, only)
    width = _positive("sigma", sigma)
    # A wider one than the image is as good as flat, and slow.
    blur = np.minimum(np.divide(width, job.spacing), job.labels.shape)

    def wish(mask: _Mask, box: _Box) -> NDArray[Any]:
        indicator = mask.astype(np.float32)
        bright = ndimage.gaussian_filter(indicator, blur, mode="nearest", truncate=4)
        free = mask | (job.labels[box] == 0)
        size = np.count_nonzero(mask)
        # Thresholds that keep the size: of pixels to have for sure, and of all.
        least = np.partition(bright[free], -size)[-size]
        fair = np.partition(bright, -size, axis=None)[-size]
        wanted = bright * _EXCESS_TIE >= np.where(free, least, fair)
        return np.where(wanted, bright / fair, 0)

    return _apply(job, wish, reach=4 * width)


@dataclass(frozen=True)
class _Job:
    """Checked arguments: the array, its labels with their boxes, the spacing."""

    labels: _Labels
    objects: list[tuple[int, _Box]]
    spacing: tuple[float, ...]

    @classmethod
    def read(cls, labels: _Labels, spacing: _Spacing, only: _Only) -> _Job:
        labels = np.asarray(labels)
        if labels.dtype.kind not in "bui":
            raise ValueError(f"labels must be bool or integer, got {labels.dtype}.")
        if labels.ndim == 0 or labels.size == 0:
            raise ValueError(f"labels must have axes and pixels, got {labels.shape}.")
        widths = _check_spacing(spacing, labels.ndim)
        return cls(labels, _select(_find_objects(labels), only), widths)

    def distance(self, mask: _Mask) -> NDArray[np.float64]:
        """Distance of each pixel to the nearest one of the mask."""
        if not mask.any():
            return np.full(mask.shape, np.inf)
        return np.asarray(ndimage.distance_transform_edt(~mask, self.spacing))

    def around(self, reach: float) -> list[tuple[int, _Box]]:
        """Objects in boxes that show what is within reach, and a pixel more."""
        more = 1 + np.minimum(np.divide(reach, self.spacing), self.labels.shape)

        def widen(box: _Box) -> _Box:
            sides = zip(box, more.astype(int), strict=True)
            return tuple(slice(max(0, s.start - p), s.stop + p) for s, p in sides)

        return [(label, widen(box)) for label, box in self.objects]


def _apply(job: _Job, wish: _Wish, drop: bool = False, reach: float = 0) -> _Labels:
    """Let each label keep, give up and claim pixels, as far as it reaches."""
    labels, result = job.labels, job.labels.copy()
    claims = np.zeros(labels.shape, labels.dtype)
    strongest = np.zeros(labels.shape, np.float32)
    objects = job.around(reach)
    for label, box in objects:
        mask = labels[box] == label
        strength = wish(mask, box)
        result[box][mask & (strength < 1)] = 0
        # In order of ids, so that of equal ones the lowest id is first and stays.
        wins = strength > strongest[box] * _EXCESS_TIE
        claims[box][wins] = label
        strongest[box][wins] = strength[wins]
    np.copyto(result, claims, where=result == 0)
    # To bring a label back can take the last pixels of one that had moved there.
    while not drop:
        lost = [(x, box) for x, box in objects if not (result[box] == x).any()]
        for label, box in lost:
            result[box][labels[box] == label] = label
        drop = not lost
    return result


def _parts(mask: _Mask) -> NDArray[Any]:
    """Return the connected parts of a mask, numbered from 1."""
    return ndimage.label(mask, np.ones((3,) * mask.ndim))[0]


def _hole_strength(mask: _Mask, limit: float) -> NDArray[np.float64]:
    """1 on the mask, less in larger holes, 0 outside and in holes over the limit."""
    # An axis of one pixel cannot close a hole: the image is what the others span.
    around = np.pad(~np.atleast_1d(mask.squeeze()), 1, constant_values=True)
    regions, _ = ndimage.label(around)
    sizes = np.bincount(regions.ravel())
    strength = np.where(sizes <= limit, 1 / np.maximum(sizes, 1), 0)
    # The padding is one region, and of a line it is both ends.
    strength[[0, *regions.flat[[0, -1]]]] = 1, 0, 0
    inner = regions[(slice(1, -1),) * regions.ndim]
    return strength[inner].reshape(mask.shape)


def _find_objects(labels: _Labels) -> list[tuple[int, _Box]]:
    """Ids in ascending order, each with its bounding box."""
    # A list with a place for every id up to the highest, unless that would be long.
    if labels.min() >= 0 and labels.max() < 1 << 16:
        boxes = ndimage.find_objects(labels.astype(np.int32))
        return [(x, box) for x, box in enumerate(boxes, 1) if box is not None]
    ids, places = np.unique(labels, return_inverse=True)
    boxes = ndimage.find_objects(places.reshape(labels.shape) + 1)
    return [(x, box) for x, box in zip(ids.tolist(), boxes, strict=True) if x != 0]


def _select(objects: list[tuple[int, _Box]], only: _Only) -> list[tuple[int, _Box]]:
    if only is None:
        return objects
    try:
        wanted = set(map(index, only if isinstance(only, Iterable) else (only,)))
    except TypeError:
        raise ValueError(f"only must be one or more ids, got {only!r}.") from None
    if unknown := wanted.difference(x for x, _ in objects):
        raise ValueError(f"only must name ids in labels, got {min(unknown)}.")
    return [(x, box) for x, box in objects if x in wanted]


def _positive(name: str, value: float) -> float:
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not (real and 0 < value < math.inf):
        raise ValueError(f"{name} must be a positive number, got {value!r}.")
    return float(value)


def _check_spacing(spacing: _Spacing, ndim: int) -> tuple[float, ...]:
    widths = (1.0,) * ndim if spacing is None else spacing
    if np.shape(widths) != (ndim,):
        raise ValueError(f"spacing must be {ndim} numbers, got {spacing!r}.")
    return tuple(_positive("spacing", width) for width in widths)


def _check_points(points: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.intp]:
    """(N, ndim) indices of the pixels that points lie in."""
    numbers = np.asarray(points)
    if numbers.size == 0:
        return np.zeros((0, len(shape)), np.intp)
    if numbers.dtype.kind not in "iuf" or numbers.shape[1:] != (len(shape),):
        raise ValueError(f"points must have shape (N, {len(shape)}), got {points!r}.")
    pixels = np.floor(numbers + 0.5)
    if not ((pixels >= 0) & (pixels < shape)).all():
        raise ValueError(f"points must be in the image {shape}, got {points!r}.")
    return pixels.astype(np.intp)
