"""Everything in a plane: the official masks, and every mode and option."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import napari_sam as ns
from napari_sam._candidates import Candidates
from napari_sam._enlarging import Enlarger
from napari_sam._tests.golden import Recording, automatic_masks, iou
from napari_sam._tests.seeing_predictor import SeeingPredictor
from napari_sam._tests.tiny_models import tiny_predictor
from napari_sam.automatic import crop_windows, iter_candidates, point_grid
from napari_sam.transforms import logits_to_plane

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 300))
# One of the three masks of the predictor below is a single cell.
DISCS = ns.AutomaticOptions(12, area_range=(100, np.inf))
LOW = ns.AutomaticOptions(4, -10, 0, box_nms_thresh=1)


def discs(centres, radius=12, size=(200, 240)):
    """Draw bright discs on black."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    plane = np.zeros(size, np.uint8)
    for row, column in centres:
        plane[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 200
    return plane


FOUR = [(40, 50), (40, 150), (130, 60), (140, 180)]


@pytest.fixture
def session():
    """Four discs, and a predictor that sees what is bright."""
    return ns.Session(discs(FOUR), SeeingPredictor())


def test_same_masks_as_the_official_generator(predictor, golden_embedding):
    """Each official mask has one of ours, in the same order, and there are no more."""
    official = automatic_masks()
    options = ns.AutomaticOptions(points_per_side=16)
    image, embedding = Recording("coins").image, golden_embedding("coins")
    steps = iter_candidates(predictor, lambda _: embedding, image, options)
    found = Candidates.join([step for _, step in steps]).select()
    ours = [found.mask(i) for i in range(len(found))]
    overlaps = [max(iou(mask, one) for one in ours) for mask in official["masks"]]
    assert min(overlaps) >= 0.95
    assert len(ours) <= len(overlaps) + 2
    # On this machine they are equal; these are the promises' stricter neighbours.
    assert np.mean(overlaps) > 0.99
    np.testing.assert_allclose(
        np.sort(found.scores)[-20:], np.sort(official["predicted_iou"])[-20:], atol=2e-3
    )


@given(SIZES, st.integers(0, 1000), st.floats(-2, 2))
@settings(max_examples=40, deadline=None)
def test_enlarged_part_is_part_of_the_whole(size, seed, level):
    """The same pixels as enlarging it all, and nothing above the level outside."""
    noise = np.random.default_rng(seed).normal(size=(256, 256))
    logits = torch.from_numpy(ndimage.gaussian_filter(noise, 12) * 40 - 1).float()
    whole = logits_to_plane(logits[None, None], size)[0, 0].numpy()
    found = Enlarger(size).above(logits, level)
    rest = whole.copy()
    if found is not None:
        levels, part = found
        np.testing.assert_allclose(levels, whole[part], atol=1e-4)
        rest[part] = -np.inf
    assert rest.max() <= level + 1e-4


def test_scores_below_the_threshold_make_no_masks():
    """The decoder leaves them out, and what it makes is what it makes anyway."""
    predictor = tiny_predictor()
    embedding = predictor.embed(discs(FOUR))
    prompts = [ns.Prompts(points=[[r, c]]) for r, c in point_grid(4, (200, 240))]
    logits, scores = predictor.decode(embedding, prompts, True)
    best = scores.amax(1)
    for threshold in (float(best.median()), float(best.max()) + 1):
        some, same = predictor.decode(embedding, prompts, True, min_score=threshold)
        wanted = best > threshold
        assert torch.equal(same, scores)
        torch.testing.assert_close(some[wanted], logits[wanted], atol=1e-5, rtol=1e-4)
        assert torch.isneginf(some[~wanted]).all()


def test_every_object_once(session):
    """Four discs are four labels, the points between them none."""
    labels = session.generate_masks(options=DISCS)
    assert labels.dtype == np.uint8
    assert sorted(np.unique(labels)) == [0, 1, 2, 3, 4]
    for row, column in FOUR:
        disc = discs([(row, column)]) > 0
        assert iou(labels == labels[row, column], disc) > 0.9


def test_region_and_labels_limit_the_search(session):
    """A polygon, the same as a mask, and what is labelled already."""
    options = DISCS
    polygon = [[0, 0], [0, 110], [80, 110], [80, 0]]
    mask = np.zeros((200, 240), bool)
    mask[:81, :111] = True
    found = session.generate_masks(options=options, region=polygon)
    assert (found == session.generate_masks(options=options, region=mask)).all()
    assert found[40, 50] == 1
    assert found.max() == 1
    labels = np.where(discs(FOUR[:2]) > 0, 300, 0).astype(np.uint16)
    rest = session.generate_masks(options=options, labels=labels)
    assert sorted(np.unique(rest)) == [0, 301, 302]
    assert not (rest[labels > 0]).any()
    assert rest[130, 60]
    assert rest[140, 180]


def test_steps_add_up_and_can_be_stopped(session):
    """Progress grows to 1; closing stops before all points are decoded."""
    steps = list(session.iter_candidates(options=ns.AutomaticOptions(8)))
    shares = [share for share, _ in steps]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    predictor = session.predictor
    predictor.batches.clear()
    search = session.iter_candidates(options=ns.AutomaticOptions(8))
    next(search), next(search)
    search.close()
    assert sum(predictor.batches) < 64


def test_selecting_again_is_finding_again(session):
    """Found with low thresholds, then filtered, as if found with high ones."""
    session = ns.Session(discs(FOUR), tiny_predictor())
    low = session.find_candidates(options=LOW)
    limits = float(np.median(low.scores)), float(np.quantile(low.stabilities, 0.2))
    middle = ns.AutomaticOptions(4, *limits)
    again, found = low.select(middle), session.find_candidates(options=middle).select()
    assert 0 < len(again) < len(low)
    np.testing.assert_array_equal(again.boxes, found.boxes)
    np.testing.assert_array_equal(again.scores, found.scores)
    np.testing.assert_array_equal(again.label_image(), found.label_image())
    assert low.allow(middle)
    for other in (ns.AutomaticOptions(9, 0.99), LOW):
        assert not found.allow(other)
        with pytest.raises(ValueError, match="options must have the points"):
            found.select(other)


def test_ranges_of_size_brightness_and_shape(session):
    """Each range alone drops what is outside it."""
    plane = discs([(50, 60)], 10)
    plane[:] = np.maximum(plane, discs([(130, 60)], 24) // 2 * 1)
    plane[20:28, 120:220] = 180
    plane = plane + np.uint8(0)
    session = ns.Session(np.where(plane, np.maximum(plane, 110), 0), SeeingPredictor())
    found = session.find_candidates(options=ns.AutomaticOptions(24))
    assert len(found.select(ns.AutomaticOptions(24, area_range=(100, 5000)))) == 3

    def left(**ranges):
        options = ns.AutomaticOptions(24, **({"area_range": (100, 1e4)} | ranges))
        labels = found.select(options).label_image()
        return [bool(labels[at]) for at in ((50, 60), (130, 60), (24, 170))]

    assert left(area_range=(100, 500)) == [True, False, False]
    assert left(area_range=(700, np.inf)) == [False, True, True]
    assert left(intensity_range=(0, 150)) == [False, True, False]
    assert left(circularity_range=(0.9, 1.1)) == [True, True, False]


def test_table_says_what_is_in_the_label_image(session):
    """Sizes, boxes, centres and brightness against scipy's."""
    found = session.find_candidates(options=DISCS).select()
    labels, table = found.label_image(first=5), found.table(first=5)
    index = table["label"]
    assert index.tolist() == [5, 6, 7, 8]
    values = session.image
    np.testing.assert_array_equal(
        table["area"], ndimage.sum_labels(labels > 0, labels, index)
    )
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, index))
    np.testing.assert_allclose(np.c_[table["row"], table["column"]], centres)
    np.testing.assert_allclose(
        table["mean_intensity"], ndimage.mean(values, labels, index)
    )
    boxes = ndimage.find_objects(labels)
    for row, label in enumerate(index):
        rows, columns = boxes[label - 1]
        assert table["row_min"][row] == rows.start
        assert table["row_max"][row] == rows.stop
        assert table["column_min"][row] == columns.start
        assert table["column_max"][row] == columns.stop
    assert (table["circularity"] > 0.98).all()


