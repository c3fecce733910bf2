"""Objects through a stack: where they go, where they end, and who says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_sam as ns
from napari_sam._course import Course, Shape
from napari_sam._plane_pixels import PlanePixels
from napari_sam._tests.seeing_predictor import SeeingPredictor
from napari_sam._tracking import Answer, blend

SHAPE = (12, 48, 40)
BACKGROUND, OBJECT = 40, 200


def ball(
    centre: tuple[float, float, float], radius: float, step: float = 1.0
) -> np.ndarray:
    """Mask of a ball in a stack of `SHAPE`; planes are `step` pixels apart."""
    z, y, x = np.indices(SHAPE)
    squares = (
        ((z - centre[0]) * step) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    )
    return squares <= radius**2


def tube(rows: slice, columns: slice, planes: slice = slice(None)) -> np.ndarray:
    """Mask of a straight bar through the stack."""
    mask = np.zeros(SHAPE, bool)
    mask[planes, rows, columns] = True
    return mask


def image_of(*masks: np.ndarray, noise: float = 8) -> np.ndarray:
    """Make a stack, uint8, in which the masks are bright in noise."""
    rng = np.random.default_rng(0)
    shape = masks[0].shape
    values = np.full(shape, BACKGROUND, float)
    for mask in masks:
        values[mask] = OBJECT
    return np.clip(values + rng.normal(0, noise, shape), 0, 255).astype(np.uint8)


def session_of(*masks: np.ndarray, **options: Any) -> ns.Session:
    """Open a session on `image_of` the masks, without a network."""
    return ns.Session(image_of(*masks), SeeingPredictor(), **options)


def box_of(mask: np.ndarray) -> ns.Prompts:
    """Return the tight box of a mask in a plane."""
    rows, columns = (np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1))
    return ns.Prompts(box=[rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Overlap of two masks."""
    return float(2 * (first & second).sum() / max(1, first.sum() + second.sum()))


def planes_of(volume: np.ndarray) -> list[int]:
    """Planes in which there is something."""
    return np.flatnonzero(volume.any(axis=(1, 2))).tolist()


def test_one_box_finds_the_whole_ball() -> None:
    """A box in the middle plane is enough, and both ends are found."""
    truth = ball((6, 24, 20), 5)
    found = session_of(truth).segment_volume({6: box_of(truth[6])})
    assert found.dtype == bool
    assert found.shape == SHAPE
    assert dice(found, truth) > 0.85
    assert abs(planes_of(found)[0] - 1) <= 1
    assert abs(planes_of(found)[-1] - 11) <= 1


@pytest.mark.parametrize("slope", [-1.5, 1.5])
def test_an_oblique_object_is_followed(slope: float) -> None:
    """The search moves with the object."""
    truth = np.zeros(SHAPE, bool)
    for z in range(SHAPE[0]):
        middle = round(24 + slope * (z - 6))
        truth[z, middle - 5 : middle + 5, 15:25] = True
    found = session_of(truth).segment_volume({6: box_of(truth[6])})
    assert dice(found, truth) > 0.8


@pytest.mark.parametrize("seed", [0, 6, 11])
def test_an_object_may_touch_the_first_and_last_plane(seed: int) -> None:
    """A bar through the whole stack is found from any plane."""
    truth = tube(slice(16, 32), slice(12, 28))
    found = session_of(truth).segment_volume({seed: box_of(truth[seed])})
    assert dice(found, truth) > 0.9
    assert planes_of(found) == list(range(SHAPE[0]))


def test_spacing_says_how_far_planes_are_apart() -> None:
    """With planes five pixels apart a ball of three planes is found as such."""
    truth = ball((6, 24, 20), 8, step=5)
    options = ns.PropagationOptions(spacing=(5, 1, 1))
    found = session_of(truth).segment_volume({6: box_of(truth[6])}, options=options)
    assert dice(found, truth) > 0.85
    assert set(planes_of(found)) <= {4, 5, 6, 7, 8}
    assert options.step == 5
    assert ns.PropagationOptions().step == 1


