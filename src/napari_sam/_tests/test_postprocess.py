"""Morphology: what it does, checked by brute force, and what it never does."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam import postprocess as pp

LENGTH = {  # functions of a length, and its name
    pp.erode: "radius",
    pp.dilate: "radius",
    pp.opening: "radius",
    pp.closing: "radius",
    pp.smooth: "sigma",
}
SHRINKING = {
    "erode": partial(pp.erode, radius=1.5),
    "opening": partial(pp.opening, radius=1.5),
    "remove_small_objects": partial(pp.remove_small_objects, min_size=3),
    "whole_objects": partial(pp.remove_small_objects, min_size=3, whole_objects=True),
    "keep_largest": partial(pp.keep_largest, count=1),
    "keep_at": partial(pp.keep_at, points=[]),
}
GROWING = {
    "dilate": partial(pp.dilate, radius=1.5),
    "closing": partial(pp.closing, radius=1.5),
    "fill_holes": pp.fill_holes,
    "fill_planes": partial(pp.fill_holes, axis=0, max_size=3),
}
ALL = {**SHRINKING, **GROWING, "smooth": partial(pp.smooth, sigma=1.2)}
REMOVING = {"remove_small_objects", "whole_objects"}
IDEMPOTENT = set(ALL) - {"erode", "dilate", "smooth"}
WITH_SPACING = [*LENGTH, pp.fill_holes, pp.remove_small_objects]

WITH_NEW_IDS = {"split_components": pp.split_components}
EVERY = {**ALL, **WITH_NEW_IDS}

each = pytest.mark.parametrize("name", ALL)
every = pytest.mark.parametrize("name", EVERY)
few = settings(max_examples=25, deadline=None)


@st.composite
def label_images(draw: st.DrawFn, min_dims: int = 1, max_dims: int = 3) -> NDArray[Any]:
    """Blocky or noisy small label images, so that there are parts, holes, contacts."""
    ndim = draw(st.integers(min_dims, max_dims))
    shape = draw(st.tuples(*[st.integers(1, 24 // (ndim + 1))] * ndim))
    ids = draw(st.sampled_from([[0, 1], [0, 0, 3], [0, 1, 2, 7], [-4, 0, 5]]))
    return draw(arrays(np.int16, shape, elements=st.sampled_from(ids)))


def ids_of(labels: NDArray[Any]) -> set[int]:
    """Ids in a label image."""
    return set(np.unique(labels).tolist()) - {0}


def bounding_box(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask of the bounding box of a mask."""
    inside = np.zeros(mask.shape, bool)
    for box in ndimage.find_objects(mask.astype(int)):
        inside[box] = True
    return inside


def distances(shape: tuple[int, ...], spacing: Any) -> NDArray[np.float64]:
    """Distance of each pixel to each, (pixels, pixels): the definition itself."""
    places = np.indices(shape).reshape(len(shape), -1).T * np.asarray(spacing, float)
    difference = places[:, None] - places[None]
    return np.sqrt((difference**2).sum(-1))


def ball(mask: NDArray[Any], near: NDArray[Any], name: str) -> NDArray[np.bool_]:
    """Morphology of one mask from the matrix of pixels that are near each other."""

    def dilate(flat: NDArray[Any]) -> NDArray[Any]:
        return (near & flat).any(1)

    def erode(flat: NDArray[Any]) -> NDArray[Any]:
        return (~near | flat).all(1)

    steps = {
        "erode": [erode],
        "dilate": [dilate],
        "opening": [erode, dilate],
        "closing": [dilate, erode],
    }
    flat = mask.ravel()
    for step in steps[name]:
        flat = step(flat)
    return flat.reshape(mask.shape)


# What never happens


@each
@few
@given(labels=label_images())
def test_labels_are_kept(name: str, labels: NDArray[Any]) -> None:
    """Input untouched, shape and dtype kept, no id new and none lost unasked."""
    before = labels.copy()
    result = ALL[name](labels)
    np.testing.assert_array_equal(labels, before)
    assert not np.shares_memory(result, labels)
    assert (result.shape, result.dtype) == (labels.shape, labels.dtype)
    if name in REMOVING:
        assert ids_of(result) <= ids_of(labels)
    else:
        assert ids_of(result) == ids_of(labels)