def test_crops_find_what_the_whole_plane_does(session):
    """Parts are encoded by themselves, and objects stay in place and single."""
    options = ns.AutomaticOptions(
        12,
        crop_n_layers=1,
        crop_n_points_downscale_factor=2,
        on_top="score",
        area_range=(100, np.inf),
    )
    labels = session.generate_masks(options=options)
    assert session.predictor.encoded == 5
    for row, column in FOUR:
        disc = discs([(row, column)]) > 0
        assert iou(labels == labels[row, column], disc) > 0.9


@given(SIZES, st.integers(0, 3), st.floats(0, 0.9))
@settings(max_examples=60, deadline=None)
def test_crops_cover_the_plane(size, layers, ratio):
    """Every layer covers every pixel, and the first part is all of it."""
    windows = crop_windows(size, layers, ratio)
    assert windows[0] == (None, 0)
    for layer in range(1, layers + 1):
        seen = np.zeros(size, bool)
        for window, which in windows:
            if which == layer:
                seen[window.slices] = True
        assert seen.all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"points_per_side": 0}, "points_per_side must be a whole number from 1"),
        ({"points_per_side": 2.5}, "points_per_side must be a whole number"),
        ({"points_per_side": 5000}, "points_per_side must be at most"),
        ({"pred_iou_thresh": np.nan}, "pred_iou_thresh must be"),
        ({"stability_score_thresh": 1.5}, "stability_score_thresh must be 0 to 1"),
        ({"stability_score_offset": -1}, "stability_score_offset must be"),
        ({"box_nms_thresh": "a"}, "box_nms_thresh must be 0 to 1"),
        ({"crop_n_layers": True}, "crop_n_layers must be a whole number"),
        ({"crop_n_layers": 50}, "crop_n_layers must be at most"),
        ({"crop_overlap_ratio": 1}, "crop_overlap_ratio must be less than 1"),
        ({"on_top": "bigger"}, "on_top must be 'smaller' or 'score'"),
        ({"area_range": (3,)}, "area_range must be two numbers"),
        ({"area_range": (3, 2)}, "area_range must have low <= high"),
        ({"circularity_range": (np.nan, 1)}, "circularity_range must have"),
        ({"min_planes": 0}, "min_planes must be a whole number from 1"),
    ],
)
def test_options_refuse_what_means_nothing(given, message):
    """In a sentence that names the option."""
    with pytest.raises(ValueError, match=message):
        ns.AutomaticOptions(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"plane": 3}, "plane must be 0 or omitted"),
        ({"region": np.zeros((200, 240), bool)}, "region must have at least one"),
        ({"region": np.zeros((20, 24), bool)}, "region must be a bool mask"),
        ({"region": [[0, 0], [np.nan, 3], [5, 5]]}, "region must have finite"),
        ({"region": [[0, 0], [5, 5]]}, "region must be a bool mask"),
        ({"region": [[900, 900], [900, 990], [990, 990]]}, "region must have at"),
        ({"labels": np.zeros((200, 240))}, "labels must be integers"),
        ({"labels": np.zeros((2, 2), int)}, "labels must be integers of shape"),
    ],
)
def test_bad_arguments_are_refused_at_once(session, given, message):
    """Before anything is encoded."""
    with pytest.raises(ValueError, match=message):
        session.iter_candidates(**given)
    with pytest.raises(ValueError, match=message):
        session.generate_masks(**given)
    assert session.predictor.encoded == 0


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1), np.uint16),
        np.full((30, 20), 7.5),
        np.full((30, 20), np.nan),
        np.ones((12, 300), bool),
        np.zeros((20, 30, 3), np.uint8),
    ],
)
def test_plain_images_are_no_trouble(image):
    """A pixel, nothing to see, no numbers, a strip, colour: labels of its size."""
    session = ns.Session(image, tiny_predictor())
    labels = session.generate_masks(options=LOW)
    assert labels.shape == image.shape[:2]
    found = session.find_candidates(options=LOW)
    assert set(found.table()["label"]) == set(range(1, len(found) + 1))


