"""Small objects through a stack, in windows of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_sam._tests.seeing_predictor import SeeingPredictor
from napari_sam.session import Session
from napari_sam.types import Prompts


def small_and_large() -> tuple[Any, Any]:
    """Make two small drifting discs and a large one; returns image and labels."""
    labels = np.zeros((4, 400, 500), np.uint8)
    rows, columns = np.mgrid[:400, :500]
    for plane in range(4):
        labels[plane][np.hypot(rows - 60, columns - 80 - plane) < 8] = 1
        labels[plane][np.hypot(rows - 62, columns - 380 + plane) < 7] = 2
        labels[plane][np.hypot(rows - 270, columns - 250) < 90] = 3
    return np.uint8(200) * (labels > 0), labels


def iou(first: Any, second: Any) -> float:
    """Intersection over union of two masks."""
    return float((first & second).sum() / (first | second).sum())


def test_small_objects_are_sharper() -> None:
    """Small discs are followed more exactly in windows; each plane comes once."""
    image, labels = small_and_large()
    seeds = {n: {0: labels[0] == n} for n in (1, 2, 3)}
    seeds[1] = {0: Prompts(box=[52, 72, 69, 89])}
    found = {}
    for sharp in ("off", "auto"):
        session = Session(image, SeeingPredictor(), sharp=sharp)
        planes = list(session.propagate_objects(seeds))
        assert [plane for plane, _ in planes] == [0, 1, 2, 3]
        found[sharp] = np.stack([values for _, values in planes])
    for number in (1, 2):
        score = {
            k: iou(v[1:] == number, labels[1:] == number) for k, v in found.items()
        }
        assert score["auto"] > 0.9
        assert score["auto"] > score["off"]
    assert iou(found["auto"] == 3, labels == 3) > 0.95


def test_one_object_and_its_window() -> None:
    """Masks are of the plane; the window and the seed's exact mask are in them."""
    image, labels = small_and_large()
    session = Session(image, SeeingPredictor(), sharp="auto")
    seed = labels[1] == 2
    found = {one.plane: one for one in session.propagate({1: seed}, planes=[0, 1, 3])}
    assert sorted(found) == [0, 1, 3]
    np.testing.assert_array_equal(found[1].best, seed)
    for plane, one in found.items():
        assert one.masks.shape == (1, 400, 500)
        assert one.window is not None
        assert iou(one.best, labels[plane] == 2) > 0.85


def test_stops_hold_in_windows() -> None:
    """Negative points, or an empty mask, say that the object is not there."""
    image, labels = small_and_large()
    session = Session(image, SeeingPredictor(), sharp="auto")
    for stop in (
        np.zeros((400, 500), bool),
        Prompts(points=[[60, 82]], point_labels=[0]),
    ):
        volume = session.segment_volume({0: labels[0] == 1, 2: stop})
        assert volume[1].any()
        assert not volume[2].any()
        assert not volume[3].any()