@pytest.mark.parametrize("name", SHRINKING)
@few
@given(labels=label_images())
def test_shrinking_only_gives_up_pixels(name: str, labels: NDArray[Any]) -> None:
    """Every pixel keeps its label or becomes background."""
    result = ALL[name](labels)
    assert ((result == labels) | (result == 0)).all()


@pytest.mark.parametrize("name", GROWING)
@few
@given(labels=label_images())
def test_growing_only_takes_background(name: str, labels: NDArray[Any]) -> None:
    """Every labelled pixel keeps its label."""
    result = ALL[name](labels)
    np.testing.assert_array_equal(result[labels != 0], labels[labels != 0])


@pytest.mark.parametrize("name", sorted(set(ALL) - {"dilate", "smooth"}))
@few
@given(labels=label_images(min_dims=2), pad=st.integers(0, 3))
def test_stays_in_the_bounding_box(name: str, labels: NDArray[Any], pad: int) -> None:
    """Only dilating and smoothing leave an object's box, near the border too."""
    labels = np.pad(labels, pad)
    result = ALL[name](labels)
    for label in ids_of(labels):
        assert not (result == label)[~bounding_box(labels == label)].any()


@each
@few
@given(labels=label_images(), data=st.data())
def test_only_the_given_ids_change(
    name: str, labels: NDArray[Any], data: st.DataObject
) -> None:
    """Pixels of the other labels stay; the chosen ones do as if the rest were fixed."""
    ids = sorted(ids_of(labels))
    only = data.draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
    result = ALL[name](labels, only=only)
    others = (labels != 0) & ~np.isin(labels, only)
    np.testing.assert_array_equal(result[others], labels[others])
    assert np.isin(result[~others], [0, *only]).all()
    if set(only) == set(ids):
        np.testing.assert_array_equal(result, ALL[name](labels))


@pytest.mark.parametrize("name", sorted(IDEMPOTENT))
@few
@given(labels=label_images())
def test_twice_is_once(name: str, labels: NDArray[Any]) -> None:
    """Openings, closings, fills and removals have nothing to do the second time."""
    once = ALL[name](labels)
    np.testing.assert_array_equal(ALL[name](once), once)


# Physical units


@pytest.mark.parametrize("function", LENGTH)
@few
@given(
    labels=label_images(),
    length=st.floats(0.4, 4),
    factor=st.floats(1e-6, 1e6),
    data=st.data(),
)
def test_unit_of_length_does_not_matter(
    function: Any, labels: NDArray[Any], length: float, factor: float, data: Any
) -> None:
    """Micrometres or metres: spacing and radius by the same factor, same result."""
    widths = st.sampled_from([0.3, 0.5, 1.0, 2.7])
    spacing = [data.draw(widths) for _ in labels.shape]
    scaled = [width * factor for width in spacing]
    np.testing.assert_array_equal(
        function(labels, length * factor, spacing=scaled),
        function(labels, length, spacing=spacing),
    )


@pytest.mark.parametrize("name", ["erode", "dilate", "opening", "closing"])
@few
@given(
    mask=arrays(bool, st.tuples(*[st.integers(1, 6)] * 3)),
    spacing=st.tuples(*[st.sampled_from([0.5, 1.0, 2.5])] * 3),
    radius=st.sampled_from([0.5, 1.0, 1.25, 2.5, 3.1, 50.0]),
)
def test_anisotropic_ball_by_brute_force(
    name: str, mask: NDArray[Any], spacing: Any, radius: float
) -> None:
    """Equal to the definition, over all pairs of pixels and their distances."""
    expected = ball(mask, distances(mask.shape, spacing) <= radius, name)
    if not expected.any():  # rather than nothing, all stays
        expected = mask
    if name == "closing":  # not from the object to the image border
        expected &= bounding_box(mask)
    result = getattr(pp, name)(mask, radius, spacing=spacing)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", ["erode", "dilate", "opening", "closing"])
