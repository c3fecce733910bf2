"""Simulated clicks and boxes, and what is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam._finetuning_data import LabelledImage
from napari_sam._mask_boxes import tight_box
from napari_sam.evaluation import (
    AP_THRESHOLDS,
    EvaluationOptions,
    ObjectScore,
    centre_click,
    evaluate,
    label_summary,
    next_click,
    objects_of,
    score_labels,
    summary,
)


def disk(centre, radius, shape=(64, 96)):
    """Make a mask."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


masks = st.builds(
    lambda r, c, radius: disk((r, c), radius),
    st.integers(0, 63),
    st.integers(0, 95),
    st.integers(1, 30),
)


@settings(deadline=None, max_examples=30)
@given(masks)
def test_the_first_click_is_inside(mask):
    """As deep as it can be, and in the tight box."""
    row, column = centre_click(mask)
    assert mask[row, column]
    r0, c0, r1, c1 = tight_box(mask)
    assert mask[r0:r1, c0:c1].sum() == mask.sum()
    assert r0 <= row < r1
    assert c0 <= column < c1


def test_the_centre_of_a_disk():
    """There is one place that is furthest from the border."""
    assert centre_click(disk((30, 40), 9)) == [30, 40]


@settings(deadline=None, max_examples=30)
@given(masks, masks)
def test_further_clicks_are_on_the_error(found, truth):
    """And say what should be there."""
    point, kind = next_click(found, truth)
    if (found != truth).any():
        assert found[tuple(point)] != truth[tuple(point)]
        assert kind == truth[tuple(point)]


def test_the_thicker_error_comes_first():
    """A large disk missed, a small one found where there is none."""
    truth, found = disk((30, 30), 12), disk((30, 80), 4)
    assert next_click(found, truth) == ([30, 30], 1)
    assert next_click(truth, found) == ([30, 30], 0)


def test_of_an_object_in_pieces_the_largest_counts():
    """One click marks one piece; what is too small is left out."""
    labels = np.zeros((64, 96), int)
    labels[disk((30, 30), 12) | disk((30, 80), 6)] = 4
    labels[0, 0] = 9
    ((value, mask),) = objects_of(labels, 5, np.random.default_rng(0))
    assert value == 4
    np.testing.assert_array_equal(mask, disk((30, 30), 12))


def test_a_score_counts_clicks():
    """Until the threshold is reached, or one more than there were."""
    one = ObjectScore("a", 1, 9, (0.2, 0.86, 0.7, 0.91, 0.95), 0.8)
    assert [one.clicks_to(t) for t in (0.1, 0.85, 0.9, 0.99)] == [1, 2, 4, 6]
    two = replace(one, clicks=(1.0,) * 5, box=1.0)
    assert summary([one, two]) == pytest.approx(
        {
            "click1": 0.6,
            "click3": 0.85,
            "click5": 0.975,
            "box": 0.9,
            "noc85": 1.5,
            "noc90": 2.5,
            "objects": 2,
        }
    )
    with pytest.raises(ValueError, match="there must be objects"):
        summary([])


def test_evaluation_of_a_model(predictor):
    """A bright disk on a dark plane is found with every kind of prompt."""
    truth = disk((30, 40), 18)
    pixels = np.where(truth, 200, 40).astype(np.uint8)
    labels = truth.astype(np.int32)
    images = [
        LabelledImage(pixels, labels, "a", "a"),
        LabelledImage(pixels, labels * 0, "b", "b"),
    ]
    scores = list(evaluate(predictor, images, EvaluationOptions(clicks=5)))
    (one,), none = scores
    assert none == []
    assert len(one.clicks) == 5
    assert one.area == truth.sum()
    assert min(one.clicks[0], one.clicks[4], one.box) > 0.9


@pytest.mark.parametrize(
    "bad",
    [{"clicks": 4}, {"objects": 0}, {"seed": -1}, {"clicks": 5.0}, {"seed": True}],
)
def test_bad_options_are_refused(bad):
    """With the smallest number allowed."""
    with pytest.raises(ValueError, match="must be a whole number of at least"):
        EvaluationOptions(**bad)


label_images = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 4, (3, 7))
)


@settings(deadline=None, max_examples=30)
@given(label_images, label_images)
def test_objects_are_found_as_pairs_of_masks_say(found, truth):
    """Whatever their numbers are; the same image has all of its objects."""
    score = score_labels(found * 1000, truth * 7)
    pairs = [
        np.sum((truth == a) & (found == b)) / np.sum((truth == a) | (found == b))
        for a in set(truth.ravel()) - {0}
        for b in set(found.ravel()) - {0}
    ]
    assert score.hits == tuple(sum(p > t for p in pairs) for t in AP_THRESHOLDS)
    assert max(score.hits) <= min(score.objects, score.found)
    itself = score_labels(truth, truth)
    if itself.objects:
        assert label_summary([itself]) == {"ap50": 1, "ap75": 1, "ap": 1}


def test_what_is_not_there_counts_against_the_model():
    """As much as what was not found; over the objects of all images."""
    truth = np.repeat([[0, 1, 2]], 4, axis=0)
    half = np.where(truth == 1, 5, 0)
    assert label_summary([score_labels(half, truth)])["ap50"] == 0.5
    nothing = score_labels(np.zeros_like(truth), truth)
    assert label_summary([nothing]) == {"ap50": 0, "ap75": 0, "ap": 0}
    more = score_labels(truth, half)
    assert label_summary([more, score_labels(half, truth), nothing])["ap50"] == 2 / 6
    with pytest.raises(ValueError, match="found must have the shape"):
        score_labels(half[1:], truth)
