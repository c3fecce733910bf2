"""Small holes and islands of a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam._mask_boxes import tight_box

# Pixels that touch at a corner belong together, in holes too, as in the official code.
_NEIGHBOURS = np.ones((3, 3), bool)

Box = NDArray[np.int64]


def without_small_regions(
    mask: NDArray[np.bool_], box: Box, min_area: int
) -> tuple[NDArray[np.bool_], Box] | None:
    """Fill small holes, then remove small islands.

    As ``remove_small_regions`` in the official ``utils/amg.py``; if all islands are
    small, the largest stays.

    Parameters
    ----------
    mask : ndarray of shape (H, W), bool
        Not empty.
    box : ndarray of shape (4,), int64
        (row_min, column_min, row_max, column_max) of the mask, half-open.
    min_area : int
        Pixels that a hole or an island must have to stay.

    Returns
    -------
    mask : ndarray of shape (h, w), bool
        Within its new box.
    box : ndarray of shape (4,), int64
        None in place of both if nothing was small.
    """
    rows, columns = _surroundings(box, mask.shape, min_area)
    part = mask[rows, columns]
    filled = _without_small_holes(part, (rows, columns), mask.shape, min_area)
    regions, count = ndimage.label(filled, _NEIGHBOURS)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    sizes[0] = 0
    large = sizes >= min_area
    if not large.any():
        large[sizes.argmax()] = True
    kept = filled & large[regions]
    if (kept == part).all():
        return None
    r0, c0, r1, c1 = tight_box(kept)
    edges = np.array([r0, c0, r1, c1]) + 2 * (rows.start, columns.start)
    return kept[r0:r1, c0:c1], edges


def _surroundings(
    box: Box, shape: tuple[int, ...], min_area: int
) -> tuple[slice, slice]:
    """Slices of the box and a pixel around it, or up to the plane's edge if near.

    What lies beyond a side that is not the plane's edge has more than `min_area`
    pixels.
    """
    low, high = box[:2] - 1, box[2:] + 1
    parts = []
    for axis in (0, 1):
        across = box[3 - axis] - box[1 - axis]
        start = 0 if low[axis] * across < min_area else int(low[axis])
        rest = shape[axis] - high[axis]
        stop = shape[axis] if rest * across < min_area else int(high[axis])
        parts.append(slice(max(start, 0), min(stop, shape[axis])))
    return parts[0], parts[1]


def _without_small_holes(
    part: NDArray[np.bool_],
    where: tuple[slice, slice],
    shape: tuple[int, ...],
    min_area: int,
) -> NDArray[np.bool_]:
    regions, count = ndimage.label(~part, _NEIGHBOURS)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    # What goes on outside this part of the plane is no small hole.
    for axis, (span, length) in enumerate(zip(where, shape, strict=True)):
        sides = np.moveaxis(regions, axis, 0)
        if span.start > 0:
            sizes[np.unique(sides[0])] = min_area
        if span.stop < length:
            sizes[np.unique(sides[-1])] = min_area
    small = sizes < min_area
    small[0] = False
    filled: NDArray[np.bool_] = part | small[regions]
    return filled
