"""What the base model shows of photographs, and what is to be shown instead of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam._finetuning_photographs import (
    LOOKED_AT,
    PRACTISED,
    SMALL,
    Clicks,
    photographs,
    small_and_many,
)
from napari_sam._finetuning_views import valid_cells
from napari_sam._tests.tiny_models import tiny_predictor


def test_photographs_looked_at_are_not_practised():
    """Neither as they are nor small; and never coins, which users look at first."""
    practised, looked_at = (
        {name.removeprefix(SMALL) for name in names} for names in (PRACTISED, LOOKED_AT)
    )
    assert not practised & looked_at
    assert "coins" not in practised | looked_at


@pytest.mark.parametrize("name", ["chelsea", "stereo_motorcycle", SMALL + "chelsea"])
def test_photographs_are_marked_with_tiles(name):
    """Pictures of 8 bit, and tiles all over them."""
    (one,) = photographs([name])
    assert one.pixels.dtype == np.uint8
    assert one.pixels.shape[:2] == one.labels.shape
    assert set(np.unique(one.labels)) == set(range(1, 65))
    assert one.group == name


def test_small_copies_are_turned():
    """Nine of them, grey, none like its neighbours."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (256, 256, 3)).astype(np.uint8)
    small = small_and_many(pixels)
    assert small.shape == (768, 768)
    assert small.dtype == np.uint8
    copies = small.reshape(3, 256, 3, 256).swapaxes(1, 2)
    for row in range(3):
        for column in range(3):
            again = np.rot90(copies[row, column], -(row + column))
            np.testing.assert_array_equal(again, copies[0, 0])
    grey = small_and_many(pixels[..., 0])
    np.testing.assert_array_equal(grey[:256, :256], pixels[..., 0])


def test_middles_of_what_is_shown_are_clicked_too():
    """As many clicks again at most, each in the mask that the first one gave."""
    base, (shown,) = tiny_predictor(), photographs(["rocket"])
    found = Clicks.anywhere(base, shown, 5, np.random.default_rng(0))
    count = len(found.prompts.points)
    assert 5 <= count <= 10
    assert found.masks.shape == (count, 1, 256, 256)
    assert found.scores.shape == (count, 1)
    assert not found.masks.numpy()[..., ~valid_cells(shown.size)].any()
    first = found.masks[:5, 0]
    middles = (found.prompts.points[5:, 0] // 4).astype(int)
    for (column, row), mask in zip(middles, first[first.any((1, 2))], strict=True):
        assert mask[row, column]


@settings(max_examples=20, deadline=None)
@given(order=st.permutations([0, 1, 2]), seed=st.integers(0, 99))
def test_what_was_shown_is_wanted_wherever_it_is_now(order, seed):
    """Its own score for the mask that was shown, in whatever order masks come."""
    (shown,) = photographs(["rocket"])
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 3, 256, 256, generator=generator)
    scores = torch.rand(4, 3, generator=generator)
    points = np.zeros((4, 1, 2))
    told = Clicks.of(shown, Clicks.prompts_at(points), (logits, scores))
    wanted = told.wanted(logits[:, order])
    best = scores.argmax(1)
    assert (torch.tensor(order)[wanted.argmax(1)] == best).all()
    torch.testing.assert_close(wanted.amax(1), scores.amax(1))
    assert (wanted >= 0).all()
