"""Tiles become one label image, as if there had been none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_sam import windows
from napari_sam._automatic_options import AutomaticOptions
from napari_sam._stitching import Stitcher
from napari_sam._tests.seeing_predictor import SeeingPredictor
from napari_sam.session import Session


def same_objects(first: Any, second: Any) -> bool:
    """Whether two label images differ in the numbers of their objects only."""
    pairs = set(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(24, 60), st.integers(8, 20))
def test_stitched_tiles_have_no_seams(seed: int, side: int, overlap: int) -> None:
    """Right labels in each tile, numbered anyhow, are right labels of the plane."""
    rng = np.random.default_rng(seed)
    truth, _ = ndimage.label(ndimage.gaussian_filter(rng.normal(size=(90, 110)), 2) > 0)
    out = np.zeros(truth.shape, np.int32)
    stitcher = Stitcher(out)
    for window in windows.tiles(truth.shape, side, overlap):
        # Of an object, a tile may hold several parts; each is one to it.
        found, count = ndimage.label(truth[window.slices] > 0)
        stitcher.add(window, np.append(0, rng.permutation(count) + 1)[found])
    stitcher.finish()
    assert ((out > 0) == (truth > 0)).all()
    for label in np.unique(out[out > 0]):
        assert len(np.unique(truth[out == label])) == 1


def test_round_objects_are_each_one() -> None:
    """Discs smaller than the overlap come out once each, a long bar too."""
    truth = np.zeros((100, 300), np.int32)
    rows, columns = np.mgrid[:100, :300]
    for number, (row, column) in enumerate(
        [(r, c) for r in (15, 85) for c in range(10, 290, 17)], start=2
    ):
        truth[np.hypot(rows - row, columns - column) < 7] = number
    truth[48:53] = 1
    out = np.zeros(truth.shape, np.uint16)
    stitcher = Stitcher(out)
    for window in windows.tiles(truth.shape, 60, 20):
        stitcher.add(window, truth[window.slices])
    stitcher.finish()
    assert same_objects(out, truth)


def test_doubtful_copies_are_dropped() -> None:
    """What an earlier tile has seen, a later one does not add in another shape."""
    out = np.zeros((10, 30), np.uint8)
    stitcher = Stitcher(out)
    first, second = np.zeros((2, 10, 20), np.uint8)
    first[2:8, 12:18] = 1
    second[4:6, 2:9] = 1  # mostly inside the first
    left, right = windows.tiles((10, 30), 20, 10)
    stitcher.add(left, first)
    stitcher.add(right, second)
    assert np.unique(out).tolist() == [0, 1]


def test_labels_must_fit_the_type() -> None:
    """More objects than numbers are refused."""
    stitcher = Stitcher(np.zeros((1, 1000), np.uint8))
    with pytest.raises(ValueError, match="out must be of a type with numbers"):
        stitcher.add(windows.whole((1, 1000)), np.arange(1000)[None])


def discs() -> Any:
    """Make an image of bright discs, (600, 900) uint16."""
    rows, columns = np.mgrid[:600, :900]
    image = np.full((600, 900), 100, np.uint16)
    for row in range(50, 600, 100):
        for column in range(50, 900, 100):
            image[np.hypot(rows - row, columns - column) < 25] = 3000
    return image


def test_session_labels_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Discs of a plane, by tiles that cut many of them."""

    def find(self: Session, options: AutomaticOptions) -> Any:
        return ndimage.label(self.pixels() > 128)[0]

    monkeypatch.setattr(Session, "generate_masks", find)
    image = discs()
    session = Session(image, SeeingPredictor())
    out = np.zeros(image.shape, np.uint16)
    steps = list(session.label_tiles(out, side=256, overlap=80))
    assert steps[-1] == 1
    assert len(steps) == len(windows.tiles(image.shape, 256, 80))
    assert same_objects(out, ndimage.label(image > 1000)[0])


def test_session_labels_tiles_with_sam() -> None:
    """The automatic masks of tiles, with options, and values that SAM sees alike."""
    image = discs()[:300, :300]
    out = np.zeros(image.shape, np.int32)
    options = AutomaticOptions(points_per_side=3, pred_iou_thresh=0.5)
    session = Session(image, SeeingPredictor())
    steps = session.label_tiles(out, options=options, side=200, overlap=50)
    assert list(steps)[-1] == 1
    assert (out > 0).any()


@pytest.mark.parametrize(
    ("shape", "dtype", "settings", "message"),
    [
        ((5, 5), np.uint16, {}, "out must be an integer array of shape"),
        ((600, 900), np.float32, {}, "out must be an integer array of shape"),
        ((600, 900), np.int32, {"overlap": 2000}, "overlap must be 0 to less"),
        ((600, 900), np.int32, {"plane": 3}, "plane must be 0 or omitted"),
    ],
)
def test_tiles_refuse(shape: Any, dtype: Any, settings: Any, message: str) -> None:
    """Bad arguments are refused at once."""
    session = Session(discs(), SeeingPredictor())
    with pytest.raises(ValueError, match=message):
        session.label_tiles(np.zeros(shape, dtype), **settings)
