"""Confidence, doubtful planes and sizes of objects that were followed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sam.review import (
    MaskPatch,
    doubtful_planes,
    measure_object,
    next_plane,
    plane_confidence,
)

PAGES = Path(__file__).parents[3] / "docs"
few = settings(deadline=None, max_examples=40)
volumes = hnp.arrays(
    bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.booleans()
)


def patches(volume: np.ndarray) -> dict[int, MaskPatch]:
    """Patches of all planes."""
    return {i: MaskPatch.of(plane) for i, plane in enumerate(volume)}


@given(volumes)
@few
def test_a_patch_is_the_mask(volume):
    """Box, area, pixels and overlap are those of the whole planes."""
    for plane, patch in zip(volume, patches(volume).values(), strict=True):
        np.testing.assert_array_equal(patch.to_mask(plane.shape), plane)
        assert patch.is_same(MaskPatch.of(plane))
        assert patch.is_same(MaskPatch.of(volume[0])) == (plane == volume[0]).all()
        assert patch.area == plane.sum()
    first, last = volume[0], volume[-1]
    union = (first | last).sum()
    expected = (first & last).sum() / union if union else 1.0
    assert MaskPatch.of(first).overlap(MaskPatch.of(last)) == pytest.approx(expected)


@pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.zeros((1, 2, 2), bool)])
def test_what_is_no_mask_is_refused(mask):
    """Other types and dimensions."""
    with pytest.raises(ValueError, match="mask must be a bool plane"):
        MaskPatch.of(mask)


def test_a_mask_does_not_fit_into_a_smaller_plane():
    """Nothing is cut off."""
    with pytest.raises(ValueError, match="plane_size must hold the mask"):
        MaskPatch.of(np.ones((3, 4), bool)).to_mask((3, 3))


@given(volumes, st.data())
@few
def test_confidence_is_between_0_and_1_within_the_object(volume, data):
    """Of no other planes; 1 where approved; it never rises when a score falls."""
    masks = patches(volume)
    scores = {i: data.draw(st.floats(0, 1)) for i in masks}
    certain = data.draw(st.sets(st.sampled_from(sorted(masks))))
    found = plane_confidence(masks, scores, certain)
    present = np.flatnonzero(volume.any(axis=(1, 2)))
    expected = range(present[0], present[-1] + 1) if present.size else []
    assert list(found) == list(expected)
    assert all(0 <= value <= 1 for value in found.values())
    assert all(found[i] == 1 for i in certain if i in found)
    assert all(found[i] == 0 for i in found if i not in certain and not masks[i].area)
    lower = plane_confidence(masks, {i: s / 2 for i, s in scores.items()}, certain)
    assert all(lower[i] <= found[i] for i in found)


@given(volumes)
@few
def test_confidence_does_not_depend_on_the_direction(volume):
    """Nor on rows and columns being exchanged."""
    found = plane_confidence(patches(volume), {})
    turned = plane_confidence(patches(volume[::-1].swapaxes(1, 2)), {})
    last = len(volume) - 1
    assert {last - i: v for i, v in turned.items()} == pytest.approx(found)


def test_the_plane_that_does_not_fit_is_the_least_certain():
    """One that lies elsewhere, in the middle of an object."""
    volume = np.zeros((7, 9, 9), bool)
    volume[:, 2:6, 2:6] = True
    assert set(plane_confidence(patches(volume), {}).values()) == {1}
    volume[3] = np.roll(volume[3], 3, axis=1)
    found = plane_confidence(patches(volume), {})
    assert min(found, key=lambda i: found[i]) == 3
    assert doubtful_planes(found) == [3]


def test_an_end_is_doubtful_unless_the_object_has_become_small():
    """Or the user has said that it ends there; the stack's own end is none."""
    volume = np.zeros((5, 9, 9), bool)
    volume[:3, :, :] = True
    assert plane_confidence(patches(volume), {})[2] == pytest.approx(0.5**0.5)
    assert plane_confidence(patches(volume), {}, certain=[3])[2] == 1
    volume[2, 2:, :] = False
    tapered = plane_confidence(patches(volume), {})
    assert tapered[2] == pytest.approx(((2 / 9 + 7 / 9) / 2) ** 0.5)
    assert tapered[0] == 1


def test_planes_that_were_not_looked_at_do_not_count():
    """Neither as neighbours nor by themselves."""
    mask = MaskPatch.of(np.ones((2, 2), bool))
    assert plane_confidence({1: mask, 4: mask}, {1: 0.5}) == {1: 0.5, 4: 1.0}
    assert plane_confidence({}, {}) == {}


@given(st.dictionaries(st.integers(0, 30), st.floats(0, 1)), st.floats(0, 1))
@few
def test_doubtful_planes_stand_for_all_below_the_limit(confidence, limit):
    """Each plane below it has one of them in its run, as low as itself or lower."""
    found = doubtful_planes(confidence, limit)
    assert found == sorted(set(found))
    assert all(confidence[i] < limit for i in found)
    for plane, value in confidence.items():
        if value < limit:
            run = {plane}
            while new := {
                j
                for i in run
                for j in (i - 1, i + 1)
                if j not in run and confidence.get(j, 1) < limit
            }:
                run |= new
            (chosen,) = run.intersection(found)
            assert confidence[chosen] <= value


@given(st.sets(st.integers(0, 20)), st.integers(0, 20))
@few
def test_going_on_visits_every_plane(planes, here):
    """Once each, and then again."""
    visited = []
    for _ in planes:
        here = next_plane(planes, here)
        visited.append(here)
    assert sorted(visited) == sorted(planes)


@given(volumes, st.tuples(*[st.floats(0.1, 10)] * 3))
@few
def test_sizes_are_those_of_the_volume(volume, spacing):
    """Voxels, volume and box, in the unit of the spacing."""
    found = measure_object(patches(volume), spacing)
    if not volume.any():
        assert found is None
        return
    where = np.argwhere(volume)
    lengths = (np.ptp(where, axis=0) + 1) * spacing
    assert found.voxels == volume.sum()
    assert found.volume == pytest.approx(volume.sum() * np.prod(spacing))
    assert found.planes == (where[:, 0].min(), where[:, 0].max())
    assert found.size == pytest.approx(tuple(lengths))


@pytest.mark.parametrize("spacing", [(1, 1), (1, 0, 1), (1, np.nan, 1)])
def test_bad_spacing_is_refused(spacing):
    """With what it was."""
    with pytest.raises(ValueError, match="spacing must be three numbers above 0"):
        measure_object({}, spacing)


def test_the_page_about_volumes_runs(capsys):
    """Its code, as it stands there."""
    from napari_sam import Prompts, Session
    from napari_sam._tests.seeing_predictor import SeeingPredictor

    image = np.full((8, 40, 40), 20, np.uint8)
    image[2:, 10:30, 10:30] = 200
    names = {
        "session": Session(image, SeeingPredictor()),
        "prompts": Prompts(box=[10, 10, 30, 30]),
    }
    page = (PAGES / "volumes-widget.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    exec(compile(block, "volumes-widget.md", "exec"), names)
    assert sorted(names["masks"]) == list(range(8))
    assert names["masks"][6].area > 300
    assert capsys.readouterr().out.startswith("[")
