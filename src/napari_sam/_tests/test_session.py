"""Planes of an image: which pixels they are, read and encoded once, when needed."""

from __future__ import annotations

from itertools import permutations

import dask.array as da
import numpy as np
import pytest
import torch
import zarr

from napari_sam._tests.tiny_models import CountingPredictor, tiny_predictor, tiny_sam
from napari_sam.embedding_cache import EmbeddingCache
from napari_sam.session import Session
from napari_sam.types import Prompts

POINT = Prompts([[3, 4]])


@pytest.fixture
def counting() -> CountingPredictor:
    """Make a predictor of a test's own, which counts what it encodes."""
    return tiny_predictor()


def volume(*shape: int, dtype=np.uint8, seed: int = 0):
    """Noise of a shape."""
    values = np.random.default_rng(seed).integers(0, 200, shape)
    return values.astype(dtype)


class Watched:
    """An array that notes how many values were read from it."""

    def __init__(self, array) -> None:
        self.array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.read: list[int] = []

    def __getitem__(self, index):
        part = np.asarray(self.array[index])
        self.read.append(part.size)
        return part

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("the whole image was read")


# Axes


@pytest.mark.parametrize("plane_axes", list(permutations(range(3), 2)))
def test_planes_of_a_volume_are_those_numpy_takes(tiny_predictor, plane_axes):
    """XY, XZ, YZ and their transposes."""
    image = volume(4, 5, 6)
    session = Session(image, tiny_predictor, plane_axes)
    (sliced,) = set(range(3)) - set(plane_axes)
    assert session.plane_size == tuple(image.shape[axis] for axis in plane_axes)
    assert session.stack_shape == (image.shape[sliced],)
    assert session.planes == list(range(image.shape[sliced]))
    for plane in session.planes:
        expected = image.take(plane, axis=sliced)
        if plane_axes[0] > plane_axes[1]:
            expected = expected.T
        np.testing.assert_array_equal(session.read_plane(plane), expected)
        np.testing.assert_array_equal(session.pixels(plane), expected)


@pytest.mark.parametrize("channels", [None, 3, 4])
@pytest.mark.parametrize("plane_axes", list(permutations(range(4), 2)))
def test_planes_of_four_axes_with_and_without_colour(
    tiny_predictor, plane_axes, channels
):
    """Colour stays last; plane axes count without it."""
    image = volume(2, 5, 6, 7, *(() if channels is None else (channels,)))
    session = Session(image, tiny_predictor, plane_axes)
    sliced = [axis for axis in range(4) if axis not in plane_axes]
    assert session.axes.is_rgb == (channels is not None)
    assert len(session.planes) == image.shape[sliced[0]] * image.shape[sliced[1]]
    order = (*sliced, *plane_axes, *((4,) if channels else ()))
    for plane in (session.planes[0], session.planes[-1]):
        expected = image.transpose(order)[plane]
        np.testing.assert_array_equal(session.read_plane(plane), expected)
        seen = expected if channels is None else expected[..., :3]
        np.testing.assert_array_equal(session.pixels(plane), seen)


@pytest.mark.parametrize("plane_axes", list(permutations((-3, -2, -1), 2)))
def test_negative_axes_count_from_the_end(tiny_predictor, plane_axes):
    """As numpy's do."""
    image = volume(4, 5, 6)
    positive = Session(image, tiny_predictor, [axis + 3 for axis in plane_axes])
    assert Session(image, tiny_predictor, plane_axes).axes == positive.axes


@pytest.mark.parametrize(
    ("shape", "rgb", "size", "stack"),
    [
        ((9, 8), None, (9, 8), ()),
        ((9, 3), None, (9, 3), ()),
        ((9, 8, 3), None, (9, 8), ()),
        ((9, 8, 4), None, (9, 8), ()),
        ((9, 8, 3), False, (8, 3), (9,)),
        ((9, 8, 5), None, (8, 5), (9,)),
        ((2, 9, 8, 3), None, (9, 8), (2,)),
        ((3, 9, 8), None, (9, 8), (3,)),
        ((1, 1, 9, 8), None, (9, 8), (1, 1)),
        ((1, 8), None, (1, 8), ()),
        ((5, 1, 1), None, (1, 1), (5,)),
    ],
)
def test_shapes_are_understood(tiny_predictor, shape, rgb, size, stack):
    """A last axis of 3 or 4 is colour unless said otherwise; single planes count."""
    session = Session(volume(*shape), tiny_predictor, rgb=rgb)
    assert session.plane_size == size
    assert session.stack_shape == stack
    plane = session.planes[-1]
    found = session.segment(Prompts([[0, 0]]), plane)
    assert found.masks.shape == (3, *size)
    assert found.plane == plane


