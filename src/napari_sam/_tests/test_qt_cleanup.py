"""The widget "Clean up"."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QComboBox

from napari_sam import cleanup
from napari_sam._qt import cleanup_engine
from napari_sam._qt.cleaner import ADDED, REMOVED
from napari_sam._qt.cleanup import CleanUpWidget
from napari_sam._qt.cleanup_list import StepList
from napari_sam._tests.test_qt_steps import PLUGIN, JobUser
from napari_sam.cleanup import CleanupStep


def balls() -> np.ndarray:
    """Three planes with a ring (4), a speck (4) and a square (9)."""
    labels = np.zeros((3, 40, 40), np.uint16)
    labels[:, 5:15, 5:15] = 4
    labels[1, 8:10, 8:10] = 0
    labels[1, 30, 5] = 4
    labels[:, 20:30, 20:30] = 9
    labels[1, 24, 24] = 0
    return labels


class Cleaning(JobUser):
    """Someone with the widget in a viewer."""

    def __init__(self, viewer, qtbot, widget=None):
        widget = widget or CleanUpWidget(viewer)
        super().__init__(viewer, qtbot, widget, widget.cleaner)

    def add(self, operation):
        """Add a step."""
        box = self.controls.operation
        box.setCurrentIndex(box.findData(operation))
        self.press("add")

    def set(self, name, value):
        """Set a parameter of the chosen step."""
        self.controls.form._fields[name].setValue(value)
        self.settle()

    @property
    def listed(self):
        """Texts of the steps."""
        steps = self.controls.steps
        return [steps.item(i).text() for i in range(steps.count())]

    @property
    def kinds(self):
        """What the preview shows."""
        return np.squeeze(self.own.preview.layer.data)


@pytest.fixture
def user(qtbot):
    """Someone with an empty viewer, without its window, and the widget."""
    made = Cleaning(ViewerModel(), qtbot)
    qtbot.addWidget(made.widget, before_close_func=lambda one: one.cleaner.close())
    return made


@pytest.fixture
def with_labels(user):
    """Someone with labels of 2 x 0.5 x 0.5 micrometres."""
    user.viewer.add_labels(
        balls(), name="cells", scale=(2, 0.5, 0.5), units=("um",) * 3
    )
    user.viewer.dims.set_current_step(0, 1)
    user.settle()
    return user


def test_an_empty_viewer_says_what_to_do(user):
    """Nothing can be pressed that makes no sense; tooltips; 300 pixels."""
    assert user.status == "Open or make a Labels layer first."
    assert not user.controls.apply.isEnabled()
    user.add("opening")
    own = [
        one
        for kind in (QAbstractButton, QComboBox)
        for one in user.widget.findChildren(kind)
        if one.isVisible()
    ]
    assert [one for one in own if not one.toolTip()] == []
    assert user.widget.inside.minimumSizeHint().width() <= 300
    assert not user.controls.apply.isEnabled()


def test_steps_in_their_order_with_units(with_labels):
    """Add, move, switch off and remove; values begin with a few pixels."""
    user = with_labels
    assert user.status == "Choose a step above, and add it."
    user.add("opening")
    user.add("fill_holes")
    assert user.listed == ["Opening 1 µm · 3D", "Fill holes · 3D"]
    user.press("up")
    assert user.listed[0] == "Fill holes · 3D"
    assert not user.controls.up.isEnabled()
    user.controls.steps.item(1).setCheckState(Qt.CheckState.Unchecked)
    assert [step.operation for step in user.own.steps.active] == ["fill_holes"]
    user.set("max_size", 12.5)
    assert user.own.steps.chosen.parameters == {"max_size": 12.5}
    user.set("max_size", 0)
    assert user.own.steps.chosen.parameters == {}
    user.press("remove")
    assert user.listed == ["Opening 1 µm · 3D"]


def test_the_preview_is_what_apply_does(with_labels):
    """In the displayed plane, in red and green; napari's undo takes it all back."""
    user, before = with_labels, balls()
    layer = user.own.target
    user.add("fill_holes")
    user.add("remove_small_objects")
    user.set("min_size", 3.0)
    steps = user.own.steps.active
    expected = cleanup.clean_up(before, steps, (2, 0.5, 0.5))
    assert (user.kinds == REMOVED).sum() == 1
    assert user.kinds[30, 5] == REMOVED
    np.testing.assert_array_equal(user.kinds == ADDED, expected[1] > before[1])
    np.testing.assert_array_equal(layer.data, before)
    user.press("apply")
    np.testing.assert_array_equal(layer.data, expected)
    assert layer.dtype == before.dtype
    assert "pixels of cells changed" in user.status
    assert user.viewer.layers.selection.active is layer
    assert not user.controls.preview.isChecked()
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)
    layer.redo()
    user.press("undo")
    np.testing.assert_array_equal(layer.data, before)
    assert not user.controls.undo.isEnabled()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (0, 2, 1)])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_preview_of_any_axes(with_labels, order, dimensions):
    """XZ and swapped axes show the same plane that Apply gives."""
    user, before = with_labels, balls()
    step = CleanupStep("dilate", {"radius": 1.1}, dimensions)
    user.viewer.dims.order = order
    user.viewer.dims.set_current_step(order[0], {0: 1}.get(order[0], 8))
    user.own.set_steps(StepList.of([step]))
    user.settle()
    expected = cleanup.clean_up(before, user.own.steps.active, (2, 0.5, 0.5))
    view = user.own.view
    difference = view.read(expected, view.index) != view.read(before, view.index)
    assert difference.any()
    shown = user.own.preview.layer.data
    local = tuple(0 for _ in view.index)
    np.testing.assert_array_equal(view.read(shown, local) == ADDED, difference)


