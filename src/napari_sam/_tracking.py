"""Follow one object from plane to plane, in one direction.

Each step asks SAM with a box, a point and a mask predicted for the next plane, chooses
among its three masks by how well they agree with that prediction, and mixes both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam._appearance import (
    Appearance,
    Evidence,
    FloatArray,
    Mask,
    PlaneView,
    Slices,
    window_around,
)
from napari_sam._borders import at_border, likeness, matched_threshold
from napari_sam._course import Course, Shape, Target, signed_distance
from napari_sam._mask_boxes import tight_box
from napari_sam._propagation_options import PropagationOptions
from napari_sam.transforms import pixels_per_cell
from napari_sam.types import LOGITS_SIZE, Prompts

# Cells of the answer around a mask from which its appearance is learned.
LEARNING_MARGIN = 0.75
# The object is looked for this much around the mask before, as a part of its size.
# SAM is shown no more than that: farther away it would find the next object.
MARGIN = 0.35
# Logits beyond this say no more than "certain".
LIMIT = 10.0
SAM_LIMIT = 5.0
# Between two seeds the distance counts more: the shape is known at both ends.
TRUST_BETWEEN = 2.0
# In the unit of `PropagationOptions.reach`: far beside the seed is not worse still.
MAX_STRAYING = 4.0
# Objects of fewer cells (of 256 x 256) cannot be told from noise.
MIN_CELLS = 4


@dataclass(frozen=True, eq=False)
class Answer:
    """An object in one plane, in the answer frame, packed.

    Parameters
    ----------
    part : tuple of slice
        The part of the frame that is kept; the object is inside.
    logits : ndarray, float16
        Of the part; elsewhere the object is certainly not.
    score : float
        Predicted IoU times agreement with the prediction from the planes around.
    """

    part: Slices
    logits: NDArray[np.float16]
    score: float

    @classmethod
    def of(cls, logits: NDArray[np.floating], part: Slices, score: float) -> Answer:
        """Pack logits (256, 256) to a part."""
        packed = np.clip(logits[part], -LIMIT, LIMIT).astype(np.float16)
        return cls(part, packed, score)

    @property
    def full(self) -> NDArray[np.float32]:
        """(256, 256) float32 logits."""
        logits = np.full((LOGITS_SIZE, LOGITS_SIZE), -LIMIT, np.float32)
        logits[self.part] = self.logits
        return logits

    @property
    def mask(self) -> Mask:
        """(256, 256) bool."""
        return self.full > 0


def blend(answers: Sequence[Answer], weights: Sequence[float]) -> Answer:
    """Mix answers to one plane, or to neighbouring ones: weighted means."""
    rows, columns = (
        slice(min(one.start for one in sides), max(one.stop for one in sides))
        for sides in zip(*(answer.part for answer in answers), strict=True)
    )
    shares = np.asarray(weights, np.float32) / np.sum(weights)
    logits = sum(w * one.full for w, one in zip(shares, answers, strict=True))
    score = sum(w * one.score for w, one in zip(shares, answers, strict=True))
    return Answer.of(np.asarray(logits), (rows, columns), float(score))


@dataclass(frozen=True, eq=False)
class Expected:
    """What is expected in the next plane, before SAM is asked.

    Parameters
    ----------
    part : tuple of slice
        Window that is looked at.
    logits : ndarray of shape (256, 256)
        Positive where the object should be; certainly not outside the window.
    mask : ndarray of shape (256, 256), bool
        Where the object should be, or was.
    """

    part: Slices
    logits: FloatArray
    mask: Mask


class Tracker:
    """One object on its way from a seed in one direction.

    Parameters
    ----------
    seed : Shape
        The object in the seed plane.
    view : PlaneView
        The seed plane.
    course : Course
    options : PropagationOptions
    """

    def __init__(
        self,
        seed: Shape,
        view: PlaneView,
        course: Course,
        options: PropagationOptions,
    ) -> None:
        self.options = options
        self.course = course
        self.target = course.target
        self._start = seed
        self.seed = self.mask = seed.mask
        self.planes = 0
        self._smallest = int(self.seed.sum())
        self.misses = 0
        self._first = Evidence.of(view, seed.mask, LEARNING_MARGIN)
        self._recent: list[Evidence] = []
        self._at_seed = self._appearance = Appearance([self._first], [1.0])
        part = window_around(seed.mask, MARGIN, view.valid)
        like = likeness(self._at_seed, view, part)
        self._border = at_border(like, seed.mask[part], view.valid[part])
        self._expected: Expected | None = None

    @property
    def is_lost(self) -> bool:
        """Whether more planes in a row were missed than allowed."""
        return self.misses > self.options.patience

    def question(self, view: PlaneView) -> tuple[Prompts, Slices]:
        """Box, point and mask of what is expected in the next plane; where to look."""
        self.planes += 1
        expected = self._expected = self._expect(view)
        size = np.array(view.embedding.plane_size)
        pixels = pixels_per_cell(view.embedding.plane_size)
        box = np.array(tight_box(expected.mask)) * np.tile(pixels, 2)
        point = (_innermost(expected.mask) + 0.5) * pixels - 0.5
        prompts = Prompts(
            points=[np.clip(point, 0, size - 1)],
            box=np.minimum(box, np.tile(size, 2)),
            mask_logits=np.clip(expected.logits, -LIMIT, LIMIT),
        )
        return prompts, expected.part

    def _expect(self, view: PlaneView) -> Expected:
        options = self.options
        part = window_around(self.mask, MARGIN, view.valid)
        radius = np.sqrt(self.mask.sum() / np.pi)
        distance = signed_distance(self.mask[part])
        weight = options.distance_weight
        if self.target is not None:
            distance = (distance + self._between(self.target, part)) / 2
            weight *= TRUST_BETWEEN
        near = np.clip(distance / (options.reach * radius), -4, 2)
        logits = weight * near
        if not view.is_blank(part):
            grey = ndimage.gaussian_filter(self._appearance.by_grey(view, part), 1.5)
            features = self._appearance.by_features(view, part)
            logits += options.feature_weight * features
            logits += options.grey_weight * np.clip(grey, -2, 2)
            # SAM's own answer is not discounted: shown the surroundings alone, it
            # is what keeps a long object alive.
            logits -= options.caution + self._penalty()
            logits -= self._straying(view, part)
        full = np.full(self.mask.shape, -LIMIT)
        full[part] = np.where(view.valid[part], logits, -LIMIT)
        mask = np.zeros(self.mask.shape, bool)
        mask[part] = _joined(full[part] > 0, self.mask[part])
        enough = mask.sum() >= max(MIN_CELLS, options.min_area * self.seed.sum())
        return Expected(part, full, mask if enough else self.mask)

    def _penalty(self) -> float:
        """Evidence asked for, far from the seed; none on the way to another seed."""
        if self.target is not None:
            return 0.0
        options = self.options
        away = (self.course.offset + self.planes) / self.course.half_length
        # A sphere is a guess; an end that the seeds point to is not.
        most = np.inf if self.course.is_measured else options.max_shrinkage
        return float(min(options.shrinkage * away**2, most))

    def _straying(self, view: PlaneView, part: Slices) -> FloatArray:
        """Evidence asked for, beside the seed; none on the way to another seed."""
        if self.target is not None:
            return np.zeros(self.mask[part].shape)
        options = self.options
        cell = np.sqrt(pixels_per_cell(view.embedding.plane_size).prod())
        allowed = options.drift * self.planes * options.step / cell
        radius = np.sqrt(self.seed.sum() / np.pi)
        beside = (-self._start.distance[part] - allowed) / (options.reach * radius)
        asked: FloatArray = options.anchor_weight * np.clip(beside, 0, MAX_STRAYING)
        return asked

    def _between(self, target: Target, part: Slices) -> FloatArray:
        """Signed distance between both seeds, each moved to where it should be."""
        share = min(1.0, self.planes / target.planes)
        centre = (1 - share) * self._start.centre + share * target.shape.centre
        mixed: FloatArray = (1 - share) * self._start.moved(centre)
        mixed += share * target.shape.moved(centre)
        return mixed[part]

    def update(
        self, view: PlaneView, logits: NDArray[np.float32], scores: NDArray[np.float32]
    ) -> Answer | None:
        """Take SAM's answer to `question`.

        Parameters
        ----------
        view : PlaneView
        logits : ndarray of shape (M, rows, columns)
            Of the part that was asked for.
        scores : ndarray of shape (M,)

        Returns
        -------
        Answer, or None if the object was not found in this plane
        """
        expected = self._expected
        if expected is None:
            raise RuntimeError("question() must be called before update().")
        part = expected.part
        answers = np.where(view.valid[part], logits, -LIMIT)
        likely = _probability(expected.logits[part])
        agreements = [_overlap(_probability(one), likely) for one in answers]
        best = int(np.argmax(agreements + self.options.score_weight * scores))
        mixed = self._mix(expected, answers[best], view.valid)
        mask = _cut(mixed, self.mask, part)
        if not self._is_found(mask, view, agreements[best]):
            self.misses += 1
            return None
        # No information, no decision: go on with what is expected, for a while.
        self.misses = self.misses + 1 if view.is_blank(part) else 0
        before, shift = self.mask, self._shift(view, mixed, part)
        self._learn(view, mask)
        if shift:
            mixed = mixed - shift
            mask = _cut(mixed, before, part)
        mixed = np.where(mask, np.maximum(mixed, 0.1), np.minimum(mixed, -0.1))
        return Answer.of(mixed, part, float(scores[best] * agreements[best]))

    def _mix(
        self, expected: Expected, logits: NDArray[np.float32], valid: Mask
    ) -> FloatArray:
        """SAM's logits and the expected ones, cut to the largest area allowed."""
        share = self.options.decoder_weight
        part = expected.part
        sam = np.clip(logits, -SAM_LIMIT, SAM_LIMIT)
        mixed = (1 - share) * expected.logits[part] + share * sam
        mixed = np.where(valid[part], mixed, -LIMIT)
        most = int(self._largest_area())
        if (mixed > 0).sum() > most:
            # The least certain cells go, so that a leak does not end the object.
            mixed = mixed - np.partition(mixed.ravel(), -most - 1)[-most - 1]
        full = np.full(valid.shape, -LIMIT)
        full[part] = mixed
        return full

    def _shift(self, view: PlaneView, logits: FloatArray, part: Slices) -> float:
        """Logit at which the plane's object ends; the search goes on without it."""
        share = self.options.border_weight
        if share == 0 or view.is_blank(part):
            return 0.0
        like = likeness(self._at_seed, view, part)
        valid = view.valid[part]
        return share * matched_threshold(logits[part], like, valid, self._border)

    def _largest_area(self) -> float:
        options = self.options
        if self.target is not None:
            # On the way to a seed the object may shrink and grow again.
            ends = self.seed.sum(), self.target.shape.mask.sum()
            return options.max_growth * float(max(ends))
        regrown = options.max_regrowth * self._smallest
        return float(min(options.max_growth * self.seed.sum(), regrown))

    def _is_found(self, mask: Mask, view: PlaneView, agreement: float) -> bool:
        options = self.options
        least = max(MIN_CELLS, options.min_area * self.seed.sum())
        if mask.sum() < least or (mask & view.valid).sum() == 0:
            return False
        part = window_around(mask, 0, view.valid)
        if self.target is not None or view.is_blank(part):
            return True
        likeness = self._at_seed.by_grey(view, part)[mask[part]].mean()
        enough = agreement >= options.min_agreement
        return bool(enough and likeness >= options.min_likeness)

    def _learn(self, view: PlaneView, mask: Mask) -> None:
        self.mask = mask
        self._smallest = min(self._smallest, int(mask.sum()))
        part = window_around(mask, LEARNING_MARGIN, view.valid)
        if self.options.memory == 0 or view.is_blank(part):
            return
        seen = Evidence.of(view, mask, LEARNING_MARGIN)
        self._recent = [*self._recent, seen][-self.options.memory :]
        weights = [1.0] + [0.5] * len(self._recent)
        self._appearance = Appearance([self._first, *self._recent], weights)