def test_an_object_that_splits_is_followed_in_all_its_parts() -> None:
    """Both branches of a fork belong to the object."""
    truth = tube(slice(14, 34), slice(14, 26), slice(0, 7))
    truth |= tube(slice(14, 21), slice(14, 26), slice(7, None))
    truth |= tube(slice(27, 34), slice(14, 26), slice(7, None))
    found = session_of(truth).segment_volume({5: box_of(truth[5])})
    assert found[9, 14:21, 14:26].mean() > 0.8
    assert found[9, 27:34, 14:26].mean() > 0.8
    assert not found[9, 23:25, 14:26].any()


def test_objects_that_merge_do_not_double() -> None:
    """Where two objects touch, the one that is followed stays about its size."""
    one = tube(slice(10, 20), slice(14, 26))
    other = tube(slice(20, 38), slice(14, 26), slice(8, None))
    found = session_of(one, other).segment_volume({2: box_of(one[2])})
    assert dice(found[:7], one[:7]) > 0.85
    assert found[9].sum() < 1.6 * one[9].sum()


def test_an_object_that_vanishes_comes_back_at_its_next_seed() -> None:
    """Between two parts of one object, both marked, there is nothing."""
    truth = tube(slice(16, 32), slice(12, 28), slice(0, 4))
    truth |= tube(slice(16, 32), slice(12, 28), slice(8, None))
    seeds = {1: box_of(truth[1]), 10: box_of(truth[10])}
    found = session_of(truth).segment_volume(seeds)
    assert found[5:7].sum() == 0
    assert dice(found, truth) > 0.9


def test_two_seeds_are_joined_from_both_ends() -> None:
    """Between seeds the object is found in every plane, though it moves."""
    truth = np.zeros(SHAPE, bool)
    for z in range(SHAPE[0]):
        truth[z, 10 + z : 22 + z, 12:26] = True
    seeds = {1: box_of(truth[1]), 10: box_of(truth[10])}
    found = session_of(truth).segment_volume(seeds)
    assert dice(found[1:11], truth[1:11]) > 0.9


@pytest.mark.parametrize("plane", [3, 6, 9])
def test_the_end_is_where_an_ellipsoid_through_the_seeds_ends(plane: int) -> None:
    """Three sections of an ellipsoid tell its length; one of a sphere its radius."""
    cells = np.indices((256, 256)) - 128
    areas = {z: 400 * (1 - ((z - 6) / 5) ** 2) for z in (3, 6, 9)}
    shapes = {
        z: Shape((cells**2).sum(axis=0) < area / np.pi) for z, area in areas.items()
    }
    course = Course.outwards(shapes, plane, radius=99)
    assert course.half_length == pytest.approx(5, rel=0.1)
    assert course.offset == abs(plane - 6)
    assert course.is_measured
    alone = Course.outwards({plane: shapes[plane]}, plane, radius=4)
    assert (alone.half_length, alone.offset) == (4, 0)
    assert not alone.is_measured


@pytest.mark.parametrize("kind", ["mask", "prediction"])
def test_a_mask_is_returned_exactly_as_given(kind: str) -> None:
    """A seed mask is the object in its plane, to the pixel, even if SAM disagrees."""
    truth = ball((6, 24, 20), 6)
    mask = truth[6].copy()
    mask[::3] = False
    seed = mask
    if kind == "prediction":
        logits = np.zeros((1, 256, 256), np.float32)
        logits[0, :128, :128] = 1
        seed = ns.Prediction(mask[None], np.ones(1, np.float32), logits)
    found = session_of(truth).segment_volume({6: seed})
    np.testing.assert_array_equal(found[6], mask)


def test_a_mask_thinner_than_a_cell_is_a_seed() -> None:
    """One pixel of a plane much larger than the answer is still followed or ended."""
    image = np.full((2, 1200, 1100), BACKGROUND, np.uint8)
    mask = np.zeros(image.shape[1:], bool)
    mask[700, 600] = True
    found = ns.Session(image, SeeingPredictor()).segment_volume({0: mask})
    np.testing.assert_array_equal(found[0], mask)