@pytest.mark.parametrize("factor", [1e-80, 1e80])
@few
@given(mask=arrays(bool, st.tuples(*[st.integers(1, 6)] * 3)))
def test_distances_hold_at_the_limits_of_spacing(
    name: str, factor: float, mask: NDArray[Any]
) -> None:
    """Neither 0 nor infinite: the same as with ordinary numbers."""
    np.testing.assert_array_equal(
        getattr(pp, name)(mask, 2.4 * factor, spacing=[factor] * 3),
        getattr(pp, name)(mask, 2.4),
    )


@few
@given(labels=label_images(), radius=st.sampled_from([1.0, 2.0, 3.5]))
def test_dilation_gives_to_the_nearest_label(
    labels: NDArray[Any], radius: float
) -> None:
    """The nearest label gets a background pixel, of equally near ones the lowest."""
    between = distances(labels.shape, np.ones(labels.ndim))
    expected = labels.ravel().copy()
    ids = sorted(ids_of(labels))
    if ids:
        flat = labels.ravel()
        reach = np.array([between[:, flat == label].min(1) for label in ids])
        taken = (flat == 0) & (reach.min(0) <= radius)
        expected[taken] = np.array(ids)[reach.argmin(0)][taken]
    np.testing.assert_array_equal(pp.dilate(labels, radius).ravel(), expected)


def test_radius_below_the_spacing_of_an_axis() -> None:
    """Planes 5 µm apart: a radius of 2 µm works within the planes only."""
    labels = np.pad(np.ones((3, 3, 3), int), 4)
    wide = pp.dilate(labels, 2, spacing=(5, 1, 1))
    assert np.flatnonzero(wide.any((1, 2))).tolist() == [4, 5, 6]
    assert np.flatnonzero(wide.any((0, 2))).tolist() == list(range(2, 9))
    thin = pp.erode(labels, 1, spacing=(5, 1, 1))
    assert np.argwhere(thin).tolist() == [[4, 5, 5], [5, 5, 5], [6, 5, 5]]


@pytest.mark.parametrize(("size", "kept"), [(6.0, 2), (6.01, 1), (9.0, 1), (9.1, 0)])
def test_min_size_is_a_volume(size: float, kept: int) -> None:
    """Parts of 2 and 3 pixels of 0.5 × 2 × 3 units each."""
    labels = np.array([[[1, 1, 0, 1, 1, 1]]])
    result = pp.remove_small_objects(labels, size, spacing=(0.5, 2, 3))
    assert ndimage.label(result)[1] == kept
    whole = pp.remove_small_objects(labels, 15, spacing=(0.5, 2, 3), whole_objects=True)
    np.testing.assert_array_equal(whole, labels)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"fill_planes"}))
@few
@given(labels=label_images(2, 2), place=st.integers(0, 2))
def test_single_plane_equals_2d(name: str, labels: NDArray[Any], place: int) -> None:
    """A stack of one plane, in any axis order, does as the plane alone."""
    stack = np.expand_dims(labels, place)
    np.testing.assert_array_equal(
        ALL[name](stack), np.expand_dims(ALL[name](labels), place)
    )


@each
@few
@given(labels=label_images(2, 3), axis=st.integers(0, 2))
def test_axes_are_alike(name: str, labels: NDArray[Any], axis: int) -> None:
    """A mirrored image gives the mirrored result."""
    if name == "keep_largest":
        labels = pp.keep_largest(labels)  # of equally large parts, order decides
    axis %= labels.ndim
    np.testing.assert_array_equal(
        ALL[name](np.flip(labels, axis)), np.flip(ALL[name](labels), axis)
    )


# Each function


def test_hole_with_another_label_in_it() -> None:
    """Rings in rings: each gap goes to the ring around it, and the core stays."""
    labels = np.zeros((11, 11), np.uint8)
    for label, (start, stop) in zip(
        (9, 0, 4, 0, 2), ((0, 11), (1, 10), (2, 9), (3, 8), (5, 6)), strict=True
    ):
        labels[start:stop, start:stop] = label
    filled = pp.fill_holes(labels)
    assert filled[1, 1] == 9
    assert filled[3, 3] == 4
    assert filled[5, 5] == 2
    # The hole of 9 is 81 pixels, all in it counted; that of 4 is 25.
    limited = pp.fill_holes(labels, 25)
    assert limited[1, 1] == 0
    assert limited[3, 3] == 4
    assert pp.fill_holes(labels, 24)[3, 3] == 0


