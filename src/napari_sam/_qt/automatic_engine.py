"""What the worker does to find objects by itself; no Qt, no layers."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._automatic_options import AutomaticOptions
from napari_sam._candidates import Candidates
from napari_sam._linking import link_planes
from napari_sam._qt.engine import Engine, Source, plane_text
from napari_sam._qt.progress import Progress
from napari_sam.session import Session
from napari_sam.types import Plane

# Masks below are not kept: the sliders begin here.
LEAST_SCORE, LEAST_STABILITY = 0.6, 0.7


@dataclass(frozen=True, eq=False)
class Search:
    """Objects that are to be found in a plane.

    Parameters
    ----------
    source : Source
    plane : int or tuple of int
    points_per_side : int
    region : ndarray of shape (H, W), bool, optional
        Where to look.
    labels : ndarray of shape (H, W), int, optional
        What is labelled already, and left alone.
    examples : ndarray of shape (H, W), bool, optional
        What objects are to be like; the other two are not used then.
    """

    source: Source
    plane: Plane
    points_per_side: int
    region: NDArray[np.bool_] | None = None
    labels: NDArray[Any] | None = None
    examples: NDArray[np.bool_] | None = None

    @property
    def options(self) -> AutomaticOptions:
        """Options that leave the choice to the sliders."""
        return AutomaticOptions(
            points_per_side=self.points_per_side,
            pred_iou_thresh=LEAST_SCORE,
            stability_score_thresh=LEAST_STABILITY,
        )


def search(engine: Engine, request: Search) -> Generator[Progress, None, Candidates]:
    """Decode a grid of points, or points that look like an example.

    Parameters
    ----------
    engine : Engine
    request : Search

    Yields
    ------
    Progress

    Returns
    -------
    Candidates
        All that the sliders choose from.
    """
    yield from prepared(engine, request.source)
    session = engine.open(request.source)
    yield Progress(0, "Encoding")
    if request.examples is not None:
        steps = session.iter_similar(request.examples, request.plane, request.options)
    else:
        steps = session.iter_candidates(
            request.plane, request.options, request.region, request.labels
        )
    parts = []
    for done, found in steps:
        parts.append(found)
        count = sum(map(len, parts))
        so_far = f", {count} masks so far" if count else ""
        yield Progress(done, f"Looking for objects{so_far}")
    return Candidates.join(parts)


@dataclass(frozen=True, eq=False)
class StackSearch:
    """Objects that are to be found in planes of a stack, and linked.

    Parameters
    ----------
    source : Source
    planes : sequence of int or tuple of int
    options : AutomaticOptions
    """

    source: Source
    planes: Sequence[Plane]
    options: AutomaticOptions


PlaneLabels = tuple[Plane, NDArray[Any]]


def search_stack(
    engine: Engine, request: StackSearch
) -> Generator[Progress, None, list[PlaneLabels]]:
    """Find objects in planes of a stack.

    Parameters
    ----------
    engine : Engine
    request : StackSearch

    Yields
    ------
    Progress

    Returns
    -------
    list of (plane, ndarray of shape (H, W))
        A label is the same object in all planes.
    """
    yield from prepared(engine, request.source)
    session = engine.open(request.source)
    first = plane_text(request.planes[0])
    yield Progress(0, f"Looking at {first}")
    if session.is_large:
        return (yield from _search_tiles(session, request))
    steps = session.generate_masks_planes(request.planes, request.options)
    found: list[PlaneLabels] = []
    for plane, labels in steps:
        # As small as they can be until all of them are there.
        kept = labels.astype(np.min_scalar_type(labels.max(initial=0)))
        found.append((plane, kept))
        done = len(found) / len(request.planes)
        yield Progress(done, f"{len(found)} of {len(request.planes)} planes")
    return found


def _search_tiles(
    session: Session, request: StackSearch
) -> Generator[Progress, None, list[PlaneLabels]]:
    """Do as `search_stack` in planes too large to be seen at once."""
    found: list[NDArray[Any]] = []
    count = len(request.planes)
    for plane in request.planes:
        labels = np.zeros(session.plane_size, np.uint32)
        for part in session.label_tiles(labels, plane, request.options):
            text = f"{part:.0%} of {plane_text(plane)}, tile by tile"
            yield Progress((len(found) + part) / count, text)
        found.append(labels)
    linked = found if count == 1 else link_planes(found, request.options)
    return list(zip(request.planes, linked, strict=True))


def prepared(engine: Engine, source: Source) -> Generator[Progress, None, None]:
    """Download the model of a source if needed, and load it."""
    for step in engine.prepare(source.model):
        yield Progress(0, str(step))


@dataclass(frozen=True)
class Filters:
    """Which of the masks that were found are shown.

    Parameters
    ----------
    score, stability : float
        Lowest predicted IoU, and lowest stability.
    overlap : float
        Of two masks whose boxes overlap more (IoU), one is dropped.
    smallest, largest : float
        Area in the square of the unit; 0 for no limit.
    """

    score: float = 0.88
    stability: float = 0.95
    overlap: float = 0.7
    smallest: float = 0.0
    largest: float = 0.0

    def applied_to(
        self, options: AutomaticOptions, pixel_area: float
    ) -> AutomaticOptions:
        """Options with these filters.

        Parameters
        ----------
        options : AutomaticOptions
        pixel_area : float
            In the square of the unit.

        Examples
        --------
        >>> Filters(largest=8).applied_to(AutomaticOptions(), 0.5).area_range
        (0.0, 16.0)
        """
        areas = (
            self.smallest / pixel_area,
            self.largest / pixel_area if self.largest > 0 else np.inf,
        )
        is_limited = self.smallest > 0 or self.largest > 0
        return replace(
            options,
            pred_iou_thresh=self.score,
            stability_score_thresh=self.stability,
            box_nms_thresh=self.overlap,
            area_range=areas if is_limited else options.area_range,
        )


@dataclass(frozen=True, eq=False)
class Numbered:
    """Masks that were found, each with a number that filtering does not change.

    Parameters
    ----------
    every : Candidates
        Number i + 1 is mask i.
    """

    every: Candidates

    def select(self, options: AutomaticOptions) -> tuple[Candidates, NDArray[np.intp]]:
        """Choose masks; returns them, and their numbers.

        Parameters
        ----------
        options : AutomaticOptions
        """
        order = {key: i + 1 for i, key in enumerate(_keys(self.every))}
        chosen = self.every.select(options)
        numbers = np.array([order[key] for key in _keys(chosen)], dtype=np.intp)
        return chosen, numbers


def _keys(candidates: Candidates) -> list[tuple[int, float, float, int]]:
    """Return what no two masks share: part, point, and which of its masks."""
    return list(
        zip(
            candidates.crops.tolist(),
            *candidates.points.T.tolist(),
            candidates.mask_indices.tolist(),
            strict=True,
        )
    )