def test_a_2d_image_has_one_plane(tiny_predictor):
    """Zero, nothing, or an empty tuple."""
    session = Session(volume(9, 8), tiny_predictor)
    assert session.planes == [0]
    answers = [session.segment(POINT, plane) for plane in (None, 0, ())]
    assert [answer.plane for answer in answers] == [0, 0, 0]


@pytest.mark.parametrize("plane", [np.int64(2), 2, (2,), [2], np.array([2])])
def test_an_index_may_be_of_any_whole_kind(tiny_predictor, plane):
    """It comes back as an int."""
    session = Session(volume(4, 9, 8), tiny_predictor)
    np.testing.assert_array_equal(session.read_plane(plane), session.image[2])
    found = session.segment(POINT, plane).plane
    assert found == 2
    assert type(found) is int


# Lazy arrays


def lazy_kinds(array, directory):
    """Give the same values as dask, zarr and watched arrays."""
    stored = zarr.create_array(
        str(directory / "image.zarr"),
        shape=array.shape,
        chunks=(1, *array.shape[1:]),
        dtype=array.dtype,
    )
    stored[:] = array
    return {
        "dask": da.from_array(array, chunks=(1, *array.shape[1:])),
        "zarr": stored,
        "watched": Watched(array),
    }


@pytest.mark.parametrize("kind", ["dask", "zarr", "watched"])
@pytest.mark.parametrize("plane_axes", [(1, 2), (2, 1), (0, 2), (0, 1)])
def test_lazy_arrays_give_the_planes_of_numpy(
    tiny_predictor, tmp_path, kind, plane_axes
):
    """Dask and zarr index like numpy here."""
    array = volume(4, 5, 6, dtype=np.uint16)
    lazy = Session(lazy_kinds(array, tmp_path)[kind], tiny_predictor, plane_axes)
    eager = Session(array, tiny_predictor, plane_axes)
    assert lazy.contrast_limits == eager.contrast_limits
    for plane in eager.planes:
        np.testing.assert_array_equal(lazy.pixels(plane), eager.pixels(plane))


def test_only_the_plane_asked_for_is_read(tiny_predictor):
    """Neither to segment, nor to look at the stack."""
    image = Watched(volume(30, 9, 8))
    session = Session(image, tiny_predictor)
    assert len(session.planes) == 30
    assert image.read == []
    session.segment(POINT, 7)
    assert image.read == [9 * 8]


def test_dask_computes_one_plane(tiny_predictor):
    """Other chunks are never touched."""
    computed = []

    def load(block_info=None):
        computed.append(block_info[None]["chunk-location"][0])
        return np.full((1, 9, 8), computed[-1], np.uint8)

    image = da.map_blocks(
        load,
        chunks=((1,) * 20, (9,), (8,)),
        dtype=np.uint8,
        meta=np.empty((0, 0, 0), np.uint8),
    )
    session = Session(image, tiny_predictor)
    computed.clear()
    session.segment(POINT, 13)
    assert set(computed) == {13}


def test_zarr_reads_one_chunk(tiny_predictor, tmp_path, monkeypatch):
    """The files of other planes may be missing altogether."""
    array = volume(6, 9, 8)
    stored = lazy_kinds(array, tmp_path)["zarr"]
    session = Session(stored, tiny_predictor)
    asked = []
    real = zarr.Array.__getitem__

    def watched(self, index):
        part = real(self, index)
        asked.append(np.asarray(part).size)
        return part

    monkeypatch.setattr(zarr.Array, "__getitem__", watched)
    session.segment(POINT, 2)
    assert asked == [9 * 8]


def test_contrast_is_found_from_a_few_planes(tiny_predictor):
    """Of a thousand planes five are read, once, and spread over the stack."""
    values = np.zeros((1000, 2, 2), np.uint16) + np.arange(1000)[:, None, None]
    image = Watched(values)
    session = Session(image, tiny_predictor)
    limits = session.contrast_limits
    assert len(image.read) == 5
    assert limits[0] < 200
    assert limits[1] > 800
    assert session.contrast_limits == limits
    assert len(image.read) == 5


# Contrast


