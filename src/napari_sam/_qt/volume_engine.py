"""What the worker does to follow objects through a stack; no Qt, no layers."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam._consensus import Consensus
from napari_sam._generators import mapped
from napari_sam._plane_pixels import PlanePixels
from napari_sam._qt.engine import Engine, Source, plane_text
from napari_sam._qt.volume_state import (
    ChosenMask,
    Seed,
    Seeds,
    StackLine,
    prompts_of,
    shows_object,
)
from napari_sam.propagation import PropagationOptions
from napari_sam.review import MaskPatch
from napari_sam.session import Session
from napari_sam.types import Plane, Prediction, Prompts


@dataclass(frozen=True, eq=False)
class VolumeRequest:
    """Objects that are to be followed along a line.

    Parameters
    ----------
    source : Source
    line : StackLine
    seeds : mapping of object id to {position: Seed}
        All of each object; seeds outside of what is wanted count, too.
    wanted : mapping of object id to set of positions
    spacing : (along, rows, columns), optional
    consensus : bool
        Whether to look along the two other axes, too.
    """

    source: Source
    line: StackLine
    seeds: Mapping[int, Seeds]
    wanted: Mapping[int, frozenset[int]]
    spacing: tuple[float, float, float] | None = None
    consensus: bool = False

    @property
    def planes(self) -> list[int]:
        """Positions that are wanted of any object, in order."""
        return sorted(frozenset().union(*self.wanted.values()))


@dataclass(frozen=True, eq=False)
class PlaneFound:
    """Objects in one plane, final.

    Parameters
    ----------
    position : int
    masks : mapping of object id to MaskPatch
        Of the objects that were wanted in this plane, empty if not found. They do not
        overlap.
    scores : mapping of object id to float
        Predicted intersection over union; or how well three slicings agree.
    """

    position: int
    masks: Mapping[int, MaskPatch]
    scores: Mapping[int, float]


def follow(
    engine: Engine, request: VolumeRequest
) -> Generator[str | PlaneFound, None, None]:
    """Follow objects, a plane a step.

    Parameters
    ----------
    engine : Engine
    request : VolumeRequest

    Yields
    ------
    str or PlaneFound
        What is being done, or a plane that is done.
    """
    yield from engine.prepare(request.source.model)
    session, line = engine.open(request.source), request.line
    seeds: dict[int, dict[Plane, Prompts | NDArray[np.bool_]]] = {}
    for number, own in request.seeds.items():
        for position, seed in own.items():
            yield f"Looking at marked {plane_text(line.plane(position))}"
            plane = line.plane(position)
            seeds.setdefault(number, {})[plane] = _session_seed(seed, session, plane)
    options = PropagationOptions(spacing=request.spacing)
    if request.consensus:
        work = session.propagate_consensus(seeds, line.along, options)
        yield from _planes_agreed(request, (yield from mapped(work, _progress_text)))
        return
    pixels = PlanePixels(session.plane_size)
    steps = session.propagate_predictions(seeds, line.along, request.planes, options)
    for plane, found in steps:
        at = line.position(plane)
        if at is not None:
            yield _plane_found(request, at, found, pixels)


def _progress_text(progress: tuple[int, int]) -> str:
    done, total = progress
    return f"Three axes: {done} of {total} planes"


def _planes_agreed(
    request: VolumeRequest, found: Consensus
) -> Generator[PlaneFound, None, None]:
    """Planes that are wanted; how far the three axes agree is the score."""
    for position in request.planes:
        labels = found.planes[position]
        asked = [n for n, own in request.wanted.items() if position in own]
        yield PlaneFound(
            position,
            {number: MaskPatch.of(labels == number) for number in asked},
            {number: float(found.scores[number][position]) for number in asked},
        )


def _session_seed(
    seed: Seed, session: Session, plane: Plane
) -> Prompts | NDArray[np.bool_]:
    """Mask of a seed: that which the widget shows, to the pixel."""
    if isinstance(seed, MaskPatch):
        return seed.to_mask(session.plane_size)
    prompts = prompts_of(seed).to_prompts()
    if not shows_object(seed):
        return prompts
    prediction = session.segment(prompts, plane)
    if prediction.frame is not None:  # of a plane too large to be seen as a whole
        return prompts
    index = seed.index if isinstance(seed, ChosenMask) else prediction.best_index
    mask: NDArray[np.bool_] = prediction.masks[min(index, len(prediction.masks) - 1)]
    return mask


def _plane_found(
    request: VolumeRequest,
    position: int,
    found: Mapping[int, Prediction],
    pixels: PlanePixels,
) -> PlaneFound:
    asked = [number for number, own in request.wanted.items() if position in own]
    here = {number: found[number] for number in asked if number in found}
    if len(here) > 1:  # which of them gets a pixel takes longer than one mask
        labels = pixels.labels(here)
        masks = {number: labels == number for number in here}
    else:
        masks = {number: one.best for number, one in here.items()}
    nothing = MaskPatch.of(np.zeros(pixels.plane_size, bool))
    return PlaneFound(
        position,
        {n: MaskPatch.of(masks[n]) if n in masks else nothing for n in asked},
        {n: float(here[n].scores.max()) if n in here else 0.0 for n in asked},
    )
