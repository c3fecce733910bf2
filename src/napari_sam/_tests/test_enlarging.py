"""Masks enlarged where the object is are those of the whole plane."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from napari_sam._enlarging import MaskEnlarger
from napari_sam.transforms import logits_to_plane


def whole(logits, size):
    """Masks as the official code makes them."""
    return (logits_to_plane(logits[None], size)[0] > 0).numpy()


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    cells=st.integers(2, 40),
    shift=st.floats(-15, 15),
    seed=st.integers(0, 1000),
)
def test_masks_equal_those_of_the_whole_plane(size, cells, shift, seed):
    """Every pixel, for planes of any size and objects anywhere."""
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, cells, cells)))
    logits = F.interpolate(10 * noise[None].float() + shift, size=(256, 256))[0]
    assert np.array_equal(MaskEnlarger().masks(logits, size), whole(logits, size))


@pytest.mark.parametrize("value", [0.0, -5.0, 5.0, np.nan, np.inf, -np.inf])
def test_constant_logits(value):
    """No object, all of the plane, numbers that are none."""
    logits = torch.full((1, 256, 256), value)
    assert np.array_equal(MaskEnlarger().masks(logits, (7, 9)), whole(logits, (7, 9)))


def test_other_sizes_in_turn():
    """What is kept of one size is not used for another."""
    enlarger = MaskEnlarger()
    logits = torch.randn(1, 256, 256, generator=torch.Generator().manual_seed(0))
    for size in ((30, 40), (40, 30), (30, 40)):
        assert np.array_equal(enlarger.masks(logits, size), whole(logits, size))