@pytest.mark.parametrize("planes", [2, 5, 6, 7, 9, 10, 14, 101])
def test_contrast_looks_at_all_of_the_stack(tiny_predictor, planes):
    """A stack that gets brighter is neither black at its start nor white at its end."""
    image = np.arange(planes)[:, None, None] * 100 + np.arange(20).reshape(1, 4, 5)
    limits = Session(image.astype(np.uint16), tiny_predictor).contrast_limits
    assert limits[0] <= 0.25 * image.max()
    assert limits[1] >= 0.75 * image.max()


@pytest.mark.parametrize("value", [0, 7])
def test_an_object_in_few_planes_is_seen(tiny_predictor, value):
    """Even if every plane looked at for the contrast is of one value."""
    image = np.full((50, 9, 8), value, np.uint16)
    for plane in range(50):
        session = Session(image.copy(), tiny_predictor)
        session.image[plane, 3:5, 3:5] = 900
        seen = session.pixels(plane)
        assert seen[3, 3] > seen[0, 0], plane


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_contrast_is_one_for_all_planes(tiny_predictor, dtype):
    """The same value is the same grey in every plane."""
    image = volume(6, 9, 8, dtype=dtype)
    image[:, 0, 0] = 100
    image[3] //= 2
    session = Session(image, tiny_predictor)
    image[3, 0, 0] = 100
    greys = {int(session.pixels(plane)[0, 0]) for plane in session.planes}
    assert len(greys) == 1
    assert session.contrast_limits is not None


@pytest.mark.parametrize("dtype", [np.uint8, bool])
def test_8_bit_is_seen_as_it_is(tiny_predictor, dtype):
    """And no plane is read to find that out."""
    image = Watched(volume(6, 9, 8).astype(dtype))
    assert Session(image, tiny_predictor).contrast_limits is None
    assert image.read == []


def test_contrast_limits_given_are_used(tiny_predictor):
    """Also for 8 bit; and nothing is read for them."""
    image = Watched(np.full((3, 9, 8), 50, np.uint8))
    session = Session(image, tiny_predictor, contrast_limits=[0, 100])
    assert session.contrast_limits == (0, 100)
    assert image.read == []
    assert set(session.pixels(1).ravel()) == {128}


def test_not_a_number_is_black(tiny_predictor):
    """Even in whole planes, which do not set the contrast."""
    image = volume(6, 9, 8, dtype=np.float32)
    image[2] = np.nan
    image[3, 4, 4] = np.inf
    session = Session(image, tiny_predictor)
    assert np.isfinite(session.contrast_limits).all()
    assert not session.pixels(2).any()
    assert session.pixels(3)[4, 4] == 255
    assert session.segment(POINT, 2).masks.shape == (3, 9, 8)


def test_alpha_does_not_set_the_contrast(tiny_predictor):
    """An opaque image is as bright as one without alpha."""
    rgb = volume(9, 8, 3, dtype=np.uint16)
    alpha = np.full((9, 8, 1), 65535, np.uint16)
    opaque = Session(np.concatenate([rgb, alpha], axis=-1), tiny_predictor)
    plain = Session(rgb, tiny_predictor)
    assert opaque.contrast_limits == plain.contrast_limits
    np.testing.assert_array_equal(opaque.pixels(), plain.pixels())


# Encoding once


def test_a_plane_is_encoded_once(counting):
    """Every further prompt finds its embedding."""
    session = Session(volume(4, 9, 8), counting)
    first = session.segment(POINT, 1)
    again = session.segment(POINT, 1)
    session.segment(Prompts(box=[1, 1, 5, 5]), 1)
    assert counting.encoded == 1
    np.testing.assert_array_equal(first.logits, again.logits)
    np.testing.assert_array_equal(first.masks, again.masks)
    session.segment(POINT, 2)
    assert counting.encoded == 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_answers_from_the_cache_are_those_of_a_fresh_embedding(tmp_path, precision):
    """From memory and from disk, to the bit."""
    predictor = CountingPredictor(tiny_sam(), "tiny", "", "cpu", precision)
    image = volume(9, 8)
    session = Session(image, predictor, cache=EmbeddingCache(tmp_path))
    fresh, cached = session.segment(POINT), session.segment(POINT)
    later = Session(image, predictor, cache=EmbeddingCache(tmp_path)).segment(POINT)
    assert predictor.encoded == 1
    for other in (cached, later):
        np.testing.assert_array_equal(fresh.logits, other.logits)
        np.testing.assert_array_equal(fresh.masks, other.masks)
        np.testing.assert_array_equal(fresh.scores, other.scores)


