"""What fine-tuning minimises: the losses of Segment Anything, in the answer frame.

Kirillov et al., "Segment Anything" (2023), section 3 and appendix A: focal loss and
dice loss 20 : 1, the mean squared error of the predicted IoU, and of the three masks
of an ambiguous prompt the one that fits best. The others are left as they are: of
photographs, they are the part or the whole. But the one that fits best must be the one
that is shown, so the choice by the predicted IoU is a term of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

FOCAL_WEIGHT, DICE_WEIGHT, IOU_WEIGHT = 20.0, 1.0, 1.0
CHOICE_WEIGHT = 0.1
# How far apart the scores of two masks must be for a clear choice.
CHOICE_SCALE = 0.05
_ALPHA, _GAMMA = 0.25, 2.0


class Losses(NamedTuple):
    """The terms of a batch, each the mean over its objects.

    Parameters
    ----------
    total, focal, dice, iou : Tensor, scalar
        `total` is the weighted sum, that of the choice among the masks included;
        `focal` and `dice` are of the best mask.
    """

    total: Tensor
    focal: Tensor
    dice: Tensor
    iou: Tensor


def focal_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Focal loss of each mask (Lin et al. 2017, alpha 0.25, gamma 2).

    Parameters
    ----------
    logits : Tensor of shape (B, M, H, W)
    target, valid : Tensor of shape (B, 1, H, W), float
        1 inside the object, and where the frame is not padding.

    Returns
    -------
    Tensor of shape (B, M)
        Mean over the valid cells.
    """
    target = target.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    chance = logits.sigmoid()
    missed = chance + target - 2 * chance * target  # 1 - p of the right answer
    alpha = (1 - _ALPHA) + (2 * _ALPHA - 1) * target
    cells = alpha * missed**_GAMMA * entropy * valid
    return cells.sum((2, 3)) / valid.sum((2, 3)).clamp(min=1)


def dice_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of each mask, (B, M); as `focal_loss`."""
    chance = logits.sigmoid() * valid
    target = target * valid
    both = (chance * target).sum((2, 3))
    # The ones keep tiny objects from dividing by zero.
    return 1 - (2 * both + 1) / (chance.sum((2, 3)) + target.sum((2, 3)) + 1)


def mask_iou(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Intersection over union of each mask with its target, (B, M); no gradient."""
    found = (logits.detach() > 0) & (valid > 0)
    truth = (target > 0.5) & (valid > 0)
    both = (found & truth).sum((2, 3))
    either = (found | truth).sum((2, 3))
    return both / either.clamp(min=1)


def segmentation_losses(
    answer: tuple[Tensor, Tensor], target: Tensor, valid: Tensor
) -> Losses:
    """Losses of one round of a batch of objects.

    Parameters
    ----------
    answer : tuple of Tensor
        Logits (B, M, H, W) and predicted IoU (B, M) of the decoder.
    target, valid : Tensor of shape (B, 1, H, W), float

    Returns
    -------
    Losses
        Of several masks, the best of each object is told what it should have been;
        all are told how good they were, and which one was the best.
    """
    logits, scores = answer[0].float(), answer[1].float()
    focal = focal_loss(logits, target, valid)
    dice = dice_loss(logits, target, valid)
    best = (FOCAL_WEIGHT * focal + DICE_WEIGHT * dice).argmin(1, keepdim=True)
    focal, dice = (term.gather(1, best).mean() for term in (focal, dice))
    reached = mask_iou(logits, target, valid)
    iou = F.mse_loss(scores, reached)
    total = FOCAL_WEIGHT * focal + DICE_WEIGHT * dice + IOU_WEIGHT * iou
    return Losses(
        total + CHOICE_WEIGHT * choice_loss(scores, reached), focal, dice, iou
    )


def score_loss(scores: Tensor, wanted: Tensor, weight: float = 1.0) -> Tensor:
    """Squared error of scores (B, M), and `choice_loss` with a weight."""
    return F.mse_loss(scores, wanted) + weight * choice_loss(scores, wanted)


def choice_loss(scores: Tensor, wanted: Tensor) -> Tensor:
    """How much another mask would be shown than the one that is wanted.

    Kullback-Leibler divergence between the chances of the masks, which a softmax makes
    of their scores: a part instead of the whole is a small change of the scores, but
    another answer to the user.

    Parameters
    ----------
    scores, wanted : Tensor of shape (B, M)
        Predicted IoU of each mask, and what it should have been.

    Returns
    -------
    Tensor, scalar
        0 for equal differences between the masks; of a single mask always 0.
    """
    chances, right = (
        (part / CHOICE_SCALE).log_softmax(1) for part in (scores, wanted.detach())
    )
    return F.kl_div(chances, right, reduction="batchmean", log_target=True)


def distillation_loss(
    answer: tuple[Tensor, Tensor], taught: tuple[Tensor, Tensor]
) -> Tensor:
    """How far answers are from those of the base model to the same prompts.

    Parameters
    ----------
    answer, taught : tuple of Tensor
        Logits (B, M, H, W) and predicted IoU (B, M), mask by mask.

    Returns
    -------
    Tensor, scalar
        Soft dice loss between the masks, squared error of the scores and, of several
        masks, `choice_loss`; no less than 0, and 0 for equal answers that are sure.
    """
    logits, scores = answer[0].float(), answer[1].float()
    truth = taught[0].float().sigmoid()
    chance = logits.sigmoid()
    both = (chance * truth).sum((2, 3))
    squares = (chance**2).sum((2, 3)) + (truth**2).sum((2, 3))
    dice = 1 - (2 * both + 1) / (squares + 1)
    entropy = F.binary_cross_entropy_with_logits(logits, truth)
    # Less what is left of the entropy when the answers are equal.
    rest = F.binary_cross_entropy_with_logits(taught[0].float(), truth)
    told = taught[1].float()
    score = F.mse_loss(scores, told) + CHOICE_WEIGHT * choice_loss(scores, told)
    return dice.mean() + (entropy - rest) + score


def mean_losses(parts: list[Losses]) -> list[float]:
    """Mean of each term over several rounds."""
    stacked = torch.stack([torch.stack([*part]).detach() for part in parts])
    means: list[float] = stacked.mean(0).tolist()
    return means
