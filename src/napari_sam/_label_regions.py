"""The regions of a label image: checked, found, measured and put back together.

What `napari_sam.postprocess` is made of. There, a function reads its arguments into
`LabelRegions`, says how strongly each label wants the pixels around it, and
`LabelRegions.apply` gives every pixel to one label.
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

Labels: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]
Spacing: TypeAlias = Sequence[float] | None
Only: TypeAlias = int | Iterable[int] | None
Box: TypeAlias = tuple[slice, ...]
Wish: TypeAlias = Callable[[Mask, Box], NDArray[Any]]
"""From a label's mask in a box to how strongly it wants each pixel there.

Its own it keeps from 1 on; the rest and the background go to the strongest above 0,
if any.
"""

# Rounding must decide neither what lies at just the radius, or is of just the size,
# nor a tie (the strengths compared there are in single precision).
EXCESS = 1 + 1e-9
EXCESS_TIE = 1 + 1e-6

# Of the 308 powers of ten a float has: the rest is for distances of many pixels.
_POWERS = 240


@dataclass(frozen=True)
class LabelRegions:
    """Checked arguments: the array, its labels with their boxes, the spacing.

    Parameters
    ----------
    labels : ndarray of shape (..., row, column), bool or integer
    objects : list of (int, tuple of slice)
        Ids to work on, in ascending order, each with its bounding box.
    spacing : tuple of float
        Size of a pixel along each axis, in any unit.
    """

    labels: Labels
    objects: list[tuple[int, Box]]
    spacing: tuple[float, ...]

    @classmethod
    def read(cls, labels: Labels, spacing: Spacing, only: Only) -> LabelRegions:
        """Check the arguments that all functions have; ValueError if one is wrong."""
        labels = np.asarray(labels)
        if labels.dtype.kind not in "biu":
            raise ValueError(f"labels must be bool or integer, got {labels.dtype}.")
        if labels.ndim == 0 or labels.size == 0:
            raise ValueError(f"labels must have axes and pixels, got {labels.shape}.")
        widths = _check_spacing(spacing, labels.ndim)
        return cls(labels, _select(_find_objects(labels), only), widths)

    def pixel_size(self, axis: int | None = None) -> float:
        """Area or volume of a pixel; without its length along an axis, if one is given.

        Raises ValueError if there is no such axis.
        """
        if axis is None:
            return math.prod(self.spacing)
        ndim = self.labels.ndim
        if not (isinstance(axis, Integral) and -ndim <= axis < ndim):
            raise ValueError(f"axis must be one of {ndim} axes, got {axis!r}.")
        return math.prod(self.spacing) / self.spacing[axis]

    def scale(self, far: float) -> float:
        """Return a radius, at most the diagonal of the image.

        Strengths are compared in single precision: measured by a radius far beyond the
        image, all distances in it would be equal.
        """
        sides = zip(self.labels.shape, self.spacing, strict=True)
        return min(far, math.hypot(*(count * width for count, width in sides)))

    def distance(self, mask: Mask) -> NDArray[np.float64]:
        """Distance of each pixel to the nearest one of the mask."""
        if not mask.any():
            return np.full(mask.shape, np.inf)
        return np.asarray(ndimage.distance_transform_edt(~mask, self.spacing))

    def eroded(self, mask: Mask, far: float) -> Mask:
        """Mask of the pixels farther than a radius from any outside the mask."""
        return self.distance(~mask) > far

    def dilated(self, mask: Mask, far: float) -> NDArray[np.float64]:
        """1 on the mask, less the farther from it, 0 at more than a radius."""
        distance = self.distance(mask)
        return (distance <= far) / (1 + distance / self.scale(far))

    def opened(self, mask: Mask, far: float) -> Mask:
        """Mask of the balls of a radius that lie in the mask."""
        return self.distance(self.eroded(mask, far)) <= far

    def closed(self, mask: Mask, far: float) -> NDArray[np.float64]:
        """1 on the mask, less the farther from it, 0 where a ball fits outside."""
        distance = self.distance(mask)
        full = self.distance(distance > far) > far
        # What is near the image border must not stick to it.
        inside = np.zeros_like(mask)
        inside[ndimage.find_objects(mask.astype(np.uint8))[0]] = True
        return (full & inside) / (1 + distance / self.scale(far))

    def blurred(self, mask: Mask, box: Box, sigma: float) -> NDArray[np.float32]:
        """Brightness of the blurred mask where it is bright enough, 0 elsewhere.

        As many pixels are bright enough as the mask has, counted among those it can
        have for sure, its own and the background, and among all.
        """
        # A wider one than the image is as good as flat, and slow.
        width = np.minimum(np.divide(sigma, self.spacing), self.labels.shape)
        indicator = mask.astype(np.float32)
        bright = ndimage.gaussian_filter(indicator, width, mode="nearest", truncate=4)
        free = mask | (self.labels[box] == 0)
        size = np.count_nonzero(mask)
        least = np.partition(bright[free], -size)[-size]
        fair = np.partition(bright, -size, axis=None)[-size]
        wanted = bright * EXCESS_TIE >= np.where(free, least, fair)
        return np.where(wanted, bright / fair, 0)

    def around(self, reach: float) -> list[tuple[int, Box]]:
        """Objects in boxes that show what is within reach, and a pixel more."""
        more = 1 + np.minimum(np.divide(reach, self.spacing), self.labels.shape)

        def widen(box: Box) -> Box:
            sides = zip(box, more.astype(int), strict=True)
            return tuple(slice(max(0, s.start - p), s.stop + p) for s, p in sides)

        return [(label, widen(box)) for label, box in self.objects]

    def apply(self, wish: Wish, drop: bool = False, reach: float = 0) -> Labels:
        """Let each label keep, give up and claim pixels, as far as it reaches.

        Parameters
        ----------
        wish : callable
            See `Wish`; it is called once for each object.
        drop : bool, optional
            Let a label go of which nothing is left, else bring it back whole.
        reach : float, optional
            Distance from the box of an object, in the unit of the spacing, that the
            wish is to see.

        Returns
        -------
        ndarray of the shape and dtype of `labels`
            New; `labels` stays as it is.
        """
        labels, result = self.labels, self.labels.copy()
        claims = np.zeros(labels.shape, labels.dtype)
        strongest = np.zeros(labels.shape, np.float32)
        objects = self.around(reach)
        for label, box in objects:
            mask = labels[box] == label
            strength = wish(mask, box)
            result[box][mask & (strength < 1)] = 0
            # In order of ids, so that of equal ones the lowest id is first and stays.
            wins = strength > strongest[box] * EXCESS_TIE
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

    def split(self) -> Labels:
        """Give all parts of a label but the largest ids after the highest one.

        Returns
        -------
        ndarray of the shape and dtype of `labels`

        Raises
        ------
        ValueError
            If the dtype does not hold the new ids.
        """
        labels, result = self.labels, self.labels.copy()
        dtype = labels.dtype
        most = 1 if dtype.kind == "b" else int(np.iinfo(dtype).max)
        highest = max(0, int(labels.max()))
        for label, box in self.objects:
            mask = labels[box] == label
            parts = connected_parts(mask)
            others = numbers_by_size(parts)[1:]
            first, highest = highest + 1, highest + len(others)
            if len(others) and highest <= most:
                # From the number of a part to its id: one pass, however many parts.
                ids = np.full(len(others) + 2, label, dtype)
                ids[others] = range(first, highest + 1)
                result[box][mask] = ids[parts[mask]]
        if highest > most:
            raise ValueError(
                f"labels must have a dtype that holds ids up to {highest}, got {dtype}."
            )
        return result


# Parts and holes of a mask


def connected_parts(mask: Mask) -> NDArray[Any]:
    """Return the connected parts of a mask, numbered from 1."""
    return ndimage.label(mask, np.ones((3,) * mask.ndim))[0]


def numbers_by_size(parts: NDArray[Any]) -> NDArray[np.intp]:
    """Numbers of the parts, the largest first; equally large ones in their order."""
    return np.argsort(-np.bincount(parts.ravel())[1:], kind="stable") + 1


def largest_parts(mask: Mask, count: int) -> Mask:
    """Mask of the largest parts; of equally large ones, those that come first."""
    parts = connected_parts(mask)
    return np.isin(parts, numbers_by_size(parts)[:count])


def touched_parts(mask: Mask, touched: Mask) -> Mask:
    """Mask of the parts that have a pixel in another mask."""
    parts = connected_parts(mask)
    return mask & np.isin(parts, parts[touched])


def part_sizes(mask: Mask, whole: bool) -> NDArray[np.intp]:
    """Pixels in the part that each pixel lies in, or in the whole mask; 0 outside."""
    parts = mask.astype(np.intp) if whole else connected_parts(mask)
    return np.asarray(np.bincount(parts[mask])[parts])


def hole_strength(
    mask: Mask, limit: float, axis: int | None = None
) -> NDArray[np.float64]:
    """1 on the mask, less in larger holes, 0 outside and in holes over the limit.

    The limit counts pixels. With an axis, the holes are those of each plane across it.
    """
    if axis is not None:
        planes = np.moveaxis(mask, axis, 0)
        return np.stack([hole_strength(plane, limit) for plane in planes], axis)
    # An axis of one pixel cannot close a hole: the image is what the others span.
    around = np.pad(~np.atleast_1d(mask.squeeze()), 1, constant_values=True)
    regions, _ = ndimage.label(around)
    sizes = np.bincount(regions.ravel())
    strength = np.where(sizes <= limit, 1 / np.maximum(sizes, 1), 0)
    # The padding is one region, and of a line it is both ends.
    strength[[0, *regions.flat[[0, -1]]]] = 1, 0, 0
    inner = regions[(slice(1, -1),) * regions.ndim]
    return strength[inner].reshape(mask.shape)


# Checks: what the functions get from a user


def check_positive(name: str, value: float) -> float:
    """Return a positive, finite number as a float; ValueError if it is none."""
    number = math.nan
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # an integer, or a fraction, too large for a float
            number = math.inf
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be a positive number, got {value!r}.")
    return number


def check_radius(radius: float) -> float:
    """Return a positive radius, widened so that what lies at just it is within."""
    return check_positive("radius", radius) * EXCESS


def check_count(count: int) -> int:
    """Return a positive whole number; ValueError if it is none."""
    if check_positive("count", count) % 1:
        raise ValueError(f"count must be a whole number, got {count!r}.")
    return int(count)


def check_points(points: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.intp]:
    """(N, ndim) indices of the pixels that points lie in; ValueError if outside."""
    try:
        numbers = np.asarray(points)
    except ValueError:  # rows of unequal length
        numbers = np.array(None)
    if numbers.size == 0:
        return np.zeros((0, len(shape)), np.intp)
    if numbers.dtype.kind not in "iuf" or numbers.shape[1:] != (len(shape),):
        raise ValueError(f"points must have shape (N, {len(shape)}), got {points!r}.")
    pixels = np.floor(numbers + 0.5)
    if not ((pixels >= 0) & (pixels < shape)).all():
        raise ValueError(f"points must be in the image {shape}, got {points!r}.")
    return pixels.astype(np.intp)


def _check_spacing(spacing: Spacing, ndim: int) -> tuple[float, ...]:
    widths = (1.0,) * ndim if spacing is None else spacing
    if np.asarray(widths, object).shape[:1] != (ndim,):
        raise ValueError(f"spacing must be {ndim} numbers, got {spacing!r}.")
    numbers = tuple(check_positive("spacing", width) for width in widths)
    # scipy multiplies three distances to compare two, and a pixel's size is the
    # product of all widths: past these limits one would silently be 0 or infinite.
    power = _POWERS // max(3, ndim)
    if not all(10.0**-power <= width <= 10.0**power for width in numbers):
        raise ValueError(
            f"spacing must be from 1e-{power} to 1e+{power} along each of {ndim} axes,"
            f" got {spacing!r}."
        )
    return numbers


def _find_objects(labels: Labels) -> list[tuple[int, Box]]:
    """Ids in ascending order, each with its bounding box."""
    # A list with a place for every id up to the highest, unless that would be long.
    if labels.min() >= 0 and labels.max() < 1 << 16:
        boxes = ndimage.find_objects(labels.astype(np.int32))
        return [(x, box) for x, box in enumerate(boxes, 1) if box is not None]
    ids, places = np.unique(labels, return_inverse=True)
    boxes = ndimage.find_objects(places.reshape(labels.shape) + 1)
    return [(x, box) for x, box in zip(ids.tolist(), boxes, strict=True) if x != 0]


def _select(objects: list[tuple[int, Box]], only: Only) -> list[tuple[int, Box]]:
    if only is None:
        return objects
    try:
        wanted = set(map(index, only if isinstance(only, Iterable) else (only,)))
    except TypeError:
        raise ValueError(f"only must be one or more ids, got {only!r}.") from None
    if unknown := wanted.difference(x for x, _ in objects):
        raise ValueError(f"only must name ids in labels, got {min(unknown)}.")
    return [(x, box) for x, box in objects if x in wanted]
