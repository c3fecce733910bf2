"""Objects through a stack: from the planes where the user marked them to all others.

Every object is followed outwards from its seeds, and from both ends between two of
them. Objects share each plane's embedding and are decoded together. Planes are visited
twice at most: once upwards, and once downwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_sam._appearance import PlaneView
from napari_sam._course import Course, Shape, Target
from napari_sam._plane_pixels import PlanePixels
from napari_sam._propagation_options import PropagationOptions
from napari_sam._remembering import Known, follow_by_memory, memories_of
from napari_sam._seeds import Seed, as_given, check_seeds, is_stop, within_box
from napari_sam._tracking import Answer, Tracker, blend
from napari_sam.decoding import Part
from napari_sam.predictor import Predictor
from napari_sam.transforms import pixels_per_cell, valid_cells
from napari_sam.types import LOGITS_SIZE, ImageEmbedding, Prediction, Prompts

__all__ = [
    "PropagationOptions",
    "Seed",
    "Stack",
    "check_seeds",
    "propagate",
    "propagate_labels",
]

Seeds: TypeAlias = Mapping[int, Seed]
Found: TypeAlias = Prediction | Answer


class Stack(Protocol):
    """Planes 0, 1, 2, ... of one size, read and encoded when they are asked for."""

    @property
    def predictor(self) -> Predictor:
        """Decodes the prompts."""

    @property
    def plane_size(self) -> tuple[int, int]:
        """(rows, columns) of a plane."""

    def __len__(self) -> int:
        """Return the number of planes."""

    def pixels(self, plane: int) -> NDArray[np.uint8]:
        """Return a plane as SAM sees it."""

    def embed(self, plane: int) -> ImageEmbedding:
        """Embedding of a plane."""


@dataclass(eq=False)
class _Object:
    """What is known of one object: its seeds, and what was found in each plane."""

    seeds: dict[int, Seed]
    shapes: dict[int, Shape] = field(default_factory=dict)
    given: dict[int, Prediction] = field(default_factory=dict)
    found: dict[int, Answer] = field(default_factory=dict)
    tracker: Tracker | None = None

    @property
    def stops(self) -> set[int]:
        """Planes that it is not in."""
        return {plane for plane, seed in self.seeds.items() if is_stop(seed)}

    def next_seed(self, plane: int, step: int) -> int | None:
        """Nearest seed plane after a plane, in a direction; None if there is none."""
        ahead = [seed for seed in self.seeds if (seed - plane) * step > 0]
        return min(ahead, key=lambda seed: abs(seed - plane), default=None)

    def is_between(self, plane: int) -> bool:
        """Whether the object was shown both before and after a plane."""
        ends = self.next_seed(plane, -1), self.next_seed(plane, 1)
        return plane not in self.seeds and all(end in self.shapes for end in ends)

    def answer(self, plane: int, share: float) -> Found | None:
        """Mix what is known of a plane with its neighbours, which count as a share."""
        if plane in self.given or plane not in self.found:
            return self.given.get(plane)
        own = self.found[plane]
        beside = [
            one
            for neighbour in (plane - 1, plane + 1)
            if (one := self._packed(neighbour)) is not None
        ]
        if not share or not beside:
            return own
        smooth = blend([own, *beside], [1.0, *[share] * len(beside)])
        return replace(smooth, score=own.score)

    def _packed(self, plane: int) -> Answer | None:
        if plane not in self.given:
            return self.found.get(plane)
        whole = slice(0, LOGITS_SIZE)
        return Answer.of(self.given[plane].best_logits, (whole, whole), 1.0)

    def needs(self, plane: int, step: int) -> bool:
        """Whether the way in a direction from a seed leads to a plane."""
        return plane not in self.seeds and self.next_seed(plane, -step) in self.shapes


def propagate(
    stack: Stack,
    seeds: Mapping[int, Seeds],
    planes: Sequence[int],
    options: PropagationOptions,
) -> Iterator[tuple[int, dict[int, Prediction]]]:
    """Follow objects through a stack.

    Parameters
    ----------
    stack : Stack
    seeds : dict of object id to {plane: seed}
        Checked by `check_seeds`. A mask is the object in its plane, exactly; so is a
        `Prediction`'s best mask. An empty mask, or negative points alone, say that the
        object is not in that plane: it is not followed further in that direction.
    planes : sequence of int
        The planes wanted, in order; seeds outside still count.
    options : PropagationOptions

    Yields
    ------
    tuple of int and dict of int to Prediction
        Each of the planes once, as soon as it is final, and the objects in it; of one
        mask each, with the predicted IoU times the agreement with the neighbours as
        score. Seed planes come first, then upwards, then downwards, then the planes
        without any object.
    """
    pixels = PlanePixels(stack.plane_size)
    for plane, objects in _follow(stack, seeds, planes, options):
        found = {key: _prediction(one, plane, pixels) for key, one in objects.items()}
        yield plane, {key: one for key, one in found.items() if one.masks.any()}


def propagate_labels(
    stack: Stack,
    seeds: Mapping[int, Seeds],
    planes: Sequence[int],
    options: PropagationOptions,
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Follow objects through a stack, each plane as one label image.

    Parameters
    ----------
    stack, seeds, planes, options
        As in `propagate`.

    Yields
    ------
    tuple of int and ndarray of shape (H, W), int64
        Each of the planes once, with the ids of its objects; 0 is background. Where
        objects overlap, the one whose logits are higher there gets the pixel.
    """
    pixels = PlanePixels(stack.plane_size)
    for plane, objects in _follow(stack, seeds, planes, options):
        yield plane, pixels.labels(objects)