@pytest.mark.parametrize("axis", [0, -3])
def test_holes_plane_by_plane(axis: int) -> None:
    """A tube open at its ends is a hole in each plane, of an area."""
    tube = np.ones((4, 5, 5), bool)
    tube[:, 2, 2] = False
    np.testing.assert_array_equal(pp.fill_holes(tube), tube)
    assert pp.fill_holes(tube, axis=axis).all()
    assert not pp.fill_holes(tube, axis=1)[0, 2, 2]
    spacing = (10, 0.5, 0.5)
    assert pp.fill_holes(tube, 0.25, axis=axis, spacing=spacing).all()
    assert not pp.fill_holes(tube, 0.24, axis=axis, spacing=spacing).all()


@few
@given(mask=arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8))))
def test_holes_as_scipy_fills_them(mask: NDArray[Any]) -> None:
    """Of one mask, the same as scipy.ndimage.binary_fill_holes."""
    if 1 not in mask.shape:  # to scipy, a line is open at its sides
        expected = ndimage.binary_fill_holes(mask)
        np.testing.assert_array_equal(pp.fill_holes(mask), expected)
    planes = pp.fill_holes(np.stack([mask, ~mask]), axis=0)
    np.testing.assert_array_equal(planes[0], pp.fill_holes(mask))
    np.testing.assert_array_equal(planes[1], pp.fill_holes(~mask))


def test_bay_at_the_border_is_no_hole() -> None:
    """The image border does not close a hole."""
    labels = np.array([[1, 0, 1], [1, 0, 1], [1, 1, 1]])
    np.testing.assert_array_equal(pp.fill_holes(labels), labels)


def test_border_is_no_edge_of_an_object() -> None:
    """An object cut by the border is not eroded from there."""
    labels = np.zeros((6, 6), int)
    labels[:, :4] = 1
    assert np.flatnonzero(pp.erode(labels, 1)[0]).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(pp.opening(labels, 2), labels)
    np.testing.assert_array_equal(pp.smooth(labels, 1), labels)


