"""Simulated prompts: where they lie, and how many there are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam._finetuning_prompts import (
    CELL,
    MOST_BOX_NOISE,
    ROUNDS,
    PromptBatch,
    corrective_points,
    first_prompts,
    mask_only_rounds,
    noisy_box,
)
from napari_sam.prompting import prompt_points
from napari_sam.types import Prompts

seeds = st.integers(0, 2**31)


def shapes(rng: np.random.Generator, count: int = 3) -> np.ndarray:
    """Random rectangles, of one cell or many, some with a hole."""
    masks = np.zeros((count, 256, 256), bool)
    for mask in masks:
        (r0, c0), size = rng.integers(0, 200, 2), rng.integers(1, 56, 2)
        mask[r0 : r0 + size[0], c0 : c0 + size[1]] = True
        if size.min() > 6:
            mask[r0 + 2 : r0 + 4, c0 + 2 : c0 + 4] = False
    return masks


def cells(points: np.ndarray) -> np.ndarray:
    """(row, column) of the answer's cells that points (N, 2) as (x, y) lie in."""
    return np.floor((points[:, ::-1] + 0.5) / CELL).astype(int)


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_first_points_lie_inside(seed):
    """Whatever the shape, and one for each object."""
    rng = np.random.default_rng(seed)
    masks = shapes(rng)
    prompts = first_prompts(masks, "point", rng)
    assert prompts.points.shape == (3, 1, 2)
    assert prompts.is_ambiguous
    assert (prompts.labels == 1).all()
    for mask, (row, column) in zip(masks, cells(prompts.points[:, 0]), strict=True):
        assert mask[row, column]


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_boxes_are_near_the_object_and_not_inside_out(seed):
    """No corner is off by more than the paper's 20 pixels."""
    rng = np.random.default_rng(seed)
    mask = shapes(rng, 1)[0]
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    tight = CELL * np.array(
        [[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]], float
    )
    box = noisy_box(mask, rng)
    assert np.abs(box - tight).max() <= MOST_BOX_NOISE
    assert (box[0] < box[1]).all()
    assert box.min() >= 0
    assert box.max() <= 1024


def test_box_noise_is_a_tenth_of_the_side():
    """Its standard deviation, far from the limit."""
    rng = np.random.default_rng(0)
    mask = np.zeros((256, 256), bool)
    mask[100:120, 80:90] = True
    boxes = np.stack([noisy_box(mask, rng) for _ in range(2000)])
    x, y = boxes.std(0).T
    assert x == pytest.approx([4.0, 4.0], rel=0.1)
    assert y == pytest.approx([8.0, 8.0], rel=0.1)


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_corrections_lie_where_the_answer_is_wrong(seed):
    """And say what is there."""
    rng = np.random.default_rng(seed)
    masks, found = shapes(rng), shapes(rng)
    points, labels = corrective_points(found, masks, rng)
    for i, (row, column) in enumerate(cells(points)):
        assert masks[i, row, column] != found[i, row, column]
        assert labels[i] == masks[i, row, column]


def test_a_right_answer_is_confirmed():
    """There is no error to click on, so the object is clicked once more."""
    rng = np.random.default_rng(0)
    masks = shapes(rng)
    points, labels = corrective_points(masks, masks, rng)
    assert (labels == 1).all()
    assert all(masks[i, r, c] for i, (r, c) in enumerate(cells(points)))


def test_a_full_simulation_is_that_of_the_paper():
    """11 rounds: a first prompt, 8 corrections, and the mask alone twice."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        alone = mask_only_rounds(ROUNDS, rng)
        assert ROUNDS == 11
        assert len(alone) == 2
        assert max(alone) == ROUNDS - 1
        assert min(alone) >= 1
    assert mask_only_rounds(5, rng) == set()


@pytest.mark.parametrize("kind", ["point", "box"])
def test_tokens_are_those_of_the_predictor(kind):
    """Of a square plane of the model's size, the same numbers in the same order."""
    rng = np.random.default_rng(3)
    batch = first_prompts(shapes(rng, 2), kind, rng)
    batch = batch.corrected(np.array([[5.0, 9.0], [1.0, 2.0]]), np.array([0, 1]))
    xy, labels = batch.tokens()
    for i in range(2):
        box = None
        if batch.boxes is not None:
            box = batch.boxes[i][:, ::-1].ravel()
        prompts = Prompts(batch.points[i][:, ::-1], batch.labels[i], box)
        expected_xy, expected_labels = prompt_points(prompts, (1024, 1024))
        np.testing.assert_allclose(xy[i].numpy(), expected_xy, rtol=1e-6)
        np.testing.assert_array_equal(labels[i].numpy(), expected_labels)


def test_the_mask_alone_has_no_points():
    """As the predictor, which then gives no padding point either."""
    logits = torch.zeros(2, 1, 256, 256)
    alone = PromptBatch(
        np.zeros((2, 3, 2)), np.ones((2, 3), np.int64), None, logits
    ).alone()
    xy, labels = alone.tokens()
    assert xy.shape == (2, 0, 2)
    assert labels.shape == (2, 0)
    assert alone.logits is logits
    assert not alone.is_ambiguous