@pytest.mark.parametrize(
    "stop",
    [
        np.zeros(SHAPE[1:], bool),
        ns.Prompts(points=[[24, 20]], point_labels=[0]),
    ],
    ids=["empty mask", "negative point"],
)
def test_a_stop_ends_the_object(stop: Any) -> None:
    """The object is neither in a plane that says so nor beyond it."""
    truth = tube(slice(16, 32), slice(12, 28))
    found = session_of(truth).segment_volume({4: box_of(truth[4]), 8: stop})
    assert planes_of(found) == list(range(8))


def test_a_stop_between_seeds_parts_the_object() -> None:
    """Beyond a stop the object goes on only from its own seed."""
    truth = tube(slice(16, 32), slice(12, 28))
    stop = ns.Prompts(points=[[24, 20]], point_labels=[0])
    seeds = {1: box_of(truth[1]), 5: stop, 9: box_of(truth[9])}
    found = session_of(truth).segment_volume(seeds)
    assert planes_of(found) == [z for z in range(12) if z != 5]


def test_a_box_bounds_its_object() -> None:
    """What SAM answers beyond the user's box is not the object."""
    truth = tube(slice(8, 40), slice(12, 28))
    half = ns.Prompts(box=[8, 12, 24, 28])
    found = session_of(truth).segment_volume({6: half})
    assert found[6, 8:24, 12:28].all()
    assert not found[6, 24:].any()


def test_what_is_beside_the_seed_needs_more_evidence() -> None:
    """An object that the user cut out of more of its kind stays cut in other planes."""
    truth = tube(slice(8, 40), slice(12, 28))
    half = ns.Prompts(box=[8, 12, 24, 28])
    session, strayed = session_of(truth), []
    for weight in (0, 1):
        options = ns.PropagationOptions(anchor_weight=weight)
        found = session.segment_volume({6: half}, options=options)
        strayed.append(int(found[:, 26:].sum()))
    assert strayed[1] < 0.6 * strayed[0]


def test_what_one_plane_misses_is_mended_by_those_on_both_sides() -> None:
    """A section half in the dark is found whole, unless smoothing is off."""
    truth = tube(slice(10, 38), slice(12, 28))
    seen = truth.copy()
    seen[7, 24:] = False
    session, missed = session_of(seen), []
    for smoothing in (0, 1):
        options = ns.PropagationOptions(smoothing=smoothing)
        found = session.segment_volume({5: box_of(truth[5])}, options=options)
        missed.append(int((truth[7] & ~found[7]).sum()))
        np.testing.assert_array_equal(found[5], truth[5])
    assert missed[1] < 0.8 * missed[0]


@pytest.mark.parametrize(("step", "share"), [(0.5, 0.5), (1, 0.5), (5, 0.1)])
def test_planes_farther_apart_count_less_in_each_other(
    step: float, share: float
) -> None:
    """In thick slices the neighbours say little about a section."""
    options = ns.PropagationOptions(spacing=(step, 1, 1))
    assert options.share_beside == pytest.approx(share)


@pytest.mark.parametrize("gap", [1, 4])
def test_contradictory_seeds_each_keep_their_plane(gap: int) -> None:
    """Two seeds of one object that have nothing in common are both believed."""
    one = tube(slice(6, 20), slice(12, 28))
    other = tube(slice(28, 42), slice(12, 28))
    seeds = {3: box_of(one[3]), 3 + gap: box_of(other[3])}
    found = session_of(one, other).segment_volume(seeds)
    assert dice(found[3], one[3]) > 0.9
    assert dice(found[3 + gap], other[3]) > 0.9
    assert dice(found[0], one[0]) > 0.8
    assert dice(found[11], other[11]) > 0.8


def test_a_point_for_and_against_is_a_seed() -> None:
    """The model decides what contradictory points mean; nothing breaks."""
    truth = tube(slice(16, 32), slice(12, 28))
    both = ns.Prompts(points=[[24, 20], [24, 20]], point_labels=[1, 0])
    found = session_of(truth).segment_volume({6: both})
    assert found.shape == SHAPE


def test_a_plane_of_nan_is_bridged() -> None:
    """One plane without values does not end the object."""
    truth = tube(slice(16, 32), slice(12, 28))
    image = image_of(truth).astype(np.float32)
    image[7] = np.nan
    session = ns.Session(image, SeeingPredictor(), contrast_limits=(0, 255))
    found = session.segment_volume({4: box_of(truth[4])})
    assert planes_of(found) == list(range(12))
    assert dice(found, truth) > 0.9


