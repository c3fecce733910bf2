"""Where in a plane something looks like given examples."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max

from napari_sam._appearance import (
    Appearance,
    Evidence,
    PlaneView,
)
from napari_sam._automatic_options import AutomaticOptions, Range
from napari_sam._candidates import Candidates
from napari_sam.automatic import SearchedPart
from napari_sam.predictor import Predictor
from napari_sam.transforms import mask_to_logits, pixels_per_cell
from napari_sam.types import LOGITS_SIZE

Cells = NDArray[np.bool_]

WHOLE = (slice(0, LOGITS_SIZE), slice(0, LOGITS_SIZE))
# Surroundings that examples are told from, as a part of their size.
MARGIN = 1.0
# Of the radius of a typical example: how the likeness is smoothed before its peaks are
# found, and how far apart these are.
SMOOTHING, DISTANCE = 0.4, 0.7
FEATURE_WEIGHT, GREY_WEIGHT = 3.0, 1.0
# Objects may be so many times smaller or larger than the examples.
SIZE_FACTOR = 3.0
# Score that a mask must have more for twice the difference in size.
SIZE_WEIGHT = 0.1
POINTS = 16
# Objects found are examples for the next turn.
TURNS = 3


@dataclass(frozen=True, eq=False)
class Likeness:
    """What examples look like, and how large they are.

    Parameters
    ----------
    evidence : tuple of Evidence
        What tells them from their surroundings.
    areas : ndarray of shape (N,), int64
        Pixels of each example.
    """

    evidence: tuple[Evidence, ...]
    areas: NDArray[np.int64]

    @classmethod
    def of(cls, view: PlaneView, examples: NDArray[Any]) -> Likeness:
        """Learn from the labels (H, W), int, of a plane; 0 is no example."""
        every = np.logical_or.reduce(_example_cells(examples, view.valid))
        evidence = Evidence.of(view, every, MARGIN)
        areas = np.unique(examples[examples > 0], return_counts=True)[1]
        return cls((evidence,), areas)

    def learn(self, view: PlaneView, found: NDArray[np.bool_]) -> Likeness:
        """Take what was found, (H, W) bool, as further examples, of any size."""
        (cells,) = _example_cells(found.astype(np.uint8), view.valid)
        return replace(
            self, evidence=(*self.evidence, Evidence.of(view, cells, MARGIN))
        )

    @property
    def area(self) -> float:
        """Pixels of the median example."""
        return float(np.median(self.areas))

    @property
    def area_range(self) -> Range:
        """Pixels that objects like the examples may have."""
        return self.areas.min() / SIZE_FACTOR, self.areas.max() * SIZE_FACTOR

    def in_pixels(self, view: PlaneView) -> NDArray[np.float64]:
        """(H, W): above 0 where a plane looks like the examples."""
        cells = pixels_per_cell(view.embedding.plane_size)
        rows, columns = (
            np.minimum((np.arange(length) + 0.5) / side, LOGITS_SIZE - 1).astype(int)
            for length, side in zip(view.embedding.plane_size, cells, strict=True)
        )
        return self.in_cells(view)[np.ix_(rows, columns)]

    def in_cells(self, view: PlaneView) -> NDArray[np.float64]:
        """(256, 256): above 0 where a plane looks like the examples."""
        appearance = Appearance(list(self.evidence), [1.0] * len(self.evidence))
        features = appearance.by_features(view, WHOLE)
        grey = appearance.by_grey(view, WHOLE)
        return FEATURE_WEIGHT * features + GREY_WEIGHT * grey

    def points(self, view: PlaneView) -> NDArray[np.float64]:
        """(N, 2) (row, column) in a plane's pixels: its peaks, the highest first."""
        level = self.in_cells(view)
        level[~view.valid] = level[view.valid].min()
        size = view.embedding.plane_size
        radius = np.sqrt(self.area / np.pi / pixels_per_cell(size).prod())
        smooth = ndimage.gaussian_filter(level, SMOOTHING * radius)
        distance = max(1, round(DISTANCE * radius))
        cells = peak_local_max(  # type: ignore[no-untyped-call]
            smooth, min_distance=distance, threshold_abs=0, exclude_border=False
        )
        cells = cells[view.valid[tuple(cells.T)]]
        points = (cells + 0.5) * pixels_per_cell(size) - 0.5
        limited: NDArray[np.float64] = np.clip(points, 0, np.array(size) - 1)
        return limited


def _example_cells(examples: NDArray[Any], valid: Cells) -> list[Cells]:
    """Masks (256, 256) of the labels in a label image (H, W).

    One thinner than a cell is the cell it has most of.
    """
    found = []
    for label, box in enumerate(ndimage.find_objects(examples), 1):
        if box is None:
            continue
        logits = mask_to_logits(examples == label)
        cells = (logits > 0) & valid
        if not cells.any():
            cells = (logits == logits[valid].max()) & valid
        found.append(cells)
    return found


def iter_similar(
    predictor: Predictor,
    view: PlaneView,
    plane: NDArray[Any],
    likeness: Likeness,
    options: AutomaticOptions,
) -> Generator[tuple[float, Candidates], None, None]:
    """Decode points where a plane looks like examples, a few in each step.

    Parameters
    ----------
    predictor : Predictor
    view : PlaneView
        The plane as the model sees it.
    plane : ndarray of shape (H, W) or (H, W, C)
        The image's own values.
    likeness : Likeness
    options : AutomaticOptions
        With an `area_range`.

    Yields
    ------
    tuple of float and Candidates
        As `automatic.iter_candidates`; one mask for each point at most. What was found
        in one turn is learned from for the next.
    """
    size = view.embedding.plane_size
    part = SearchedPart(predictor, view.embedding, size)
    taken = np.zeros(size, bool)
    share = 0.0
    yield share, Candidates.of([], options, plane)
    for turn in range(TURNS):
        before = taken.copy()
        level, points, done = likeness.in_pixels(view), likeness.points(view), 0
        while done < len(points):
            rows, columns = np.rint(points[done:]).astype(int).T
            free = done + np.flatnonzero(~taken[rows, columns])[:POINTS]
            if len(free) == 0:
                break
            done = int(free[-1]) + 1
            found = Candidates.of(part.masks(points[free], options), options, plane)
            found = _fitting(found, level, likeness, options)
            for index in range(len(found)):
                taken.ravel()[found.masks.pixels(index)] = True
            share = (turn + done / len(points)) / TURNS
            yield share, found
        if not (taken & ~before).any():
            break
        likeness = likeness.learn(view, taken)
    if share < 1:
        yield 1.0, Candidates.of([], options, plane)


def _fitting(
    found: Candidates,
    level: NDArray[np.float64],
    likeness: Likeness,
    options: AutomaticOptions,
) -> Candidates:
    """Those that look like the examples, the best one of each point."""
    low, high = options.area_range or (0, np.inf)
    areas = found.areas
    good = (areas >= low) & (areas <= high)
    good &= found.masks.plane_sums(level) > 0
    difference = np.abs(np.log2(areas / likeness.area))
    merit = found.scores - SIZE_WEIGHT * difference
    best: dict[tuple[float, ...], int] = {}
    for index in np.flatnonzero(good).tolist():
        key = tuple(found.points[index].tolist())
        if key not in best or merit[index] > merit[best[key]]:
            best[key] = index
    return found.take(np.array(list(best.values()), np.intp))
