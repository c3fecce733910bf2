"""How much the places of a plane look like given examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree
from skimage.feature import peak_local_max

from napari_sam._appearance import Appearance, Evidence, PlaneView
from napari_sam.transforms import mask_to_logits, pixels_per_cell
from napari_sam.types import LOGITS_SIZE, Window

Cells = NDArray[np.bool_]

WHOLE = (slice(0, LOGITS_SIZE), slice(0, LOGITS_SIZE))
# Examples are told from all of the plane that is seen: close by there may be more of
# their like, and these few would be taken for what they are not.
EVERYWHERE = float(LOGITS_SIZE)
FEATURE_WEIGHT, GREY_WEIGHT = 3.0, 1.0
# Part of the plane that is surely no object.
BACKGROUND = 0.1
# Of the radius of a typical example: how the likeness is smoothed before its peaks are
# found, how far apart these are, and from points that were tried before.
SMOOTHING, DISTANCE, NEW_DISTANCE = 0.4, 0.6, 0.4


@dataclass(frozen=True, eq=False)
class Seen:
    """A part of a plane as the model sees it.

    Parameters
    ----------
    view : PlaneView
    window : Window, optional
        The part; the whole plane if None.
    """

    view: PlaneView
    window: Window | None = None

    @property
    def slices(self) -> tuple[slice, ...]:
        """Its rows and columns in the plane."""
        if self.window is not None:
            return self.window.slices
        return tuple(slice(0, length) for length in self.view.embedding.plane_size)

    def cells(self, labels: NDArray[Any]) -> Cells:
        """(256, 256): cells of the labels (H, W) of the plane, in this part.

        A label thinner than a cell is the cell it has most of.
        """
        inside = labels[self.slices].astype(np.int64)
        found, valid = np.zeros((LOGITS_SIZE, LOGITS_SIZE), bool), self.view.valid
        for label, box in enumerate(ndimage.find_objects(inside), 1):
            if box is None:
                continue
            logits = mask_to_logits(inside == label)
            cells = (logits > 0) & valid
            found |= cells if cells.any() else (logits == logits[valid].max()) & valid
        return found


@dataclass(frozen=True, eq=False)
class Likeness:
    """What examples look like, and how large they are.

    Parameters
    ----------
    evidence : tuple of Evidence
        What tells them from their surroundings.
    areas : ndarray of shape (N,), int64
        Pixels of each example.
    extent : ndarray of shape (2,), float64
        Rows and columns of the box of a typical example.
    levels : (float, float)
        What the evidence says of the background, and of the examples.
    """

    evidence: tuple[Evidence, ...]
    areas: NDArray[np.int64]
    extent: NDArray[np.float64]
    levels: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def of(cls, seen: Sequence[Seen], examples: NDArray[Any]) -> Likeness:
        """Learn from the labels (H, W), int, of a plane; 0 is no example.

        Parameters
        ----------
        seen : sequence of Seen
            Parts of the plane.
        examples : ndarray of shape (H, W), int
        """
        areas = np.unique(examples[examples > 0], return_counts=True)[1]
        boxes = [box for box in ndimage.find_objects(examples) if box is not None]
        sides = [[axis.stop - axis.start for axis in box] for box in boxes]
        extent = np.median(np.array(sides, np.float64), axis=0)
        return cls((), areas, extent).learn(seen, examples, is_more=True)

    def learn(
        self, seen: Sequence[Seen], examples: NDArray[Any], is_more: bool
    ) -> Likeness:
        """Learn from other examples; their sizes do not count.

        Parameters
        ----------
        seen : sequence of Seen
            Parts of their plane.
        examples : ndarray of shape (H, W), bool or int
        is_more : bool
            Whether what was learned before counts, too.
        """
        pairs = [(one.view, one.cells(examples)) for one in seen]
        views = [view for view, cells in pairs if cells.any()]
        masks = [cells for _, cells in pairs if cells.any()]
        new = tuple(map(Evidence.of, views, masks, [EVERYWHERE] * len(views)))
        made = replace(self, evidence=(*self.evidence, *new) if is_more else new)
        levels = [made._smooth(view) for view in views]
        inside = [level[cells] for level, cells in zip(levels, masks, strict=True)]
        every = [level[view.valid] for level, view in zip(levels, views, strict=True)]
        low = float(np.quantile(np.concatenate(every), BACKGROUND))
        return replace(made, levels=(low, float(np.median(np.concatenate(inside)))))

    @property
    def area(self) -> float:
        """Pixels of the median example."""
        return float(np.median(self.areas))

    def in_pixels(self, seen: Seen) -> NDArray[np.float64]:
        """(H, W) of a part: 0 where it looks like background, 1 like the examples."""
        size = seen.view.embedding.plane_size
        rows, columns = (
            np.minimum((np.arange(length) + 0.5) / side, LOGITS_SIZE - 1).astype(int)
            for length, side in zip(size, pixels_per_cell(size), strict=True)
        )
        return self._relative(self._raw(seen.view))[np.ix_(rows, columns)]

    def points(
        self, seen: Seen, tried: NDArray[np.float64], least: float
    ) -> NDArray[np.float64]:
        """(N, 2) (row, column) in a part's pixels: where it looks most like examples.

        Parameters
        ----------
        seen : Seen
        tried : ndarray of shape (M, 2)
            Points that are not wanted again.
        least : float
            Likeness that a point must have.

        Returns
        -------
        ndarray of shape (N, 2), float64
            Peaks of the likeness, the highest first.
        """
        view, size = seen.view, seen.view.embedding.plane_size
        cells = peak_local_max(  # type: ignore[no-untyped-call]
            self._relative(self._smooth(view)),
            min_distance=max(1, round(DISTANCE * self._radius(view))),
            threshold_abs=least,
            exclude_border=False,
        )
        cells = cells[view.valid[tuple(cells.T)]]
        points = (cells + 0.5) * pixels_per_cell(size) - 0.5
        points = np.clip(points, 0, np.array(size) - 1)
        if len(tried) and len(points):
            away = KDTree(tried).query(points)[0]
            points = points[away > NEW_DISTANCE * np.sqrt(self.area / np.pi)]
        found: NDArray[np.float64] = points
        return found

    def _raw(self, view: PlaneView) -> NDArray[np.float64]:
        """(256, 256): what the evidence says."""
        appearance = Appearance(list(self.evidence), [1.0] * len(self.evidence))
        features = appearance.by_features(view, WHOLE)
        return FEATURE_WEIGHT * features + GREY_WEIGHT * appearance.by_grey(view, WHOLE)

    def _smooth(self, view: PlaneView) -> NDArray[np.float64]:
        level = self._raw(view)
        level[~view.valid] = level[view.valid].min()
        smooth: NDArray[np.float64] = ndimage.gaussian_filter(
            level, SMOOTHING * self._radius(view)
        )
        return smooth

    def _radius(self, view: PlaneView) -> float:
        """Of a typical example, in cells."""
        cell = pixels_per_cell(view.embedding.plane_size).prod()
        return float(np.sqrt(self.area / np.pi / cell))

    def _relative(self, level: NDArray[np.float64]) -> NDArray[np.float64]:
        low, high = self.levels
        # Where nothing can be told apart, nothing is alike.
        return (level - low) / (high - low) if high > low + 1e-6 else 0 * level