def _prediction(found: Found, plane: int, pixels: PlanePixels) -> Prediction:
    if isinstance(found, Prediction):
        return found
    score = np.array([found.score], np.float32)
    return Prediction(pixels.mask(found)[None], score, found.full[None], plane)


def _follow(
    stack: Stack,
    seeds: Mapping[int, Seeds],
    planes: Sequence[int],
    options: PropagationOptions,
) -> Iterator[tuple[int, dict[int, Found]]]:
    """`propagate`, before the answers are brought to the plane's pixels."""
    objects = {key: _Object(dict(one)) for key, one in seeds.items()}
    left = dict.fromkeys(planes)
    _decode_seeds(stack, objects)
    memories = memories_of(stack.predictor, list(objects), len(stack))
    if memories and options.model_memory:
        known = {key: Known(one.given, one.stops) for key, one in objects.items()}
        by_key = dict(zip(objects, memories, strict=True))
        yield from follow_by_memory(stack, known, by_key, list(left))
        return

    def final(plane: int) -> tuple[int, dict[int, Found]]:
        del left[plane]
        found = {
            key: answer
            for key, one in objects.items()
            if (answer := one.answer(plane, options.share_beside)) is not None
        }
        for beside in _around(plane, len(stack)):
            if left.keys().isdisjoint(_around(beside, len(stack))):
                for one in objects.values():
                    one.found.pop(beside, None)
        return plane, found

    course = _Progress(len(stack), 1 if options.share_beside else 0)
    for plane in [plane for plane in left if course.is_final(objects, plane)]:
        if any(plane in one.seeds for one in objects.values()):
            yield final(plane)
    for step in (1, -1):
        for plane in _way(objects, list(left), step, course):
            _visit(stack, objects, plane, step, options)
            course = replace(course, step=step, here=plane)
            for done in (plane - step, plane):
                if done in left and course.is_final(objects, done):
                    yield final(done)
    for plane in list(left):
        yield final(plane)


def _around(plane: int, count: int, reach: int = 1) -> range:
    return range(max(0, plane - reach), min(count, plane + reach + 1))


@dataclass(frozen=True)
class _Progress:
    """How far the search has come: upwards first, then downwards.

    Parameters
    ----------
    count : int
        Planes of the stack.
    reach : int
        Planes on each side that count in a plane's answer.
    step : {0, 1, -1}
        Direction of the search; 0 before it.
    here : int
        The plane visited last.
    """

    count: int
    reach: int
    step: int = 0
    here: int = 0

    def to_come(self, plane: int) -> tuple[int, ...]:
        """Directions in which a plane will still be passed."""
        if self.step == 0:
            return (1, -1)
        is_ahead = (plane - self.here) * self.step > 0
        return (self.step,) * is_ahead + (-1,) * (self.step == 1)

    def is_final(self, objects: Mapping[int, _Object], plane: int) -> bool:
        """Whether nothing will change of what is known of a plane."""
        return not any(
            one.needs(beside, step)
            for one in objects.values()
            if plane not in one.seeds
            for beside in _around(plane, self.count, self.reach)
            for step in self.to_come(beside)
        )


