"""Objects like given examples: where a plane looks like them, and the best masks there.

Each likely place is asked twice, with a point and with a box of the examples' size:
crowded or faint objects are often merged or missed by a point alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_sam._automatic_options import AutomaticOptions
from napari_sam._candidates import Candidates
from napari_sam._likeness import Likeness, Seen
from napari_sam.automatic import SearchedPart
from napari_sam.predictor import Predictor
from napari_sam.types import MODEL_SIZE, Prompts, Window
from napari_sam.windows import tiles

See: TypeAlias = Callable[[Window | None], Seen]
"""A part of a plane, encoded; the whole plane if None."""

SIMILAR_OPTIONS = AutomaticOptions(pred_iou_thresh=0.7, stability_score_thresh=0.8)
"""Lower thresholds than for everything: what looks like the examples is likely one."""

# Radius in the model's pixels below which examples are looked at in windows, the radius
# that they have there, and how many windows there are at most.
SMALL_RADIUS, WINDOW_RADIUS, MOST_WINDOWS = 10.0, 20.0, 32
# Pixels: a mask that ends this near the edge of a window was cut by it.
WINDOW_EDGE = 1
# Objects may be so many times smaller or larger than the examples.
SIZE_FACTOR = 3.0
# Score that a mask must have more for twice the difference in size.
SIZE_WEIGHT = 0.15
# Of that size, as a power of two, is what surely is one object.
SURE_SIZE = 0.75
# Likeness that a mask must have: 0 is the background's, 1 that of the examples.
LEAST_LIKENESS = 0.2
# Part of a mask that may lie on better ones.
MOST_SHARED = 0.5
POINTS = 16
# Likeness of the places that are tried in each turn; objects found are examples for the
# next turn.
TURNS = (0.3, 0.3, 0.2)
# Which of a prompt's masks: 0 to 2 are those of the point.
BOX_MASK = 3


def area_range(areas: NDArray[np.int64]) -> tuple[float, float]:
    """Pixels that objects like examples of these areas may have."""
    return float(areas.min() / SIZE_FACTOR), float(areas.max() * SIZE_FACTOR)


def windows_for(
    areas: NDArray[np.int64], plane_size: tuple[int, int]
) -> list[Window | None]:
    """Parts of a plane in which objects are large enough to be told apart.

    Parameters
    ----------
    areas : ndarray of shape (N,), int64
        Pixels of the examples.
    plane_size : (H, W)

    Returns
    -------
    list of Window or None
        None is the whole plane, if that will do.

    Examples
    --------
    >>> windows_for(np.array([400]), (600, 600))
    [None]
    >>> len(windows_for(np.array([80]), (600, 1200)))
    15
    """
    radius = float(np.sqrt(np.median(areas) / np.pi))
    if radius * MODEL_SIZE / max(plane_size) >= SMALL_RADIUS:
        return [None]
    side = round(radius * MODEL_SIZE / WINDOW_RADIUS)
    # Wide enough for the largest object to be whole in one of two neighbours.
    overlap = min(round(4 * np.sqrt(areas.max() / np.pi)), side // 2)
    found = tiles(plane_size, side, overlap)
    while len(found) > MOST_WINDOWS:
        side = round(1.1 * side)
        found = tiles(plane_size, side, overlap)
    return list(found) if len(found) > 1 else [None]


@dataclass(frozen=True, eq=False)
class Looking:
    """What is looked for, and where.

    Parameters
    ----------
    see : callable
    windows : sequence of Window or None
    plane : ndarray of shape (H, W) or (H, W, C)
        The image's own values.
    likeness : Likeness
    examples : ndarray of shape (H, W), int, optional
        If they are in this plane.
    options : AutomaticOptions
        With an `area_range`.
    """

    see: See
    windows: Sequence[Window | None]
    plane: NDArray[Any]
    likeness: Likeness
    examples: NDArray[Any] | None
    options: AutomaticOptions

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of the plane."""
        return self.plane.shape[0], self.plane.shape[1]

    @property
    def nothing(self) -> Candidates:
        """No mask."""
        return Candidates.of([], self.options, self.plane)


def iter_similar(
    predictor: Predictor, looking: Looking
) -> Generator[tuple[float, Candidates], None, None]:
    """Decode points and boxes where a plane looks like examples, a few in each step.

    Parameters
    ----------
    predictor : Predictor
    looking : Looking

    Yields
    ------
    tuple of float and Candidates
        As `automatic.iter_candidates`; masks that hardly overlap, all of them in the
        last step. What was found in one turn is learned from for the next.
    """
    yield 0.0, looking.nothing
    parts: list[_Part] = []
    for number, window in enumerate(looking.windows):
        parts.append(_Part(predictor, looking, number, looking.see(window)))
        yield 0.5 * len(parts) / len(looking.windows), looking.nothing
    likeness, chosen = looking.likeness, looking.nothing
    for turn, least in enumerate(TURNS):
        found, taken = [chosen], _covered(chosen)
        for place, part in enumerate(parts):
            for done, more in part.look(likeness, taken, least):
                found.append(more)
                share = (turn + (place + done) / len(parts)) / len(TURNS)
                yield min(0.99, 0.5 + 0.5 * share), looking.nothing
        chosen = _distinct(Candidates.join(found), likeness)
        if len(chosen) == 0:
            break
        likeness = _learned(likeness, parts, looking.examples, chosen)
    yield 1.0, chosen


