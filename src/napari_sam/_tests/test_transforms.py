"""What SAM sees of any array; coordinates and masks there and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from torch.nn import functional as F

from napari_sam import transforms

INTEGERS = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
REALS = ["float16", "float32", "float64"]
DTYPES = ["bool", *INTEGERS, *REALS]

sides = st.integers(1, 1500)
sizes = st.tuples(sides, sides)
modest = settings(max_examples=25, deadline=None)


def extremes(dtype):
    """Make a row of the lowest, the highest and some values between."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return np.array([[False, True]])
    info = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    values = [info.min, info.min // 2 if kind.kind != "f" else info.min / 2, 0, 1]
    return np.array([[*values, info.max]], dtype=kind)


# Frames


@modest
@given(size=sizes)
def test_model_size_is_the_official_one(size):
    """The longer side is 1024; the other is rounded half up, never to zero."""
    scale = 1024 * 1.0 / max(size)
    expected = tuple(max(1, int(side * scale + 0.5)) for side in size)
    assert transforms.model_size(size) == expected
    assert max(transforms.model_size(size)) == 1024


@modest
@given(
    size=sizes,
    points=hnp.arrays(
        np.float64,
        st.tuples(st.integers(0, 5), st.just(2)),
        elements=st.floats(-1e4, 1e4),
    ),
)
def test_coordinates_there_and_back(size, points):
    """A point comes back from the model's frame where it left."""
    moved = transforms.points_to_model(points, size)
    back = transforms.points_from_model(moved, size)
    np.testing.assert_allclose(back, points, rtol=1e-12, atol=1e-9)


@modest
@given(size=sizes, row=st.floats(0, 1), column=st.floats(0, 1))
def test_points_become_x_y_in_the_rounded_scale(size, row, column):
    """Each axis scales by its own rounded size, and x comes first."""
    point = np.array([[row * size[0], column * size[1]]])
    h, w = transforms.model_size(size)
    x, y = transforms.points_to_model(point, size)[0]
    assert x == pytest.approx(point[0, 1] * w / size[1])
    assert y == pytest.approx(point[0, 0] * h / size[0])


@modest
@given(size=sizes)
def test_the_box_of_the_plane_fills_the_frame(size):
    """Pixel edges go to pixel edges, without a half pixel."""
    h, w = transforms.model_size(size)
    corners = transforms.box_to_model(np.array([0.0, 0.0, *size]), size)
    np.testing.assert_allclose(corners, [[0, 0], [w, h]])


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(1, 1300), st.integers(1, 1300)), seed=st.integers(0, 99)
)
@example(size=(1024, 1024), seed=0)
@example(size=(1, 1), seed=0)
@example(size=(1, 1300), seed=1)
@example(size=(2100, 700), seed=2)
def test_resize_is_pillow_bilinear(size, seed):
    """What the official code sees, to within one grey level."""
    plane = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    h, w = transforms.model_size(size)
    expected = np.asarray(
        Image.fromarray(plane).resize((w, h), Image.Resampling.BILINEAR)
    )
    seen = transforms.resize_to_model(plane).numpy()
    assert seen.dtype == np.uint8
    assert seen.shape == (1, h, w)
    assert np.abs(seen[0].astype(int) - expected).max() <= 1


def test_colour_resizes_channel_by_channel():
    """A colour plane is three grey planes."""
    plane = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    together = transforms.resize_to_model(plane)
    for channel in range(3):
        alone = transforms.resize_to_model(plane[..., channel])
        assert torch.equal(together[channel], alone[0])


