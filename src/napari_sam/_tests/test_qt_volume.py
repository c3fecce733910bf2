"""The section "Volume" in a real viewer: objects through stacks, and their review."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from qtpy.QtCore import QPoint, Qt

from napari_sam import Session
from napari_sam._qt.volume_units import spacing_along
from napari_sam._tests.seeing_predictor import SeeingPredictor
from napari_sam._tests.test_propagation import box_of, dice, image_of
from napari_sam._tests.test_qt_steps import User

SHAPE = (12, 48, 40)


def tube(rows: slice, columns: slice, planes: slice = slice(None)) -> np.ndarray:
    """Mask of a straight bar through a stack."""
    mask = np.zeros(SHAPE, bool)
    mask[planes, rows, columns] = True
    return mask


ONE = tube(slice(6, 20), slice(10, 26))
OTHER = tube(slice(28, 42), slice(14, 30), slice(2, 9))


class VolumeUser(User):
    """Someone who opens stacks."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        super().__init__(viewer, qtbot)
        self.section = self.widget.volume.controls
        self.volume = self.widget.volume.volume

    def open(self, data: Any, **how: Any) -> None:
        """Open an image, press Start and unfold the section."""
        self.viewer.add_image(data, name="image", contrast_limits=(0, 255), **how)
        self.settle()
        self.start()
        self.qtbot.mouseClick(self.section.title, Qt.MouseButton.LeftButton)
        self.idle()

    def idle(self) -> None:
        """Wait until nothing goes on, and what is known is shown."""
        self.settle()
        self.wait(lambda: self.volume.run is None)
        self.volume.refresh()

    def go(self, *index: int) -> None:
        """Move the sliders to a plane."""
        place = self.annotator.image.data_to_world((*index, 0, 0))
        for axis in range(len(index)):
            self.viewer.dims.set_point(axis, place[axis])
        self.settle()

    def box(self, index: tuple[int, ...], mask: np.ndarray, number: int = 1) -> None:
        """Draw the tight box of a mask in a plane, for an object."""
        self.annotator.choose(object_id=number)
        top, left, bottom, right = np.array(box_of(mask).box) - 0.5
        corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
        self.shapes.add_rectangles([[(*index, *corner) for corner in corners]])
        self.settle()

    def click(self, name: str) -> None:
        """Click on a button of the section."""
        button = getattr(self.section, name)
        assert button.isEnabled(), name
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def choose(self, name: str, index: int) -> None:
        """Choose an entry of the section."""
        box = getattr(self.section, name)
        box.setCurrentIndex(index)
        box.activated.emit(index)

    def choose_target(self, name: str) -> None:
        """Choose the labels to write into."""
        chooser = self.controls.target
        chooser.setCurrentIndex(chooser.findText(name))
        chooser.activated.emit(chooser.currentIndex())
        self.settle()

    @property
    def labels(self) -> np.ndarray:
        """Labels that were written."""
        return self.layer("segmentation").data


@pytest.fixture
def seeing(monkeypatch, tmp_path):
    """Make the widget load a model that sees what is bright."""
    predictor = SeeingPredictor()
    monkeypatch.setattr("napari_sam._qt.engine.load_model", lambda name: predictor)
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path))
    return predictor


@pytest.fixture
def user(make_napari_viewer, qtbot, seeing):
    """Someone with a viewer and the widget."""
    return VolumeUser(make_napari_viewer(), qtbot)


def expected_of(data: np.ndarray, seeds: Any) -> np.ndarray:
    """Labels that a script gets from the masks that the widget shows."""
    session = Session(data, SeeingPredictor(), contrast_limits=(0, 255))
    shown = {
        number: {z: session.segment(prompts, z).best for z, prompts in own.items()}
        for number, own in seeds.items()
    }
    return session.segment_objects(shown)