def test_keep_largest() -> None:
    """By size, then by order; diagonal neighbours are connected."""
    labels = np.array([[1, 0, 0, 1, 1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]])
    assert pp.keep_largest(labels).tolist() == [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    assert np.count_nonzero(pp.keep_largest(labels, 2)) == 4
    np.testing.assert_array_equal(pp.keep_largest(labels, 3), labels)


def test_keep_at() -> None:
    """Touched parts stay, of labels that a point lies on."""
    labels = np.array([[1, 0, 1, 0, 2, 0, 2], [1, 0, 1, 0, 2, 0, 2]])
    kept = pp.keep_at(labels, [[0.4, 2.4], [1.0, 1.0]])
    assert kept.tolist() == [[0, 0, 1, 0, 2, 0, 2]] * 2
    assert pp.keep_at(labels, [[0, 0], [0, 6]]).tolist() == [[1, 0, 0, 0, 0, 0, 2]] * 2
    assert (
        pp.keep_at(labels, [[0, 0], [0, 6]], only=2).tolist()
        == [[1, 0, 1, 0, 0, 0, 2]] * 2
    )


@pytest.mark.parametrize("function", [pp.erode, pp.opening])
def test_vanishing_labels(function: Any) -> None:
    """A label too thin for the ball stays whole, or goes if asked to."""
    labels = np.zeros((9, 14), np.uint16)
    labels[1:8, 1:8], labels[1:8, 10] = 3, 60_000
    kept = function(labels, 2)
    np.testing.assert_array_equal(kept == 60_000, labels == 60_000)
    assert ids_of(function(labels, 2, drop_vanished=True)) == {3}


@pytest.mark.parametrize("spacing", [(1, 1, 1), (3, 1, 1)])
def test_smooth_rounds_and_keeps_the_volume(spacing: Any) -> None:
    """A ball with noise on its surface: nearer to the ball, as large as before."""
    half = np.array([20, 20, 20]) // spacing
    grid = np.indices(2 * half + 1) - half[:, None, None, None]
    radius = np.sqrt(((grid.T * spacing) ** 2).sum(-1)).T
    truth = radius < 12
    noise = np.random.default_rng(0).normal(0, 1.5, truth.shape)
    rough = radius + noise < 12
    smooth = pp.smooth(rough, 2.0, spacing=spacing)
    assert abs(smooth.sum() / rough.sum() - 1) < 0.01
    assert (smooth ^ truth).sum() < 0.35 * (rough ^ truth).sum()


def test_smooth_blurs_by_physical_length() -> None:
    """Along an axis of wide pixels a narrow Gaussian does nothing."""
    labels = np.zeros((9, 21), bool)
    labels[4, 5:16] = True
    np.testing.assert_array_equal(pp.smooth(labels, 1, spacing=(20, 1)), labels)


@few
@given(labels=label_images(), sigma=st.floats(0.1, 6))
def test_smooth_keeps_a_lone_object_as_large(labels: Any, sigma: float) -> None:
    """At least as many pixels as before; more only where pixels are alike."""
    mask = labels != 0
    assert pp.smooth(mask, sigma).sum() >= mask.sum()


def test_smooth_lets_labels_interlock() -> None:
    """A notch that one label gives up goes to its neighbour, not to background."""
    labels = np.ones((20, 20), int)
    labels[:, 10:] = 2
    labels[9:11, 10:12] = 1
    result = pp.smooth(labels, 2)
    assert (result != 0).all()
    assert (result[9:11, 11] == 2).all()


def test_smooth_leaves_no_gaps_in_a_tissue() -> None:
    """Cells without background between them: straighter borders, about as large."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, 64, (6, 2))
    places = np.indices((64, 64)).transpose(1, 2, 0)[:, :, None]
    noise = rng.normal(0, 2, (64, 64, 1, 2))
    truth = np.linalg.norm(places - centres, axis=-1).argmin(-1) + 1
    rough = np.linalg.norm(places + noise - centres, axis=-1).argmin(-1) + 1
    result = pp.smooth(rough, 2)
    assert (result != 0).all()
    np.testing.assert_allclose(np.bincount(result.flat), np.bincount(rough.flat), 0.05)
    assert (result != truth).sum() < 0.5 * (rough != truth).sum()


def test_smooth_brings_every_label_back() -> None:
    """A ring that would move into its own middle, which is another's, stays."""
    labels = np.zeros((15, 15), int)
    labels[4:11, 4:11] = 1
    labels[5:10, 5:10] = 2
    assert ids_of(pp.smooth(labels, 30)) == {1, 2}


# Parts that become labels


@few
@given(labels=label_images(), data=st.data())
def test_split_components(labels: NDArray[Any], data: st.DataObject) -> None:
    """Each part has an id of its own, the largest the old one, the others new ones."""
    ids = sorted(ids_of(labels))
    only = data.draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
    before = labels.copy()
    result = pp.split_components(labels, only=only)
    np.testing.assert_array_equal(labels, before)
    assert result.dtype == labels.dtype
    assert not np.shares_memory(result, labels)
    expected = []
    for label in ids:
        parts, count = ndimage.label(labels == label, np.ones((3,) * labels.ndim))
        masks = [parts == part for part in range(1, count + 1)]
        masks.sort(key=np.count_nonzero, reverse=True)
        if label not in only:
            np.testing.assert_array_equal(result == label, labels == label)
            continue
        np.testing.assert_array_equal(result == label, masks[0])
        expected += masks[1:]
    first = max([0, *ids]) + 1
    for new, mask in enumerate(expected, first):
        np.testing.assert_array_equal(result == new, mask)
    assert ids_of(result) == {*ids, *range(first, first + len(expected))}


@few
@given(labels=label_images())
def test_split_components_can_be_undone(labels: NDArray[Any]) -> None:
    """Nothing is left to split the second time; the largest parts are as before."""
    once = pp.split_components(labels)
    np.testing.assert_array_equal(pp.split_components(once), once)
    kept = np.where(np.isin(once, [0, *ids_of(labels)]), once, 0)
    np.testing.assert_array_equal(kept, pp.keep_largest(labels))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "uint64", ">u2"])
