"""What was written into labels, taken back and written again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Labels

from napari_sam._label_changes import (
    CommitOptions,
    PlaneChange,
    pack_bits,
    plane_change,
    unpack_bits,
)
from napari_sam._layers_commit import (
    repeat_labels,
    revert_labels,
    write_labels,
    write_mask,
)
from napari_sam._layers_view import ViewPlane

SHAPE = (3, 5, 6)
AXES = [(1, 2), (2, 1), (0, 2), (0, 1), (2, 0)]


def plane(axes: tuple[int, int], index: int) -> ViewPlane:
    """Make a plane of a stack."""
    return ViewPlane(axes, (index,), (0.0, 0.0, 0.0))


@given(st.integers(0, 10**6), st.sampled_from(AXES))
@settings(max_examples=40, deadline=None)
def test_steps_back_and_forth_give_the_same_labels(seed: int, axes: Any) -> None:
    """Any commits, all taken back and written again, also beside napari's history."""
    rng = np.random.default_rng(seed)
    layer = Labels(rng.integers(0, 4, SHAPE).astype(np.uint8))
    size = SHAPE[axes[0]], SHAPE[axes[1]]
    states, steps = [layer.data.copy()], []
    for number in range(1, 5):
        view = plane(axes, int(rng.integers(SHAPE[3 - sum(axes)])))
        options = CommitOptions(rng.choice(["protect", "overwrite"]))
        mask = rng.random(size) < 0.5
        steps.append(write_mask(layer, view, mask, number, options))
        states.append(layer.data.copy())
    again = states[0].copy()
    for changes, state in zip(steps, states[1:], strict=True):
        for change in changes:
            change.apply_to(again)
        np.testing.assert_array_equal(again, state)
    for changes, state in zip(steps[::-1], states[-2::-1], strict=True):
        assert revert_labels(layer, changes) == 0
        np.testing.assert_array_equal(layer.data, state)
    for changes, state in zip(steps, states[1:], strict=True):
        assert repeat_labels(layer, changes) == 0
        np.testing.assert_array_equal(layer.data, state)
    for _ in range(12):
        layer.undo()
    np.testing.assert_array_equal(layer.data, states[0])


def test_what_the_user_painted_since_stays() -> None:
    """Neither back nor forth touches a pixel that holds something else."""
    layer = Labels(np.zeros(SHAPE, np.uint16))
    changes = write_mask(layer, plane((1, 2), 1), np.ones((5, 6), bool), 3)
    layer.data_setitem((np.array([1]), np.array([2]), np.array([2])), 9)
    assert revert_labels(layer, changes) == 1
    assert layer.data[1, 2, 2] == 9
    assert np.count_nonzero(layer.data) == 1
    assert repeat_labels(layer, changes) == 1
    assert layer.data[1, 2, 2] == 9
    assert np.count_nonzero(layer.data == 3) == 29
    # napari's own undo took the commit back: there is nothing left to revert.
    fresh = Labels(np.zeros(SHAPE, np.uint16))
    changes = write_mask(fresh, plane((1, 2), 1), np.ones((5, 6), bool), 3)
    fresh.undo()
    assert revert_labels(fresh, changes) == 0
    assert not fresh.data.any()


def test_several_planes_and_stores_other_than_numpy() -> None:
    """One value for a whole object, one step of napari's history, in a zarr array."""
    store = zarr.create_array({}, shape=SHAPE, dtype="u2")
    store[:] = 0
    layer = Labels(store)
    planes = [(i, np.full((5, 6), 7)) for i in range(3)]
    changes = write_labels(layer, plane((1, 2), 0), planes, {7})
    assert [one.index for one in changes] == [(0,), (1,), (2,)]
    assert [len(one.new) for one in changes] == [1, 1, 1]
    assert sum(one.nbytes for one in changes) < 100
    assert revert_labels(layer, changes) == 0
    assert not store[:].any()


def test_a_change_costs_its_box_not_the_volume() -> None:
    """An object in a volume of 8 GB (sparse memory) is a few hundred bytes."""
    layer = np.zeros((4096, 4096), np.uint16)
    mask = np.zeros(layer.shape, bool)
    mask[3000:3040, 20:60] = True
    change = plane_change((1, 2), (5,), layer, mask.astype(np.uint16), mask)
    assert change is not None
    assert change.box == (3000, 20, 3040, 60)
    assert change.nbytes < 100


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1)])
def test_a_change_knows_its_plane(axes: tuple[int, int]) -> None:
    """Whatever its rows and columns are; what it writes is seen in there."""
    store = np.zeros((4, 5, 6), np.uint8)
    mask = np.zeros((store.shape[axes[0]], store.shape[axes[1]]), bool)
    mask[1:3, 2:4] = True
    change = plane_change(axes, (3,), np.zeros_like(mask, int), mask.astype(int), mask)
    assert change is not None
    change.apply_to(store)
    np.testing.assert_array_equal(change.plane_of(store), mask)


@pytest.mark.parametrize("shape", [(2, 5, 6), (3, 4, 6), (3, 5, 5), (5, 6), (1, 1, 1)])
def test_a_layer_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    """Nothing is written into labels that were replaced by smaller ones."""
    layer = Labels(np.zeros(SHAPE, np.uint8), name="mine")
    changes = write_mask(layer, plane((1, 2), 2), np.ones((5, 6), bool), 3)
    layer.data = np.full(shape, 3, np.uint8)
    with pytest.raises(ValueError, match="'mine' must have the shape it had"):
        revert_labels(layer, changes)
    assert (layer.data == 3).all()


def test_damaged_bits_are_refused() -> None:
    """A mask of other bytes, of another size, of another count of pixels."""
    mask = np.eye(3, dtype=bool)
    np.testing.assert_array_equal(unpack_bits(pack_bits(mask), (3, 3)), mask)
    with pytest.raises(ValueError, match="damaged"):
        unpack_bits(b"no", (3, 3))
    with pytest.raises(ValueError, match="100 pixels"):
        unpack_bits(pack_bits(mask), (10, 10))
    one = np.array([1])
    change = PlaneChange((0, 1), (), (0, 0, 3, 3), pack_bits(mask), one, one, 2)
    with pytest.raises(ValueError, match="change of 2 pixels must mark as many"):
        change.indices()