def _cut(logits: FloatArray, before: Mask, part: Slices) -> Mask:
    """Where logits are positive: the parts of it that go on from the plane before."""
    mask = np.zeros(before.shape, bool)
    mask[part] = ndimage.binary_fill_holes(_joined(logits[part] > 0, before[part]))
    return mask


def _probability(logits: NDArray[np.floating]) -> FloatArray:
    probability: FloatArray = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    return probability


def _overlap(first: FloatArray, second: FloatArray) -> float:
    """Intersection over union of two maps of probabilities."""
    union = np.maximum(first, second).sum()
    return float(np.minimum(first, second).sum() / max(union, 1e-6))


def _joined(mask: Mask, before: Mask) -> Mask:
    """Parts of a mask that touch the plane before; the largest if none does.

    An object may split: all its parts are followed.
    """
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    shared = np.bincount(labels[before], minlength=count + 1)
    sizes[0] = shared[0] = 0
    keep = (shared > 0) & (sizes >= 0.1 * sizes.max())
    if not keep.any():
        keep[sizes.argmax()] = True
    joined: Mask = keep[labels]
    return joined


def _innermost(mask: Mask) -> FloatArray:
    """(row, column) of the cell farthest from the border."""
    box = np.array(tight_box(mask))
    part = mask[box[0] : box[2], box[1] : box[3]]
    depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
    deepest: FloatArray = np.add(np.unravel_index(depth.argmax(), depth.shape), box[:2])
    return deepest.astype(float)
