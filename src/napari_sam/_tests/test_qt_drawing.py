"""The window is not drawn while a mask is made, and always is again."""

from __future__ import annotations

import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from qtpy.QtCore import Qt
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QDockWidget, QLabel, QListWidget, QMainWindow

from napari_sam._qt.controller import SOON
from napari_sam._qt.drawing import DrawingPause
from napari_sam._tests.test_qt_steps import DiscPredictor, User, image


@pytest.fixture
def window(qtbot):
    """Return a window with two lists and a label, each in a dock."""
    window = QMainWindow()
    for one in (QListWidget(), QListWidget(), QLabel()):
        dock = QDockWidget()
        dock.setWidget(one)
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    qtbot.addWidget(window)
    return window


def test_lists_wait_and_all_else_is_drawn(window):
    """What somebody else holds back stays so."""
    first, second = window.findChildren(QListWidget)
    second.setUpdatesEnabled(False)
    pause = DrawingPause(window.findChild(QLabel))
    for _ in range(2):
        pause.begin()
        pause.begin()
        assert pause.is_on
        assert not first.updatesEnabled()
        assert window.findChild(QLabel).updatesEnabled()
        pause.end()
        pause.end()
        assert not pause.is_on
        assert first.updatesEnabled()
        assert not second.updatesEnabled()


def test_a_list_deleted_meanwhile_is_no_matter(window, qtbot):
    """The other one is drawn again."""
    first, second = window.findChildren(QListWidget)
    pause = DrawingPause(window.findChild(QLabel))
    pause.begin()
    with qtbot.waitSignal(first.destroyed):
        first.deleteLater()
    pause.end()
    assert second.updatesEnabled()


def test_a_dock_that_is_torn_off_holds_nothing(window):
    """It is a window of its own then."""
    label = window.findChild(QLabel)
    pause = DrawingPause(label)
    label.parent().setFloating(True)
    pause.begin()
    assert not pause.is_on
    assert all(one.updatesEnabled() for one in window.findChildren(QListWidget))


@pytest.fixture
def started(make_napari_viewer, qtbot, monkeypatch, tmp_path):
    """Someone who pressed Start, and a model of discs."""
    monkeypatch.setattr("napari_sam._qt.engine.load_model", lambda _: DiscPredictor())
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path))
    user = User(make_napari_viewer(), qtbot)
    user.viewer.add_image(image(48, 64), name="cells")
    user.settle()
    user.start()
    return user


def test_the_canvas_waits_for_the_mask_of_an_encoded_plane(started, qtbot):
    """Not for the first one, which takes as long as the encoding."""
    canvas = started.widget.window().findChild(QOpenGLWidget)
    paused = []
    started.annotator.asked.connect(lambda: paused.append(canvas.updatesEnabled()))
    started.points.add([20, 24])
    started.settle()
    assert paused == []
    started.points.data = [[22, 25]]
    started.settle()
    assert paused == [False]
    assert canvas.updatesEnabled()
    assert started.annotator.preview.layer.visible


def test_the_canvas_does_not_wait_long(started, qtbot, monkeypatch):
    """An answer that does not come, or a widget that is closed, ends the pause."""
    canvas = started.widget.window().findChild(QOpenGLWidget)
    started.points.add([20, 24])
    started.settle()
    monkeypatch.setattr(started.annotator.runner, "submit", lambda *_: None)
    started.points.data = [[22, 25]]
    qtbot.waitUntil(lambda: not canvas.updatesEnabled())
    qtbot.waitUntil(canvas.updatesEnabled, timeout=40 * SOON)
    started.points.data = [[23, 26]]
    qtbot.waitUntil(lambda: not canvas.updatesEnabled())
    started.widget.close_work()
    assert canvas.updatesEnabled()
