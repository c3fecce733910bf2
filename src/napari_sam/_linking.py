"""Label images of successive planes linked to objects of a stack."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_sam._automatic_options import AutomaticOptions

Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]


def link_planes(
    planes: Iterable[NDArray[Any]], options: AutomaticOptions
) -> Generator[Labels, None, None]:
    """Give objects of successive planes one label from plane to plane.

    Of all overlaps between a plane's objects and those before, the assignment with the
    highest sum of IoU is taken, so that an object goes on as one only: where one
    splits, the part that fits best is the same object and the other a new one; where
    two merge, one of them goes on. An object that is missing in a few planes is linked
    across the gap, which is filled with shapes between its two ends. Objects in too few
    planes are dropped.

    Parameters
    ----------
    planes : iterable of ndarray of shape (H, W), int
        Label images; 0 is background.
    options : AutomaticOptions
        `link_overlap`, `link_gap` and `min_planes`.

    Yields
    ------
    ndarray of shape (H, W), int64
        One for each plane, in order; final. Labels are 1, 2, 3, ... as they appear. It
        takes ``link_gap + min_planes - 1`` planes more to know what belongs to a plane:
        so many are held back.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_sam import AutomaticOptions
    >>> planes = [np.full((2, 2), label) for label in (7, 0, 3)]
    >>> [int(plane.max()) for plane in link_planes(planes, AutomaticOptions())]
    [1, 1, 1]
    """
    linker = _Linker(options)
    held: deque[Labels] = deque()
    lag = options.link_gap + options.min_planes - 1
    for labels in planes:
        held.append(linker.add(_numbered(labels), held))
        if len(held) > lag:
            yield linker.final(held.popleft())
    while held:
        yield linker.final(held.popleft())


def _numbered(labels: NDArray[Any]) -> Labels:
    """Labels 1, 2, 3, ... in place of any numbers but 0."""
    values, places = np.unique(labels, return_inverse=True)
    numbers = np.cumsum(values != 0)
    numbers[values == 0] = 0
    return numbers[places].reshape(labels.shape)


@dataclass(eq=False)
class _Track:
    """An object that may go on.

    `mask` and `box` (row_min, column_min, row_max, column_max) are those of the plane
    `last`, which is the last one it was seen in.
    """

    first: int
    last: int
    mask: Mask
    box: tuple[int, int, int, int]

    @property
    def area(self) -> int:
        return int(self.mask.sum())


class _Linker:
    """Tracks of all objects, up to the plane added last."""

    def __init__(self, options: AutomaticOptions) -> None:
        self._options = options
        self._tracks: dict[int, _Track] = {}
        self._plane = -1
        self._count = 0
        # Where each track was seen last; newer ones hide older ones.
        self._seen: Labels | None = None
        self._is_long: set[int] = set()
        self._final: dict[int, int] = {}

    def add(self, labels: Labels, held: deque[Labels]) -> Labels:
        """Take the next plane; return it with the tracks' numbers, gaps filled."""
        self._plane += 1
        if self._seen is None:
            self._seen = np.zeros(labels.shape, np.int64)
        self._forget()
        found = {
            label: (box[0], box[1])
            for label, box in enumerate(ndimage.find_objects(labels), 1)
            if box is not None
        }
        linked = np.zeros(labels.shape, np.int64)
        continued = self._assign(labels, found)
        for label, (rows, columns) in found.items():
            mask = labels[rows, columns] == label
            box = (rows.start, columns.start, rows.stop, columns.stop)
            key = continued.get(label)
            if key is None:
                self._count += 1
                key = self._count
                self._tracks[key] = _Track(self._plane, self._plane, mask, box)
            else:
                self._go_on(key, mask, box, held)
            linked[rows, columns][mask] = key
            if self._plane - self._tracks[key].first + 1 >= self._options.min_planes:
                self._is_long.add(key)
        self._seen = np.where(linked > 0, linked, self._seen)
        return linked

    def final(self, linked: Labels) -> Labels:
        """Drop objects in too few planes; number the others as they appear."""
        numbers = np.zeros(int(linked.max(initial=0)) + 1, np.int64)
        for key in np.unique(linked[linked > 0]).tolist():
            if key in self._is_long:
                numbers[key] = self._final.setdefault(key, len(self._final) + 1)
        done: Labels = numbers[linked]
        return done

    def _forget(self) -> None:
        """Drop tracks that were not seen for too many planes."""
        oldest = self._plane - self._options.link_gap - 1
        gone = [key for key, track in self._tracks.items() if track.last < oldest]
        if gone and self._seen is not None:
            self._seen[np.isin(self._seen, gone)] = 0
        for key in gone:
            del self._tracks[key]

    def _assign(
        self, labels: Labels, found: dict[int, tuple[slice, slice]]
    ) -> dict[int, int]:
        """Which label continues which track."""
        if self._seen is None or not found or not self._tracks:
            return {}
        both = (labels > 0) & (self._seen > 0)
        pairs = np.stack([labels[both], self._seen[both]])
        (ours, theirs), shared = np.unique(pairs, axis=1, return_counts=True)
        areas = np.bincount(labels.ravel())
        union = areas[ours] + [self._tracks[key].area for key in theirs.tolist()]
        overlaps = shared / (union - shared)
        good = overlaps >= max(self._options.link_overlap, 1e-9)
        return _best_pairs(ours[good], theirs[good], overlaps[good])

    def _go_on(
        self,
        key: int,
        mask: Mask,
        box: tuple[int, int, int, int],
        held: deque[Labels],
    ) -> None:
        """Continue a track in this plane; fill the planes it was missing in."""
        old = self._tracks[key]
        missing = self._plane - old.last - 1
        new = _Track(old.first, self._plane, mask, box)
        for step in range(1, missing + 1):
            between, part = _shape_between(old, new, step / (missing + 1))
            # held[-1] is the plane before this one.
            plane = held[step - 1 - missing]
            plane[part][between & (plane[part] == 0)] = key
        self._tracks[key] = new


