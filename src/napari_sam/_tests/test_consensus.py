"""Two of three slicings decide what an object is; the user's seeds stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_sam as ns
from napari_sam import _consensus
from napari_sam._consensus import check_nearly_isotropic, majority
from napari_sam._generators import result_of
from napari_sam._tests.seeing_predictor import SeeingPredictor

SHAPE = (16, 18, 22)
XY = SHAPE[1:]
CENTRE, RADIUS = (8, 9, 11), 6


# Else the grey values alone would give back the half that is lost.
BELIEVING = ns.PropagationOptions(border_weight=0)


class HalfBlindPredictor(SeeingPredictor):
    """When it follows an object through XY planes it never sees its right half."""

    def decode_parts(self, embedding: Any, asked: Any) -> Any:
        """Lose half of each answer."""
        answers = super().decode_parts(embedding, asked)
        if embedding.plane_size != XY:
            return answers
        return [(self._left(logits), scores) for logits, scores in answers]

    @staticmethod
    def _left(logits: Any) -> Any:
        columns = (logits[0] > 0).any(dim=0).nonzero()
        if len(columns):
            logits = logits.clone()
            logits[..., int(columns.float().mean()) :] = -20
        return logits


def ball(centre: tuple[int, ...] = CENTRE, radius: float = RADIUS) -> np.ndarray:
    """Mask of a ball."""
    offsets = np.indices(SHAPE) - np.reshape(centre, (3, 1, 1, 1))
    return (offsets**2).sum(axis=0) <= radius**2


def image_of(*masks: np.ndarray) -> np.ndarray:
    """Make a noisy stack in which the masks are bright."""
    values = np.random.default_rng(0).normal(40, 8, SHAPE)
    for mask in masks:
        values[mask] = 200
    return np.clip(values, 0, 255).astype(np.uint8)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Overlap of two masks."""
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_two_good_slicings_mend_a_bad_one() -> None:
    """A ball of which one slicing loses half is found by the three together."""
    truth = ball()
    session = ns.Session(image_of(truth), HalfBlindPredictor())
    seeds = {8: truth[8]}
    alone = session.segment_volume(seeds, options=BELIEVING)
    together = session.segment_volume(seeds, options=BELIEVING, consensus=True)
    assert together.dtype == bool
    assert dice(together, truth) > dice(alone, truth) + 0.1
    np.testing.assert_array_equal(together[8], truth[8])


def test_any_slicing_may_be_the_first() -> None:
    """The answer has the image's axes, whichever planes were prompted."""
    truth = ball()
    session = ns.Session(image_of(truth), SeeingPredictor(), plane_axes=(2, 0))
    found = session.segment_volume({9: truth[:, 9].T}, consensus=True)
    assert found.shape == SHAPE
    assert dice(found, truth) > 0.9


def test_seeds_and_stops_hold_in_all_slicings() -> None:
    """The others see more of the object; a mask stays as it is, a stop is an end."""
    truth = ball()
    mask = truth[8].copy()
    mask[::4] = False
    session = ns.Session(image_of(truth), SeeingPredictor())
    stop = ns.Prompts(points=[[9, 11]], point_labels=[0])
    found = session.segment_volume({7: truth[7], 8: mask, 11: stop}, consensus=True)
    np.testing.assert_array_equal(found[8], mask)
    assert not found[11:].any()
    assert dice(found[:8], truth[:8]) > 0.9


def test_objects_keep_their_ids_and_the_index_in_time() -> None:
    """Two objects of one time point of (t, z, y, x), looked at along all axes."""
    one, other = ball((8, 6, 5), 4), ball((8, 12, 16), 4)
    image = np.stack([np.zeros(SHAPE, np.uint8), image_of(one, other)])
    session = ns.Session(image, SeeingPredictor())
    seeds = {3: {(1, 8): one[8]}, 300: {(1, 8): other[8]}}
    labels = session.segment_objects(seeds, along=1, consensus=True)
    assert labels.dtype == np.uint16
    assert labels.shape == SHAPE
    assert dice(labels == 3, one) > 0.9
    assert dice(labels == 300, other) > 0.9


def test_spacing_must_be_nearly_equal() -> None:
    """Refused before any plane is encoded; up to twice as far apart is allowed."""
    truth = ball()
    session = ns.Session(image_of(truth), SeeingPredictor())
    seeds = {8: truth[8]}
    far = ns.PropagationOptions(spacing=(2.1, 1, 1))
    with pytest.raises(ValueError, match="consensus must be False unless"):
        session.segment_volume(seeds, options=far, consensus=True)
    assert session.predictor.encoded == 0
    check_nearly_isotropic(ns.PropagationOptions(spacing=(2, 1, 1)))


def test_an_object_without_voxels_is_not_looked_for() -> None:
    """Covered by another in its own plane, or nowhere: that is no error."""
    truth = ball()
    session = ns.Session(image_of(truth), SeeingPredictor())
    seeds = {1: {8: truth[8]}, 2: {8: truth[8]}}
    labels = session.segment_objects(seeds, consensus=True)
    assert dice(labels > 0, truth) > 0.9


def test_nothing_found_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the first slicing has no voxel, the others are left out."""
    asked = []

    def nothing(stack: Any, *_: Any) -> Any:
        asked.append(stack.axis)
        yield
        return stack.empty(np.uint8)

    monkeypatch.setattr(_consensus, "collected", nothing)
    session = ns.Session(image_of(ball()), SeeingPredictor())
    assert not session.segment_volume({8: ball()[8]}, consensus=True).any()
    assert asked == [0]


def test_progress_and_agreement_are_given() -> None:
    """A step for each plane of each slicing; where one errs, the three agree less."""
    truth, means = ball(), []
    for predictor in (SeeingPredictor(), HalfBlindPredictor()):
        session = ns.Session(image_of(truth), predictor)
        steps: list[tuple[int, int]] = []
        seeds = {4: {8: truth[8]}}
        work = session.propagate_consensus(seeds, options=BELIEVING)
        result = result_of(work, steps.append)
        assert steps == [(i + 1, sum(SHAPE)) for i in range(sum(SHAPE))]
        scores = result.scores[4]
        assert scores.shape == SHAPE[:1]
        assert scores[0] == 1
        means.append(scores[[6, 10]].mean())
        np.testing.assert_array_equal(result.planes == 4, result.labels == 4)
    assert 0.8 < means[0] <= 1
    assert means[1] < means[0] - 0.05


def test_a_consensus_can_be_stopped() -> None:
    """Closing it ends the work; nothing more is encoded."""
    truth = ball()
    session = ns.Session(image_of(truth), SeeingPredictor())
    work = session.propagate_consensus({1: {8: truth[8]}})
    for _ in range(3):
        next(work)
    work.close()
    assert session.predictor.encoded <= 4


def test_two_of_three_win() -> None:
    """In any order; three opinions are none."""
    votes = [np.array(v, np.uint8) for v in ([1, 0, 1, 5], [1, 4, 0, 6], [0, 4, 1, 7])]
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        found = majority(votes[a], votes[b], votes[c])
        np.testing.assert_array_equal(found, [1, 4, 1, 0])
