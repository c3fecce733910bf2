"""Many masks of one plane in little memory: runs of pixels, row by row.

Sums over masks are sums over runs, so that sizes, centres and mean grey values of
thousands of masks take milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Runs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""First pixel, counted row by row through the plane, and length of each run."""


def encode(
    mask: NDArray[np.bool_], at: tuple[int, int], plane_size: tuple[int, int]
) -> Runs:
    """Find the runs of a mask.

    Parameters
    ----------
    mask : ndarray of shape (h, w), bool
        A part of the plane; the rest of it is empty.
    at : (row, column)
        Where its first pixel lies.
    plane_size : (H, W)

    Returns
    -------
    tuple of ndarray
        Starts and lengths; a run ends with its row.
    """
    rows, columns = mask.shape
    bordered = np.zeros((rows, columns + 1), np.bool_)
    bordered[:, 1:] = mask
    flat = bordered.ravel()
    # The empty column parts the rows; one more at the very end closes the last run.
    flat = np.append(flat, False)
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    starts, ends = edges[::2], edges[1::2]
    row, column = np.divmod(starts, columns + 1)
    first = (row + at[0]) * plane_size[1] + column + at[1]
    return first.astype(np.int64), (ends - starts).astype(np.int64)


@dataclass(frozen=True, eq=False)
class MaskRuns:
    """Masks of one plane.

    Parameters
    ----------
    starts, lengths : ndarray of shape (R,), int64
        Runs of all masks, one mask after the other.
    offsets : ndarray of shape (N + 1,), int64
        The runs of mask i are ``offsets[i]`` to ``offsets[i + 1]``; no mask is empty.
    plane_size : (H, W)
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    offsets: NDArray[np.int64]
    plane_size: tuple[int, int]

    @classmethod
    def join(cls, masks: Sequence[Runs], plane_size: tuple[int, int]) -> MaskRuns:
        """Put masks together, each given by its runs."""
        empty = np.zeros(0, np.int64)
        starts = np.concatenate([empty, *(starts for starts, _ in masks)])
        lengths = np.concatenate([empty, *(lengths for _, lengths in masks)])
        counts = [len(starts) for starts, _ in masks]
        offsets = np.cumsum([0, *counts]).astype(np.int64)
        return cls(starts, lengths, offsets, plane_size)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of(self, index: int) -> Runs:
        """Return the runs of one mask."""
        part = slice(*self.offsets[index : index + 2])
        return self.starts[part], self.lengths[part]

    def take(self, indices: NDArray[np.intp]) -> MaskRuns:
        """Return some of the masks, in the order of the indices."""
        return MaskRuns.join([self.of(i) for i in indices], self.plane_size)

    def pixels(self, index: int) -> NDArray[np.int64]:
        """Pixels of one mask, counted row by row through the plane."""
        starts, lengths = self.of(index)
        # Within a run the pixel grows with its place in the list of all pixels.
        shifts = starts - (np.cumsum(lengths) - lengths)
        return np.repeat(shifts, lengths) + np.arange(lengths.sum())

    def sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """Add up one value a run, (R,), over the runs of each mask, to (N,)."""
        if len(self) == 0:
            return np.zeros(0, values.dtype)
        total: NDArray[Any] = np.add.reduceat(values, self.offsets[:-1])
        return total

    def plane_sums(self, plane: NDArray[Any]) -> NDArray[np.float64]:
        """Add up the values of a plane (H, W) over the pixels of each mask, to (N,)."""
        up_to = np.zeros(plane.size + 1)
        np.cumsum(plane, dtype=np.float64, out=up_to[1:])
        return self.sums(up_to[self.starts + self.lengths] - up_to[self.starts])

    @cached_property
    def areas(self) -> NDArray[np.int64]:
        """(N,) int64: pixels of each mask."""
        return self.sums(self.lengths)

    @cached_property
    def _rows_and_columns(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Row, and middle column, of each run."""
        rows, columns = np.divmod(self.starts, self.plane_size[1])
        return rows.astype(np.float64), columns + (self.lengths - 1) / 2

    @cached_property
    def centroids(self) -> NDArray[np.float64]:
        """(N, 2) float64: mean (row, column) of each mask."""
        rows, columns = self._rows_and_columns
        sums = [self.sums(self.lengths * values) for values in (rows, columns)]
        centres: NDArray[np.float64] = np.stack(sums, axis=1) / self.areas[:, None]
        return centres

    @cached_property
    def circularities(self) -> NDArray[np.float64]:
        """(N,) float64: 1 for a disc, less for every other shape.

        The area squared over 2 pi times the moment of inertia (Žunić, Hirota, Rosin
        2010, "A Hu moment invariant as a shape circularity measure"). Pixels count as
        the little squares they are.
        """
        rows, columns = self._rows_and_columns
        counts = np.diff(self.offsets)
        centres = np.repeat(self.centroids, counts, axis=0)
        rows, columns = rows - centres[:, 0], columns - centres[:, 1]
        # A run of n pixels is a rectangle: its own inertia is n (1 + n²) / 12.
        own = (1 + self.lengths.astype(np.float64) ** 2) / 12
        inertia = self.sums(self.lengths * (rows**2 + columns**2 + own))
        return self.areas.astype(np.float64) ** 2 / (2 * np.pi * inertia)
