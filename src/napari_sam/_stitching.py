"""Label images of overlapping tiles, put together without seams."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sam.types import Window

MIN_OVERLAP = 0.5
"""Intersection over union, where tiles overlap, from which two labels are one."""
MIN_INSIDE = 0.8
"""Part of an object, where tiles overlap, that lies in one it is a part of."""
MIN_NEW = 0.5
"""Part of an object that must be on free pixels for it to be another one."""


class LabelArray(Protocol):
    """A label image that may be lazy, and can be written to: numpy, zarr."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W)."""

    @property
    def dtype(self) -> Any:
        """Data type of the labels."""

    def __getitem__(self, index: Any, /) -> Any:
        """Part of the labels."""

    def __setitem__(self, index: Any, values: Any, /) -> None:
        """Write a part of the labels."""


class Stitcher:
    """Writes tiles into a label image, one after another.

    An object that reaches into a tile from an earlier one goes on there with its
    label, so that one larger than a tile is one object too. Call `finish` at the end.

    Parameters
    ----------
    out : array of shape (H, W), integer
        Zero where nothing is labelled yet.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_sam.types import Window
    >>> out = np.zeros((1, 6), int)
    >>> stitcher = Stitcher(out)
    >>> stitcher.add(Window(0, 0, 1, 4), np.array([[1, 0, 2, 2]]))
    >>> stitcher.add(Window(0, 2, 1, 6), np.array([[3, 3, 3, 0]]))
    >>> out.tolist()
    [[1, 0, 2, 2, 2, 0]]
    """

    def __init__(self, out: LabelArray) -> None:
        self.out = out
        self.count = 0
        self._seen: list[Window] = []
        self._same: dict[int, int] = {}

    def add(self, window: Window, labels: NDArray[Any]) -> None:
        """Write the labels (h, w) of one more tile; 0 is background.

        Raises
        ------
        ValueError
            If there are more objects than the label image's type has numbers.
        """
        before = np.asarray(self.out[window.slices])
        after = before.copy()
        covered = self._covered(window)
        new, pixels = np.unique(labels, return_inverse=True)
        pixels = pixels.reshape(labels.shape)
        matches = _matches(pixels, len(new), before, covered)
        free = before == 0
        for index in np.flatnonzero(new):
            here = pixels == index
            known = matches.get(int(index), [])
            if not known and (here & free).sum() < MIN_NEW * here.sum():
                continue
            label = known[0] if known else self._next()
            for other in known[1:]:
                self._join(other, label)
            after[here & free] = label
        self.out[window.slices] = after
        self._seen.append(window)

    def finish(self) -> None:
        """Give objects one label that turned out to be one in a later tile."""
        if not self._same:
            return
        for window in self._seen:
            labels = np.asarray(self.out[window.slices])
            present, pixels = np.unique(labels, return_inverse=True)
            final = np.array([self._first(int(one)) for one in present], labels.dtype)
            self.out[window.slices] = final[pixels].reshape(labels.shape)

    def _first(self, label: int) -> int:
        while label in self._same:
            label = self._same[label]
        return label

    def _join(self, one: int, other: int) -> None:
        low, high = sorted((self._first(one), self._first(other)))
        if low != high:
            self._same[high] = low

    def _next(self) -> int:
        self.count += 1
        if self.count > np.iinfo(self.out.dtype).max:
            raise ValueError(
                f"out must be of a type with numbers for all objects, "
                f"got {self.out.dtype}."
            )
        return self.count

    def _covered(self, window: Window) -> NDArray[np.bool_]:
        """(h, w) bool: where earlier tiles have been."""
        covered = np.zeros(window.shape, bool)
        for one in self._seen:
            rows, columns = (
                slice(max(0, a.start - b.start), max(0, a.stop - b.start))
                for a, b in zip(one.slices, window.slices, strict=True)
            )
            covered[rows, columns] = True
        return covered


def _matches(
    pixels: NDArray[np.intp],
    count: int,
    before: NDArray[Any],
    covered: NDArray[np.bool_],
) -> dict[int, list[int]]:
    """Which of the labels 0 ... count - 1 of a tile are objects of earlier tiles.

    What joins the parts of an object may lie in one of the tiles only: several earlier
    ones may be parts of it, and it may be a part of an earlier one.
    """
    old, known = np.unique(before[covered], return_inverse=True)
    here = pixels[covered]
    shared = np.zeros((count, len(old)), np.int64)
    np.add.at(shared, (here, known.ravel()), 1)
    in_new, in_old = shared.sum(axis=1), shared.sum(axis=0)
    # Parts of an object lie inside it, and together are most of it.
    inside = (shared >= MIN_INSIDE * in_old) & (old > 0) & (shared > 0)
    parts = np.where(inside, shared, 0)
    is_whole = parts.sum(axis=1) >= MIN_OVERLAP * in_new
    either = in_new[:, None] + in_old - shared
    is_same = (shared >= MIN_OVERLAP * either) & (old > 0) & (shared > 0)
    is_part = (shared >= MIN_INSIDE * in_new[:, None]) & (old > 0) & (shared > 0)
    agree = is_same | is_part | (inside & is_whole[:, None])
    # All of it was seen before, in pieces: it goes on as the largest of them.
    pieces = np.where(old > 0, shared, 0)
    is_known = (in_new > 0) & (pieces.sum(axis=1) >= MIN_INSIDE * in_new)
    left = np.flatnonzero(is_known & ~agree.any(axis=1))
    if len(left):
        agree[left, pieces[left].argmax(axis=1)] = True
    return {index: old[one].tolist() for index, one in enumerate(agree) if one.any()}
