"""The first prompt without Start: the user's own layers, used with the mouse."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari_sam._layers import BACKGROUND, FOREGROUND
from napari_sam._tests.test_qt_annotation import counting, user  # noqa: F401
from napari_sam._tests.test_qt_steps import DiscPredictor, User, image
from napari_sam.session import Session
from napari_sam.types import Prompts


@pytest.fixture
def visible(make_napari_viewer, qtbot, counting):  # noqa: F811
    """Someone with a viewer on the screen: hidden, its canvas has no size yet."""
    return User(make_napari_viewer(show=True), qtbot)


def test_a_point_in_a_layer_of_ones_own_is_a_prompt(user):  # noqa: F811
    """A new layer counts from its first point on, looks as before, and has objects."""
    viewer = user.viewer
    viewer.add_image(image(48, 64), name="cells", scale=(0.5, 0.5))
    own = viewer.add_points(
        ndim=2, name="mine", scale=(0.5, 0.5), face_color="yellow", size=7
    )
    user.settle()
    assert "Press Start" in user.status
    own.add([20, 24])
    user.settle()
    expected = Session(image(48, 64), DiscPredictor()).segment(Prompts([[20, 24]]))
    np.testing.assert_array_equal(user.preview > 0, expected.best)
    assert "points: cells" not in viewer.layers
    np.testing.assert_array_equal(own.face_color, [[1, 1, 0, 1]])
    assert own.name == "mine"
    user.key("U")
    user.press("background")
    own.add([5, 5])
    assert list(own.features["object"]) == [1, 2]
    assert list(own.features["label"]) == [FOREGROUND, BACKGROUND]
    # Start adds what is still missing, and goes on with the user's layer.
    user.press("start")
    assert "boxes: cells" in viewer.layers
    assert "points: cells" not in viewer.layers
    assert viewer.layers.selection.active is own


def test_a_layer_full_of_other_things_is_left_alone(user):  # noqa: F811
    """Unless its features say which objects they are for."""
    viewer = user.viewer
    viewer.add_image(image(48, 64), name="cells")
    spots = viewer.add_points([[1, 1], [2, 2]], name="spots")
    spots.add([20, 24])
    user.settle()
    assert user.preview is None
    assert spots.features.empty
    assert not spots.metadata
    features = {"object": [3], "colour": ["red"]}
    known = viewer.add_points([[30, 30]], name="known", features=features)
    user.controls.object_id.setValue(3)
    known.add([20, 24])
    user.settle()
    assert user.preview is not None
    assert list(known.features["object"]) == [3, 3]
    assert list(known.features["colour"]) == ["red", "red"]
    prompts = user.annotator.work.answer.request.prompts.prompts
    np.testing.assert_array_equal(prompts.points, [[30, 30], [20, 24]])


def test_a_box_dragged_in_a_layer_of_ones_own_is_a_prompt(visible):
    """With the mouse, in a stack; a second layer of the kind is not taken as well."""
    viewer = visible.viewer
    viewer.add_image(image(5, 48, 64), name="stack")
    viewer.dims.set_current_step(0, 2)
    other, own = viewer.add_shapes(ndim=3), viewer.add_shapes(ndim=3, name="mine")
    own.mode = "add_rectangle"
    visible.settle()
    visible.drag((9.5, 11.5), (20, 20), (24.5, 31.5))
    visible.settle()
    assert list(own.features["object"]) == [1]
    request = visible.annotator.work.answer.request
    assert request.plane == 2
    pixel = 1 / visible.camera.zoom
    box = request.prompts.prompts.box
    np.testing.assert_allclose(box, [10, 12, 25, 32], atol=2 * pixel)
    other.add([[2, 1, 1], [2, 1, 9], [2, 9, 9], [2, 9, 1]])
    visible.settle()
    assert visible.annotator.work.answer.request == request
    assert not other.metadata
    # Without an image there is nothing to be a prompt for.
    viewer.layers.remove("stack")
    visible.settle()
    other.add([[2, 1, 1], [2, 1, 9], [2, 9, 9], [2, 9, 1]])
    visible.settle()
    assert "Open an image" in visible.status


def test_clicks_on_the_canvas_are_prompts(visible):
    """Where the mouse was, also where the image is turned and has a spacing."""
    viewer = visible.viewer
    viewer.add_image(image(5, 48, 64), name="stack", scale=(2, 0.5, 0.5), rotate=30)
    visible.settle()
    visible.start()
    visible.drag((13.0, 9.0))
    visible.drag((11.0, 7.0))
    visible.settle()
    assert len(visible.points.data) == 2
    expected = [viewer.layers["stack"].world_to_data((0, 13, 9))[1:]]
    expected += [viewer.layers["stack"].world_to_data((0, 11, 7))[1:]]
    points = visible.annotator.work.answer.request.prompts.prompts.points
    np.testing.assert_allclose(points, expected, atol=4 / visible.camera.zoom)
    assert visible.preview is not None


def test_a_free_number_of_large_labels_is_found_by_the_worker(user, monkeypatch):  # noqa: F811
    """Once; what is painted or replaced afterwards is noticed."""
    monkeypatch.setattr("napari_sam._qt.numbering.SMALL", 100)
    viewer, own = user.viewer, user.annotator
    viewer.add_image(image(48, 64), name="cells")
    data = np.zeros((48, 64), np.uint16)
    data[0, 0] = 41
    labels = viewer.add_labels(data, name="mine")
    user.settle()
    own.set_target(labels)
    own.next_free_object()
    assert own.runner.is_busy
    user.settle()
    assert user.controls.object_id.value() == 42
    labels.selected_label = 90
    labels.paint((5, 5), 90)
    own.next_free_object()
    assert not own.runner.is_busy
    assert user.controls.object_id.value() == 91
    labels.data = np.full_like(data, 7)
    own.choose(object_id=1)
    own.next_free_object()
    user.settle()
    assert user.controls.object_id.value() == 8
