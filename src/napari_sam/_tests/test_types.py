"""The exchanged values: what they accept, what they refuse, what they promise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sam.types import ImageEmbedding, Prediction, Prompts, Window

finite = st.floats(-1e6, 1e6)


@settings(max_examples=30, deadline=None)
@given(
    points=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 5), st.just(2)), elements=finite
    )
)
def test_points_keep_their_values(points):
    """Points come back as they went in, all foreground unless said otherwise."""
    prompts = Prompts(points)
    np.testing.assert_array_equal(prompts.points, points)
    assert prompts.point_labels.tolist() == [1] * len(points)
    assert not prompts.is_empty


def test_arrays_are_copied_and_read_only():
    """Neither the caller's array nor anyone else can change a prompt."""
    points = np.array([[1.0, 2.0]])
    prompts = Prompts(points, [True], [0, 0, 2, 2], np.zeros((256, 256)))
    points[:] = 9
    assert prompts.points.tolist() == [[1, 2]]
    for array in (prompts.points, prompts.point_labels, prompts.box):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(prompts, "box", None)  # noqa: B010 - mypy knows it is frozen


def test_inputs_stay_writable():
    """Freezing the copy leaves the caller's array alone."""
    logits = np.zeros((256, 256), np.float32)
    Prompts(mask_logits=logits)
    logits[0, 0] = 1


def test_equal_content_is_equal():
    """Prompts compare and hash by content, so that they can be keys."""
    a = Prompts([[1, 2]], [1], [0, 0, 3, 3])
    b = Prompts(np.array([[1.0, 2.0]]), np.array([True]), (0.0, 0.0, 3.0, 3.0))
    assert a == b
    assert hash(a) == hash(b)
    assert len({a, b, Prompts([[1, 2]], [0], [0, 0, 3, 3])}) == 2
    assert a != Prompts([[1, 2]])
    assert a != "prompts"


def test_a_single_mask_axis_is_dropped():
    """Logits straight from a one-mask prediction, (1, 256, 256), are taken."""
    assert Prompts(mask_logits=np.ones((1, 256, 256))).mask_logits.shape == (256, 256)


@pytest.mark.parametrize(
    ("prompts", "is_empty", "multimask"),
    [
        (Prompts(), True, False),
        (Prompts(points=[]), True, False),
        (Prompts(points=[], point_labels=[]), True, False),
        (Prompts([[1, 2]]), False, True),
        (Prompts([[1, 2], [3, 4]]), False, False),
        (Prompts(box=[0, 0, 1, 1]), False, False),
        (Prompts([[1, 2]], box=[0, 0, 1, 1]), False, False),
        (Prompts([[1, 2]], mask_logits=np.zeros((256, 256))), False, False),
    ],
)
def test_emptiness_and_default_multimask(prompts, is_empty, multimask):
    """Three masks are asked for only if a single point stands alone."""
    assert prompts.is_empty is is_empty
    assert prompts.default_multimask is multimask


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": [1, 2]}, "points must have shape"),
        ({"points": [[1, 2, 3]]}, "points must have shape"),
        ({"points": [[1, 2], [3]]}, "points must be real numbers"),
        ({"points": [[np.nan, 2]]}, "points must be finite"),
        ({"points": [[np.inf, 2]]}, "points must be finite"),
        ({"points": "here"}, "points must be real numbers"),
        ({"points": [[1j, 2]]}, "points must be real numbers"),
        ({"points": {"a": 1}}, "points must be real numbers"),
        ({"points": [[1, 2]], "point_labels": [1, 0]}, "point_labels must have one"),
        ({"points": [[1, 2]], "point_labels": 1}, "point_labels must have one"),
        ({"points": [[1, 2]], "point_labels": [2]}, "point_labels must be 1"),
        ({"points": [[1, 2]], "point_labels": [-1]}, "point_labels must be 1"),
        ({"points": [[1, 2]], "point_labels": [0.5]}, "point_labels must be 1"),
        ({"points": [[1, 2]], "point_labels": ["x"]}, "point_labels must be real"),
        ({"point_labels": [1]}, "point_labels must have one"),
        ({"box": [0, 0, 1]}, "box must be"),
        ({"box": [[0, 0, 1, 1]]}, "box must be"),
        ({"box": [5, 0, 5, 1]}, "box must have row_min < row_max"),
        ({"box": [0, 5, 1, 4]}, "box must have row_min < row_max"),
        ({"box": [0, 0, np.nan, 1]}, "box must be finite"),
        ({"box": [0, 0, np.inf, 1]}, "box must be finite"),
        ({"box": "box"}, "box must be real numbers"),
        ({"box": 3}, "box must be"),
        ({"mask_logits": np.zeros((255, 256))}, "mask_logits must have shape"),
        ({"mask_logits": np.zeros((3, 256, 256))}, "mask_logits must have shape"),
        ({"mask_logits": np.full((256, 256), np.nan)}, "mask_logits must be finite"),
        ({"mask_logits": np.full((256, 256), 1e300)}, "mask_logits must be finite"),
        ({"mask_logits": np.zeros((256, 256), complex)}, "mask_logits must be real"),
    ],
)
def test_bad_prompts_are_refused_in_a_sentence(arguments, message):
    """Every wrong argument is a ValueError that names it."""
    with pytest.raises(ValueError, match=message) as caught:
        Prompts(**arguments)
    assert str(caught.value).endswith(".")


def test_best_of_a_prediction():
    """The best mask, logits and score belong together."""
    masks = np.zeros((3, 2, 2), bool)
    masks[1] = True
    logits = np.arange(3, dtype=np.float32)[:, None, None] * np.ones((256, 256), "f4")
    prediction = Prediction(masks, np.array([0.1, 0.9, 0.5], np.float32), logits, 7)
    assert prediction.best_index == 1
    assert prediction.best.all()
    assert prediction.best_logits[0, 0] == 1
    assert prediction.best_score == pytest.approx(0.9)
    assert prediction.plane == 7


def test_window_cuts_a_rectangle():
    """Slices and shape of a window are those of its edges."""
    window = Window(1, 2, 4, 8)
    assert window.shape == (3, 6)
    assert np.zeros((10, 10))[window.slices].shape == (3, 6)


@pytest.mark.parametrize("edges", [(0, 0, 0, 5), (3, 0, 2, 5), (0, 5, 5, 5)])
def test_empty_windows_are_refused(edges):
    """A window has at least one pixel."""
    with pytest.raises(ValueError, match="window must not be empty"):
        Window(*edges)


@pytest.mark.parametrize("edge", [0.5, np.nan, "1", None])
def test_window_edges_are_whole_numbers(edge):
    """A window cuts between pixels, never through one."""
    with pytest.raises(ValueError, match="window"):
        Window(0, 0, 5, edge)


def test_embedding_knows_its_size():
    """The size in bytes is that of the features."""
    features = torch.zeros(1, 256, 64, 64, dtype=torch.float16)
    assert ImageEmbedding(features, (10, 10), "key", "sum").nbytes == 2 << 20