@pytest.mark.parametrize("blank", [0, 4, 11])
def test_a_plane_of_nan_may_be_a_seed_or_the_end(blank: int) -> None:
    """A mask given there is taken as it is; a last plane breaks nothing."""
    truth = tube(slice(16, 32), slice(12, 28))
    image = image_of(truth).astype(np.float32)
    image[blank] = np.nan
    session = ns.Session(image, SeeingPredictor(), contrast_limits=(0, 255))
    found = session.segment_volume({4: truth[4]})
    seen = [z for z in range(SHAPE[0]) if z != blank]
    np.testing.assert_array_equal(found[4], truth[4])
    if blank != 4:  # from a seed where nothing is seen, nothing can be learned
        assert dice(found[seen], truth[seen]) > 0.9


@pytest.mark.parametrize(("gap", "returns"), [(1, True), (4, False)])
def test_an_object_that_is_missed_for_a_plane_comes_back(
    gap: int, returns: bool
) -> None:
    """Without a seed beyond: after one plane it is found again, after four not."""
    truth = tube(slice(16, 32), slice(12, 28))
    truth[5 : 5 + gap] = False
    found = session_of(truth).segment_volume({2: box_of(truth[2])})
    assert dice(found[:5], truth[:5]) > 0.9
    beyond = slice(5 + gap, None)
    if returns:
        assert dice(found[beyond], truth[beyond]) > 0.9
    else:
        assert not found[beyond].any()


def test_many_objects_are_cancelled_in_the_middle() -> None:
    """What was given is final, the rest is not encoded, and a new run is whole."""
    one, other = ball((6, 14, 20), 5), ball((6, 34, 20), 5)
    session = session_of(one, other)
    seeds = {1: {6: box_of(one[6])}, 2: {6: box_of(other[6])}}
    run = session.propagate_objects(seeds)
    some = dict(next(run) for _ in range(3))
    run.close()
    assert session.predictor.encoded <= 4
    whole = session.segment_objects(seeds)
    for plane, labels in some.items():
        np.testing.assert_array_equal(labels, whole[plane])


def test_a_blank_stack_ends_soon() -> None:
    """Where nothing is to be seen, a mask is not carried on for ever."""
    image = np.full(SHAPE, 90, np.uint8)
    mask = ball((6, 24, 20), 6)[6]
    found = ns.Session(image, SeeingPredictor()).segment_volume({6: mask})
    assert set(planes_of(found)) <= {4, 5, 6, 7, 8}


@settings(max_examples=5, deadline=None)
@given(
    planes=st.lists(st.integers(0, SHAPE[0] - 1), unique=True),
    seeds=st.sets(st.integers(3, 9), min_size=1, max_size=3),
)
def test_each_plane_is_given_once(planes: list[int], seeds: set[int]) -> None:
    """Whatever planes are wanted, each comes once, and as in the whole volume."""
    truth = ball((6, 24, 20), 6)
    session = session_of(truth)
    marks = {z: box_of(truth[z]) for z in seeds}
    whole = session.segment_volume(marks)
    found = {p.plane: p for p in session.propagate(marks, planes=planes)}
    assert sorted(found) == sorted(planes)
    for plane, prediction in found.items():
        assert prediction.masks.shape == (1, *SHAPE[1:])
        assert prediction.logits.shape == (1, 256, 256)
        np.testing.assert_array_equal(prediction.best, whole[plane])


def test_closing_stops_the_work() -> None:
    """What was yielded is what the whole run gives; one plane more is encoded."""
    truth = tube(slice(16, 32), slice(12, 28))
    seeds = {4: box_of(truth[4])}
    whole = session_of(truth).segment_volume(seeds)
    session = session_of(truth)
    steps = session.propagate(seeds)
    first = [next(steps) for _ in range(3)]
    steps.close()
    assert [p.plane for p in first] == [4, 5, 6]
    assert session.predictor.encoded == 4
    for prediction in first:
        np.testing.assert_array_equal(prediction.best, whole[prediction.plane])


