"""The losses of fine-tuning, by their properties."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam._finetuning_losses import (
    DICE_WEIGHT,
    FOCAL_WEIGHT,
    choice_loss,
    dice_loss,
    distillation_loss,
    focal_loss,
    mask_iou,
    mean_losses,
    segmentation_losses,
)

SIDE = 8


def case(seed: int, masks: int = 3):
    """Random logits (2, M, 8, 8), scores, targets and valid cells."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, masks, SIDE, SIDE, generator=generator)
    scores = torch.rand(2, masks, generator=generator)
    target = (torch.rand(2, 1, SIDE, SIDE, generator=generator) > 0.6).float()
    valid = torch.ones(2, 1, SIDE, SIDE)
    valid[..., 6:, :] = 0
    return logits, scores, target, valid


seeds = st.integers(0, 2**31)


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_losses_are_bounded(seed):
    """Neither loss is negative, and dice does not exceed 1."""
    logits, _, target, valid = case(seed)
    focal, dice = focal_loss(logits, target, valid), dice_loss(logits, target, valid)
    assert focal.shape == dice.shape == (2, 3)
    assert (focal >= 0).all()
    assert ((dice >= 0) & (dice <= 1)).all()


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_the_right_answer_costs_nothing_and_the_wrong_one_most(seed):
    """A sure right answer is near 0, its opposite near the maximum."""
    _, _, target, valid = case(seed)
    right = 40 * (2 * target - 1)
    assert focal_loss(right, target, valid).max() < 1e-6
    assert dice_loss(right, target, valid).max() < 1e-3
    assert (dice_loss(-right, target, valid) > 0.9).all()
    assert (focal_loss(-right, target, valid) > 1).all()


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_padding_does_not_count(seed):
    """What is answered in the padding changes no term."""
    logits, scores, target, valid = case(seed)
    other = torch.where(valid > 0, logits, -logits + 5)
    a = segmentation_losses((logits, scores), target, valid)
    b = segmentation_losses((other, scores), target, valid)
    torch.testing.assert_close(torch.stack([*a]), torch.stack([*b]))


def test_focal_of_gamma_and_alpha_as_published():
    """One cell by hand: alpha (1 - p)^2 log(1/p) inside, 1 - alpha outside."""
    logits = torch.tensor([0.3, -1.2]).view(1, 1, 1, 2)
    target = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    p = logits.sigmoid().flatten()
    inside = 0.25 * (1 - p[0]) ** 2 * -p[0].log()
    outside = 0.75 * p[1] ** 2 * -(1 - p[1]).log()
    found = focal_loss(logits, target, torch.ones_like(target))
    torch.testing.assert_close(found.squeeze(), (inside + outside) / 2)


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_the_best_mask_learns_its_shape(seed):
    """Gradients reach one of the three masks of each object, and all scores."""
    logits, scores, target, valid = case(seed)
    logits.requires_grad_()
    scores.requires_grad_()
    losses = segmentation_losses((logits, scores), target, valid)
    losses.total.backward()
    touched = logits.grad.abs().sum((2, 3)) > 0
    terms = FOCAL_WEIGHT * focal_loss(logits, target, valid)
    terms = (terms + DICE_WEIGHT * dice_loss(logits, target, valid)).detach()
    expected = torch.zeros_like(touched)
    expected[torch.arange(len(terms)), terms.argmin(1)] = True
    assert (touched == expected).all()
    assert (scores.grad != 0).all()


def test_iou_is_of_hard_masks_in_the_plane():
    """Two of three cells in common; the padded one does not count."""
    logits = torch.tensor([1.0, 1, 1, 1]).view(1, 1, 1, 4)
    target = torch.tensor([1.0, 1, 0, 0]).view(1, 1, 1, 4)
    valid = torch.tensor([1.0, 1, 1, 0]).view(1, 1, 1, 4)
    assert mask_iou(logits, target, valid).item() == pytest.approx(2 / 3)


@settings(deadline=None, max_examples=20)
@given(seeds, seeds)
def test_distillation_is_least_for_equal_answers(seed, other):
    """It is 0 for equal answers, never negative, and pulls towards the base."""
    logits, scores, *_ = case(seed)
    same = distillation_loss((logits, scores), (logits, scores))
    assert same.item() == pytest.approx(0, abs=1e-5)
    moved = case(other)[0].requires_grad_()
    loss = distillation_loss((moved, scores), (logits, scores))
    assert loss.item() >= -1e-6
    loss.backward()
    closer = moved.detach() - 0.1 * moved.grad
    assert distillation_loss((closer, scores), (logits, scores)) <= loss + 1e-6


@settings(deadline=None, max_examples=20)
@given(seeds, seeds)
def test_the_choice_is_wanted_not_the_scores(seed, other):
    """Higher scores of all masks are the same choice; another order costs most."""
    scores, wanted = case(seed)[1], case(other)[1]
    assert choice_loss(wanted + 0.1, wanted).item() == pytest.approx(0, abs=1e-4)
    assert choice_loss(scores[:, :1], wanted[:, :1]).item() == 0
    scores = scores.clone().requires_grad_()
    loss = choice_loss(scores, wanted)
    assert loss.item() >= -1e-6
    loss.backward()
    better = scores.detach() - 1e-4 * scores.grad
    assert choice_loss(better, wanted) <= loss + 1e-6


def test_means_are_over_rounds():
    """Each term by itself."""
    logits, scores, target, valid = case(0)
    one = segmentation_losses((logits, scores), target, valid)
    two = segmentation_losses((-logits, scores), target, valid)
    expected = [(a.item() + b.item()) / 2 for a, b in zip(one, two, strict=True)]
    assert mean_losses([one, two]) == pytest.approx(expected)