def _best_pairs(
    ours: NDArray[np.int64], theirs: NDArray[np.int64], overlaps: NDArray[np.float64]
) -> dict[int, int]:
    """Pairs of the highest sum of overlaps, each label and track in one at most.

    Labels that overlap no common track are independent: the assignment is solved for
    each group, not for the plane.
    """
    # Half a second to import, which every `Session` would wait for.
    from scipy.optimize import linear_sum_assignment

    names, rows = np.unique(ours, return_inverse=True)
    keys, columns = np.unique(theirs, return_inverse=True)
    size = len(names) + len(keys)
    graph = coo_array((overlaps, (rows, columns + len(names))), shape=(size, size))
    _, groups = connected_components(graph, directed=False)
    pairs = {}
    order = np.argsort(groups[rows], kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(groups[rows][order])) + 1):
        some, i = np.unique(rows[group], return_inverse=True)
        others, j = np.unique(columns[group], return_inverse=True)
        gains = np.zeros((len(some), len(others)))
        gains[i, j] = overlaps[group]
        for a, b in zip(*linear_sum_assignment(gains, maximize=True), strict=True):
            if gains[a, b] > 0:
                pairs[int(names[some[a]])] = int(keys[others[b]])
    return pairs


def _shape_between(
    old: _Track, new: _Track, share: float
) -> tuple[Mask, tuple[slice, slice]]:
    """Shape between two, by their distances from the border; and where it lies."""
    edges = np.array([old.box, new.box])
    low, high = edges[:, :2].min(axis=0), edges[:, 2:].max(axis=0)
    part = (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])))
    depths = []
    for track in (old, new):
        # A pixel of background around, or a mask as large as its box has no border.
        whole = np.zeros(high - low + 2, bool)
        top, left = np.array(track.box[:2]) - low + 1
        rows, columns = track.mask.shape
        whole[top : top + rows, left : left + columns] = track.mask
        inside = ndimage.distance_transform_edt(whole)
        outside = ndimage.distance_transform_edt(~whole)
        depths.append((inside - outside)[1:-1, 1:-1])
    between: Mask = (1 - share) * depths[0] + share * depths[1] > 0
    return between, part
