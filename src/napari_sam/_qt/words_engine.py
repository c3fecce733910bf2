"""What the worker does to find what words name; no Qt, no layers."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._detections import TextBox, TextDetections
from napari_sam._mask_runs import MaskRuns, Runs, encode
from napari_sam._qt.automatic_engine import PlaneLabels, prepared
from napari_sam._qt.engine import Engine, Source, plane_text
from napari_sam._qt.kept_model import KeptModel
from napari_sam._qt.progress import Progress
from napari_sam._session_text import NamedObject, link_objects
from napari_sam.text_detector import TextDetector
from napari_sam.types import Plane, Prompts

# Boxes decoded between two looks at whether anyone still wants them.
AT_ONCE = 8
Numbers = Sequence[int]
Detectors = KeptModel[TextDetector]


@dataclass(frozen=True, eq=False)
class WordSearch:
    """Words that are to be looked for in planes.

    Parameters
    ----------
    source : Source
    planes : sequence of int or tuple of int
    phrases : tuple of str
    detector : str
        Name or folder.
    """

    source: Source
    planes: Sequence[Plane]
    phrases: tuple[str, ...]
    detector: str


Detected = dict[Plane, TextDetections]


def find_words(
    engine: Engine, detectors: Detectors, request: WordSearch
) -> Generator[Progress, None, Detected]:
    """Look for words in planes, one a step.

    Parameters
    ----------
    engine : Engine
    detectors : KeptModel of TextDetector
    request : WordSearch

    Yields
    ------
    Progress

    Returns
    -------
    dict of plane to TextDetections
    """
    detector = yield from detectors.prepare(request.detector, engine.transfer)
    yield from prepared(engine, request.source)
    session = engine.open(request.source)
    found: Detected = {}
    for done, plane in enumerate(request.planes):
        where = plane_text(plane) if session.stack_shape else "the image"
        yield Progress(done / len(request.planes), f"Looking at {where}")
        found[plane] = session.find_text(request.phrases, plane, detector)
    return found


@dataclass(frozen=True, eq=False)
class BoxSearch:
    """Boxes of a plane that are to become masks.

    Parameters
    ----------
    source : Source
    plane : int or tuple of int
    boxes : mapping of int to TextBox
        By number.
    """

    source: Source
    plane: Plane
    boxes: Mapping[int, TextBox]


@dataclass(frozen=True, eq=False)
class Masked:
    """Masks that are there now.

    Parameters
    ----------
    plane : int or tuple of int
    runs : dict of int to Runs
        By number of the box.
    """

    plane: Plane
    runs: dict[int, Runs]


def segment_boxes(
    engine: Engine, request: BoxSearch
) -> Generator[Progress | Masked, None, None]:
    """Make masks of boxes, a few a step.

    Parameters
    ----------
    engine : Engine
    request : BoxSearch

    Yields
    ------
    Progress or Masked
    """
    yield from prepared(engine, request.source)
    session = engine.open(request.source)
    yield Progress(0, "Encoding")
    embedding = session.embed(request.plane)
    numbers = list(request.boxes)
    for first in range(0, len(numbers), AT_ONCE):
        some = numbers[first : first + AT_ONCE]
        prompts = [Prompts(box=request.boxes[number].box) for number in some]
        answers = session.predictor.predict_batch(embedding, prompts)
        size = session.plane_size
        runs = [encode(one.best, (0, 0), size) for one in answers]
        yield Masked(request.plane, dict(zip(some, runs, strict=True)))
        yield Progress(
            min(1.0, (first + AT_ONCE) / len(numbers)), f"{len(numbers)} masks"
        )


@dataclass(frozen=True, eq=False)
class PlaneOfBoxes:
    """What is to be written in one plane, the best first.

    Parameters
    ----------
    plane : int or tuple of int
    boxes : mapping of int to TextBox
        By number.
    runs : mapping of int to Runs
        Masks that are there already.
    """

    plane: Plane
    boxes: Mapping[int, TextBox]
    runs: Mapping[int, Runs]


@dataclass(frozen=True, eq=False)
class Named:
    """Label images of planes, and what words each label stands for.

    Parameters
    ----------
    planes : list of (plane, ndarray of shape (H, W))
    objects : tuple of NamedObject
    """

    planes: list[PlaneLabels]
    objects: tuple[NamedObject, ...]


def label_boxes(
    engine: Engine, source: Source, planes: Sequence[PlaneOfBoxes]
) -> Generator[Progress, None, Named]:
    """Make label images of boxes; in several planes, objects are linked.

    Parameters
    ----------
    engine : Engine
    source : Source
    planes : sequence of PlaneOfBoxes

    Yields
    ------
    Progress

    Returns
    -------
    Named
    """
    yield from prepared(engine, source)
    size = engine.open(source).plane_size
    labels = []
    for done, one in enumerate(planes):
        yield Progress(done / len(planes), f"Segmenting {plane_text(one.plane)}")
        runs = dict(one.runs)
        missing = {n: box for n, box in one.boxes.items() if n not in runs}
        if missing:
            for step in segment_boxes(engine, BoxSearch(source, one.plane, missing)):
                if isinstance(step, Masked):
                    runs |= step.runs
                yield Progress(
                    done / len(planes), f"Segmenting {plane_text(one.plane)}"
                )
        painted = paint([runs[number] for number in one.boxes], size)
        labels.append(painted.astype(np.min_scalar_type(len(one.boxes))))
    boxes = [list(one.boxes.values()) for one in planes]
    if len(planes) == 1:
        objects = [
            NamedObject(i, box.phrase, box.score) for i, box in enumerate(boxes[0], 1)
        ]
        return Named([(planes[0].plane, labels[0])], tuple(objects))
    linked, named = link_objects(labels, boxes)
    names = [one.plane for one in planes]
    return Named(list(zip(names, linked, strict=True)), named)


def paint(
    runs: Sequence[Runs], size: tuple[int, int], values: Sequence[int] | None = None
) -> NDArray[Any]:
    """Paint masks into a label image, the first one in front.

    Parameters
    ----------
    runs : sequence of Runs
    size : (H, W)
    values : sequence of int, optional
        1, 2, 3, ... by default.

    Returns
    -------
    ndarray of shape (H, W), int32
    """
    labels = np.zeros(size, np.int32)
    masks = MaskRuns.join(runs, size)
    for index in reversed(range(len(masks))):
        value = index + 1 if values is None else values[index]
        labels.ravel()[masks.pixels(index)] = value
    return labels
