"""Which part of a plane to look at, and what is seen there: pure geometry.

SAM enlarges or reduces every plane to 1024 pixels and answers in 256 cells. A window
around a small object gives the object more of those cells. Windows lie on a grid of a
few sizes and positions, so that neighbouring objects share one, and its embedding.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_sam._mask_boxes import tight_box
from napari_sam.transforms import pixels_per_cell, valid_cells
from napari_sam.types import LOGITS_SIZE, Prompts, Window

FloatArray = NDArray[np.float64]

MIN_SIDE = 64
"""Side in pixels of the smallest window: less is only a blur to SAM."""
OUTSIDE_LOGIT = -10.0
"""Logit of what a window does not show; about what SAM itself answers."""


def whole(plane_size: tuple[int, int]) -> Window:
    """Return the window that is the whole plane."""
    return Window(0, 0, *plane_size)


def check_window(window: Window, plane_size: tuple[int, int]) -> None:
    """Refuse, with a ValueError, a window that does not lie within the plane."""
    rows, columns = plane_size
    inside = window.row_min >= 0 and window.column_min >= 0
    if not inside or window.row_max > rows or window.column_max > columns:
        raise ValueError(
            f"window must lie within the {rows} x {columns} plane, got {window}."
        )


def magnification(window: Window, plane_size: tuple[int, int]) -> float:
    """How much larger SAM sees an object in a window than in the whole plane."""
    return max(plane_size) / max(window.shape)


def extent_of(mask: NDArray[np.bool_]) -> FloatArray | None:
    """Box (4,) of a mask's pixels, as edges, half-open; None if the mask is empty."""
    box = np.array(tight_box(mask), dtype=np.float64)
    return box if box.any() else None


def extent_of_prompts(
    prompts: Prompts, plane_size: tuple[int, int]
) -> FloatArray | None:
    """Box (4,) around foreground points and box, cut to the plane; None without."""
    inside = prompts.points[prompts.point_labels == 1]
    boxes = [np.concatenate([point, point + 1]) for point in inside]
    if prompts.box is not None:
        boxes.append(prompts.box)
    return None if not boxes else clip(union(*boxes), plane_size)


def union(*boxes: FloatArray) -> FloatArray:
    """Smallest box (4,) around boxes (4,)."""
    many = np.stack(boxes)
    return np.concatenate([many[:, :2].min(axis=0), many[:, 2:].max(axis=0)])


def clip(box: FloatArray, plane_size: tuple[int, int]) -> FloatArray:
    """Cut a box (4,) to the plane."""
    clipped: FloatArray = np.clip(box, 0, [*plane_size, *plane_size])
    return clipped


def choose_window(
    box: ArrayLike,
    plane_size: tuple[int, int],
    context: float = 2.0,
    snap: bool = True,
    least: int = MIN_SIDE,
) -> Window:
    """Square window around a box, with some of its surroundings.

    Parameters
    ----------
    box : array_like of shape (4,)
        (row_min, column_min, row_max, column_max) in pixels of the plane.
    plane_size : (H, W)
    context : float
        Least side of the window as a multiple of the box's longer side; at least 2
        with `snap`, or the box might not fit.
    snap : bool
        Choose from a grid: sides of 64, 128, 256, ... pixels, half a side apart.
        Otherwise the window is centred on the box and just large enough.
    least : int
        Side of the smallest window.

    Returns
    -------
    Window
        Within the plane, and holding the part of the box that is in it. As large as
        the plane along an axis that is shorter than the window.

    Examples
    --------
    >>> choose_window([100, 200, 120, 230], (1000, 1000))
    Window(row_min=64, column_min=192, row_max=128, column_max=256)
    """
    low, high = np.reshape(clip(np.asarray(box, np.float64), plane_size), (2, 2))
    side = max(least, context * float((high - low).max()))
    if snap:
        side = MIN_SIDE * 2 ** np.ceil(np.log2(side / MIN_SIDE))
    return window_at((low + high) / 2, int(np.ceil(side)), plane_size, snap)


def window_at(
    centre: ArrayLike, side: int, plane_size: tuple[int, int], snap: bool = True
) -> Window:
    """Square window of a side, centred on a point (row, column) as far as possible.

    With `snap` its edges are multiples of half the side, unless it ends with
    the plane; it is cut to a plane that is smaller.
    """
    step = side // 2 if snap else 1
    lows, highs = [], []
    for middle, length in zip(np.asarray(centre, float), plane_size, strict=True):
        low = int(np.round((middle - side / 2) / step)) * step
        low = min(max(low, 0), max(length - side, 0))
        lows.append(low)
        highs.append(min(low + side, length))
    return Window(lows[0], lows[1], highs[0], highs[1])


def tiles(plane_size: tuple[int, int], side: int, overlap: int) -> list[Window]:
    """Cover a plane with overlapping windows of equal size, row by row.

    Parameters
    ----------
    plane_size : (H, W)
    side : int
        Of a window, in pixels; smaller where the plane is.
    overlap : int
        Pixels that neighbours share at least; less than the side.

    Returns
    -------
    list of Window

    Raises
    ------
    ValueError
        If the overlap is not from 0 to less than the side.
    """
    if not 0 <= overlap < side:
        raise ValueError(
            f"overlap must be 0 to less than the side of {side}, got {overlap}."
        )
    starts = [_starts(length, side, overlap) for length in plane_size]
    rows, columns = plane_size
    return [
        Window(row, column, min(row + side, rows), min(column + side, columns))
        for row, column in itertools.product(*starts)
    ]


