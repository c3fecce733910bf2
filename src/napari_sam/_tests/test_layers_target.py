"""Masks written into a user's Labels layer."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_sam._label_changes import CommitOptions
from napari_sam._layers_commit import commit_labels, commit_mask
from napari_sam._layers_make import make_labels_layer, session_arguments
from napari_sam._layers_target import (
    check_target,
    next_free_label,
    widen_labels,
)
from napari_sam._layers_view import ViewPlane, view_plane

XY = ViewPlane((1, 2), (1,), (0, 0, 0))
SHAPE = (3, 6, 7)


def square() -> np.ndarray:
    """Make a mask of rows 1 to 3 and columns 2 to 4."""
    mask = np.zeros(SHAPE[1:], bool)
    mask[1:4, 2:5] = True
    return mask


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "i8"])
@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (0, 2), (0, 1), (2, 0)])
def test_mask_lands_in_its_plane_and_undo_takes_it_back(
    dtype: str, axes: tuple[int, int]
) -> None:
    """In any plane, transposed or not; the same array, type kept."""
    layer = Labels(np.zeros(SHAPE, dtype))
    before = layer.data
    (sliced,) = {0, 1, 2} - {*axes}
    mask = np.zeros((SHAPE[axes[0]], SHAPE[axes[1]]), bool)
    mask[0, 1:] = mask[1, 0] = True
    changed = commit_mask(layer, ViewPlane(axes, (1,), (0, 0, 0)), mask, 5)
    order = (sliced, *axes)
    expected = np.zeros([SHAPE[axis] for axis in order], dtype)
    expected[1][mask] = 5
    np.testing.assert_array_equal(layer.data.transpose(order), expected)
    assert changed == mask.sum()
    assert layer.data is before
    assert layer.data.dtype == dtype
    layer.undo()
    assert not layer.data.any()
    layer.redo()
    np.testing.assert_array_equal(layer.data.transpose(order), expected)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    overlap=st.sampled_from(["protect", "overwrite"]),
    replace=st.booleans(),
)
def test_what_is_written(seed: int, overlap: Any, replace: bool) -> None:
    """Pixel by pixel, against the words of CommitOptions; undo is exact."""
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 4, (6, 7)).astype(np.uint8)
    mask = rng.random((6, 7)) > 0.5
    layer = Labels(data.copy())
    options = CommitOptions(overlap, replace)
    changed = commit_mask(layer, ViewPlane((0, 1), (), (0, 0)), mask, 2, options)
    for place, old in np.ndenumerate(data):
        expected = int(old)
        if mask[place] and (old == 0 or overlap == "overwrite"):
            expected = 2
        elif not mask[place] and old == 2 and replace:
            expected = 0
        assert layer.data[place] == expected
    assert changed == np.count_nonzero(layer.data != data)
    if changed:
        layer.undo()
    np.testing.assert_array_equal(layer.data, data)


def test_nothing_to_write_is_no_step() -> None:
    """A mask that is there already leaves the history alone."""
    layer = Labels(np.zeros(SHAPE, "u1"))
    commit_mask(layer, XY, square(), 3)
    assert commit_mask(layer, XY, square(), 3) == 0
    layer.undo()
    assert not layer.data.any()


def test_several_planes_are_one_step() -> None:
    """One undo for a whole stack; the order of the planes does not matter."""
    layer = Labels(np.full(SHAPE, 9, "u1"))
    layer.data[2] = 0
    planes = [(i, np.where(square(), 4 + i, 0)) for i in (2, 0, 1)]
    options = CommitOptions("overwrite")
    assert commit_labels(layer, XY, planes, {4, 5, 6}, options) == 27
    assert [np.count_nonzero(layer.data == n) for n in (4, 5, 6)] == [9, 9, 9]
    layer.undo()
    assert (layer.data[:2] == 9).all()
    assert not layer.data[2].any()


def test_objects_of_one_call_may_swap() -> None:
    """What the objects had is free for any of them, even with others protected."""
    layer = Labels(np.array([[1, 1, 2, 2, 3]], "u1"))
    wanted = np.array([[2, 2, 1, 1, 1]])
    commit_labels(layer, ViewPlane((0, 1), (), (0, 0)), [(0, wanted)], {1, 2})
    assert layer.data.tolist() == [[2, 2, 1, 1, 3]]


def test_failure_half_way_leaves_the_layer_as_it_was() -> None:
    """The planes written so far are taken back, and only those."""
    layer = Labels(np.zeros(SHAPE, "u1"))
    commit_mask(layer, XY, square(), 1)
    before = layer.data.copy()
    wrong = np.zeros((2, 2), int)
    for planes in ([(0, square() * 7), (2, wrong)], [(2, wrong)]):
        with pytest.raises(ValueError, match=r"mask must have the shape of the plane"):
            commit_labels(layer, XY, planes, {7})
        np.testing.assert_array_equal(layer.data, before)
    layer.undo()
    assert not layer.data.any()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (300, "at most 255 in the uint8 layer 'mine', got 300: convert"),
        (0, "1 or more, got 0"),
        (-4, "1 or more, got -4"),
    ],
)
def test_number_must_fit_the_type(number: int, message: str) -> None:
    """With what to do; nothing is changed."""
    layer = Labels(np.zeros(SHAPE, "u1"), name="mine")
    with pytest.raises(ValueError, match=f"object_id must be {message}"):
        commit_mask(layer, XY, square(), number)
    assert not layer.data.any()


def test_mask_must_be_bool() -> None:
    """Numbers may be labels of something else."""
    with pytest.raises(ValueError, match="mask must be bool, got dtype int64"):
        commit_mask(Labels(np.zeros(SHAPE, "u1")), XY, square().astype(np.int64), 1)


def test_overlap_must_be_known() -> None:
    """A wrong word is not a silent default."""
    with pytest.raises(ValueError, match="overlap must be 'protect' or 'overwrite'"):
        CommitOptions("keep")


def test_zarr_is_written_in_place_and_undone(tmp_path: Any) -> None:
    """A file grows with the annotation; other planes are not touched."""
    array = zarr.create_array(
        tmp_path / "labels.zarr", shape=SHAPE, dtype="u2", chunks=(1, 6, 7)
    )
    layer = Labels(array)
    assert commit_mask(layer, XY, square(), 500) == 9
    stored = zarr.open_array(tmp_path / "labels.zarr", mode="r")
    np.testing.assert_array_equal(stored[1] == 500, square())
    assert not stored[0].any()
    layer.undo()
    assert not stored[1].any()


def read_only() -> np.ndarray:
    """Make an array as of a file opened for reading."""
    data = np.zeros(SHAPE, "u1")
    data.setflags(write=False)
    return data


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Labels(da.zeros(SHAPE, dtype="u1")), "dask array"),
        (lambda: Labels(read_only()), "is read-only"),
        (
            lambda: Labels([np.zeros(SHAPE, "u1"), np.zeros((3, 3, 3), "u1")]),
            "is a pyramid",
        ),
    ],
)
def test_layers_that_cannot_be_written(make: Any, reason: str) -> None:
    """Refused before anything happens."""
    with pytest.raises(ValueError, match=reason):
        commit_mask(make(), XY, square(), 1)


def test_locked_layer_is_respected() -> None:
    """The user said that it must not change."""
    layer = Labels(np.zeros(SHAPE, "u1"))
    layer.editable = False
    with pytest.raises(ValueError, match="is locked"):
        commit_mask(layer, XY, square(), 1)


@pytest.mark.parametrize("other", ["shape", "scale", "translate", "ndim"])
def test_target_must_have_the_voxels_of_the_image(other: str) -> None:
    """Else masks would land elsewhere."""
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(SHAPE), scale=(2, 1, 1), name="volume")
    view = view_plane(viewer.dims, image)
    check_target(make_labels_layer(image, "fine"), image, view)
    shapes = {"shape": (3, 6, 8), "ndim": SHAPE[1:]}
    layer = Labels(np.zeros(shapes.get(other, SHAPE), "u1"), name="other")
    if other in ("shape", "translate"):
        layer.scale = (2, 1, 1)
    if other == "translate":
        layer.translate = (0, 0, 1)
    with pytest.raises(ValueError, match="'other' must have the shape and transforms"):
        check_target(layer, image, view)


def test_next_free_label() -> None:
    """One more than the largest; when the type is full, a gap; then an error."""
    assert next_free_label(Labels(np.zeros(SHAPE, "u1"))) == 1
    assert next_free_label(Labels(da.full(SHAPE, 7, dtype="u1"))) == 8
    assert next_free_label(Labels(np.zeros(SHAPE, "u1")), taken={4}) == 5
    full = np.arange(256, dtype="u1").reshape(16, 16)
    gap = np.where(full == 77, 0, full).astype("u1")
    assert next_free_label(Labels(gap)) == 77
    with pytest.raises(ValueError, match="no free number up to 255: convert"):
        next_free_label(Labels(gap), taken={77})


def test_widen_labels() -> None:
    """The next type that fits, of the same kind; values as they are."""
    layer = Labels(np.full(SHAPE, 200, "u1"))
    widen_labels(layer, 255)
    assert layer.data.dtype == np.uint8
    widen_labels(layer, 300)
    assert layer.data.dtype == np.uint16
    assert (layer.data == 200).all()
    commit_mask(layer, XY, square(), 300, CommitOptions("overwrite"))
    assert layer.data.max() == 300
    with pytest.raises(ValueError, match="must hold a numpy array"):
        widen_labels(Labels(da.zeros(SHAPE, dtype="u1")), 300)
    with pytest.raises(ValueError, match="must fit into uint64"):
        widen_labels(layer, 2**65)


def test_new_labels_lie_on_the_image() -> None:
    """Transforms, units, axes; colour and pyramids aside."""
    image = Image(
        [np.zeros((3, 32, 32, 3), "u1"), np.zeros((3, 16, 16, 3), "u1")],
        rgb=True,
        multiscale=True,
        scale=(4, -1, 1),
        rotate=(0, 0, 20),
        units=("um",) * 3,
        axis_labels=("z", "y", "x"),
    )
    layer = make_labels_layer(image, "cells")
    assert (layer.data.shape, layer.data.dtype) == ((3, 32, 32), np.uint16)
    assert (layer.units, layer.axis_labels) == (image.units, image.axis_labels)
    np.testing.assert_array_equal(
        layer.data_to_world((1, 2, 3)), image.data_to_world((1, 2, 3))
    )


def test_session_arguments() -> None:
    """Full resolution, and the contrast as shown; colour is seen as it is."""
    big = np.zeros((32, 32), np.uint16)
    grey = Image([big, big[::2, ::2]], multiscale=True, contrast_limits=(10, 90))
    seen = session_arguments(grey)
    assert seen.image.shape == (32, 32)
    assert (seen.rgb, seen.contrast_limits) == (False, (10, 90))
    assert session_arguments(grey, "percentiles").contrast_limits is None
    colour = session_arguments(Image(np.zeros((8, 8, 4), np.uint8), rgb=True))
    assert (colour.rgb, colour.contrast_limits) == (True, None)
    with pytest.raises(ValueError, match="contrast must be 'layer' or 'percentiles'"):
        session_arguments(grey, "auto")
