"""Undo and redo in the dock widget: prompts, masks, what was accepted."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari_sam._layers import BACKGROUND
from napari_sam._tests.test_qt_steps import DiscPredictor, User, image


@pytest.fixture
def user(make_napari_viewer, qtbot, monkeypatch, tmp_path):
    """Someone with an empty viewer, the widget, and a model of discs."""
    monkeypatch.setattr(
        "napari_sam._qt.engine.load_model", lambda name: DiscPredictor()
    )
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path))
    return User(make_napari_viewer(), qtbot)


@pytest.fixture
def started(user):
    """Someone who opened a 2D image and pressed Start."""
    user.viewer.add_image(image(48, 64), name="cells")
    user.settle()
    user.start()
    return user


@pytest.fixture
def notes(monkeypatch):
    """Collect what is shown as a note."""
    found: list[str] = []
    monkeypatch.setattr("napari_sam._qt.report.show_info", found.append)
    return found


def click(user: User, *points: list[float]) -> None:
    """Add points, one after the other."""
    for point in points:
        user.points.add(point)
        user.settle()


def test_prompts_masks_and_commits_go_back_and_forth(started):
    """Buttons and keys; whatever was done is undone in its order, and done again."""
    assert not started.controls.undo.isEnabled()
    click(started, [20, 24])
    started.controls.masks.chosen.emit(0)
    small = started.mask(0)
    started.press("accept")
    labels = started.layer("segmentation")
    np.testing.assert_array_equal(labels.data > 0, small)
    started.press("background")
    click(started, [5, 5])
    started.press("foreground")
    started.shapes.add_rectangles([[9.5, 11.5], [24.5, 31.5]])
    started.settle()
    colours = started.points.face_color.copy()
    started.key("Shift-Z")
    assert len(started.shapes.data) == 0
    started.key("Shift-Z")
    assert len(started.points.data) == 1
    assert "Undone: prompt added, object 2" in started.status
    assert "mask accepted, object 1" in started.controls.undo.toolTip()
    started.press("undo")
    started.settle()
    assert not labels.data.any()
    assert started.controls.object_id.value() == 1
    np.testing.assert_array_equal(started.preview > 0, small)
    started.press("undo")
    assert started.annotator.work.mask_index == 1
    started.press("undo")
    assert len(started.points.data) == 0
    assert started.preview is None
    assert not started.controls.undo.isEnabled()
    for _ in range(5):
        started.press("redo")
        started.settle()
    assert not started.controls.redo.isEnabled()
    np.testing.assert_array_equal(labels.data > 0, small)
    np.testing.assert_array_equal(started.points.data, [[20, 24], [5, 5]])
    assert list(started.points.features["object"]) == [1, 2]
    assert started.points.features["label"][1] == BACKGROUND
    np.testing.assert_array_equal(started.points.face_color, colours)
    assert len(started.shapes.data) == 1


def test_sixty_steps_and_a_drag_is_one(started):
    """At least 50 steps; moving one point in many small moves is one of them."""
    points = [[5 + i % 30, 5 + i // 2] for i in range(60)]
    for point in points:
        started.points.add(point)
        started.annotator.refresh()
    for i in range(5):
        started.points.data = [*points[:-1], [30 + i, 30]]
        started.annotator.refresh()
    started.press("undo")
    np.testing.assert_array_equal(started.points.data, points)
    for count in range(59, -1, -1):
        started.press("undo")
        assert len(started.points.data) == count
    assert not started.controls.undo.isEnabled()


def test_discard_is_undone_and_a_new_prompt_ends_redo(started):
    """Discarded points and shapes come back together; a click forgets the future."""
    click(started, [20, 24])
    started.shapes.add_rectangles([[9.5, 11.5], [24.5, 31.5]])
    started.settle()
    started.press("discard")
    assert started.preview is None
    started.press("undo")
    started.settle()
    assert (len(started.points.data), len(started.shapes.data)) == (1, 1)
    assert started.preview is not None
    started.press("undo")
    click(started, [10, 10])
    assert not started.controls.redo.isEnabled()


def test_a_drawn_polygon_is_one_step(started):
    """A shape that grows while it is drawn is undone as a whole."""
    started.shapes.mode = "add_polygon"
    first = np.array([[5, 5], [5, 20], [20, 20]])
    started.shapes.add_polygons([first])
    started.annotator.refresh()
    for row in ([25, 10], [20, 5], [10, 2]):
        first = np.vstack([first, row])
        started.shapes.data = [first]
        started.annotator.refresh()
    started.press("undo")
    assert len(started.shapes.data) == 0
    assert not started.controls.undo.isEnabled()
    assert str(started.shapes.mode) == "add_polygon"
    started.press("redo")
    np.testing.assert_array_equal(started.shapes.data[0], first)


def test_what_the_user_painted_stays(started, notes):
    """Undo of a commit leaves edits alone, and works beside napari's own undo."""
    click(started, [20, 24])
    started.press("accept")
    labels = started.layer("segmentation")
    mask = labels.data > 0
    labels.data_setitem((np.array([20]), np.array([24])), 9)
    started.press("undo")
    started.settle()
    assert notes == [
        "1 pixels of 'segmentation' were edited since, and stay as they are."
    ]
    assert labels.data[20, 24] == 9
    assert np.count_nonzero(labels.data) == 1
    labels.undo()
    np.testing.assert_array_equal(labels.data == 1, mask & (labels.data != 9))
    labels.undo()
    labels.undo()
    assert not labels.data.any()
    started.press("redo")
    np.testing.assert_array_equal(labels.data > 0, mask)


def test_ctrl_z_is_napari_s_in_labels_and_ours_elsewhere(started):
    """Neither takes the other's key."""
    click(started, [20, 24])
    started.press("accept")
    labels = started.layer("segmentation")
    started.viewer.layers.selection.active = labels
    started.key("Control-Z")
    assert not labels.data.any()
    assert len(started.points.data) == 1
    started.viewer.layers.selection.active = started.points
    started.key("Control-Z")
    started.key("Control-Z")
    assert len(started.points.data) == 0
    started.key("Control-Shift-Z")
    assert len(started.points.data) == 1


def test_layers_that_are_gone_come_back_or_are_let_go(started, notes):
    """A deleted prompt layer is a step; without its labels a commit is undone, too."""
    click(started, [20, 24])
    started.press("accept")
    started.viewer.layers.remove(started.layer("segmentation"))
    started.viewer.layers.remove(started.points)
    started.settle()
    started.press("undo")
    started.settle()
    points = started.layer("points: cells")
    np.testing.assert_array_equal(points.data, [[20, 24]])
    assert points.features["object"][0] == 1
    started.press("undo")
    started.settle()
    assert notes == ["The labels of this step are gone; only prompts come back."]
    assert started.preview is not None


def test_undo_goes_to_the_plane_and_each_image_has_its_own(user):
    """The viewer shows what is undone; another image has another history."""
    user.viewer.add_image(image(5, 48, 64), name="stack")
    user.settle()
    user.start()
    user.viewer.dims.set_point(0, 3)
    click(user, [3, 20, 24])
    user.viewer.dims.set_point(0, 1)
    user.settle()
    stack = user.annotator.image
    user.viewer.add_image(image(48, 64), name="other")
    user.settle()
    user.annotator.set_image(user.layer("other"))
    assert not user.controls.undo.isEnabled()
    user.annotator.set_image(stack)
    user.press("undo")
    assert user.viewer.dims.point[0] == 3
    assert len(user.points.data) == 0
    user.press("redo")
    assert len(user.points.data) == 1