def test_one_object_through_the_stack(user, monkeypatch):
    """By one click: what the script gets, one step to undo, and a review of it."""
    said: list[str] = []
    monkeypatch.setattr("napari_sam._qt.report.show_error", said.append)
    data = image_of(ONE, OTHER)
    user.viewer.add_image(data[0], name="flat")
    user.settle()
    user.idle()
    assert not user.section.isVisibleTo(user.widget)
    user.viewer.layers.clear()
    user.open(data, axis_labels=("a very long name of an axis", "y", "x"))
    assert user.section.isVisibleTo(user.widget)
    assert user.section.about.text().startswith("Mark object 1")
    user.click("follow_object")
    user.click("follow_all")
    user.key("Shift-K")
    assert said[0].startswith("mark object 1 in one plane")
    assert said[1].startswith("mark an object in one plane")
    assert said[2].startswith("there are no labels yet")
    user.go(5)
    user.box((5,), ONE[5])
    user.idle()
    assert "marked in plane 5" in user.section.about.text()
    user.click("follow_object")
    user.idle()
    found = user.labels.copy()
    np.testing.assert_array_equal(found, expected_of(data, {1: {5: box_of(ONE[5])}}))
    assert dice(found == 1, ONE) > 0.9
    assert "followed through 12 planes" in user.section.about.text()
    assert list(user.volume.review.confidence) == list(range(12))
    # The mask that was followed from counts as accepted, and is a seed as it is.
    assert user.preview is None
    assert user.section.approve.isChecked()
    assert user.volume.review.certain == {5}
    assert user.volume.review.pending == 0
    user.press("undo")
    assert not user.labels.any()
    user.idle()
    assert user.volume.review.masks == {}
    assert not user.section.approve.isChecked()
    user.press("redo")
    np.testing.assert_array_equal(user.labels, found)
    user.points.add([(5, 12, 15)])
    user.idle()
    assert user.volume.review.certain == set()
    user.choose("extend", 2)
    user.section.show_progress(3, 12, "")
    assert user.controls.minimumSizeHint().width() <= 300


def test_all_objects_protect_each_other_and_the_users_labels(user):
    """Prompts of two objects, one batch; what was there before stays, and its type."""
    data = image_of(ONE, OTHER)
    user.open(data)
    user.go(5)
    user.box((5,), ONE[5], 1)
    user.box((6,), OTHER[6], 3)
    mine = np.zeros(SHAPE, np.uint8)
    mine[4, 10:14, 12:16] = 9
    user.viewer.add_labels(mine, name="segmentation")
    user.settle()
    user.choose_target("segmentation")
    user.key("Shift-O")
    user.idle()
    seeds = {1: {5: box_of(ONE[5])}, 3: {6: box_of(OTHER[6])}}
    expected = expected_of(data, seeds)
    expected[4, 10:14, 12:16] = 9
    np.testing.assert_array_equal(user.labels, expected)
    assert user.labels.dtype == np.uint8
    assert "2 objects" in user.section.about.text()


def test_stopping_keeps_what_is_done_and_going_on_does_the_rest(user):
    """Planes come one by one; then only what is missing. Labels may be deleted."""
    data = image_of(ONE, OTHER)
    user.open(data)
    user.go(5)
    user.box((5,), ONE[5])
    user.click("follow_object")
    assert user.section.cancel.isVisibleTo(user.widget)
    assert not user.section.follow_object.isEnabled()
    user.wait(lambda: user.volume.run is None or user.volume.run.done >= 2)
    user.volume.cancel()
    done = len(user.volume.review.masks)
    assert 2 <= done <= len(SHAPE) * 4
    assert np.count_nonzero(user.labels.any(axis=(1, 2))) == done
    user.idle()
    user.click("follow_object")
    user.idle()
    whole = expected_of(data, {1: {5: box_of(ONE[5])}})
    np.testing.assert_array_equal(user.labels, whole)
    assert not user.section.cancel.isVisibleTo(user.widget)
    user.click("follow_object")  # nothing is left: all again
    assert user.volume.run.request.planes == list(range(12))
    user.viewer.layers.remove("segmentation")
    user.idle()
    assert "labels are gone" in user.section.about.text()


def test_only_the_planes_between_the_neighbouring_seeds_are_computed_again(user):
    """A box on another plane, then a stop; painting elsewhere stays as it is."""
    user.open(image_of(ONE))
    for plane in (2, 9):
        user.go(plane)
        user.box((plane,), ONE[plane])
    user.click("follow_object")
    user.idle()
    assert user.volume.review.pending == 0
    user.labels[[0, 4, 10], 0, 0] = 1
    user.go(5)
    user.box((5,), ONE[5])
    user.idle()
    assert user.volume.review.pending == 6
    assert "6 planes to compute" in user.section.about.text()
    user.click("follow_object")
    user.idle()
    assert np.flatnonzero(user.labels[:, 0, 0]).tolist() == [0, 10]
    user.press("background")
    user.go(7)
    user.points.add([(7, 3, 3)])
    user.idle()
    assert user.volume.review.pending == 3
    user.click("follow_object")
    user.idle()
    present = np.flatnonzero(user.labels[:, 10, 15] == 1).tolist()
    assert 7 not in present
    assert {2, 5, 9} <= set(present)