def test_padding_is_zero_after_the_normalisation():
    """Grey counts as three equal channels; outside the plane is the mean colour."""
    mean, std = torch.tensor([1.0, 2, 3]), torch.tensor([2.0, 4, 8])
    pixels = torch.full((1, 4, 1024), 9, dtype=torch.uint8)
    frame = transforms.normalize_and_pad(pixels, mean, std)
    assert frame.shape == (3, 1024, 1024)
    assert frame[:, 0, 0].tolist() == [4, 1.75, 0.75]
    assert not frame[:, 4:].any()


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(1, 1200), st.integers(1, 1200)), seed=st.integers(0, 9)
)
@example(size=(1024, 1024), seed=0)
@example(size=(1024, 1021), seed=0)
@example(size=(1, 1200), seed=0)
def test_only_the_part_needed_is_enlarged(size, seed):
    """Equal to enlarging all of the answer frame, cutting, resizing."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 2, 256, 256, generator=generator)
    h, w = transforms.model_size(size)
    full = F.interpolate(logits, (1024, 1024), mode="bilinear", align_corners=False)
    expected = F.interpolate(
        full[..., :h, :w], size, mode="bilinear", align_corners=False
    )
    found = transforms.logits_to_plane(logits, size)
    assert found.shape == (1, 2, *size)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_logits_of_any_precision_become_float32():
    """Half precision is resized in float32."""
    found = transforms.logits_to_plane(torch.zeros(1, 1, 256, 256).half(), (10, 20))
    assert found.dtype == torch.float32


# Any dtype to 8 bit


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_stretched_over_its_range(dtype):
    """The lowest and the highest value a dtype has are black and white."""
    plane = extremes(dtype)
    seen = transforms.to_uint8(plane, (float(plane.min()), float(plane.max())))
    assert seen.dtype == np.uint8
    assert seen[0, 0] == 0
    assert seen[0, -1] == 255
    assert (np.diff(seen.astype(int)) >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_default_limits_manage_every_range(dtype):
    """Without limits, too, nothing overflows, and order is kept."""
    seen = transforms.to_uint8(extremes(dtype))
    assert (np.diff(seen.astype(int)) >= 0).all()
    assert seen[0, -1] > seen[0, 0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 4, 3), (3, 4, 4)])
def test_constant_planes_are_accepted(dtype, shape):
    """A plane of one value is no error; it is uint8 of the same size."""
    seen = transforms.to_uint8(np.ones(shape, dtype))
    assert seen.shape == (*shape[:2], 3)[: len(shape)]
    assert len(np.unique(seen)) == 1


def test_uint8_and_bool_are_seen_as_they_are():
    """No stretch of what is 8 bit already; true is white."""
    plane = np.array([[3, 7], [9, 11]], np.uint8)
    np.testing.assert_array_equal(transforms.to_uint8(plane), plane)
    seen = transforms.to_uint8(np.array([[False, True]]))
    assert seen.tolist() == [[0, 255]]


def test_the_plane_is_not_changed():
    """Neither its pixels nor its flags."""
    plane = np.array([[1.0, np.nan, 3.0]])
    plane.setflags(write=False)
    before = plane.copy()
    transforms.to_uint8(plane)
    np.testing.assert_array_equal(plane, before)


@pytest.mark.parametrize("dtype", REALS)
def test_not_a_number_is_black_and_infinity_an_end(dtype):
    """NaN and infinities neither spread nor set the contrast."""
    plane = np.array([[np.nan, -np.inf, np.inf, 10.0, 20.0]], dtype)
    seen = transforms.to_uint8(plane)[0].tolist()
    assert seen == [0, 0, 255, 0, 255]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nothing_finite_is_all_black_or_white(value):
    """A plane without a finite value has no contrast to stretch."""
    assert len(np.unique(transforms.to_uint8(np.full((3, 4), value)))) == 1


@settings(max_examples=60, deadline=None)
@given(
    plane=hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 4), st.integers(1, 4)),
        elements=st.floats(allow_nan=True, allow_infinity=True),
    )
)
@example(plane=np.array([[-1.7e308, 1.7e308]]))
@example(plane=np.array([[0, 5e-324]]))
def test_any_real_plane_keeps_its_order(plane):
    """Brighter is never seen darker, whatever the values."""
    seen = transforms.to_uint8(plane)
    known = ~np.isnan(plane)
    in_order = seen[known][np.argsort(plane[known], kind="stable")].astype(int)
    assert (np.diff(in_order) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(
    plane=hnp.arrays(
        st.sampled_from([np.dtype(d) for d in (*INTEGERS, *REALS)]),
        st.tuples(st.integers(1, 4), st.integers(1, 4)),
    ),
    low=st.floats(-1e308, 1e308),
    width=st.floats(1e-300, 1e308),
)
@example(plane=np.array([[0, 1000, 1001]], np.uint16), low=1000.1, width=1e-6)
@example(plane=np.array([[0, 1]], np.uint8), low=0.0, width=1e300)
@example(plane=np.array([[0, 1]], np.float32), low=-1e300, width=2e300)
def test_any_limits_keep_the_order(plane, low, width):
    """Black below the limits, white above them, in order between."""
    high = min(low + width, 1.7e308)
    if not low < high:
        return
    seen = transforms.to_uint8(plane, (low, high))
    values = plane.astype(np.float64)
    known = ~np.isnan(values)
    assert not seen[known & (values <= low)].any()
    assert (seen[known & (values >= high)] == 255).all()
    in_order = seen[known][np.argsort(values[known], kind="stable")].astype(int)
    assert (np.diff(in_order) >= 0).all()


def test_limits_clip():
    """Values beyond the limits are black or white."""
    seen = transforms.to_uint8(np.array([[-5, 0, 50, 100, 105]], np.int16), (0, 100))
    assert seen.tolist() == [[0, 0, 128, 255, 255]]


def test_outliers_do_not_set_the_contrast():
    """One hot pixel in ten thousand leaves the rest as bright as before."""
    plane = np.tile(np.arange(100, dtype=np.uint16), (100, 1))
    hot = plane.copy()
    hot[0, 0] = 65535
    change = transforms.to_uint8(hot).astype(int) - transforms.to_uint8(plane)
    assert np.abs(change[1:]).max() <= 2


def test_a_few_bright_pixels_on_nothing_are_seen():
    """Percentiles that coincide give way to the extremes."""
    plane = np.zeros((100, 100), np.uint16)
    plane[4, 4] = 500
    seen = transforms.to_uint8(plane)
    assert seen[4, 4] == 255
    assert seen.sum() == 255


def test_real_colour_between_0_and_1_is_not_stretched():
    """As napari shows it."""
    plane = np.array([[[0.2, 0.4, 0.6]]])
    assert transforms.to_uint8(plane).tolist() == [[[51, 102, 153]]]


def test_alpha_is_dropped():
    """Of RGBA, SAM sees the colour; alpha does not set the contrast either."""
    rgb = np.random.default_rng(0).integers(0, 4000, (6, 7, 3), dtype=np.uint16)
    alpha = np.full((6, 7, 1), 65535, np.uint16)
    seen = transforms.to_uint8(np.concatenate([rgb, alpha], axis=-1))
    np.testing.assert_array_equal(seen, transforms.to_uint8(rgb))


@pytest.mark.parametrize("dtype", [">u2", ">i4", ">f4", ">f8"])
def test_byte_order_does_not_matter(dtype):
    """Big-endian files are read as they are."""
    plane = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(
        transforms.to_uint8(plane.astype(dtype)), transforms.to_uint8(plane)
    )


@pytest.mark.parametrize(
    ("plane", "message"),
    [
        (np.zeros(5), "plane must have shape"),
        (np.zeros((2, 2, 2)), "plane must have shape"),
        (np.zeros((2, 2, 5)), "plane must have shape"),
        (np.zeros((2, 2, 2, 3)), "plane must have shape"),
        (np.float32(3), "plane must have shape"),
        (np.zeros((0, 5)), "plane must have pixels"),
        (np.zeros((5, 0, 3)), "plane must have pixels"),
        (np.zeros((2, 2), complex), "plane must be bool, integer or real"),
        (np.array([["a"]]), "plane must be bool, integer or real"),
        (np.array([[None]]), "plane must be bool, integer or real"),
        (np.zeros((2, 2), "M8[s]"), "plane must be bool, integer or real"),
        (None, "plane must be bool, integer or real"),
        ([[1, 2], [3]], "plane must be"),
    ],
)
def test_what_is_no_plane_is_refused(plane, message):
    """A ValueError that says what a plane is."""
    with pytest.raises(ValueError, match=message) as caught:
        transforms.to_uint8(plane)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "limits",
    [
        *[(1, 1), (2, 1), (np.nan, 1), (0, np.inf), (-np.inf, 0), (1,), (1, 2, 3)],
        *[5, ("a", "b"), "ab", (None, 1), ([1], [2, 3])],
    ],
)
def test_bad_contrast_limits_are_refused(limits):
    """Two finite numbers, the first smaller."""
    with pytest.raises(ValueError, match="contrast_limits must be"):
        transforms.to_uint8(np.zeros((2, 2)), limits)
    with pytest.raises(ValueError, match="contrast_limits must be"):
        transforms.check_contrast_limits(limits)


def test_limits_of_several_planes_cover_all():
    """Planes of a stack share one contrast."""
    limits = transforms.default_contrast_limits(
        np.zeros((9, 9), np.uint16), np.full((9, 9), 700, np.uint16)
    )
    assert limits == (0, 700)


def test_large_planes_are_sampled_but_thin_ones_kept():
    """The sample of a large plane has its contrast; a thin one is not lost."""
    plane = np.linspace(0, 1000, 3000 * 2000).reshape(3000, 2000)
    assert transforms.default_contrast_limits(plane) == pytest.approx((5, 995), abs=3)
    thin = np.linspace(0, 1000, 5_000_000)[None]
    assert transforms.default_contrast_limits(thin) == pytest.approx((5, 995), abs=3)


# Channels


def test_channels_become_red_green_blue():
    """One is grey, two are red and green, three are all."""
    planes = [np.full((2, 3), value, np.uint8) for value in (10, 20, 30)]
    np.testing.assert_array_equal(transforms.channels_to_rgb(planes[:1]), planes[0])
    assert transforms.channels_to_rgb(planes[:2])[0, 0].tolist() == [10, 20, 0]
    assert transforms.channels_to_rgb(planes)[0, 0].tolist() == [10, 20, 30]


def test_each_channel_has_its_own_limits():
    """Limits go by channel; None is the default."""
    planes = [np.full((1, 1), 10, np.uint8), np.full((1, 1), 10, np.uint8)]
    seen = transforms.channels_to_rgb(planes, [(0, 20), None])
    assert seen[0, 0].tolist() == [128, 10, 0]


@pytest.mark.parametrize(
    ("channels", "limits", "message"),
    [
        ([], None, "channels must be 1 to 3"),
        ([np.zeros((2, 2))] * 4, None, "channels must be 1 to 3"),
        ([np.zeros((2, 2)), np.zeros((2, 3))], None, "channels must have one shape"),
        ([np.zeros((2, 2, 3))], None, "channels must have one shape"),
        ([np.zeros((2, 2))], [None, None], "contrast_limits must be one pair"),
        ([np.zeros((2, 2))], [(1, 0)], "contrast_limits must be finite"),
        ([np.zeros((2, 2), complex)], None, "plane must be bool"),
    ],
)
def test_bad_channels_are_refused(channels, limits, message):
    """Count, shapes and limits have to fit."""
    with pytest.raises(ValueError, match=message):
        transforms.channels_to_rgb(channels, limits)


# Masks as prompts


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(40, 900), st.integers(40, 900)),
    box=st.tuples(*[st.floats(0.05, 0.45)] * 2, *[st.floats(0.55, 0.95)] * 2),
)
def test_a_mask_survives_as_logits(size, box):
    """Through the answer frame and back a rectangle loses only its border."""
    mask = np.zeros(size, bool)
    edges = (np.array(box) * [*size, *size]).astype(int)
    mask[edges[0] : edges[2], edges[1] : edges[3]] = True
    logits = transforms.mask_to_logits(mask)
    assert logits.shape == (256, 256)
    assert logits.dtype == np.float32
    back = transforms.logits_to_plane(torch.from_numpy(logits)[None, None], size)
    wrong = (back[0, 0] > 0).numpy() != mask
    cell = max(1, max(size) / 256)  # plane pixels in a cell of the answer frame
    outline = 2 * ((edges[2] - edges[0]) + (edges[3] - edges[1]))
    assert wrong.sum() <= outline * cell


def test_empty_and_full_masks_as_logits():
    """Sure outside, sure inside; the padding is outside."""
    assert (transforms.mask_to_logits(np.zeros((5, 9), bool)) == -10).all()
    logits = transforms.mask_to_logits(np.ones((100, 200), bool))
    assert (logits[:128] == 10).all()
    assert (logits[128:] == -10).all()


def test_read_only_masks_are_taken():
    """A mask out of a lazy array may be read-only."""
    mask = np.ones((4, 4), bool)
    mask.setflags(write=False)
    assert transforms.mask_to_logits(mask).max() == 10


@pytest.mark.parametrize(
    "mask",
    [
        *[np.zeros((2, 2)), np.zeros(4, bool), np.zeros((1, 2, 2), bool), None],
        *[np.zeros((0, 2), bool), np.zeros((2, 2), np.uint8), "mask"],
    ],
)
def test_what_is_no_mask_is_refused(mask):
    """Only a bool plane is a mask."""
    with pytest.raises(ValueError, match="mask must be a bool array"):
        transforms.mask_to_logits(mask)