def test_split_components_needs_room_for_ids(dtype: str) -> None:
    """The highest id of the dtype can be given, and the next one is refused."""
    most = int(np.iinfo(dtype).max)
    labels = np.array([1, 0, 1, 0, 1, 0, most - 2], dtype)
    expected = [1, 0, most - 1, 0, most, 0, most - 2]
    labels.setflags(write=False)
    result = pp.split_components(labels)
    assert result.tolist() == expected
    assert result.dtype == labels.dtype
    labels = np.where(labels > 1, most - 1, labels).astype(dtype)
    with pytest.raises(ValueError, match=rf"^labels must .* up to {most + 1}, got "):
        pp.split_components(labels)


def test_split_components_of_bool_and_negative_ids() -> None:
    """A mask has no second id; below 0 the first new id is 1, never background."""
    whole = np.array([True, True, False])
    np.testing.assert_array_equal(pp.split_components(whole), whole)
    with pytest.raises(ValueError, match=r"^labels must .* up to 2, got bool\.$"):
        pp.split_components(np.array([True, False, True]))
    assert pp.split_components(np.array([-3, 0, -3])).tolist() == [-3, 0, 1]


# Kinds of arrays


@each
@pytest.mark.parametrize(
    "dtype",
    ["bool", *(f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64)), ">i4"],
)
def test_every_dtype(name: str, dtype: str) -> None:
    """The same result in every dtype, from read-only and strided arrays too."""
    mask = np.random.default_rng(3).random((5, 8, 9)) < 0.6
    labels = mask.astype(dtype)
    result = ALL[name](labels)
    assert result.dtype == labels.dtype
    np.testing.assert_array_equal(result != 0, ALL[name](mask))
    strided = np.zeros((5, 8, 18), dtype)[..., ::2]
    strided[:] = labels
    strided.setflags(write=False)
    np.testing.assert_array_equal(ALL[name](strided), result)
    np.testing.assert_array_equal(ALL[name](np.asfortranarray(labels)), result)
    assert result.flags.writeable


@each
@pytest.mark.parametrize(
    ("dtype", "ids"),
    [
        ("uint32", (7, 4_000_000_000)),
        ("uint64", (2**62, 2**64 - 1)),
        ("int64", (-(2**63), 2**63 - 1)),
        ("int8", (-128, 127)),
    ],
)
def test_huge_and_negative_ids(name: str, dtype: str, ids: tuple[int, int]) -> None:
    """Ids are names: only their order counts."""
    small = np.random.default_rng(4).integers(0, 3, (12, 13))
    named = np.array([0, *ids], dtype)
    expected = named[ALL[name](small)]
    result = ALL[name](named[small])
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(
        ALL[name](named[small], only=ids[1]), named[ALL[name](small, only=2)]
    )


@each
@pytest.mark.parametrize("shape", [(1,), (1, 1), (7,), (1, 1, 1), (2, 3, 2, 3)])
@pytest.mark.parametrize("value", [0, 5])
def test_plain_images(name: str, shape: tuple[int, ...], value: int) -> None:
    """Images of one pixel, of nothing, of one label, of four axes."""
    labels = np.full(shape, value, np.uint8)
    expected = labels
    if name in REMOVING and labels.size < 3:
        expected = np.zeros_like(labels)
    np.testing.assert_array_equal(ALL[name](labels), expected)


@pytest.mark.parametrize("function", LENGTH)
def test_radius_beyond_the_image(function: Any) -> None:
    """A radius however large costs no more than the image."""
    labels = np.zeros((6, 7), int)
    labels[2:4, 3] = 8
    result = function(labels, 1e200)
    assert result.shape == labels.shape
    assert ids_of(result) == {8}


# Bad input