def test_equal_planes_share_an_embedding(counting):
    """What counts is the content."""
    image = np.repeat(volume(1, 9, 8), 5, axis=0)
    assert len(list(Session(image, counting).embed_planes())) == 5
    assert counting.encoded == 1


def test_an_edited_pixel_is_seen(counting):
    """The embedding of what was there before is never used again."""
    image = volume(3, 9, 8)
    session = Session(image, counting)
    before = session.segment(POINT, 1)
    image[1, 5, 5] ^= 255
    assert not session.is_embedded(1)
    after = session.segment(POINT, 1)
    assert counting.encoded == 2
    assert not np.array_equal(before.logits, after.logits)
    image[1, 5, 5] ^= 255
    session.segment(POINT, 1)
    assert counting.encoded == 2


def test_another_contrast_is_another_embedding(counting):
    """And another model is, too, in a cache they share."""
    cache = EmbeddingCache()
    image = volume(9, 8)
    Session(image, counting, cache=cache).segment(POINT)
    Session(image, counting, contrast_limits=(0, 90), cache=cache).segment(POINT)
    assert counting.encoded == 2
    other = tiny_predictor(1)
    Session(image, other, cache=cache).segment(POINT)
    assert other.encoded == 1


def test_embedding_planes_stops_and_goes_on(counting):
    """Closing cancels; what is done is kept; the next call does the rest."""
    session = Session(volume(6, 9, 8), counting)
    work = session.embed_planes()
    assert counting.encoded == 0
    assert [next(work), next(work)] == [0, 1]
    work.close()
    assert counting.encoded == 2
    assert [session.is_embedded(plane) for plane in range(6)] == [True] * 2 + [
        False
    ] * 4
    assert list(session.embed_planes()) == [0, 1, 2, 3, 4, 5]
    assert counting.encoded == 6
    assert list(session.embed_planes()) == [0, 1, 2, 3, 4, 5]
    assert counting.encoded == 6


def test_embedding_goes_on_in_a_new_session(counting, tmp_path):
    """From disk."""
    image = volume(4, 9, 8)
    work = Session(image, counting, cache=EmbeddingCache(tmp_path)).embed_planes()
    next(work)
    work.close()
    later = Session(image, counting, cache=EmbeddingCache(tmp_path))
    assert list(later.embed_planes()) == [0, 1, 2, 3]
    assert counting.encoded == 4


def test_some_planes_are_embedded_in_the_order_asked_for(counting):
    """The planes around the visited one first, say."""
    session = Session(volume(2, 3, 9, 8), counting)
    asked = [(1, 2), (0, 0), (1, 2)]
    assert list(session.embed_planes(iter(asked))) == asked
    assert counting.encoded == 2
    assert list(session.embed_planes([])) == []


def test_a_full_cache_only_costs_time(counting):
    """With no budget every answer is fresh, and right."""
    image = volume(9, 8)
    expected = Session(image, counting).segment(POINT)
    session = Session(image, counting, cache=EmbeddingCache(host_bytes=0))
    for _ in range(2):
        np.testing.assert_array_equal(session.segment(POINT).logits, expected.logits)
    assert counting.encoded == 3


# Bad input


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(5), "image must have at least 2 axes"),
        (np.float32(5), "image must have at least 2 axes"),
        (np.zeros((0, 5)), "image must have pixels"),
        (np.zeros((5, 4, 0)), "image must have pixels"),
        (np.zeros((4, 4), complex), "image must be bool, integer or real"),
        (np.array([["a"]]), "image must be bool, integer or real"),
        (np.zeros((4, 4), "M8[s]"), "image must be bool, integer or real"),
        (np.zeros((4, 4), [("a", int)]), "image must be bool, integer or real"),
        (None, "image must be bool, integer or real"),
        ("image", "image must be bool, integer or real"),
        ([[1, 2], [3]], "image must"),
    ],
)
def test_what_is_no_image_is_refused(tiny_predictor, image, message):
    """When the session is made."""
    with pytest.raises(ValueError, match=message) as caught:
        Session(image, tiny_predictor)
    assert str(caught.value).endswith(".")


def test_lists_are_images(tiny_predictor):
    """Anything numpy makes numbers of."""
    session = Session([[1, 2, 3], [4, 5, 6]], tiny_predictor)
    assert session.plane_size == (2, 3)


