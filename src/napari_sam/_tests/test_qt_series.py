"""The image series in a real viewer: one image after the other, nothing lost."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from qtpy.QtWidgets import QAbstractButton

import napari_sam as ns
from napari_sam._qt.series import ImageSeriesWidget
from napari_sam.series import STATE_FILE

NAMES = ["a.tif", "b.nii.gz", "c.tif"]


@pytest.fixture
def folder(tmp_path):
    """Write a plane, a stack, and another plane."""
    rng = np.random.default_rng(0)
    for name, shape in zip(NAMES, [(20, 24), (3, 20, 24), (16, 18)], strict=True):
        pixels = rng.integers(0, 255, shape, dtype=np.uint8)
        ns.write_labels(tmp_path / name, pixels, spacing=(2, 0.5, 0.5)[-len(shape) :])
    return tmp_path


class Annotating:
    """Someone with the widget in a viewer."""

    def __init__(self, viewer, qtbot):
        self.viewer, self.qtbot = viewer, qtbot
        self.widget = ImageSeriesWidget(viewer)
        viewer.window.add_dock_widget(self.widget, name="Image series")
        self.own = self.widget.annotator

    def settle(self):
        """Wait until nothing is under way, and what was has been taken in."""
        self.qtbot.waitUntil(
            lambda: (
                not self.own.runner.is_busy and not self.own.message.endswith("...")
            ),
            timeout=20000,
        )

    def press(self, name):
        """Press a button, as far as it can be pressed."""
        control = getattr(self.widget, name)
        assert control.isEnabled(), name
        control.click()
        self.settle()

    def open(self, folder):
        """Open a folder without the dialog."""
        self.own.open_folder(folder)
        self.settle()

    @property
    def names(self):
        """Names of all layers."""
        return [layer.name for layer in self.viewer.layers]

    @property
    def states(self):
        """What the list says."""
        images = self.widget.images
        items = [images.topLevelItem(i) for i in range(images.topLevelItemCount())]
        return {item.text(0): item.text(1) for item in items}


@pytest.fixture
def user(make_napari_viewer, qtbot):
    """Someone with an empty viewer and the widget."""
    return Annotating(make_napari_viewer(), qtbot)


def test_next_saves_and_comes_back(user, folder):
    """Labels are written on leaving an image, and there again on coming back."""
    assert user.widget.status.text() == "Open a folder of images."
    assert not user.widget.next.isEnabled()
    buttons = user.widget.findChildren(QAbstractButton)
    assert all(b.toolTip() for b in buttons if b.parent() is user.widget.inside)
    assert user.widget.inside.minimumSizeHint().width() <= 300
    user.open(folder)
    assert user.names == ["a.tif", "labels: a.tif"]
    assert not user.widget.previous.isEnabled()
    user.own.labels.data[3:6, 4:8] = 5
    user.own.labels.refresh()
    user.press("next")
    assert user.names == ["b.nii.gz", "labels: b.nii.gz"]
    np.testing.assert_allclose(user.own.labels.scale, (2, 0.5, 0.5))
    saved = ns.read_image(folder / "labels" / "a_labels.tif")
    assert np.count_nonzero(np.asarray(saved) == 5) == 12
    assert saved.spacing == (0.5, 0.5)
    assert user.states == {
        NAMES[0]: "in work",
        NAMES[1]: "untouched",
        NAMES[2]: "untouched",
    }
    user.press("previous")
    assert user.own.labels.data[4, 5] == 5
    assert not (folder / "labels" / "b_labels.nii.gz").exists()


def test_done_is_kept_and_resumed(user, folder):
    """Done images are left out by Done, and when the folder is opened again."""
    user.open(folder)
    user.press("done")
    assert user.own.shown.image.name == NAMES[1]
    assert user.states[NAMES[0]] == "done"
    assert (folder / "labels" / "a_labels.tif").exists()
    assert "1 of 3 images are done" in user.widget.status.text()
    user.open(folder)
    assert user.own.shown.image.name == NAMES[1]
    user.press("previous")
    user.press("reopen")
    assert user.states[NAMES[0]] == "in work"
    for _ in NAMES:
        user.press("done")
    assert set(user.states.values()) == {"done"}
    assert "3 of 3 images are done" in user.widget.status.text()
    content = json.loads((folder / "labels" / STATE_FILE).read_text())
    assert content["images"][NAMES[2]]["state"] == "done"


def test_saved_by_itself_and_on_closing(user, folder):
    """A while after a change, and at the latest when the dock is closed."""
    user.own._timer.setInterval(50)
    user.open(folder)
    user.own.labels.paint((5, 5), 3)
    file = folder / "labels" / "a_labels.tif"
    user.qtbot.waitUntil(file.exists, timeout=20000)
    user.settle()
    assert user.states[NAMES[0]] == "in work"
    user.own._timer.setInterval(10**6)
    user.own.labels.paint((12, 12), 7)
    user.viewer.window.remove_dock_widget(user.widget)
    assert np.asarray(ns.read_image(file))[12, 12] == 7


def test_a_damaged_image_is_said_and_the_shown_one_stays(user, folder, monkeypatch):
    """Nothing is lost, and the next image can be shown."""
    said: list[str] = []
    monkeypatch.setattr("napari_sam._qt.report.show_error", said.append)
    (folder / NAMES[1]).write_bytes(b"no image")
    user.open(folder)
    user.own.labels.data[3, 3] = 1
    user.press("next")
    assert "could not be read" in said[0]
    assert "could not be read" in user.widget.status.text()
    assert user.names == ["a.tif", "labels: a.tif"]
    assert (folder / "labels" / "a_labels.tif").exists()
    assert user.states[NAMES[1]] == "failed"
    user.press("next")
    assert user.names == ["c.tif", "labels: c.tif"]
    user.widget.images.itemClicked.emit(user.widget.images.topLevelItem(0), 0)
    user.settle()
    assert user.own.labels.data[3, 3] == 1
    user.press("done")
    user.own.open_folder(folder / "labels")
    assert "folder or pattern" in said[-1]
    assert user.names == ["c.tif", "labels: c.tif"]


def test_painting_while_the_next_image_is_read(user, folder):
    """What was painted meanwhile is saved too."""
    user.open(folder)
    user.own.labels.data[1, 1] = 1
    user.widget.next.click()
    user.own.labels.data[2, 2] = 2
    user.settle()
    saved = np.asarray(ns.read_image(folder / "labels" / "a_labels.tif"))
    assert (saved[1, 1], saved[2, 2]) == (1, 2)


def test_segment_anything_writes_into_these_labels(user, folder, monkeypatch, tmp_path):
    """Accepted masks go into the labels of the series, on every image."""
    from napari_sam._qt.annotation import SegmentAnythingWidget

    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "cache"))
    widget = SegmentAnythingWidget(user.viewer)
    user.viewer.window.add_dock_widget(widget, name="Segment Anything")
    for name in ("a.tif", "b.nii.gz"):
        if user.own.series is None:
            user.open(folder)
        else:
            user.press("next")
        user.qtbot.waitUntil(
            lambda: widget.annotator.target is user.own.labels, timeout=20000
        )
        assert widget.annotator.image.name == name
        widget.annotator.start()
        assert len(user.viewer.layers) > 2
    user.press("next")
    assert {"c.tif", "labels: c.tif"} <= {*user.names}
    assert not [name for name in user.names if "a.tif" in name or "b.nii" in name]
    image = user.names.index("c.tif")
    assert "preview" not in user.names[:image]