@every
@pytest.mark.parametrize(
    "labels",
    [
        np.ones((3, 3)),
        np.ones((3, 3), complex),
        np.ones((3, 3), object),
        np.array([["a"]]),
        None,
        np.array(1),
        np.ones((0, 3), int),
        np.ones((3, 0), bool),
    ],
    ids=["float", "complex", "object", "str", "None", "0-d", "no rows", "no columns"],
)
def test_bad_labels(name: str, labels: Any) -> None:
    """Not an integer image, or no image: said so, in one sentence."""
    with pytest.raises(ValueError, match=r"^labels must [^.]*\.$"):
        EVERY[name](labels)


@pytest.mark.parametrize("function", WITH_SPACING, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "spacing",
    [
        (1,),
        (1, 1, 1),
        2.0,
        (1, 0),
        (1, -1),
        (1, np.nan),
        (np.inf, 1),
        "ab",
        (1, "a"),
        (1, None),
        (1, True),
        (1, 2j),
        [[1], [1, 2]],
        (1, 10**400),
    ],
    ids=lambda spacing: repr(spacing)[:20],
)
def test_bad_spacing(function: Any, spacing: Any) -> None:
    """Spacing is one positive number for each axis."""
    with pytest.raises(ValueError, match=r"^spacing must be "):
        function(np.ones((3, 3), int), 1, spacing=spacing)


@pytest.mark.parametrize("function", WITH_SPACING, ids=lambda f: f.__name__)
@pytest.mark.parametrize("ndim", [1, 3, 6])
@pytest.mark.parametrize("sign", [-1, 1])
def test_extreme_spacing(function: Any, ndim: int, sign: int) -> None:
    """Numbers that distances and sizes would not fit a float with."""
    power = sign * (40 if ndim == 6 else 80)
    labels = np.ones((3,) * ndim, int)
    function(labels, 1, spacing=[10.0**power] * ndim)
    too_far = [1.0] * (ndim - 1) + [10.0 ** (power + sign)]
    with pytest.raises(
        ValueError, match=r"^spacing must be from 1e-[48]0 to 1e\+[48]0"
    ):
        function(labels, 1, spacing=too_far)


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        *LENGTH.items(),
        (pp.fill_holes, "max_size"),
        (pp.remove_small_objects, "min_size"),
        (pp.keep_largest, "count"),
    ],
)
@pytest.mark.parametrize(
    "value",
    [0, -1, np.nan, np.inf, "3", True, 1j, [2], 10**400],
    ids=lambda value: repr(value)[:5],
)
def test_bad_amount(function: Any, argument: str, value: Any) -> None:
    """Radii, sizes and counts are positive, finite, real numbers."""
    with pytest.raises(ValueError, match=rf"^{argument} must be a positive number, "):
        function(np.ones((3, 3), int), value)


def test_count_is_whole() -> None:
    """Half a part cannot be kept."""
    with pytest.raises(ValueError, match=r"^count must be a whole number, got 1\.5"):
        pp.keep_largest(np.ones((3, 3), int), 1.5)


@every
@pytest.mark.parametrize("only", [0, 2, [1, 7], 300, -1, 1.0, "1", [None]], ids=repr)
def test_bad_only(name: str, only: Any) -> None:
    """Ids that are not in the image, or no ids."""
    with pytest.raises(ValueError, match=r"^only must "):
        EVERY[name](np.ones((3, 3), np.uint8), only=only)


@pytest.mark.parametrize("axis", [2, -3, 1.0, "0", (0,)], ids=repr)
def test_bad_axis(axis: Any) -> None:
    """Only an axis of the image."""
    with pytest.raises(ValueError, match=r"^axis must be one of 2 axes, got "):
        pp.fill_holes(np.ones((3, 3), int), axis=axis)


@pytest.mark.parametrize(
    "points",
    [
        [1, 1],
        [[1]],
        [[1, 1, 1]],
        [[-0.6, 0]],
        [[0, 2.5]],
        [[np.nan, 0]],
        [["a", "b"]],
        3,
        [[1j, 0]],
        [[1], [1, 1]],
    ],
    ids=repr,
)
def test_bad_points(points: Any) -> None:
    """Points have one coordinate for each axis and lie in the image."""
    with pytest.raises(ValueError, match=r"^points must "):
        pp.keep_at(np.ones((3, 3), int), points)