def test_an_image_of_another_library_is_read_or_refused(tiny_predictor):
    """A torch tensor has a dtype numpy does not know."""
    tensor = torch.zeros(4, 5, dtype=torch.uint8)
    try:
        session = Session(tensor, tiny_predictor)
    except ValueError as error:
        assert str(error).startswith("image must")  # noqa: PT017 - both are right
    else:
        assert session.pixels().shape == (4, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plane_axes": (0, 0)}, "plane_axes must be different"),
        ({"plane_axes": (0, -3)}, "plane_axes must be different"),
        ({"plane_axes": (0, 3)}, "plane_axes must be two of the image's 3 axes"),
        ({"plane_axes": (-4, 0)}, "plane_axes must be two"),
        ({"plane_axes": (0,)}, "plane_axes must be two"),
        ({"plane_axes": (0, 1, 2)}, "plane_axes must be two"),
        ({"plane_axes": 1}, "plane_axes must be two"),
        ({"plane_axes": None}, "plane_axes must be two"),
        ({"plane_axes": (0.0, 1.0)}, "plane_axes must be two"),
        ({"plane_axes": "yx"}, "plane_axes must be two"),
        ({"plane_axes": (False, True)}, "plane_axes must be two"),
        ({"rgb": True}, "image must end in an axis of 3 or 4 colours"),
        ({"contrast_limits": (1, 0)}, "contrast_limits must be finite"),
        ({"contrast_limits": (0, np.nan)}, "contrast_limits must be finite"),
        ({"contrast_limits": 5}, "contrast_limits must be two numbers"),
        ({"contrast_limits": (1, 2, 3)}, "contrast_limits must be two numbers"),
        ({"cache": "directory"}, "cache must be"),
    ],
)
def test_bad_options_are_refused(tiny_predictor, options, message):
    """Each names its argument."""
    with pytest.raises(ValueError, match=message):
        Session(volume(4, 5, 6), tiny_predictor, **options)


@pytest.mark.parametrize("wrong", [None, "mobile_sam", 5])
def test_what_is_no_predictor_is_refused(wrong):
    """The name of a model, for instance."""
    with pytest.raises(ValueError, match="predictor must be"):
        Session(volume(4, 5), wrong)


@pytest.mark.parametrize(
    "plane", [4, -1, 1.0, "1", True, (1, 2), (), None, [None], np.nan]
)
def test_planes_that_are_not_there_are_refused(counting, plane):
    """Through every entrance, before anything is read or encoded."""
    image = Watched(volume(4, 9, 8))
    session = Session(image, counting)
    calls = (
        lambda: session.segment(POINT, plane),
        lambda: session.embed(plane),
        lambda: session.read_plane(plane),
        lambda: session.pixels(plane),
        lambda: session.is_embedded(plane),
        lambda: session.embed_planes([0, plane]),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"plane must be one index \(0 to 3\)"):
            call()
    assert counting.encoded == 0
    assert image.read == []


@pytest.mark.parametrize("plane", [0, (0,), (2, 0), (0, 3), (0, 0, 0), None, (0, -1)])
def test_tuples_must_fit_the_stack(tiny_predictor, plane):
    """One index for each sliced axis."""
    session = Session(volume(2, 3, 9, 8), tiny_predictor)
    with pytest.raises(ValueError, match="plane must be a tuple of 2 indices"):
        session.segment(POINT, plane)


@pytest.mark.parametrize("plane", [1, -1, (0, 0), "0", 0.0])
def test_a_2d_image_has_no_other_plane(tiny_predictor, plane):
    """Only 0, or none named."""
    with pytest.raises(ValueError, match="plane must be 0 or omitted for a 2D image"):
        Session(volume(9, 8), tiny_predictor).segment(POINT, plane)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (Prompts(), "prompts must have at least one"),
        (Prompts([[9, 0]]), "points must lie within the 9 x 8 plane"),
        (Prompts(box=[9, 0, 12, 5]), "box must overlap"),
        (None, "prompts must be Prompts"),
        ([[1, 2]], "prompts must be Prompts"),
    ],
)
def test_bad_prompts_are_refused_before_the_work(counting, prompts, message):
    """Nothing is read or encoded for them."""
    image = Watched(volume(3, 9, 8))
    with pytest.raises(ValueError, match=message):
        Session(image, counting).segment(prompts, 1)
    assert counting.encoded == 0
    assert image.read == []
