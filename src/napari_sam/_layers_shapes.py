"""Outlines of shapes in (row, column), and the pixels within."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_sam._mask_boxes import tight_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

# SAM was trained with few points; more of them along a line add little.
_LINE_POINTS = 8
_LINE_SPACING = 3.0
_ELLIPSE_POINTS = 128


def outline(corners: NDArray[np.float64], shape_type: str) -> NDArray[np.float64]:
    """Vertices of a shape in the coordinates of its layer.

    Parameters
    ----------
    corners : ndarray of shape (N, D)
        ``Shapes.data``: of an ellipse, the corners of the rectangle around it.
    shape_type : str
        ``Shapes.shape_type``.

    Returns
    -------
    ndarray of shape (M, D)
    """
    if shape_type != "ellipse":
        return corners
    # Half axes along the sides, so that an ellipse may be turned, or sheared later.
    side, other = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS, endpoint=False)[:, None]
    around = np.cos(angles) * side + np.sin(angles) * other
    return np.asarray(corners.mean(axis=0) + around)


def fill(vertices: NDArray[np.float64], plane_size: tuple[int, int]) -> NDArray[Any]:
    """Mask of the pixels whose centres lie within a polygon.

    Parameters
    ----------
    vertices : ndarray of shape (N, 2)
        (row, column).
    plane_size : (H, W)

    Returns
    -------
    ndarray of shape (H, W), bool
        One pixel at least, if the polygon is that small and inside the plane.

    Examples
    --------
    >>> import numpy as np
    >>> square = np.array([[0.5, 0.5], [0.5, 2.5], [2.5, 2.5], [2.5, 0.5]])
    >>> fill(square, (4, 4)).astype(int)
    array([[0, 0, 0, 0],
           [0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    mask = _inside(vertices, plane_size)
    centre = np.rint(vertices.mean(axis=0)).astype(np.int64)
    is_small = (np.ptp(vertices, axis=0) <= 1).any()
    if is_small and not mask.any() and ((centre >= 0) & (centre < plane_size)).all():
        mask[tuple(centre)] = True
    return mask


def _inside(
    vertices: NDArray[np.float64], plane_size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Pixels with an odd number of edges to the left of their centres.

    All rows at once: `skimage.draw.polygon` takes a second for a large ellipse, and
    this runs whenever a shape is dragged.
    """
    rows = np.arange(plane_size[0])[:, None]  # (H, 1), against N edges
    (start_row, start), (end_row, end) = vertices.T, np.roll(vertices, -1, axis=0).T
    is_crossed = (start_row <= rows) != (end_row <= rows)  # never if horizontal
    row, edge = np.nonzero(is_crossed)
    part = (row - start_row[edge]) / (end_row[edge] - start_row[edge])
    column = np.ceil(start[edge] + part * (end[edge] - start[edge]))
    crossings = np.zeros((plane_size[0], plane_size[1] + 1), dtype=np.int32)
    first = np.clip(column, 0, plane_size[1]).astype(np.int64)
    np.add.at(crossings, (row, first), 1)
    return np.asarray(np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1)


def innermost(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(row, column) of the pixel of a mask that is farthest from its border."""
    top, left, bottom, right = tight_box(mask)
    part = np.pad(mask[top:bottom, left:right], 1)
    depth = ndimage.distance_transform_edt(part)
    row, column = np.unravel_index(int(np.argmax(depth)), part.shape)
    return np.array([top + row - 1, left + column - 1], dtype=np.float64)


def spread(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points at equal distances along a line, from end to end.

    Parameters
    ----------
    vertices : ndarray of shape (N, 2)
        (row, column).

    Returns
    -------
    ndarray of shape (M, 2)
        8 points, fewer if they were closer than 3 pixels; 2 at least, or 1 if the line
        has no length.

    Examples
    --------
    >>> import numpy as np
    >>> spread(np.array([[0.0, 0.0], [0.0, 4.0], [4.0, 4.0]])).tolist()
    [[0.0, 0.0], [0.0, 4.0], [4.0, 4.0]]
    """
    lengths = np.linalg.norm(np.diff(vertices, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(lengths)])
    if at[-1] == 0:
        return vertices[:1]
    count = int(np.clip(at[-1] // _LINE_SPACING + 1, 2, _LINE_POINTS))
    wanted = np.linspace(0, at[-1], count)
    return np.stack([np.interp(wanted, at, axis) for axis in vertices.T], axis=1)