def _starts(length: int, side: int, overlap: int) -> Sequence[int]:
    """First pixels of intervals that cover a length, spread evenly."""
    if length <= side:
        return [0]
    count = -(-(length - overlap) // (side - overlap))
    return [int(start) for start in np.linspace(0, length - side, count)]


def sample(plane_size: tuple[int, int], count: int, side: int) -> list[Window]:
    """Spread count x count windows of a side evenly over a plane."""
    centres = [(np.arange(count) + 0.5) * length / count for length in plane_size]
    return [
        window_at(centre, side, plane_size, snap=False)
        for centre in itertools.product(*centres)
    ]


def touches_inner_edge(
    mask: NDArray[np.bool_], window: Window, plane_size: tuple[int, int]
) -> bool:
    """Whether a mask in a window reaches an edge where the plane goes on."""
    rows, columns = plane_size
    edges = (
        (window.row_min > 0, mask[0]),
        (window.row_max < rows, mask[-1]),
        (window.column_min > 0, mask[:, 0]),
        (window.column_max < columns, mask[:, -1]),
    )
    return any(is_inner and bool(edge.any()) for is_inner, edge in edges)


def prompts_in_window(
    prompts: Prompts, window: Window, plane_size: tuple[int, int]
) -> Prompts:
    """Give prompts of a plane in the pixels of a window; points outside are left out.

    Parameters
    ----------
    prompts : Prompts
        In the plane.
    window : Window
        Of the plane.
    plane_size : (H, W)

    Returns
    -------
    Prompts
        The box may reach beyond the window. The mask prompt is the window's part of it.
    """
    corner = np.array([window.row_min, window.column_min], np.float64)
    points = prompts.points - corner
    inside = ((points >= -0.5) & (points <= np.array(window.shape) - 0.5)).all(axis=1)
    box, logits = prompts.box, prompts.mask_logits
    if logits is not None:
        logits = resample_logits(logits, whole(plane_size), window)
    return Prompts(
        points=points[inside],
        point_labels=prompts.point_labels[inside],
        box=None if box is None else box - np.tile(corner, 2),
        mask_logits=logits,
    )


def mirror_axis(size: tuple[int, int]) -> int:
    """Axis along which a plane is mirrored: the longer one, where cells fall on cells.

    SAM's frame is filled along it, and padded along the other.
    """
    return 0 if size[0] > size[1] else 1


def mirror_prompts(prompts: Prompts, size: tuple[int, int]) -> Prompts:
    """Give prompts of a plane in the pixels of the mirrored plane, and back.

    Parameters
    ----------
    prompts : Prompts
    size : (H, W)

    Returns
    -------
    Prompts

    Examples
    --------
    >>> mirror_prompts(Prompts([[2, 3]], box=[1, 2, 4, 5]), (10, 20)).box.tolist()
    [1.0, 15.0, 4.0, 18.0]
    """
    axis = mirror_axis(size)
    points, box, logits = prompts.points.copy(), prompts.box, prompts.mask_logits
    points[:, axis] = size[axis] - 1 - points[:, axis]
    if box is not None:
        low, high = box.reshape(2, 2)[:, axis]
        box = box.copy()
        box[[axis, axis + 2]] = size[axis] - high, size[axis] - low
    return Prompts(
        points=points,
        point_labels=prompts.point_labels,
        box=box,
        mask_logits=None if logits is None else np.flip(logits, axis),
    )


def resample_logits(
    logits: NDArray[np.float32], source: Window, target: Window
) -> NDArray[np.float32]:
    """Logits in the answer frame of one window, as seen in that of another.

    Parameters
    ----------
    logits : ndarray of shape (256, 256), float32
        In the answer frame of `source`.
    source, target : Window
        Of the same plane.

    Returns
    -------
    ndarray of shape (256, 256), float32
        Interpolated where the target is finer, averaged where it is coarser; -10 where
        the source shows nothing, and in the padding.
    """
    size, wanted = pixels_per_cell(source.shape), pixels_per_cell(target.shape)
    corner = np.subtract(
        (target.row_min, target.column_min), (source.row_min, source.column_min)
    )
    # Cell i covers pixels from i * size, so its centre is at (i + 0.5) * size.
    centres = (np.arange(LOGITS_SIZE)[None] + 0.5) * wanted[:, None] + corner[:, None]
    cells = centres / size[:, None] - 0.5
    width = [max(1, round(ratio)) for ratio in (wanted / size).tolist()]
    smooth = ndimage.uniform_filter(logits, size=width, mode="nearest")
    sampled = ndimage.map_coordinates(
        smooth, np.meshgrid(*cells, indexing="ij"), order=1, mode="nearest"
    )
    seen = [
        (middle >= 0) & (middle <= length)
        for middle, length in zip(centres, source.shape, strict=True)
    ]
    known = valid_cells(target.shape) & np.logical_and.outer(*seen)
    return np.where(known, sampled, OUTSIDE_LOGIT).astype(np.float32)