def test_ranges_and_review(user):
    """From here on, between planes; the plot, doubtful planes, and approval."""
    user.open(
        image_of(ONE),
        axis_labels=("z", "y", "x"),
        scale=(2, 0.5, 0.5),
        units=("um", "um", "um"),
    )
    assert user.section.along.itemText(0) == "z: 12 planes"
    user.go(5)
    user.box((5,), ONE[5])
    user.choose("extend", 1)
    user.click("follow_object")
    user.idle()
    assert np.flatnonzero(user.labels.any(axis=(1, 2))).tolist() == list(range(5, 12))
    user.choose("extend", 2)
    user.section.between.setValue((3, 7))
    user.idle()
    assert user.section.between.isVisibleTo(user.widget)
    assert user.volume.review.pending == 2
    user.click("follow_object")
    user.idle()
    assert np.flatnonzero(user.labels.any(axis=(1, 2))).tolist() == list(range(3, 12))
    volume = np.count_nonzero(user.labels) * 2 * 0.5 * 0.5
    assert f"{volume:,.0f} µm³" in user.section.measures.text()
    assert "planes 3 to 11" in user.section.measures.text()

    plot = user.section.plot
    where = QPoint(round(plot.left(9) + 0.5 * plot.left(1)), 10)
    user.qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=where)
    user.settle()
    assert user.annotator.scene.view.index == (9,)
    (record,) = user.volume.reviewer.records.values()
    record.scores[7] = 0.1
    user.go(8)
    user.volume.refresh()
    assert user.volume.review.doubtful == [7]
    user.key("Shift-N")
    user.settle()
    assert user.annotator.scene.view.index == (7,)
    user.key("Shift-K")
    user.idle()
    assert user.section.approve.isChecked()
    assert user.volume.review.doubtful == []
    user.labels[8] = 0  # rubbed out: approved as it is, the object is not there
    user.go(8)
    user.click("approve")
    user.idle()
    assert set(user.volume.review.seeds) == {5, 7, 8}
    kept = user.labels[7].copy()
    user.choose("extend", 0)
    user.click("follow_object")
    user.idle()
    assert not user.labels[8].any()
    np.testing.assert_array_equal(user.labels[7], kept)
    user.go(7)
    user.idle()
    user.click("approve")
    user.idle()
    assert set(user.volume.review.seeds) == {5, 8}


def test_time_and_depth(user):
    """TZYX: along t at the z that is shown, and through z at the t that is shown."""
    data = np.stack([image_of(ONE)] * 3)
    user.open(data, axis_labels=("t", "z", "y", "x"), units=("s", "um", "um", "um"))
    user.go(1, 5)
    user.box((1, 5), ONE[5])
    found = {}
    for along in (0, 1):
        user.choose("along", along)
        user.click("follow_object")
        user.idle()
        found[along] = np.argwhere(user.labels.any(axis=(2, 3))).tolist()
        spacing = spacing_along(user.annotator.image, user.annotator.scene.view, along)
        assert spacing.is_space == (along == 1)
        assert ("µm³" in user.section.measures.text()) == (along == 1)
        user.press("undo")
        assert not user.labels.any()
    assert found[0] == [[t, 5] for t in range(3)]
    assert found[1] == [[1, z] for z in range(12)]


def test_all_three_axes_are_looked_along_where_that_is_asked_for(user):
    """As a script does it; not offered where planes are far apart, nor along time."""
    truth = tube(slice(12, 22), slice(10, 20), slice(2, 10))[:, 8:26, 6:24]
    data = image_of(truth)
    user.open(data, axis_labels=("z", "y", "x"), units=("um", "um", "um"))
    assert user.section.consensus.isEnabled()
    user.section.consensus.setChecked(True)
    user.go(5)
    user.box((5,), truth[5])
    said: list[str] = []

    def listen() -> None:
        if user.volume.run is not None:
            said.append(user.volume.run.doing)

    user.volume.changed.connect(listen)
    user.click("follow_object")
    user.idle()
    session = Session(data, SeeingPredictor(), contrast_limits=(0, 255))
    seeds = {1: {5: session.segment(box_of(truth[5]), 5).best}}
    expected = session.segment_objects(seeds, consensus=True)
    np.testing.assert_array_equal(user.labels, expected)
    assert dice(user.labels == 1, truth) > 0.8
    assert any("Three axes" in text for text in said)
    assert user.volume.review.masks.keys() == set(range(12))
    assert min(user.volume.review.confidence.values()) > 0.3
    user.layer("image").scale = (2.5, 1, 1)
    user.idle()
    assert not user.section.consensus.isEnabled()
    assert not user.volume.may_agree
