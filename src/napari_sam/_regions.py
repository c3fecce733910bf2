"""Where in a plane to look: a mask, a polygon, or what has no label."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.draw import polygon2mask


def check_region(region: ArrayLike, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a region of a plane as a mask.

    Parameters
    ----------
    region : ndarray of shape (H, W), bool, or array_like of shape (N, 2)
        A mask, or the corners (row, column) of a polygon.
    size : (H, W)

    Returns
    -------
    ndarray of shape (H, W), bool

    Raises
    ------
    ValueError
        If it is neither, or has no pixel in the plane.

    Examples
    --------
    >>> int(check_region([[0, 0], [0, 2], [2, 2], [2, 0]], (4, 4)).sum())
    9
    """
    array = np.asarray(region)
    if array.dtype == bool and array.shape == size:
        mask: NDArray[np.bool_] = array
    else:
        mask = _filled_polygon(array, size)
    if not mask.any():
        raise ValueError("region must have at least one pixel in the plane, got none.")
    return mask


def _filled_polygon(corners: NDArray[Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    is_polygon = corners.ndim == 2 and corners.shape[1:] == (2,) and len(corners) > 2
    if not is_polygon or corners.dtype.kind not in "iuf":
        raise ValueError(
            f"region must be a bool mask of shape {size} or corners of shape (N, 2), "
            f"got dtype {corners.dtype} and shape {corners.shape}."
        )
    if not np.isfinite(corners).all():
        raise ValueError("region must have finite corners, got NaN or infinity.")
    filled: NDArray[np.bool_] = polygon2mask(size, corners)  # type: ignore[no-untyped-call]
    return filled


def check_labels(labels: ArrayLike, size: tuple[int, int]) -> NDArray[Any]:
    """Return labels (H, W) of a plane, integers; ValueError if they are none."""
    array = np.asarray(labels)
    if array.dtype.kind not in "iu" or array.shape != size:
        raise ValueError(
            f"labels must be integers of shape {size}, "
            f"got dtype {array.dtype} and shape {array.shape}."
        )
    return array


def check_examples(examples: ArrayLike, size: tuple[int, int]) -> NDArray[Any]:
    """Return examples as labels (H, W) 1, 2, 3, ...; ValueError if there are none."""
    array = np.asarray(examples)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.dtype.kind not in "iu" or array.shape != size:
        raise ValueError(
            f"examples must be bool or integers of shape {size}, "
            f"got dtype {array.dtype} and shape {array.shape}."
        )
    if not (array > 0).any():
        raise ValueError("examples must have at least one object, got none.")
    values, places = np.unique(np.maximum(array, 0), return_inverse=True)
    first = 0 if values[0] == 0 else 1
    return (places + first).reshape(size)