def test_planes_nobody_needs_are_not_encoded() -> None:
    """No more than one plane beyond the range wanted, of which its last plane is."""
    truth = tube(slice(16, 32), slice(12, 28))
    for smoothing, encoded in ((0.5, 4), (0, 3)):
        session = session_of(truth)
        options = ns.PropagationOptions(smoothing=smoothing)
        seeds, planes = {4: box_of(truth[4])}, range(4, 7)
        list(session.propagate(seeds, planes=planes, options=options))
        assert session.predictor.encoded == encoded


@pytest.mark.parametrize("wanted", [range(9, 11), range(2), range(5, 7)])
def test_a_part_of_the_stack_costs_only_that_part(wanted: range) -> None:
    """Seeds elsewhere are not followed, and the part is as in the whole."""
    truth = tube(slice(16, 32), slice(12, 28))
    seeds = {plane: truth[plane] for plane in (2, 4, 7, 8)}
    whole = session_of(truth).segment_volume(seeds)
    session = session_of(truth)
    for prediction in session.propagate(seeds, planes=wanted):
        np.testing.assert_array_equal(prediction.best, whole[prediction.plane])
    assert session.predictor.encoded <= len(wanted) + 2


@pytest.mark.parametrize("plane_axes", [(1, 2), (0, 2), (0, 1), (2, 1), (2, 0)])
def test_any_axis_can_be_sliced(plane_axes: tuple[int, int]) -> None:
    """The answer has the image's axes, whichever planes were prompted."""
    truth = np.zeros((20, 24, 28), bool)
    truth[6:14, 8:17, 9:19] = True
    session = ns.Session(image_of(truth), SeeingPredictor(), plane_axes=plane_axes)
    (axis,) = session.axes.sliced
    plane = truth.take(11, axis)
    seed = plane.T if plane_axes[0] > plane_axes[1] else plane
    options = ns.PropagationOptions(min_likeness=-0.3)
    found = session.segment_volume({11: box_of(seed)}, options=options)
    assert found.shape == truth.shape
    assert dice(found, truth) > 0.8
    np.testing.assert_array_equal(found.take(11, axis), plane)


@pytest.mark.parametrize(
    ("along", "shape"), [(0, (5, 48, 40)), (1, (12, 48, 40))], ids=["t", "z"]
)
def test_four_axes_are_followed_along_one(along: int, shape: tuple[int, ...]) -> None:
    """Of a (t, z, y, x) image the other index stays that of the seeds."""
    still = tube(slice(16, 32), slice(12, 28))
    image = np.stack([image_of(still)] * 5)
    session = ns.Session(image, SeeingPredictor())
    seeds = {(2, 6): box_of(still[6])}
    found = session.segment_volume(seeds, along=along)
    assert found.shape == shape
    assert planes_of(found) == list(range(shape[0]))
    planes = [p.plane for p in session.propagate(seeds, along=along, planes=[3, 4])]
    assert planes == ([(3, 6), (4, 6)] if along == 0 else [(2, 4), (2, 3)])


def test_objects_share_embeddings_and_batches() -> None:
    """Two objects cost no more encodings than one, and are decoded together."""
    one = tube(slice(6, 20), slice(12, 28))
    other = tube(slice(28, 42), slice(12, 28))
    session = session_of(one, other)
    seeds = {3: {6: box_of(one[6])}, 300: {6: box_of(other[6])}}
    labels = session.segment_objects(seeds)
    assert labels.dtype == np.uint16
    assert set(np.unique(labels)) == {0, 3, 300}
    assert session.predictor.encoded == SHAPE[0]
    assert session.predictor.batches == [2] * SHAPE[0]
    for key, mask in ((3, one), (300, other)):
        alone = session.segment_volume(seeds[key])
        np.testing.assert_array_equal(labels == key, alone)
        assert dice(alone, mask) > 0.9


