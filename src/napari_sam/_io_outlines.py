"""Masks as polygons along pixel edges, and polygons as masks again.

Points are (x, y), x to the right and y down, in pixels from the outer corner of the
first pixel: pixel (row, column) spans x from column to column + 1, y from row to
row + 1. So an outline is exact, its area is the number of pixels, and reading it back
gives the same mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Ring: TypeAlias = list[tuple[int, int]]
Polygon: TypeAlias = list[Ring]
"""An outer ring, counted positive in (x, y), and a ring around each hole."""

_RIGHT, _DOWN, _LEFT, _UP = range(4)


def outlines(mask: NDArray[np.bool_], at: tuple[int, int] = (0, 0)) -> list[Polygon]:
    """Trace a mask along its pixel edges.

    Parameters
    ----------
    mask : ndarray of shape (h, w), bool
        Not empty.
    at : (row, column)
        Where its first pixel lies in the plane.

    Returns
    -------
    list of Polygon
        One for each part connected through edges (4 neighbours). Rings are not closed
        by repeating a point, touch themselves nowhere, and have corners only.
    """
    parts, count = ndimage.label(mask)
    outer: list[Polygon] = [[] for _ in range(count)]
    holes: list[Polygon] = [[] for _ in range(count)]
    for ring, (row, column) in _rings(np.pad(mask, 1)):
        part = parts[row, column] - 1
        kind = outer if _area(ring) > 0 else holes
        kind[part].append([(x + at[1], y + at[0]) for x, y in ring])
    return [[*one, *inner] for one, inner in zip(outer, holes, strict=True)]


def _area(ring: Ring) -> int:
    """Twice the area within a ring; negative if it runs the other way round."""
    following = [*ring[1:], ring[0]]
    return sum(
        x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, following, strict=True)
    )


def _rings(padded: NDArray[np.bool_]) -> Iterator[tuple[Ring, tuple[int, int]]]:
    """Yield simple rings, each with a pixel of the mask beside it."""
    starts, pixels, following = _segments(padded)
    points = [tuple(point) for point in starts.tolist()]
    beside = [tuple(pixel) for pixel in pixels.tolist()]
    after = following.tolist()
    is_done = [False] * len(after)
    for first in range(len(after)):
        current = first
        path: list[int] = []
        places: dict[tuple[int, int], int] = {}
        while not is_done[current]:
            is_done[current] = True
            point = points[current]
            if point in places:
                # Where a ring touches itself it is cut in two.
                cut = places[point]
                yield [points[i] for i in path[cut:]], beside[path[cut]]
                for i in path[cut:]:
                    del places[points[i]]
                del path[cut:]
            places[point] = len(path)
            path.append(current)
            current = after[current]
        if path:
            yield [points[i] for i in path], beside[path[0]]


def _segments(
    padded: NDArray[np.bool_],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Straight pieces of all outlines, the mask to the right of the way.

    Returns
    -------
    starts : ndarray of shape (N, 2)
        (x, y) of where each begins.
    pixels : ndarray of shape (N, 2)
        (row, column) of a pixel of the mask beside it.
    following : ndarray of shape (N,)
        Index of the piece that goes on from its end.
    """
    above, below = padded[:-1, 1:-1], padded[1:, 1:-1]
    left, right = padded[1:-1, :-1].T, padded[1:-1, 1:].T
    found: list[list[NDArray[np.intp]]] = [[], [], [], []]
    for way, is_edge in (
        (_RIGHT, below & ~above),
        (_LEFT, above & ~below),
        (_DOWN, left & ~right),
        (_UP, right & ~left),
    ):
        line, low, high = _runs(is_edge)
        begin, end = (low, high) if way in (_RIGHT, _DOWN) else (high, low)
        beside = line - (way in (_LEFT, _DOWN))
        if way in (_RIGHT, _LEFT):
            here = (begin, line), (end, line), (beside, low)
        else:
            here = (line, begin), (line, end), (low, beside)
        for values, new in zip(found, here, strict=False):
            values.append(np.column_stack(new))
        found[-1].append(np.full(len(line), way))
    starts, ends, pixels, ways = map(np.concatenate, found)
    return starts, pixels, _following(starts, ends, ways, padded.shape[1])


def _runs(
    is_edge: NDArray[np.bool_],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Line, first and past the last position of each run along the second axis."""
    change = np.diff(np.pad(is_edge, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    line, low = np.nonzero(change == 1)
    _, high = np.nonzero(change == -1)
    return line, low, high


def _following(
    start: NDArray[np.intp], end: NDArray[np.intp], way: NDArray[np.intp], width: int
) -> NDArray[np.intp]:
    """Index of the piece that begins where each one ends."""

    def key(points: NDArray[np.intp], ways: NDArray[np.intp]) -> NDArray[np.intp]:
        return (points[:, 1] * (width + 1) + points[:, 0]) * 4 + ways % 4

    keys = key(start, way)
    last = len(keys) - 1
    order = np.argsort(keys)
    ordered = keys[order]
    # Where two pixels touch at a corner two pieces begin: the turn to the right, at
    # the same pixel, keeps parts that only touch apart.
    turns = key(end, way + 1)
    right = np.minimum(np.searchsorted(ordered, turns), last)
    left = np.minimum(np.searchsorted(ordered, key(end, way + 3)), last)
    return order[np.where(ordered[right] == turns, right, left)]


def pixels_inside(
    rings: Iterable[NDArray[np.float64]], shape: tuple[int, int]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the pixels whose centres lie within rings; a ring in a ring is a hole.

    Parameters
    ----------
    rings : iterable of ndarray of shape (N, 2), float64
        (x, y); closed or not.
    shape : (H, W)
        Size of the plane; what lies outside is cut off.

    Returns
    -------
    rows, columns : ndarray of shape (pixels,)

    Notes
    -----
    A line of pixel centres is crossed by the edges of the rings; between an odd and
    the next even crossing it is inside. `skimage.draw.polygon` compares every pixel
    with every edge instead, which for outlines of thousands of edges takes seconds.
    """
    edges = [np.hstack([ring, np.roll(ring, -1, axis=0)]) for ring in rings]
    x0, y0, x1, y1 = np.concatenate(edges).T
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, shape[0]).astype(np.intp)
    last = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, shape[0]).astype(np.intp)
    count = last - first
    if not count.any():
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    row += first[edge]
    along = (row + 0.5 - y0[edge]) / (y1 - y0)[edge]
    crossing = x0[edge] + along * (x1 - x0)[edge]
    column = np.clip(np.ceil(crossing - 0.5), 0, shape[1]).astype(np.intp)
    top, left = row.min(), column.min()
    size = row.max() - top + 1, column.max() - left + 1
    place = (row - top) * size[1] + column - left
    crossings = np.bincount(place, minlength=size[0] * size[1]).reshape(size)
    inside = np.cumsum(crossings, axis=1) % 2 == 1
    rows, columns = np.nonzero(inside)
    return rows + top, columns + left