def test_small_regions_go_as_in_the_official_code():
    """Holes and islands below the limit, by a plain version of the same rule."""
    rng = np.random.default_rng(3)
    session = ns.Session(discs(FOUR), tiny_predictor())
    found = session.find_candidates(options=LOW)
    options = ns.AutomaticOptions(
        4, -10, 0, box_nms_thresh=1, crop_nms_thresh=1, min_mask_region_area=40
    )
    before, after = found.select(), found.select(options)
    some = rng.choice(len(before), 12, replace=False)
    expected = [plain_tidy(before.mask(i), 40) for i in some]
    ours = [after.mask(i) for i in range(len(after))]
    for mask in expected:
        assert any((mask == one).all() for one in ours)


def plain_tidy(mask, least):
    """Fill holes, then remove islands, on the whole plane."""
    square = np.ones((3, 3))
    holes, count = ndimage.label(~mask, square)
    for index in range(1, count + 1):
        if (holes == index).sum() < least:
            mask = mask | (holes == index)
    islands, count = ndimage.label(mask, square)
    sizes = [(islands == index).sum() for index in range(1, count + 1)]
    kept = [i + 1 for i, size in enumerate(sizes) if size >= least]
    return np.isin(islands, kept or [int(np.argmax(sizes)) + 1])