def _way(
    objects: Mapping[int, _Object], planes: Sequence[int], step: int, course: _Progress
) -> Iterator[int]:
    """Planes to visit in a direction, as far as one of those wanted needs it."""
    ways = [
        (seed * step, beside * step)
        for one in objects.values()
        for plane in planes
        if plane not in one.seeds
        for beside in _around(plane, course.count, course.reach)
        if one.needs(beside, step)
        and (seed := one.next_seed(beside, -step)) is not None
    ]
    if not ways:
        return
    # Not from the first seed on: a part of a stack costs no more than that part.
    first, last = min(seed for seed, _ in ways), max(plane for _, plane in ways)
    for plane in range(first * step, (last + 1) * step, step):
        if 0 <= plane < course.count:
            yield plane


def _decode_seeds(stack: Stack, objects: Mapping[int, _Object]) -> None:
    """Find the objects in their seed planes; prompts of a plane decode together."""
    for plane in sorted({plane for one in objects.values() for plane in one.seeds}):
        asked = {}
        for key, one in objects.items():
            seed = one.seeds.get(plane)
            if seed is None or is_stop(seed):
                continue
            if isinstance(seed, Prompts):
                asked[key] = seed
            else:
                one.given[plane] = as_given(seed, plane)
        if asked:
            answers = stack.predictor.predict_batch(
                stack.embed(plane), list(asked.values()), plane=plane
            )
            for key, prediction in zip(asked, answers, strict=True):
                objects[key].given[plane] = within_box(prediction, asked[key])
        for one in objects.values():
            if plane in one.given:
                _keep_shape(one, plane, valid_cells(stack.plane_size))


def _keep_shape(one: _Object, plane: int, valid: NDArray[np.bool_]) -> None:
    """Note where the object is in a seed plane, in the answer frame."""
    logits = one.given[plane].best_logits
    cells = (logits > 0) & valid
    if not cells.any():  # thinner than a cell: the best cell it has
        cells = (logits == logits[valid].max()) & valid
    one.shapes[plane] = Shape(cells)


def _visit(
    stack: Stack,
    objects: Mapping[int, _Object],
    plane: int,
    step: int,
    options: PropagationOptions,
) -> None:
    """Carry all objects that are on their way into a plane."""
    view: PlaneView | None = None
    asked: dict[int, tuple[Prompts, Part]] = {}
    for key, one in objects.items():
        if plane in one.seeds:
            one.tracker = None
        is_start = plane in one.shapes and _leads_on(one, plane, step, len(stack))
        if not is_start and one.tracker is None:
            continue
        view = view or PlaneView.of(stack.embed(plane), stack.pixels(plane))
        if is_start:
            one.tracker = _start(one, plane, step, view, options)
        elif one.tracker is not None:
            asked[key] = one.tracker.question(view)
    if view is None or not asked:
        return
    answers = stack.predictor.decode_parts(view.embedding, list(asked.values()))
    for key, (logits, scores) in zip(asked, answers, strict=True):
        _take(objects[key], plane, step, view, (logits.numpy(), scores.numpy()))


def _leads_on(one: _Object, plane: int, step: int, count: int) -> bool:
    return 0 <= plane + step < count and plane + step not in one.seeds


def _start(
    one: _Object, plane: int, step: int, view: PlaneView, options: PropagationOptions
) -> Tracker:
    """Set out from a seed, towards the next one if the object is there too."""
    ahead = one.next_seed(plane, step)
    if ahead is not None and ahead in one.shapes:
        gap = abs(ahead - plane)
        course = Course(gap, target=Target(one.shapes[ahead], gap))
    else:
        size = view.embedding.plane_size
        area = max(shape.mask.sum() for shape in one.shapes.values())
        radius = np.sqrt(area * pixels_per_cell(size).prod() / np.pi)
        course = Course.outwards(one.shapes, plane, radius / options.step)
    return Tracker(one.shapes[plane], view, course, options)


def _take(
    one: _Object,
    plane: int,
    step: int,
    view: PlaneView,
    answer: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    """Keep what was found in a plane, mixed with what the other direction found."""
    if one.tracker is None:
        return
    found = one.tracker.update(view, *answer)
    if one.tracker.is_lost:
        one.tracker = None
    if found is None:
        return
    if plane in one.found:
        behind, ahead = one.next_seed(plane, -step), one.next_seed(plane, step)
        if behind is not None and ahead is not None:
            # The nearer the seed it comes from, the more a direction is believed.
            weight = abs(ahead - plane) / abs(ahead - behind)
            found = blend([one.found[plane], found], [1 - weight, weight])
    one.found[plane] = found
