"""Objects like given ones, object proposals and edges."""

from __future__ import annotations

import numpy as np
import pytest

import napari_sam as ns
from napari_sam._candidates import Candidates
from napari_sam._similar_objects import MOST_WINDOWS, windows_for
from napari_sam._tests.golden import Recording, iou
from napari_sam._tests.seeing_predictor import SeeingPredictor
from napari_sam._tests.test_automatic import FOUR, discs
from napari_sam._tests.tiny_models import tiny_predictor

FEW = ns.AutomaticOptions(2, -10, 0, box_nms_thresh=1)


def scene():
    """Seven bright discs, and a bright bar that is none of them."""
    places = [*FOUR, (90, 100), (170, 30), (90, 215)]
    plane = discs(places)
    plane[4:12, 20:220] = 200
    return plane, places


@pytest.fixture
def session():
    """Return the scene, and a predictor that sees what is bright."""
    return ns.Session(scene()[0], SeeingPredictor())


def test_tens_of_points_find_what_is_like_an_example(session):
    """All discs by one of them, in far fewer decodings than a grid; not the bar."""
    _, places = scene()
    found = session.find_similar(discs(places[:1]) > 0).select()
    labels = found.label_image()
    for row, column in places:
        assert iou(labels == labels[row, column], discs([(row, column)]) > 0) > 0.9
    assert labels.max() == len(places)
    assert sum(session.predictor.batches) < 60


def test_examples_of_another_plane(session):
    """And several examples, as labels; progress grows to 1."""
    plane, places = scene()
    stack = ns.Session(np.stack([plane, plane[::-1]]), SeeingPredictor())
    examples = np.zeros(plane.shape, np.int32)
    for label, place in enumerate(places[:3]):
        examples[discs([place]) > 0] = 7 + 4 * label
    steps = list(stack.iter_similar(examples, 1, examples_plane=0))
    shares = [share for share, _ in steps]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    found = Candidates.join([step for _, step in steps]).select()
    labels = found.label_image()[::-1]
    for row, column in places:
        assert iou(labels == labels[row, column], discs([(row, column)]) > 0) > 0.9


def test_size_of_similar_objects_can_be_given(session):
    """Instead of three times the examples' either way."""
    example = discs(FOUR[:1]) > 0
    options = ns.AutomaticOptions(area_range=(100, 300))
    assert not len(session.find_similar(example, options=options).select())


def test_small_objects_are_found_in_windows():
    """Each once, also where windows overlap; the example's brightness is not theirs."""
    rows, columns = np.mgrid[60:960:150, 55:960:150].reshape(2, -1)
    size, places = (1000, 1000), list(zip(rows.tolist(), columns.tolist(), strict=True))
    grid = np.indices(size)
    plane = np.zeros(size, np.uint8)
    for row, column in places:
        near = np.hypot(grid[0] - row, grid[1] - column) <= 6
        plane[near] = 150 + (row + column) % 100
    example = (plane > 0) & (np.hypot(grid[0] - 60, grid[1] - 55) <= 8)
    session = ns.Session(plane, SeeingPredictor())
    found = session.find_similar(example).select()
    assert session.predictor.encoded > 4
    labels = found.label_image()
    hit = [labels[place] for place in places]
    assert len(set(hit)) == len(places) == len(found)
    assert 0 not in hit


@pytest.mark.parametrize("size", [(600, 1200), (40, 3000), (512, 512), (5000, 5000)])
@pytest.mark.parametrize("area", [1, 80, 300, 10**5])
def test_windows_cover_the_plane_and_are_few(size, area):
    """In the whole plane or in windows, the examples are not tiny, as far as can be."""
    windows = windows_for(np.array([area]), size)
    assert 1 <= len(windows) <= MOST_WINDOWS
    if windows == [None]:
        return
    covered = np.zeros(size, bool)
    for window in windows:
        covered[window.slices] = True
    assert covered.all()
    assert max(windows[0].shape) < max(size)


