"""What a mask decoder learns from while objects are accepted: prompts, half decoded.

Only the second half of the decoder learns: what makes scores and masks of tokens and
cells. The first, the transformer, stays, so that its answer to a prompt is computed
once and serves every step; a step then costs a fraction of a click. The cells are
independent of each other in the second half, so steps look at those around the object
and at some others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from napari_sam._finetuning_losses import dice_loss, mask_iou
from napari_sam._finetuning_prompts import PromptBatch, corrective_points, first_prompts
from napari_sam.modeling.mask_decoder import MaskDecoder
from napari_sam.modeling.sam import Sam
from napari_sam.prompting import prompt_points
from napari_sam.transforms import mask_to_logits, valid_cells
from napari_sam.types import LOGITS_SIZE, MODEL_SIZE, Prompts

Kind: TypeAlias = Literal["box", "click", "followed"]
"""What a user does: draws a box, clicks once, or has an object followed to a plane."""
KINDS: tuple[Kind, ...] = ("box", "click", "followed")
LEARNS = ("output_upscaling.", "output_hypernetworks_mlps.", "iou_prediction_head.")
"""What the names of the tensors that learn begin with."""
# Of the cells around an object, and as many elsewhere, so many are looked at.
MOST_CELLS = 512
# Cells of the embedding, along a side, and pixels of the answer in one of them.
CELLS, RATIO = 64, LOGITS_SIZE // 64
# How far an object is moved, of its length, when it is met again in the next plane.
DRIFT = 0.1


class Question(NamedTuple):
    """A prompt as the decoder takes it.

    Parameters
    ----------
    points : tuple of Tensor
        (x, y) of shape (1, N, 2) in the model frame, and labels (1, N).
    mask : Tensor of shape (1, 1, 256, 256), or None
    multimask : bool
    kind : {"box", "click", "followed"}
    """

    points: tuple[Tensor, Tensor]
    mask: Tensor | None
    multimask: bool
    kind: Kind


@dataclass(frozen=True, eq=False)
class Lesson:
    """The first half of an answer, and what the second half should make of it.

    Parameters
    ----------
    tokens : Tensor of shape (1, T, C)
    cells : Tensor of shape (1, P, C)
    target, valid : Tensor of shape (1, 1, P, 16), float
        1 inside the object, and where the frame is not padding; 16 pixels a cell.
    multimask : bool
    kind : {"box", "click", "followed"}
    """

    tokens: Tensor
    cells: Tensor
    target: Tensor
    valid: Tensor
    multimask: bool
    kind: Kind


@dataclass(frozen=True, eq=False)
class Goal:
    """An object in the answer frame of its plane.

    Parameters
    ----------
    features : Tensor of shape (1, 256, 64, 64)
    mask, valid : ndarray of shape (256, 256), bool
        The object, and where the frame is not padding.
    """

    features: Tensor
    mask: NDArray[np.bool_]
    valid: NDArray[np.bool_]

    @classmethod
    def of(cls, features: Tensor, mask: NDArray[np.bool_]) -> Goal:
        """Make it of a plane's embedding, and a mask (H, W) of the plane."""
        # Copied: tensors made in inference mode cannot take part in training.
        plane_size = mask.shape[0], mask.shape[1]
        inside = np.asarray(mask_to_logits(mask) > 0)
        return cls(features.clone(), inside, valid_cells(plane_size))

    @property
    def is_visible(self) -> bool:
        """Whether the object is large enough to be seen at all."""
        return bool(self.mask.any())


def practice(goal: Goal, count: int, rng: np.random.Generator) -> Iterator[Question]:
    """Prompts to learn from, one kind after the other, each a little otherwise.

    Parameters
    ----------
    goal : Goal
    count : int
    rng : numpy.random.Generator
    """
    targets = goal.mask[None]
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        if kind == "followed":
            yield _followed(goal, rng)
        else:
            drawn = first_prompts(targets, "box" if kind == "box" else "point", rng)
            yield _question(drawn, kind)


def asked(prompts: Prompts, plane_size: tuple[int, int]) -> Question:
    """Put what a user asked as the decoder was asked."""
    xy, labels = prompt_points(prompts, plane_size)
    points = torch.from_numpy(xy)[None].float(), torch.from_numpy(labels)[None]
    logits = prompts.mask_logits
    mask = None if logits is None else torch.from_numpy(logits)[None, None]
    kind: Kind = "click" if prompts.box is None else "box"
    return Question(points, mask, prompts.default_multimask, kind)


def examination(goal: Goal) -> Iterator[Question]:
    """One prompt of each kind, the same every time."""
    rng = np.random.default_rng(0)
    nothing = np.zeros((1, 0, 2)), np.zeros((1, 0), np.int64)
    yield _question(PromptBatch(*nothing, _tight(goal.mask)[None]), "box")
    click = first_prompts(_core(goal.mask)[None], "point", rng)
    yield _question(click, "click")
    yield _followed(goal, rng)


