"""The dock widget in a real viewer, used as a user would: 2D images."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QComboBox, QLabel, QSpinBox

from napari_sam._layers import BACKGROUND, FOREGROUND
from napari_sam._tests.test_qt_steps import DiscPredictor, User, image
from napari_sam.session import Session
from napari_sam.types import Prompts


@pytest.fixture
def counting(monkeypatch, tmp_path):
    """Make the widget load a model of discs that counts what it encodes."""
    predictor = DiscPredictor()
    monkeypatch.setattr("napari_sam._qt.engine.load_model", lambda name: predictor)
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path))
    return predictor


@pytest.fixture
def user(make_napari_viewer, qtbot, counting):
    """Someone with an empty viewer and the widget."""
    return User(make_napari_viewer(), qtbot)


@pytest.fixture
def started(user):
    """Someone who opened a 2D image and pressed Start."""
    user.viewer.add_image(image(48, 64), name="cells")
    user.settle()
    user.start()
    return user


def notified(monkeypatch) -> list[str]:
    """Collect what is shown as an error."""
    found: list[str] = []
    monkeypatch.setattr("napari_sam._qt.report.show_error", found.append)
    return found


def test_an_empty_viewer_says_what_to_do(user):
    """Nothing can be pressed that makes no sense; tooltips everywhere; 300 pixels."""
    assert user.status == "Open an image, or choose one above."
    assert not user.controls.start.isEnabled()
    assert not user.controls.accept.isEnabled()
    kinds = (QAbstractButton, QComboBox, QSpinBox)
    controls = [c for kind in kinds for c in user.controls.findChildren(kind)]
    assert len(controls) > 15
    named = [c for c in controls if not isinstance(c.parent(), QComboBox)]
    assert [c for c in named if not c.toolTip()] == []
    texts = [user.controls.status, user.controls.cache, user.controls.about_model]
    assert all(isinstance(text, QLabel) and text.toolTip() for text in texts)
    user.viewer.add_image(image(48, 64), name="a name that is much too long " * 3)
    user.settle()
    assert user.controls.minimumSizeHint().width() <= 300


def test_a_click_gives_a_preview_that_equals_the_script(started, counting):
    """Start makes layers ready for a click; moving the point encodes nothing more."""
    assert started.viewer.layers.selection.active is started.points
    assert str(started.points.mode) == "add"
    assert "Click on object 1" in started.status
    count = len(started.viewer.layers)
    started.start()
    assert len(started.viewer.layers) == count
    started.points.add([20, 24])
    started.settle()
    session = Session(started.annotator.image.data, DiscPredictor())
    expected = session.segment(Prompts([[20, 24]]))
    np.testing.assert_array_equal(started.preview > 0, expected.best)
    assert set(np.unique(started.preview)) <= {0, 1}
    texts = [b.text() for b in started.controls.masks.buttons]
    assert texts == [f"{i + 1}:  {s:.2f}" for i, s in enumerate(expected.scores)]
    assert "other 2" in started.status
    assert "ready" in started.controls.cache.text()
    before, encoded = started.preview, counting.encoded
    started.points.data = [[40, 50]]
    started.settle()
    assert counting.encoded == encoded == 1
    assert not np.array_equal(started.preview, before)


def test_the_masks_can_be_chosen_by_click_and_by_key(started):
    """What is chosen is shown and accepted; keys work whichever layer is active."""
    started.points.add([20, 24])
    started.settle()
    for layer in list(started.viewer.layers):
        started.viewer.layers.selection.active = layer
        index = started.annotator.work.mask_index
        started.key("Q")
        assert started.annotator.work.mask_index == (index + 1) % 3, layer
    started.controls.masks.chosen.emit(1)
    best = started.annotator.work.mask_index
    other = (best + 1) % 3
    started.key("Q")
    assert started.annotator.work.mask_index == other
    np.testing.assert_array_equal(started.preview > 0, started.mask(other))
    started.qtbot.mouseClick(
        started.controls.masks.buttons[best], Qt.MouseButton.LeftButton
    )
    np.testing.assert_array_equal(started.preview > 0, started.mask(best))
    assert started.controls.masks.buttons[best].isChecked()
    started.key("Q")
    expected = started.mask(other)
    started.press("accept")
    np.testing.assert_array_equal(started.layer("segmentation").data > 0, expected)


def test_background_and_boxes_count(started, counting):
    """A background point and a drawn rectangle are both in the prompts."""
    started.points.add([20, 24])
    started.press("background")
    started.points.add([5, 5])
    started.shapes.add_rectangles([[9.5, 11.5], [24.5, 31.5]])
    started.settle()
    assert list(started.points.features["label"]) == [FOREGROUND, BACKGROUND]
    assert started.shapes.features["label"][0] == BACKGROUND
    started.shapes.features["label"] = [FOREGROUND]
    started.shapes.events.features()
    started.settle()
    prompts = started.annotator.work.answer.request.prompts.prompts
    np.testing.assert_array_equal(prompts.point_labels, [1, 0])
    np.testing.assert_array_equal(prompts.box, [10, 12, 25, 32])
    assert len(started.annotator.work.answer.prediction.masks) == 1
    assert not started.controls.masks.buttons[1].isEnabled()


def test_accept_writes_protects_and_goes_on(started):
    """A second object does not take the first one's pixels; the type is kept."""
    started.points.add([20, 24])
    started.settle()
    first = started.mask()
    started.press("accept")
    labels = started.layer("segmentation")
    np.testing.assert_array_equal(labels.data == 1, first)
    assert started.controls.object_id.value() == 2
    assert started.preview is None
    assert "Object 1 is in layer 'segmentation'" in started.status
    started.points.add([22, 26])
    started.settle()
    started.key("K")
    np.testing.assert_array_equal(labels.data == 1, first)
    assert labels.data.dtype == np.uint16
    labels.undo()
    labels.undo()
    assert not labels.data.any()
    labels.data[:] = 9
    overlap = started.controls.overlap
    overlap.setCurrentIndex(overlap.findData("overwrite"))
    overlap.activated.emit(overlap.currentIndex())
    started.points.add([30, 40])
    started.settle()
    mask = started.mask()
    started.press("accept")
    np.testing.assert_array_equal(labels.data != 9, mask)