def test_coins_by_one_coin(predictor):
    """With the real model: of the 24 coins nearly all, and little else."""
    session = ns.Session(Recording("coins").image, predictor)
    coin = session.segment(ns.Prompts(box=[240, 220, 287, 268])).best
    found = session.find_similar(coin).select()
    assert 20 <= len(found) <= 26
    assert max(iou(found.mask(i), coin) for i in range(len(found))) > 0.8
    assert (found.masks.circularities > 0.9).mean() > 0.8


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (np.zeros((200, 240), bool), "examples must have at least one"),
        (np.zeros((20, 24), bool), "examples must be bool or integers of shape"),
        (np.zeros((200, 240)), "examples must be bool or integers"),
    ],
)
def test_examples_that_are_none_are_refused_at_once(session, examples, message):
    """Before anything is encoded."""
    with pytest.raises(ValueError, match=message):
        session.iter_similar(examples)
    assert session.predictor.encoded == 0


@pytest.mark.parametrize("value", [0, 7.5, np.nan])
def test_similar_objects_where_there_is_nothing_to_see(value):
    """A constant plane, a single pixel as example, a tiny plane."""
    for size in ((1, 1), (40, 30)):
        example = np.zeros(size, bool)
        example[0, 0] = True
        session = ns.Session(np.full(size, value), tiny_predictor())
        labels = session.find_similar(example, options=FEW).select().label_image()
        assert labels.shape == size


def test_proposals_are_ranked_and_few_enough():
    """By the mean of predicted IoU and stability, duplicates left out."""
    predictor, plane = tiny_predictor(), scene()[0]
    found = ns.propose_objects(predictor, plane, 5, FEW)
    assert len(found) == 5
    likely = found.scores + found.stabilities
    assert (np.diff(likely) <= 0).all()
    embedding = predictor.embed(plane)
    same = ns.propose_objects(predictor, embedding, 5, FEW)
    np.testing.assert_array_equal(found.boxes, same.boxes)
    session = ns.Session(plane, predictor)
    assert len(session.propose_objects(count=5, options=FEW)) == 5
    assert len(session.propose_objects(options=FEW)) > 5


def test_edges_are_the_borders_of_the_objects():
    """Thin, on the discs' borders, and nowhere else."""
    plane = discs(FOUR)
    options = ns.AutomaticOptions(12, -10, 0, area_range=(100, 5000))
    session = ns.Session(plane, SeeingPredictor())
    edges = session.edge_map(options=options)
    assert edges.shape == plane.shape
    assert edges.dtype == np.float32
    assert edges.max() == 1
    rows, columns = np.nonzero(edges > 0.2)
    away = [np.hypot(rows - r, columns - c) - 12 for r, c in FOUR]
    assert np.abs(away).min(axis=0).max() < 3
    # A circle of radius 12 has 75 pixels; a ridge may be two wide in places.
    assert 4 * 60 < len(rows) < 4 * 160


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, e: ns.propose_objects(p, e, 0, FEW), "count must be a whole number"),
        (lambda p, e: ns.propose_objects(p, e, True, FEW), "count must be a whole"),
        (lambda p, e: ns.propose_objects(p, np.zeros(3), 1, FEW), "plane must have"),
        (
            lambda p, e: ns.propose_objects(
                p, e, 1, ns.AutomaticOptions(3, crop_n_layers=1)
            ),
            "crop_n_layers must be 0 for an embedding",
        ),
        (
            lambda p, e: ns.edge_map(p, e, ns.AutomaticOptions(3, crop_n_layers=1)),
            "crop_n_layers must be 0 for an edge map",
        ),
    ],
)
def test_proposals_and_edges_refuse_what_they_cannot_use(call, message):
    """In a sentence."""
    predictor = tiny_predictor()
    with pytest.raises(ValueError, match=message):
        call(predictor, predictor.embed(np.zeros((20, 30), np.uint8)))