def test_this_label_and_selected_labels(with_labels):
    """A step may be for the label of now, or for some that are named."""
    user = with_labels
    step = CleanupStep("erode", {"radius": 0.5}, 2, "this")
    user.own.target.selected_label = 9
    user.own.set_steps(StepList.of([step]))
    user.settle()
    rows, _ = np.nonzero(user.kinds == REMOVED)
    assert rows.min() >= 20
    user.own.set_steps(
        StepList.of([CleanupStep("erode", {"radius": 0.5}, 2, "selected")])
    )
    user.settle()
    assert not user.kinds.any()
    user.controls.selected.setText("2-5")
    user.controls.selected.editingFinished.emit()
    user.settle()
    rows, _ = np.nonzero(user.kinds == REMOVED)
    assert rows.size > 0
    assert rows[rows != 30].max() < 20


def test_edits_meanwhile_are_kept(with_labels, monkeypatch):
    """What is painted while the worker cleans stays."""
    user = with_labels
    go, entered = threading.Event(), threading.Event()
    real = cleanup_engine.apply_steps

    def slow(*args):
        entered.set()
        assert go.wait(20)
        return real(*args)

    user.own.set_previewing(False)
    user.own.set_steps(StepList.of([CleanupStep("fill_holes")]))
    monkeypatch.setattr(cleanup_engine, "apply_steps", slow)
    user.controls.apply.click()
    assert entered.wait(20)
    layer = user.own.target
    layer.data_setitem((np.array([1]), np.array([8]), np.array([8])), 30)
    go.set()
    user.settle()
    assert layer.data[1, 8, 8] == 30
    assert layer.data[1, 8, 9] == 4
    assert "1 pixels edited meanwhile" in user.status


def test_cancel_changes_nothing(with_labels, monkeypatch):
    """Cancel stops between two steps; the labels stay."""
    user = with_labels
    go, entered = threading.Event(), threading.Event()
    real = cleanup_engine.apply_steps

    def slow(*args):
        entered.set()
        assert go.wait(20)
        return real(*args)

    user.own.set_previewing(False)
    user.own.set_steps(StepList.of([CleanupStep("erode", {"radius": 1.0})] * 3))
    monkeypatch.setattr(cleanup_engine, "apply_steps", slow)
    user.controls.apply.click()
    assert entered.wait(20)
    user.widget.cancel.click()
    go.set()
    user.settle()
    np.testing.assert_array_equal(user.own.target.data, balls())
    assert "Cancelled" in user.status
    assert user.controls.apply.isEnabled()


def test_steps_are_saved_and_loaded(with_labels, tmp_path, monkeypatch):
    """As the JSON that scripts read; a damaged file is said, and the list stays."""
    user = with_labels
    said: list[str] = []
    monkeypatch.setattr("napari_sam._qt.report.show_error", said.append)
    user.add("smooth")
    user.add("keep_largest")
    path = tmp_path / "steps.json"
    user.own.save(str(path))
    assert cleanup.read_steps(path) == user.own.steps.active
    user.press("remove")
    user.own.load(str(path))
    assert len(user.listed) == 2
    path.write_text(json.dumps({"steps": []}))
    user.own.load(str(path))
    assert "must hold clean-up steps" in said[0]
    assert len(user.listed) == 2


def test_read_only_labels_are_said(user, monkeypatch):
    """Nothing is begun that cannot be written."""
    said: list[str] = []
    monkeypatch.setattr("napari_sam._qt.report.show_error", said.append)
    labels = balls()
    labels.flags.writeable = False
    user.viewer.add_labels(labels)
    user.settle()
    user.add("fill_holes")
    user.press("apply")
    assert "read-only" in said[0]


def test_a_time_series_of_stacks(user):
    """The last three axes are space; every stack is cleaned."""
    user.viewer.add_labels(np.stack([balls(), balls()]))
    user.settle()
    user.add("fill_holes")
    user.press("apply")
    data = user.own.target.data
    assert (data[:, 1, 8, 8] == 4).all()


def test_in_a_real_viewer(make_napari_viewer, qtbot):
    """Opened through the manifest; closing the dock takes the preview out."""
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Clean up")
    assert isinstance(widget, CleanUpWidget)
    user = Cleaning(viewer, qtbot, widget)
    viewer.add_labels(balls(), name="cells")
    user.settle()
    user.add("dilate")
    assert len(viewer.layers) == 2
    # With napari's own style, which makes fields wider.
    assert widget.inside.minimumSizeHint().width() <= 300
    viewer.window.remove_dock_widget(widget)
    assert [layer.name for layer in viewer.layers] == ["cells"]