def test_the_users_labels_are_target_and_keep_their_type(started, monkeypatch):
    """A uint8 layer stays uint8, and is widened only when asked."""
    errors = notified(monkeypatch)
    own = started.viewer.add_labels(np.zeros((48, 64), np.uint8), name="mine")
    started.viewer.add_labels(np.zeros((9, 9), np.uint8), name="does not fit")
    started.settle()
    target = started.controls.target
    assert [target.itemText(i) for i in range(target.count())] == ["new layer", "mine"]
    target.setCurrentIndex(1)
    target.activated.emit(1)
    started.controls.object_id.setValue(300)
    started.points.add([20, 24])
    started.settle()
    started.press("accept")
    assert len(errors) == 1
    assert "at most 255" in errors[0]
    assert "at most 255" in started.status
    assert not own.data.any()
    assert started.preview is not None
    assert not started.controls.widen.isHidden()
    started.press("widen")
    assert own.data.dtype == np.uint16
    assert started.controls.widen.isHidden()
    started.press("accept")
    np.testing.assert_array_equal(own.data == 300, started.mask())


def test_objects_have_numbers_and_keys(started):
    """A prompt belongs to the object that is chosen; Discard removes those."""
    started.key("U")
    started.key("U")
    assert started.controls.object_id.value() == 3
    started.points.add([20, 24])
    started.key("J")
    assert started.controls.object_id.value() == 2
    started.points.add([30, 24])
    started.settle()
    started.press("free")
    assert started.controls.object_id.value() == 4
    assert list(started.points.features["object"]) == [3, 2]
    started.press("previous")
    started.press("next")
    assert started.controls.object_id.value() == 4
    started.key("G")
    assert started.controls.background.isChecked()
    started.key("G")
    assert started.controls.foreground.isChecked()
    # napari takes over the features of a point that is selected; we do not.
    started.points.selected_data = {0}
    started.settle()
    started.points.selected_data = set()
    started.points.add([30, 40])
    started.shapes.add_rectangles([[9.5, 11.5], [24.5, 31.5]])
    started.settle()
    assert list(started.points.features["object"]) == [3, 2, 4]
    started.key("W")
    assert list(started.points.features["object"]) == [3, 2]
    assert len(started.shapes.data) == 0
    assert started.preview is None
    assert "Click on object 4" in started.status


def test_an_existing_label_is_corrected_in_place(started, monkeypatch):
    """It is a mask prompt, and what is accepted takes its place."""
    errors = notified(monkeypatch)
    data = np.zeros((48, 64), np.uint8)
    data[10:21, 20:31] = 7
    own = started.viewer.add_labels(data, name="mine")
    assert not started.controls.use_label.isEnabled()
    started.annotator.set_target(own)
    started.key("H")
    assert errors == ["layer 'mine' has no label 1 in this plane."]
    started.controls.object_id.setValue(7)
    started.press("use_label")
    started.settle()
    asked = started.annotator.work.answer.request.prompts
    np.testing.assert_array_equal(asked.mask, data == 7)
    np.testing.assert_array_equal(asked.prompts.box, [10, 20, 21, 31])
    started.press("background")
    started.points.add([10, 20])
    started.settle()
    assert started.annotator.work.answer.request.prompts.mask is not None
    started.press("accept")
    np.testing.assert_array_equal(own.data == 7, started.mask())
    assert own.data.dtype == np.uint8
    started.key("J")
    started.press("discard")
    started.settle()
    assert "Click on object 7" in started.status


def test_accepting_before_the_mask_is_there_waits_for_it(started, counting):
    """What is accepted is what the prompts of then say."""
    encode, release = counting.encode, threading.Event()

    def slow(planes):
        assert release.wait(10)
        return encode(planes)

    counting.encode = slow
    started.points.add([20, 24])
    started.qtbot.wait(50)
    started.key("K")
    assert "will be accepted" in started.status
    release.set()
    started.wait(lambda: "segmentation" in started.viewer.layers)
    np.testing.assert_array_equal(
        started.layer("segmentation").data == 1, started.mask()
    )


