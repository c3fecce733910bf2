"""How far an object that was followed through a stack can be trusted, and its size.

Planes are named by their position along the axis that was followed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam._mask_boxes import tight_box

# Of a plane whose Dice coefficient is 0.7 or more: where the shares of wrong planes
# below and of right planes above add up to the most, on volumes with known objects;
# see docs/volumes.md.
DOUBTFUL = 0.65
"""Confidence below which a plane is worth a look."""


@dataclass(frozen=True, eq=False)
class MaskPatch:
    """A mask of one plane, kept in the box around it and in one bit per pixel.

    Parameters
    ----------
    box : (row_min, column_min, row_max, column_max)
        Pixel edges, half-open; all 0 if the mask is empty.
    area : int
        Number of pixels.
    bits : ndarray of uint8
        What `numpy.packbits` makes of the pixels in the box.

    Examples
    --------
    >>> mask = np.zeros((4, 5), bool)
    >>> mask[1:3, 2:4] = True
    >>> patch = MaskPatch.of(mask)
    >>> patch.box, patch.area, patch.overlap(patch)
    ((1, 2, 3, 4), 4, 1.0)
    """

    box: tuple[int, int, int, int]
    area: int
    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> MaskPatch:
        """Make a patch of a mask.

        Parameters
        ----------
        mask : ndarray of shape (H, W), bool

        Raises
        ------
        ValueError
            If it is not such an array.
        """
        if mask.ndim != 2 or mask.dtype != bool:
            raise ValueError(
                f"mask must be a bool plane (H, W), got {mask.dtype} of shape "
                f"{mask.shape}."
            )
        box = tight_box(mask)
        pixels = mask[box[0] : box[2], box[1] : box[3]]
        return cls(box, int(np.count_nonzero(pixels)), np.packbits(pixels))

    @property
    def pixels(self) -> NDArray[np.bool_]:
        """Mask within the box, of its shape."""
        shape = self.box[2] - self.box[0], self.box[3] - self.box[1]
        count = shape[0] * shape[1]
        return np.unpackbits(self.bits, count=count).astype(bool).reshape(shape)

    def overlap(self, other: MaskPatch) -> float:
        """Intersection over union with the mask of another plane; 1 if both are empty.

        Parameters
        ----------
        other : MaskPatch

        Returns
        -------
        float
        """
        if self.area == 0 and other.area == 0:
            return 1.0
        common = _common(self.box, other.box)
        if common is None:
            return 0.0
        shared = int(np.count_nonzero(self._part(common) & other._part(common)))
        return shared / (self.area + other.area - shared)

    def is_same(self, other: MaskPatch) -> bool:
        """Whether both are of the same mask."""
        return self.box == other.box and np.array_equal(self.bits, other.bits)

    def to_mask(self, plane_size: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the mask in its plane.

        Parameters
        ----------
        plane_size : (H, W)

        Returns
        -------
        ndarray of shape (H, W), bool

        Raises
        ------
        ValueError
            If the plane is too small for it.
        """
        if any(end > size for end, size in zip(self.box[2:], plane_size, strict=True)):
            raise ValueError(
                f"plane_size must hold the mask, up to {self.box[2:]}, "
                f"got {plane_size}."
            )
        mask = np.zeros(plane_size, bool)
        mask[self.box[0] : self.box[2], self.box[1] : self.box[3]] = self.pixels
        return mask

    def _part(self, box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
        top, left = self.box[:2]
        return self.pixels[box[0] - top : box[2] - top, box[1] - left : box[3] - left]


def _common(
    first: tuple[int, int, int, int], second: tuple[int, int, int, int]
) -> tuple[int, int, int, int] | None:
    top, left = max(first[0], second[0]), max(first[1], second[1])
    bottom, right = min(first[2], second[2]), min(first[3], second[3])
    return (top, left, bottom, right) if top < bottom and left < right else None


def plane_confidence(
    masks: Mapping[int, MaskPatch],
    scores: Mapping[int, float],
    certain: Collection[int] = (),
) -> dict[int, float]:
    """How far the mask of each plane can be trusted: score times root of overlap.

    The overlap is the mean intersection over union with the masks of the two
    neighbouring planes, as far as they are known. It counts half, since the score has
    the agreement with the plane before in it already. Where the object ends, what
    counts is how small it has become: one that ends at its largest is doubtful. A plane
    without the object that lies between planes with it has a confidence of 0.

    Parameters
    ----------
    masks : mapping of plane to MaskPatch
        Planes that were looked at; empty where the object was not found.
    scores : mapping of plane to float
        Predicted intersection over union, 0 to 1, or that times the agreement with what
        was expected, as `Session.propagate` has it. What is missing counts as 1.
    certain : collection of int
        Planes that the user has approved: their confidence is 1, and an end beside an
        empty one is not doubtful.

    Returns
    -------
    dict of int to float
        Of the planes from the first to the last with the object, 0 to 1, in order.

    Examples
    --------
    >>> square, empty = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    >>> masks = {i: MaskPatch.of(m) for i, m in enumerate([square, square, empty])}
    >>> found = plane_confidence(masks, {0: 0.9, 1: 0.8, 2: 0.0})
    >>> {plane: round(value, 2) for plane, value in found.items()}
    {0: 0.9, 1: 0.57}
    """
    found = sorted(plane for plane, mask in masks.items() if mask.area)
    if not found:
        return {}
    largest = max(masks[plane].area for plane in found)
    confidence = {}
    for plane in range(found[0], found[-1] + 1):
        if plane in certain:
            confidence[plane] = 1.0
        elif plane in masks:
            overlaps = [
                _agreement(masks[plane], masks[beside], largest)
                for beside in (plane - 1, plane + 1)
                if beside in masks and (masks[beside].area or beside not in certain)
            ]
            overlap = float(np.mean(overlaps)) if overlaps else 1.0
            score = min(max(float(scores.get(plane, 1.0)), 0.0), 1.0)
            confidence[plane] = (
                score * float(np.sqrt(overlap)) if masks[plane].area else 0.0
            )
    return confidence


def _agreement(mask: MaskPatch, beside: MaskPatch, largest: int) -> float:
    if beside.area:
        return mask.overlap(beside)
    return 1 - mask.area / largest


def doubtful_planes(
    confidence: Mapping[int, float], limit: float = DOUBTFUL
) -> list[int]:
    """Choose planes to look at: the least certain of each run below a limit.

    Parameters
    ----------
    confidence : mapping of plane to float
    limit : float
        Planes below it are doubtful.

    Returns
    -------
    list of int
        In order.

    Examples
    --------
    >>> doubtful_planes({3: 0.9, 4: 0.4, 5: 0.2, 6: 0.4, 7: 0.8, 9: 0.1})
    [5, 9]
    """
    runs: list[list[int]] = []
    for plane in sorted(plane for plane, value in confidence.items() if value < limit):
        if runs and runs[-1][-1] == plane - 1:
            runs[-1].append(plane)
        else:
            runs.append([plane])
    return [min(run, key=lambda plane: (confidence[plane], plane)) for run in runs]


def next_plane(planes: Collection[int], here: int) -> int | None:
    """Choose the plane after one; the first again after the last.

    Parameters
    ----------
    planes : collection of int
    here : int

    Returns
    -------
    int or None
        None if there is none.

    Examples
    --------
    >>> next_plane([5, 9], 5), next_plane([5, 9], 9), next_plane([], 3)
    (9, 5, None)
    """
    later = [plane for plane in planes if plane > here]
    return min(later or planes, default=None)


@dataclass(frozen=True)
class Extent:
    """How large an object is.

    Parameters
    ----------
    voxels : int
    volume : float
        In the unit of the spacing, cubed.
    planes : (int, int)
        The first and the last plane with the object.
    size : (along, rows, columns)
        Lengths of the box around the object, in the unit of the spacing.
    """

    voxels: int
    volume: float
    planes: tuple[int, int]
    size: tuple[float, float, float]


def measure_object(
    masks: Mapping[int, MaskPatch], spacing: Sequence[float] = (1, 1, 1)
) -> Extent | None:
    """Measure an object.

    Parameters
    ----------
    masks : mapping of plane to MaskPatch
    spacing : (along, rows, columns)
        Distance of neighbouring planes, rows and columns.

    Returns
    -------
    Extent or None
        None if all masks are empty.

    Raises
    ------
    ValueError
        If spacing is not three numbers above 0.

    Examples
    --------
    >>> measure_object({2: MaskPatch.of(np.ones((2, 3), bool))}, (5, 1, 0.5))
    Extent(voxels=6, volume=15.0, planes=(2, 2), size=(5.0, 2.0, 1.5))
    """
    steps = np.asarray(spacing, dtype=float)
    if steps.shape != (3,) or not (np.isfinite(steps) & (steps > 0)).all():
        raise ValueError(f"spacing must be three numbers above 0, got {spacing!r}.")
    found = {plane: mask for plane, mask in masks.items() if mask.area}
    if not found:
        return None
    voxels = sum(mask.area for mask in found.values())
    boxes = np.array([mask.box for mask in found.values()])
    lengths = boxes[:, 2:].max(axis=0) - boxes[:, :2].min(axis=0)
    planes = min(found), max(found)
    along, rows, columns = (
        np.array([planes[1] - planes[0] + 1, *lengths]) * steps
    ).tolist()
    volume = float(voxels * steps.prod())
    return Extent(voxels, volume, planes, (along, rows, columns))