def _tight(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Corners (2, 2) of the box around a mask, as (x, y) in the model frame."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    corners = [[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]]
    return np.array(corners, float) * (MODEL_SIZE // LOGITS_SIZE)


def _core(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the innermost part of a mask, where one clicks."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    core: NDArray[np.bool_] = depth >= 0.999 * depth.max()
    return core


def _followed(goal: Goal, rng: np.random.Generator) -> Question:
    """Box, point and mask of about where the object is, as of the plane before."""
    rows, columns = (np.flatnonzero(goal.mask.any(axis)) for axis in (1, 0))
    extent = np.array([np.ptp(rows) + 1, np.ptp(columns) + 1])
    offset = np.rint(rng.uniform(-DRIFT, DRIFT, 2) * extent)
    moved = ndimage.shift(goal.mask.astype(np.uint8), offset, order=0) > 0
    moved &= goal.valid
    if not moved.any():
        moved = goal.mask
    logits = torch.from_numpy(np.where(moved, 10, -10).astype(np.float32))
    nothing = np.zeros_like(moved)
    point, label = corrective_points(nothing[None], moved[None], rng)
    drawn = PromptBatch(
        point[:, None], label[:, None], _tight(moved)[None], logits[None, None]
    )
    return _question(drawn, "followed")


def _question(drawn: PromptBatch, kind: Kind) -> Question:
    # Following looks at three masks, too, and takes that which fits.
    multimask = drawn.is_ambiguous or kind == "followed"
    return Question(drawn.tokens(), drawn.logits, multimask, kind)


def attend(
    model: Sam, goal: Goal, question: Question, rng: np.random.Generator | None = None
) -> Lesson:
    """Make the first half of an answer.

    Parameters
    ----------
    model : Sam
        In float32.
    goal : Goal
    question : Question
    rng : numpy.random.Generator, optional
        Keeps only some of the cells; all of them, for an exact figure, if omitted.
    """
    device = model.pixel_mean.device
    (xy, labels), mask = question.points, question.mask
    with torch.no_grad():
        tokens, cells = model.attend(
            goal.features.to(device).float(),
            (xy.to(device), labels.to(device)),
            None if mask is None else mask.to(device),
        )
    target, valid = _in_cells(goal.mask), _in_cells(goal.valid)
    near, there = np.asarray(target.any(1)), np.asarray(valid.any(1))
    chosen = _some_cells(near, there, rng)
    index = torch.from_numpy(chosen)
    return Lesson(
        tokens.clone(),
        cells[:, index.to(device)],
        torch.from_numpy(target[chosen]).float().to(device)[None, None],
        torch.from_numpy(valid[chosen]).float().to(device)[None, None],
        question.multimask,
        question.kind,
    )


def _in_cells(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(256, 256) to (4096, 16): the pixels of each cell, row by row."""
    cells = mask.reshape(CELLS, RATIO, CELLS, RATIO).transpose(0, 2, 1, 3)
    return cells.reshape(CELLS * CELLS, RATIO * RATIO)


def _some_cells(
    inside: NDArray[np.bool_], valid: NDArray[np.bool_], rng: np.random.Generator | None
) -> NDArray[np.intp]:
    """Cells around an object and elsewhere, or all that are not padding."""
    if rng is None:
        return np.flatnonzero(valid)
    rows, columns = np.nonzero(inside.reshape(CELLS, CELLS))
    near = np.zeros((CELLS, CELLS), bool)
    margins = [max(4, int(np.ptp(one) + 1)) // 2 for one in (rows, columns)]
    near[
        max(0, rows.min() - margins[0]) : rows.max() + margins[0] + 1,
        max(0, columns.min() - margins[1]) : columns.max() + margins[1] + 1,
    ] = True
    here = np.flatnonzero(near.ravel() & valid)
    there = np.flatnonzero(~near.ravel() & valid)
    here = rng.permutation(here)[:MOST_CELLS]
    return np.sort(np.concatenate([here, rng.permutation(there)[: len(here)]]))


def finish(decoder: MaskDecoder, lesson: Lesson) -> tuple[Tensor, Tensor]:
    """Second half of an answer: logits (1, M, P, 16) and predicted IoU (1, M)."""
    scores, tokens, masks = decoder.score(lesson.tokens, lesson.multimask)
    logits = decoder.upscale(lesson.cells, tokens, masks)
    # From (cell, mask, row, column, row, column) to the rows and columns of a cell.
    return logits.permute(0, 2, 1, 3, 5, 4, 6).flatten(3), scores


def lesson_loss(decoder: MaskDecoder, lesson: Lesson) -> Tensor:
    """How wrong an answer is: the terms of fine-tuning, inside and outside alike.

    Notes
    -----
    With the focal loss, the few steps there are go into clearing the background: a
    small object is lost at first. Weighing both sides equally avoids that.
    """
    logits, scores = finish(decoder, lesson)
    target, valid = lesson.target, lesson.valid
    sides = target * valid, (1 - target) * valid
    weight = sum(side / side.sum().clamp(min=1) for side in sides) / 2
    entropy = F.binary_cross_entropy_with_logits(
        logits, target.expand_as(logits), reduction="none"
    )
    wrong = (entropy * weight).sum((2, 3)) + dice_loss(logits, target, valid)
    # As in fine-tuning, the best mask learns, and the one that is shown.
    shown = [wrong.argmin(1, keepdim=True), scores.argmax(1, keepdim=True)]
    told = F.mse_loss(scores, mask_iou(logits, target, valid))
    return wrong.gather(1, torch.cat(shown, dim=1)).mean() + told


def overlap(decoder: MaskDecoder, lesson: Lesson) -> float:
    """IoU of the mask that is shown with the object."""
    with torch.no_grad():
        logits, scores = finish(decoder, lesson)
        found = mask_iou(logits, lesson.target, lesson.valid)
    return float(found[0, scores[0].argmax()])
