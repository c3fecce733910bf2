"""Prompts as a user would give them, for objects whose masks are known.

As in Kirillov et al., "Segment Anything" (2023), appendix A: a point inside the
object or a box around it, then points where the answer is wrong, with the answer's
logits fed back, and two rounds with those logits alone. Everything happens in the
answer frame, whose cells are 4 x 4 pixels of the model frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_sam._mask_boxes import tight_box
from napari_sam.modeling.prompt_encoder import BOX_MAX, BOX_MIN, PADDING
from napari_sam.types import LOGITS_SIZE, MODEL_SIZE

CELL = MODEL_SIZE // LOGITS_SIZE
ROUNDS = 11
"""Of the paper: the first prompt, 8 corrections and 2 rounds with the mask alone."""
# Of the paper: deviation of a box's corners, and its limit in pixels.
BOX_NOISE, MOST_BOX_NOISE = 0.1, 20

Masks: TypeAlias = NDArray[np.bool_]
Kind: TypeAlias = Literal["point", "box"]


@dataclass(frozen=True, eq=False)
class PromptBatch:
    """Prompts of several objects: equally many of a kind for each.

    Parameters
    ----------
    points : ndarray of shape (B, N, 2)
        (x, y) in the model frame.
    labels : ndarray of shape (B, N), int64
    boxes : ndarray of shape (B, 2, 2), optional
        Two corners (x, y) each.
    logits : Tensor of shape (B, 1, 256, 256), optional
        The last answers.
    """

    points: NDArray[np.float64]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64] | None = None
    logits: Tensor | None = None

    @property
    def is_ambiguous(self) -> bool:
        """Whether SAM is asked for three masks, as `Prompts.default_multimask`."""
        return self.points.shape[1] == 1 and self.boxes is None and self.logits is None

    def tokens(self) -> tuple[Tensor, Tensor]:
        """Coordinates (B, N, 2) and labels (B, N) as the prompt encoder takes them."""
        xy, labels, count = self.points, self.labels, len(self.points)
        if self.boxes is not None:
            xy = np.concatenate([xy, self.boxes], axis=1)
            corners = np.tile([BOX_MIN, BOX_MAX], (count, 1))
            labels = np.concatenate([labels, corners], axis=1)
        elif xy.shape[1]:
            xy = np.concatenate([xy, np.zeros((count, 1, 2))], axis=1)
            labels = np.concatenate([labels, np.full((count, 1), PADDING)], axis=1)
        return torch.from_numpy(xy).float(), torch.from_numpy(labels)

    def corrected(
        self, points: NDArray[np.float64], labels: NDArray[np.int64]
    ) -> PromptBatch:
        """Return these prompts with one more point (B, 2) of label (B,) each."""
        return replace(
            self,
            points=np.concatenate([self.points, points[:, None]], axis=1),
            labels=np.concatenate([self.labels, labels[:, None]], axis=1),
        )

    def alone(self) -> PromptBatch:
        """Return the mask without points and boxes."""
        count = len(self.points)
        nothing = np.zeros((count, 0, 2)), np.zeros((count, 0), np.int64)
        return PromptBatch(*nothing, None, self.logits)


def first_prompts(targets: Masks, kind: Kind, rng: np.random.Generator) -> PromptBatch:
    """One point inside each object, or a box around it, as a hurried user would.

    Parameters
    ----------
    targets : ndarray of shape (B, 256, 256), bool
        Objects, none of them empty.
    kind : {"point", "box"}
    rng : numpy.random.Generator

    Returns
    -------
    PromptBatch
    """
    count = len(targets)
    if kind == "box":
        boxes = np.stack([noisy_box(target, rng) for target in targets])
        nothing = np.zeros((count, 0, 2)), np.zeros((count, 0), np.int64)
        return PromptBatch(*nothing, boxes)
    points = np.stack([_point_in(target, rng) for target in targets])
    return PromptBatch(points[:, None], np.ones((count, 1), np.int64))


def noisy_box(target: Masks, rng: np.random.Generator) -> NDArray[np.float64]:
    """Two corners (2, 2) as (x, y) of the box around an object, somewhat off.

    Each side is moved by a normal deviate of a tenth of the object's length along
    that axis, of 20 pixels at most.
    """
    top, left, bottom, right = tight_box(target)
    box = np.array([[left, top], [right, bottom]], float)
    box *= CELL
    size = box[1] - box[0]
    noise = rng.normal(size=(2, 2)) * BOX_NOISE * size
    noise = np.clip(noise, -MOST_BOX_NOISE, MOST_BOX_NOISE)
    # A box of a tiny object must not turn inside out.
    noise = np.clip(noise, -0.4 * size, 0.4 * size)
    moved: NDArray[np.float64] = np.clip(box + noise, 0, MODEL_SIZE)
    return moved


def corrective_points(
    found: Masks, targets: Masks, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Draw a point of each object where the answer is wrong.

    Parameters
    ----------
    found, targets : ndarray of shape (B, 256, 256), bool
        Answers, without the padding, and what they should be.
    rng : numpy.random.Generator

    Returns
    -------
    tuple of ndarray
        Points (B, 2) as (x, y), and labels (B,): 1 where the object was missed, 0
        where there is none. An answer without error gets a point of its object.
    """
    points, labels = [], []
    for answer, target in zip(found, targets, strict=True):
        wrong = answer ^ target
        point = _point_in(wrong if wrong.any() else target, rng)
        row, column = (np.clip(point[::-1] // CELL, 0, LOGITS_SIZE - 1)).astype(int)
        points.append(point)
        labels.append(int(target[row, column]))
    return np.stack(points), np.array(labels, np.int64)


def _point_in(region: Masks, rng: np.random.Generator) -> NDArray[np.float64]:
    """(x, y) within a region: anywhere, as in the paper, or at its innermost place.

    People click near the middle, and so do evaluations; either happens half the time.
    """
    top, left, bottom, right = tight_box(region)
    part = region[top:bottom, left:right]
    if rng.random() < 0.5:
        depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
        # Ties, and nearly so, are broken at random.
        at = np.argmax(depth + rng.random(depth.shape) * 0.5 * part)
    else:
        at = rng.choice(np.flatnonzero(part))
    row, column = np.unravel_index(at, part.shape)
    cell = np.array([column + left, row + top], float)
    within: NDArray[np.float64] = cell * CELL + rng.uniform(0, CELL - 1, 2)
    return within


def mask_only_rounds(rounds: int, rng: np.random.Generator) -> set[int]:
    """Which rounds (from 0) get no new point: the last, and one at random before it.

    Only simulations of full length have them, as in the paper.
    """
    if rounds < ROUNDS:
        return set()
    return {int(rng.integers(1, rounds - 1)), rounds - 1}
