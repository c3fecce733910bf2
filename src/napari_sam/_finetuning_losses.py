"""What fine-tuning minimises: the losses of Segment Anything, in the answer frame.

Kirillov et al., "Segment Anything" (2023), section 3 and appendix A: focal loss and
dice loss 20 : 1, the mean squared error of the predicted IoU, and of the three masks
of an ambiguous prompt the one that fits best. So does the one that the model prefers:
the user's labels leave no doubt which of part and whole is wanted.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

FOCAL_WEIGHT, DICE_WEIGHT, IOU_WEIGHT = 20.0, 1.0, 1.0
# Scores of the three masks as chances to be the one shown: how far apart they must be,
# and what it costs to show another one than the base model.
CHOICE_SCALE, CHOICE_WEIGHT = 0.05, 0.5
_ALPHA, _GAMMA = 0.25, 2.0


class Losses(NamedTuple):
    """The terms of a batch, each the mean over its objects.

    Parameters
    ----------
    total, focal, dice, iou : Tensor, scalar
        `total` is the weighted sum; `focal` and `dice` are of the best mask and of the
        preferred one.
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
        Of several masks, the best of each object is told what it should have been,
        and as much the one that the scores choose, since that is what a user gets;
        all are told how good they were.
    """
    logits, scores = answer[0].float(), answer[1].float()
    focal = focal_loss(logits, target, valid)
    dice = dice_loss(logits, target, valid)
    best = (FOCAL_WEIGHT * focal + DICE_WEIGHT * dice).argmin(1, keepdim=True)
    shown = torch.cat([best, scores.argmax(1, keepdim=True)], dim=1)
    focal, dice = (term.gather(1, shown).mean() for term in (focal, dice))
    iou = F.mse_loss(scores, mask_iou(logits, target, valid))
    total = FOCAL_WEIGHT * focal + DICE_WEIGHT * dice + IOU_WEIGHT * iou
    return Losses(total, focal, dice, iou)


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
        Soft dice loss between the masks, squared error of the scores, and, of several
        masks, how much another one would be chosen by them: a part instead of the
        whole is a small change of the scores, but another answer to the user. No
        less than 0, and 0 for equal answers that are sure.
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
    choice = F.kl_div(
        (scores / CHOICE_SCALE).log_softmax(1),
        (taught[1].float() / CHOICE_SCALE).log_softmax(1),
        reduction="batchmean",
        log_target=True,
    )
    told = F.mse_loss(scores, taught[1].float()) + CHOICE_WEIGHT * choice
    return dice.mean() + (entropy - rest) + told


def mean_losses(parts: list[Losses]) -> list[float]:
    """Mean of each term over several rounds."""
    stacked = torch.stack([torch.stack([*part]).detach() for part in parts])
    means: list[float] = stacked.mean(0).tolist()
    return means
