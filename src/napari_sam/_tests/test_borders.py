"""Borders are moved to where grey values look as at the border of the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from napari_sam._borders import at_border, matched_threshold, rim

CELLS = np.indices((64, 64)) - 31.5
INWARDS = 16 - np.hypot(*CELLS)  # signed distance to the border of a disc
ALL = np.ones(INWARDS.shape, bool)


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_a_rim_is_what_one_step_of_morphology_changes(mask: np.ndarray) -> None:
    """Cells lost by an erosion, and those won by a dilation."""
    inner = mask & ~ndimage.binary_erosion(mask, border_value=1)
    outer = ndimage.binary_dilation(mask) & ~mask
    np.testing.assert_array_equal(rim(mask), inner | outer)


@settings(max_examples=20, deadline=None)
@given(st.floats(-1.9, 1.9), st.floats(0.5, 2))
def test_a_shifted_border_is_put_back(offset: float, slope: float) -> None:
    """Whatever the logits' level: the border is where the likeness is the seed's."""
    like = np.tanh(INWARDS / 4)
    wanted = at_border(like, INWARDS > 0, ALL)
    assert wanted is not None
    found = matched_threshold(slope * INWARDS + offset, like, ALL, wanted)
    assert found == pytest.approx(offset, abs=0.5 * slope + 0.15)


@pytest.mark.parametrize(
    ("logits", "wanted"),
    [
        (np.full(ALL.shape, -5.0), 0.0),
        (np.full(ALL.shape, 5.0), 0.0),
        (INWARDS, None),
    ],
    ids=["empty", "without end", "seed without a border"],
)
def test_nothing_is_moved_where_nothing_tells(
    logits: np.ndarray, wanted: float | None
) -> None:
    """No border here or in the seed leaves the logits as they are."""
    assert matched_threshold(logits, INWARDS, ALL, wanted) == 0


def test_equal_grey_values_move_nothing() -> None:
    """Where the object looks like its surroundings, the border stays."""
    like = np.zeros(ALL.shape)
    assert matched_threshold(INWARDS, like, ALL, 0.0) == 0


def test_what_is_not_the_plane_is_no_border() -> None:
    """The padding of a plane that is not square tells nothing."""
    valid = ALL.copy()
    valid[:, 20:] = False
    mask = np.zeros(ALL.shape, bool)
    mask[:, :20] = True
    like = np.where(valid, 1.0, -9.0)
    assert at_border(like, mask, valid) == 1
    assert at_border(like, ALL, valid) is None