def test_objects_are_given_plane_by_plane() -> None:
    """The generator's planes make up the label volume."""
    one = ball((6, 14, 20), 5)
    other = ball((5, 34, 20), 5)
    session = session_of(one, other)
    seeds = {1: {6: box_of(one[6])}, 2: {5: box_of(other[5]), 3: box_of(other[3])}}
    volume = np.zeros(SHAPE, np.int64)
    planes = []
    for plane, labels in session.propagate_objects(seeds):
        volume[plane] = labels
        planes.append(plane)
    assert sorted(planes) == list(range(SHAPE[0]))
    np.testing.assert_array_equal(volume, session.segment_objects(seeds))


def test_predictions_of_objects_are_those_of_each_alone() -> None:
    """Masks and scores, whatever else is followed."""
    one = ball((6, 14, 20), 5)
    other = ball((5, 34, 20), 5)
    session = session_of(one, other)
    seeds = {1: {6: box_of(one[6])}, 2: {5: box_of(other[5])}}
    found = dict(session.propagate_predictions(seeds))
    assert sorted(found) == list(range(SHAPE[0]))
    for key, own in seeds.items():
        for alone in session.propagate(own):
            together = found[alone.plane].get(key)
            assert (together is None) == (not alone.best.any())
            if together is not None:
                assert together.plane == alone.plane
                assert together.scores == pytest.approx(alone.scores)
                np.testing.assert_array_equal(together.best, alone.best)


def test_the_surer_object_gets_the_pixel() -> None:
    """Overlaps go to the higher logits, whatever the order of the ids."""
    masks = np.ones((1, 4, 4), bool)
    sure = np.full((1, 256, 256), 3, np.float32)
    unsure = np.full((1, 256, 256), 1, np.float32)
    sure[..., 128:] = 0.5
    score = np.ones(1, np.float32)
    first = ns.Prediction(masks, score, sure)
    second = ns.Prediction(masks, score, unsure)
    expected = np.array([[7, 7, 2, 2]] * 4)
    pixels = PlanePixels((4, 4))
    np.testing.assert_array_equal(pixels.labels({7: first, 2: second}), expected)
    np.testing.assert_array_equal(pixels.labels({2: second, 7: first}), expected)


@pytest.mark.parametrize("size", [(48, 40), (300, 512), (1024, 700), (1500, 64)])
def test_answers_become_the_masks_of_the_predictor(size: tuple[int, int]) -> None:
    """Enlarging a part of an answer is the same as enlarging all of it."""
    cells = np.indices((256, 256)) - np.array([40, 5])[:, None, None]
    logits = (6 - np.hypot(*cells)).astype(np.float32)
    answer = Answer.of(logits, (slice(24, 64), slice(0, 20)), 1.0)
    expected = SeeingPredictor().masks(torch.from_numpy(answer.full[None]), size)[0]
    assert (PlanePixels(size).mask(answer) != expected).mean() < 1e-4
    assert expected.any() == PlanePixels(size).mask(answer).any()


def test_packed_answers_keep_their_logits() -> None:
    """A part in half precision stands for the whole frame; blending joins parts."""
    rng = np.random.default_rng(0)
    logits = np.full((256, 256), -10, np.float32)
    logits[8:40, 12:60] = rng.normal(size=(32, 48))
    answer = Answer.of(logits, (slice(8, 40), slice(12, 60)), 0.5)
    np.testing.assert_allclose(answer.full, logits, atol=2e-3)
    other = Answer.of(np.full((256, 256), 2.0), (slice(0, 10), slice(50, 70)), 1.0)
    mixed = blend([answer, other], [3, 1])
    np.testing.assert_allclose(
        mixed.full, 0.75 * answer.full + 0.25 * other.full, atol=1e-2
    )
    assert mixed.score == pytest.approx(0.625)