BALLS = ns.AutomaticOptions(5, area_range=(100, np.inf))


def balls(shape=(9, 120, 150)):
    """Two balls, one of which is dark in a plane, and a speck in one plane."""
    z, rows, columns = np.ogrid[: shape[0], : shape[1], : shape[2]]
    volume = np.zeros(shape, np.uint8)
    volume[(6 * (z - 4)) ** 2 + (rows - 40) ** 2 + (columns - 40) ** 2 <= 24**2] = 200
    volume[(5 * (z - 4)) ** 2 + (rows - 80) ** 2 + (columns - 110) ** 2 <= 24**2] = 200
    volume[4, 50:, 75:] = 0
    volume[2, 95:, :30] = 200
    return volume


def test_volume_links_what_belongs_together():
    """Two labels, whole through the stack; the speck in a single plane is dropped."""
    image = balls()
    session = ns.Session(image, SeeingPredictor())
    volume = session.generate_masks_volume(options=BALLS)
    assert volume.shape == image.shape
    assert volume.dtype == np.uint8
    assert sorted(np.unique(volume)) == [0, 1, 2]
    first, second = volume[4, 40, 40], volume[3, 80, 110]
    assert first != second
    assert set(np.unique(volume[volume[:, 40, 40] > 0, 40, 40])) == {first}
    # The gap is closed with the shape between its two ends.
    expected = (balls((9, 120, 150))[3, 50:, 75:]) > 0
    assert iou(volume[4, 50:, 75:] == second, expected) > 0.9
    assert not (volume[2, 95:, :30]).any()
    steps = list(session.generate_masks_planes(options=BALLS))
    assert [plane for plane, _ in steps] == list(range(9))
    np.testing.assert_array_equal(np.stack([step for _, step in steps]), volume)


def test_some_planes_of_any_stack():
    """Planes in order, along any axes, of a stack of more than three."""
    image = balls()
    session = ns.Session(image, SeeingPredictor())
    some = session.generate_masks_volume([5, 4, 3], BALLS)
    assert some.shape == image.shape
    assert some[3:6].any(axis=(1, 2)).all()
    assert not some[[0, 1, 2, 6, 7, 8]].any()
    turned = ns.Session(image.transpose(2, 0, 1)[None], SeeingPredictor(), (3, 1))
    found = turned.generate_masks_volume([(0, i) for i in (3, 4, 5)], BALLS)
    np.testing.assert_array_equal(found, some.transpose(2, 0, 1))
    search = turned.generate_masks_planes([(0, i) for i in range(9)], BALLS)
    assert next(search)[0] == (0, 0)
    search.close()


@pytest.mark.parametrize(
    ("shape", "planes", "message"),
    [
        ((20, 30), None, "image must be a stack"),
        ((2, 3, 20, 30), None, "planes must be given"),
        ((2, 3, 20, 30), [(0, 0), (1, 1)], "planes must differ along one"),
        ((3, 20, 30), [], "planes must be at least one"),
        ((3, 20, 30), [7], "plane must be one index"),
    ],
)
def test_planes_that_are_no_stack_are_refused(shape, planes, message):
    """At once, not at the first step."""
    session = ns.Session(np.zeros(shape, np.uint8), SeeingPredictor())
    with pytest.raises(ValueError, match=message):
        session.generate_masks_planes(planes)
    with pytest.raises(ValueError, match=message):
        session.generate_masks_volume(planes)
