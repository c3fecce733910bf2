"""A closer look in the widget: chosen, told, recorded, and done again the same."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari.components import ViewerModel

from napari_sam._qt.annotation import SegmentAnythingWidget
from napari_sam._qt.engine import CacheReport, Engine
from napari_sam._qt.state import sharp_names
from napari_sam._tests.seeing_predictor import SeeingPredictor
from napari_sam.embedding_cache import EmbeddingCache
from napari_sam.replay import replay_session
from napari_sam.session_file import Commit, read_session


@pytest.fixture
def image():
    """Make a plane of 1024 pixels with a small bright square."""
    plane = np.zeros((1024, 1024), np.uint8)
    plane[301:318, 402:421] = 255
    return plane


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Keep sessions in a folder that is empty."""
    monkeypatch.setenv("NAPARI_SAM_SESSIONS", str(tmp_path))
    return tmp_path


class Looking:
    """Someone with the widget."""

    def __init__(self, qtbot, image):
        self.qtbot, self.viewer = qtbot, ViewerModel()
        self.layer = self.viewer.add_image(image, name="plane")
        self.predictor = SeeingPredictor()
        engine = Engine(lambda _: self.predictor, EmbeddingCache())
        self.widget = SegmentAnythingWidget(self.viewer, engine)
        self.own, self.controls = self.widget.annotator, self.widget.controls
        qtbot.addWidget(self.widget, before_close_func=lambda one: one.close_work())
        self.own.start()

    def settle(self):
        """Wait until nothing is under way."""
        self.own.refresh()
        self.qtbot.wait(20)
        self.qtbot.waitUntil(lambda: not self.own.runner.is_busy, timeout=20000)
        self.qtbot.wait(20)

    def choose(self, mode):
        """Choose as a user would."""
        box = self.controls.sharp
        box.setCurrentIndex(box.findData(mode))
        box.activated.emit(box.currentIndex())
        self.settle()


def test_what_it_costs_is_said():
    """In seconds of the last encoding, once there was one."""
    assert "one encoding" in sharp_names(None)["always"]
    assert "+0.4 s a plane" in sharp_names(CacheReport(1, 0, 0, seconds=0.4))["auto"]


def test_off_by_default_auto_looks_closer_and_is_recorded(qtbot, image, folder):
    """The status says where; the session file how; replay gives the same labels."""
    user = Looking(qtbot, image)
    assert user.own.choices.sharp == "off"
    user.own.layers.points.add([309, 411])
    user.settle()
    coarse = user.own.work.answer.prediction
    assert coarse.window is None
    assert "Seen in" not in user.controls.status.text()
    assert user.controls.sharp.itemText(1).startswith("small objects: +")
    user.choose("auto")
    closer = user.own.work.answer.prediction
    assert closer.window is not None
    text = f"rows {closer.window.row_min} to {closer.window.row_max}"
    assert text in user.controls.status.text()
    user.own.choose_mask(0)
    user.own.accept()
    user.settle()
    labels = user.viewer.layers["segmentation"].data
    np.testing.assert_array_equal(labels > 0, image > 0)
    user.choose("off")
    user.own.close()
    (file,) = folder.glob("*.napari-sam")
    saved = read_session(file)
    (commit,) = [one for one in saved.log if isinstance(one, Commit)]
    assert commit.request.sharp == "auto"
    assert saved.choices["sharp"] == "off"
    again = replay_session(saved, image, SeeingPredictor())
    np.testing.assert_array_equal(again, labels)


def test_a_stack_is_followed_in_windows(qtbot, image, folder):
    """The section "Volume" looks as closely as clicks do."""
    user = Looking(qtbot, np.stack([image] * 3))
    user.viewer.dims.set_point(0, 0)
    user.choose("auto")
    user.own.layers.points.add([0, 309, 411])
    user.settle()
    user.own.choose_mask(0)
    before = user.predictor.encoded
    assert user.own.scene.source.sharp == "auto"
    user.widget.do("follow_object")
    user.settle()
    user.qtbot.waitUntil(lambda: user.widget.volume.volume.run is None, timeout=20000)
    labels = user.viewer.layers["segmentation"].data
    np.testing.assert_array_equal(labels[1] > 0, image > 0)
    assert user.predictor.encoded > before


def test_the_window_is_outlined_while_the_mask_is_shown(qtbot, image, folder):
    """In its plane, behind the prompts; it is no prompt, and gone with the mask."""
    user = Looking(qtbot, np.stack([image] * 3))
    user.viewer.dims.set_point(0, 1)
    user.choose("auto")
    names = [layer.name for layer in user.viewer.layers]
    assert "closer look" not in names  # there was nothing to show yet
    user.own.layers.points.add([1, 309, 411])
    user.settle()
    window = user.own.work.answer.prediction.window
    layer = user.own.preview.outline.layer
    assert layer.visible
    assert user.viewer.layers.selection.active is user.own.layers.points
    (corners,) = layer.data
    assert (corners[:, 0] == 1).all()
    np.testing.assert_array_equal(corners[:, 1:].min(axis=0) + 0.5, window_low(window))
    np.testing.assert_array_equal(
        corners[:, 1:].max(axis=0) + 0.5, (window.row_max, window.column_max)
    )
    # It is the layer's shape, and none of the prompts.
    assert len(user.own.layers.shapes.data) == 0
    assert user.own.work.submitted.prompts.prompts.box is None
    user.viewer.dims.set_point(0, 2)
    user.settle()
    assert not layer.visible
    user.viewer.dims.set_point(0, 1)
    user.settle()
    assert layer.visible
    user.choose("off")
    assert not layer.visible
    user.choose("auto")
    assert layer.visible
    user.own.choose_mask(0)
    user.own.accept()
    user.settle()
    assert not layer.visible
    user.own.close()
    assert layer not in user.viewer.layers


def window_low(window):
    """First row and column of a window."""
    return window.row_min, window.column_min


def test_an_outline_that_was_deleted_is_made_again_and_discard_hides_it(
    qtbot, image, folder
):
    """Layers of a viewer are the user's to delete."""
    user = Looking(qtbot, image)
    user.choose("auto")
    user.own.layers.points.add([309, 411])
    user.settle()
    user.viewer.layers.remove("closer look")
    user.own.layers.points.add([310, 412])
    user.settle()
    layer = user.own.preview.outline.layer
    assert layer in user.viewer.layers
    assert layer.visible
    user.own.discard()
    user.settle()
    assert not layer.visible