GOOD = ns.Prompts(points=[[24, 20]])


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ({}, "seeds must be a dict"),
        ([GOOD], "seeds must be a dict"),
        ({12: GOOD}, "plane must be one index"),
        ({-1: GOOD}, "plane must be one index"),
        ({True: GOOD}, "plane must be one index"),
        ({0: ns.Prompts()}, "at least one point"),
        ({0: ns.Prompts(points=[[100, 3]])}, "points must lie within"),
        ({0: np.zeros((3, 3), bool)}, "bool mask of shape"),
        ({0: np.zeros(SHAPE[1:])}, "bool mask of shape"),
        ({0: None}, "bool mask of shape"),
        ({0: np.zeros(SHAPE[1:], bool)}, "show the object"),
        (
            {0: ns.Prompts(points=[[1, 1]], point_labels=[0])},
            "show the object",
        ),
    ],
)
def test_bad_seeds_are_refused_at_once(seeds: Any, message: str) -> None:
    """Before any plane is encoded, and before the generator is advanced."""
    session = session_of(ball((6, 24, 20), 5))
    with pytest.raises(ValueError, match=message):
        session.propagate(seeds)
    with pytest.raises(ValueError, match=message):
        session.segment_objects({1: seeds})
    assert session.predictor.encoded == 0


@pytest.mark.parametrize("key", [0, -1, 1.5, True, "a"])
def test_bad_ids_are_refused(key: Any) -> None:
    """An id that is no label cannot be segmented."""
    session = session_of(ball((6, 24, 20), 5))
    with pytest.raises(ValueError, match="object ids must be"):
        session.segment_objects({key: {0: GOOD}})


@pytest.mark.parametrize("along", [1, -1, 0.0, None])
def test_a_bad_axis_is_refused(along: Any) -> None:
    """There is one sliced axis only."""
    with pytest.raises(ValueError, match="along must be"):
        session_of(ball((6, 24, 20), 5)).segment_volume({0: GOOD}, along=along)


def test_a_flat_image_has_no_stack() -> None:
    """A 2D image cannot be followed."""
    session = ns.Session(np.zeros((8, 8), np.uint8), SeeingPredictor())
    with pytest.raises(ValueError, match="along must be"):
        session.propagate({0: GOOD})


def test_seeds_must_be_of_one_stack() -> None:
    """Seeds at different times cannot be followed along z."""
    session = ns.Session(np.zeros((2, *SHAPE), np.uint8), SeeingPredictor())
    with pytest.raises(ValueError, match="differ along sliced axis 1 only"):
        session.propagate({(0, 1): GOOD, (1, 2): GOOD}, along=1)


@pytest.mark.parametrize(
    "options",
    [
        {"spacing": (1, 1)},
        {"spacing": (1, 0, 1)},
        {"spacing": (1, np.nan, 1)},
        {"spacing": (1e300, 1, 1)},
        {"reach": 0},
        {"anchor_weight": -1},
        {"drift": np.inf},
        {"shrinkage": -1},
        {"decoder_weight": 1.5},
        {"smoothing": 1.5},
        {"border_weight": 2},
        {"patience": -1},
        {"min_likeness": np.inf},
        {"max_growth": np.nan},
    ],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    """The message names the option."""
    (name,) = options
    with pytest.raises(ValueError, match=name):
        ns.PropagationOptions(**options)


@pytest.mark.parametrize("options", [None, 5, {"spacing": (5, 1, 1)}])
@pytest.mark.parametrize("method", ["propagate", "segment_volume"])
def test_what_are_no_options_is_refused_at_once(method: str, options: Any) -> None:
    """Before the first plane."""
    session = session_of(ball((6, 24, 20), 5))
    with pytest.raises(ValueError, match="options must be PropagationOptions, got"):
        getattr(session, method)({0: GOOD}, options=options)


def test_what_are_no_planes_is_refused_at_once() -> None:
    """A number is no list of planes."""
    with pytest.raises(ValueError, match="planes must be a list of planes, got 5"):
        session_of(ball((6, 24, 20), 5)).propagate({0: GOOD}, planes=5)


def test_the_real_model_follows_a_ball(predictor: ns.Predictor) -> None:
    """MobileSAM with one box: the ball is found, and nothing far from it."""
    z, y, x = np.indices((5, 64, 64))
    truth = ((z - 2) * 7) ** 2 + (y - 30) ** 2 + (x - 34) ** 2 <= 14**2
    session = ns.Session(image_of(truth, noise=12), predictor)
    options = ns.PropagationOptions(spacing=(7, 1, 1))
    found = session.segment_volume({2: box_of(truth[2])}, options=options)
    assert dice(found, truth) > 0.85
    assert not found[:, :8].any()