class _Part:
    """A part of the plane, and the points that were tried there."""

    def __init__(
        self, predictor: Predictor, looking: Looking, number: int, seen: Seen
    ) -> None:
        self.seen, self._looking, self._number = seen, looking, number
        self._searched = SearchedPart(
            predictor, seen.view.embedding, looking.size, seen.window, WINDOW_EDGE
        )
        self._tried = np.zeros((0, 2))

    def look(
        self, likeness: Likeness, taken: NDArray[np.bool_], least: float
    ) -> Generator[tuple[float, Candidates], None, None]:
        """Decode where there is no object yet; what is surely one counts at once."""
        level = np.zeros(self._looking.size)
        level[self.seen.slices] = likeness.in_pixels(self.seen)
        points = likeness.points(self.seen, self._tried, least)
        here, done = taken[self.seen.slices], 0
        while done < len(points):
            rows, columns = np.rint(points[done:]).astype(int).T
            free = done + np.flatnonzero(~here[rows, columns])[:POINTS]
            if len(free) == 0:
                break
            done = int(free[-1]) + 1
            found = self._fitting(self._decode(points[free], likeness), level, likeness)
            # Not what is larger: it may be several that touch.
            sure = np.abs(np.log2(found.areas / likeness.area)) < SURE_SIZE
            for index in np.flatnonzero(sure):
                taken.ravel()[found.masks.pixels(int(index))] = True
            self._tried = np.concatenate([self._tried, points[free]])
            yield done / len(points), found

    def _decode(self, points: NDArray[np.float64], likeness: Likeness) -> Candidates:
        """Three masks of each point, and one of a box around it."""
        options = self._looking.options
        size = np.array(self.seen.view.embedding.plane_size)
        half = likeness.extent / 2
        boxes = np.hstack([points + 0.5 - half, points + 0.5 + half])
        boxes = np.clip(boxes, 0, [*size, *size])
        prompts = [
            Prompts(points=point[None], box=box)
            for point, box in zip(points, boxes, strict=True)
        ]
        found = self._searched.masks(points, options)
        for one in self._searched.masks(points, options, prompts):
            found.append(replace(one, mask_index=BOX_MASK))
        window = self.seen.window
        return Candidates.of(found, options, self._looking.plane, window, self._number)

    def _fitting(
        self, found: Candidates, level: NDArray[np.float64], likeness: Likeness
    ) -> Candidates:
        """Those that look like the examples, the best one of each point."""
        low, high = self._looking.options.area_range or (0, np.inf)
        good = (found.areas >= low) & (found.areas <= high)
        good &= found.masks.plane_sums(level) >= LEAST_LIKENESS * found.areas
        merit = _merit(found, likeness)
        best: dict[tuple[float, ...], int] = {}
        for index in np.flatnonzero(good).tolist():
            key = tuple(found.points[index].tolist())
            if key not in best or merit[index] > merit[best[key]]:
                best[key] = index
        return found.take(np.array(list(best.values()), np.intp))


def _merit(found: Candidates, likeness: Likeness) -> NDArray[np.float64]:
    """Score, less the difference in size to the examples."""
    difference = np.abs(np.log2(found.areas / likeness.area))
    merit: NDArray[np.float64] = found.scores - SIZE_WEIGHT * difference
    return merit


def _distinct(found: Candidates, likeness: Likeness) -> Candidates:
    """Those that do not lie on better ones."""
    taken = np.zeros(found.plane_size, bool)
    kept = []
    for index in np.argsort(-_merit(found, likeness), kind="stable").tolist():
        pixels = found.masks.pixels(index)
        if taken.ravel()[pixels].mean() <= MOST_SHARED:
            taken.ravel()[pixels] = True
            kept.append(index)
    return found.take(kept)


def _covered(found: Candidates) -> NDArray[np.bool_]:
    """(H, W): where there is a mask."""
    return found.label_image() > 0


def _learned(
    likeness: Likeness,
    parts: Sequence[_Part],
    examples: NDArray[Any] | None,
    found: Candidates,
) -> Likeness:
    """Take what was found as examples, too."""
    every = _covered(found)
    if examples is not None:
        every |= examples > 0
    return likeness.learn([part.seen for part in parts], every, examples is None)