def test_fifty_clicks_in_a_second_end_with_the_last(started, counting):
    """And encode once."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        started.points.data = rng.uniform(2, 40, (1, 2))
        started.qtbot.wait(18)
    started.settle()
    session = Session(started.annotator.image.data, DiscPredictor())
    expected = session.segment(Prompts(started.points.data))
    np.testing.assert_array_equal(started.preview > 0, expected.best)
    assert counting.encoded == 1


def test_slow_work_can_be_cancelled_and_may_fail(started, counting, monkeypatch):
    """Fast work shows no progress; an error is one sentence, and the next one works."""
    assert started.controls.progress.isHidden()
    encode, release = counting.encode, threading.Event()

    def slow(planes):
        assert release.wait(10)
        return encode(planes)

    counting.encode = slow
    started.points.add([20, 24])
    started.wait(lambda: not started.controls.cancel.isHidden())
    started.wait(lambda: started.controls.progress.format() == "Looking at the image")
    started.press("cancel")
    assert started.status == "Cancelled."
    release.set()
    started.wait(lambda: not started.annotator.runner.is_busy)
    started.qtbot.wait(50)
    assert started.preview is None
    assert started.controls.cancel.isHidden()
    started.points.add([20, 25])  # the next prompt goes on as if nothing had been
    started.settle()
    assert started.preview is not None
    errors = notified(monkeypatch)

    def broken(planes):
        raise ValueError("the disk is full.")

    counting.encode = broken
    started.annotator.image.data = image(48, 64, seed=1)
    started.settle()
    assert errors == ["the disk is full."]
    assert started.status == "The disk is full."
    counting.encode = encode
    started.points.add([25, 24])
    started.settle()
    assert started.preview is not None


def test_any_layer_may_be_deleted_in_mid_work(started, counting):
    """The widget goes on with what is left."""
    own, predict = started.annotator, counting.predict
    columns = iter(range(22, 32))

    def begin() -> threading.Event:
        release = threading.Event()

        def slow(*arguments):
            assert release.wait(10)
            return predict(*arguments)

        counting.predict = slow
        # Another place each time: what is asked for already is not asked again.
        started.points.add([31, next(columns)])
        started.wait(lambda: own.runner.is_busy)
        return release

    for role in ("preview", "target", "shapes", "points"):
        counting.predict = predict
        started.points.add([20, 24])
        started.settle()
        started.press("accept")
        release = begin()
        started.viewer.layers.remove(
            {
                "preview": own.preview.layer,
                "target": own.target,
                "shapes": started.shapes,
                "points": started.points,
            }[role]
        )
        release.set()
        started.settle()
        started.start()
        assert (own.target is None) == (role == "target")
    release = begin()
    started.viewer.layers.remove(own.image)
    release.set()
    started.settle()
    assert own.image is None
    assert own.work.answer is None
    assert "Open an image" in started.status


@pytest.mark.parametrize("how", ["dock", "viewer"])
def test_closing_in_mid_work_ends_the_worker(started, counting, how):
    """Nothing arrives afterwards, and keys are free again."""
    release, begun = threading.Event(), threading.Event()

    def slow(planes):
        begun.set()
        assert release.wait(10)
        raise AssertionError("nobody hears this")

    counting.encode = slow
    started.points.add([20, 24])
    started.wait(begun.is_set)
    thread = started.annotator.runner._thread
    threading.Timer(0.2, release.set).start()
    if how == "dock":
        started.viewer.window.remove_dock_widget(started.dock)
        assert not any(k in started.viewer.keymap for k in ("K", "Q"))
        assert "preview" not in started.viewer.layers
    else:
        started.viewer.close()
        started.qtbot.wait(100)
        started.annotator.close()
    thread.join(10)
    assert not thread.is_alive()
    started.qtbot.wait(50)


def test_a_widget_that_is_opened_again_finds_its_layers(started):
    """Prompts are still there."""
    started.points.add([20, 24])
    started.settle()
    started.viewer.window.remove_dock_widget(started.dock)
    again = User(started.viewer, started.qtbot)
    again.settle()
    assert again.preview is not None
    assert len(started.viewer.layers) == 4


def test_a_model_that_is_not_there_is_downloaded_by_a_button(started, monkeypatch):
    """Not before; the status says how large it is, and its licence."""
    model = started.controls.model
    model.setCurrentIndex(model.findData("sam_vit_b"))
    model.activated.emit(model.currentIndex())
    assert "375 MB, licence Apache-2.0" in started.status
    assert started.controls.start.text() == "Download"
    started.points.add([20, 24])
    started.settle()
    assert started.preview is None
    there = partial(bool, True)
    monkeypatch.setattr("napari_sam._qt.scene.is_available", lambda spec: there())
    monkeypatch.setattr("napari_sam._qt.engine.is_available", lambda spec: there())
    started.press("start")
    started.settle()
    assert started.preview is not None
    assert started.controls.start.text() == "Start"
