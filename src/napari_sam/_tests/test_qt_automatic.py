"""The widget "Automatic masks", with a model of discs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari.components import ViewerModel
from qtpy.QtWidgets import QAbstractButton, QComboBox

import napari_sam as ns
from napari_sam._qt.automatic import AutomaticMasksWidget
from napari_sam._qt.automatic_engine import Filters
from napari_sam._qt.model_chooser import offer_new_models
from napari_sam._tests.finding import Finding, load_discs
from napari_sam._tests.test_qt_steps import PLUGIN, User, image
from napari_sam.registry import missing_extra


@pytest.fixture
def discs(monkeypatch, tmp_path):
    """Make the widget load a model of discs."""
    return load_discs(monkeypatch, tmp_path)


@pytest.fixture
def user(qtbot, discs):
    """Someone with an empty viewer, without its window, and the widget."""
    made = Finding(ViewerModel(), qtbot)
    qtbot.addWidget(made.widget, before_close_func=lambda one: one.finder.close())
    return made


@pytest.fixture
def found(user):
    """Someone who found objects in an image of micrometres."""
    user.viewer.add_image(
        image(64, 64), name="cells", scale=(0.5, 0.5), units=("um", "um")
    )
    user.settle()
    user.find()
    return user


def test_an_empty_viewer_says_what_to_do(user):
    """Nothing can be pressed that makes no sense; tooltips; 300 pixels."""
    assert user.status == "Open an image, or choose one above."
    assert not user.controls.run.isEnabled()
    assert not user.controls.accept_all.isEnabled()
    kinds = (QAbstractButton, QComboBox)
    own = [c for kind in kinds for c in user.widget.findChildren(kind)]
    shown = [c for c in own if type(c).__module__.startswith("PyQt") and c.isVisible()]
    assert [c for c in shown if isinstance(c, QComboBox) and not c.toolTip()] == []
    assert user.widget.inside.minimumSizeHint().width() <= 300
    user.viewer.add_image(image(48, 64), name="a name that is much too long " * 3)
    user.settle()
    assert user.widget.inside.minimumSizeHint().width() <= 300
    assert "Find objects" in user.status


def test_sliders_filter_without_decoding(found, discs):
    """Filters act at once on score, overlap and area in the square of the unit."""
    decoded, encoded = discs.decoded, discs.encoded
    assert decoded == 64
    every = found.shown
    assert len(every) == found.rows > 20
    found.controls.score.setValue(0.85)  # the second of each three masks
    fewer = found.shown
    assert 0 < len(fewer) < len(every)
    np.testing.assert_allclose(found.own.found.shown.scores, 0.9, rtol=1e-6)
    assert len(fewer) == found.rows
    found.controls.score.setValue(0.6)
    assert found.shown == every
    found.controls.largest.setValue(20)  # 80 pixels: discs of radius 3
    areas = found.own.found.shown.areas
    assert len(areas) > 0
    assert areas.max() <= 80
    found.controls.largest.setValue(0)
    assert found.controls.largest.suffix() == " µm²"
    found.controls.smallest.setValue(1e6)
    assert found.rows == 0
    assert "widen the filters" in found.status
    assert not found.controls.accept_all.isEnabled()
    assert (discs.decoded, discs.encoded) == (decoded, encoded)


def test_table_and_layer_select_each_other(found):
    """A row selects the label, and a picked label its row."""
    table, layer = found.controls.table, found.own.preview.layer
    assert found.viewer.layers.selection.active is layer
    assert str(layer.mode) == "pick"
    table.selectRow(3)
    (number,) = table.numbers
    assert layer.selected_label == number == found.own.chosen
    other = next(iter(found.shown - {number}))
    layer.selected_label = other
    assert table.numbers == [other]
    assert found.own.chosen == other
    layer.selected_label = 0
    assert found.own.chosen == 0
    assert not found.controls.accept.isEnabled()


def test_accept_and_reject_one_and_all(found):
    """Accepted objects go into the labels under free numbers, others stay."""
    own, table = found.own, found.controls.table
    labels = found.viewer.add_labels(
        np.zeros((64, 64), np.uint16), scale=(0.5, 0.5), units=("um", "um")
    )
    labels.data[:10, :10] = 7
    found.settle()
    found.choose("target", labels)
    count = found.rows
    # Of what is drawn in the middle, one that is nowhere under another.
    number = int(own.preview.layer.data[44, 44])
    own.pick(number)
    assert table.numbers == [number]
    mask = own.preview.layer.data == number
    found.press("accept")
    new = labels.data == 8
    assert new.any()
    assert not (new & (labels.data == 7)).any()
    assert (mask <= (new | (labels.data == 7))).all()
    assert (labels.data == 7).sum() == 100
    assert found.rows == count - 1
    assert number not in found.shown
    table.selectRow(0)
    found.press("reject")
    assert found.rows == count - 2
    before = labels.data.copy()
    found.press("accept_all")
    assert found.rows == 0
    assert labels.data.max() > 9
    assert (labels.data == 7).sum() == 100
    assert "written into" in found.status
    found.press("undo")
    np.testing.assert_array_equal(labels.data, before)
    found.press("restore")
    assert found.rows == count
    found.press("reject_all")
    assert found.rows == 0


def test_one_undo_of_napari_takes_it_back(found):
    """All accepted objects are one step; overwriting takes others' pixels."""
    found.press("accept_all")
    labels = found.own.target
    assert labels.data.any()
    assert labels.name in found.status
    np.testing.assert_allclose(labels.scale, (0.5, 0.5))
    labels.undo()
    assert not labels.data.any()
    labels.data[:] = 99
    found.choose("overlap", "overwrite")
    found.press("restore")
    found.press("accept_all")
    assert len(np.unique(labels.data)) > 2


def test_inside_shapes_and_where_there_is_no_label(user):
    """Only points there are decoded, and objects elsewhere are left out."""
    user.viewer.add_image(image(64, 64), name="cells")
    user.settle()
    user.choose("mode", "region")
    user.press("run")
    assert "draw a polygon" in user.status
    user.viewer.add_shapes([[[0, 0], [0, 30], [30, 30], [30, 0]]], name="where")
    user.settle()
    user.find(overlap=1.0)
    rows, columns = np.nonzero(user.own.preview.layer.data)
    assert 0 < rows.max() < 40
    assert columns.max() < 40
    labels = user.viewer.add_labels(np.zeros((64, 64), np.uint8))
    labels.data[:, :32] = 1
    user.settle()
    user.choose("target", labels)
    user.choose("mode", "free")
    user.find(overlap=1.0)
    columns = user.own.found.shown.points[:, 1]
    assert len(columns)
    assert columns.min() > 31


def test_like_the_selected_label(user, discs):
    """The selected label is the example; without one a sentence says so."""
    user.viewer.add_image(image(64, 64), name="cells")
    labels = user.viewer.add_labels(np.zeros((64, 64), np.uint8), name="known")
    user.settle()
    user.choose("target", labels)
    user.choose("mode", "similar")
    assert user.controls.score.value() == user.own.choices.filters.score == 0.7
    user.press("run")
    assert "known has no label 1" in user.status
    labels.data[16:32, 16:32] = 1
    user.find()
    assert discs.decoded > 0
    assert user.own.found is not None


def test_a_stack_is_one_change(user):
    """Objects of all planes are linked, and one undo takes them back."""
    user.viewer.add_image(image(3, 48, 48), name="stack")
    user.settle()
    user.choose("grid", 8)
    user.own.choose(filters=Filters(score=0.85, stability=0.7))
    user.press("run_stack")
    labels = user.own.target
    assert labels.data.shape == (3, 48, 48)
    ids = [set(np.unique(plane)) - {0} for plane in labels.data]
    assert ids[0]
    assert ids[0] == ids[1] == ids[2]
    labels.undo()
    assert not labels.data.any()


def test_a_plane_too_large_to_be_seen_is_searched_by_tiles(user, monkeypatch):
    """Objects are written as they are stitched; what needs the whole plane says so."""
    for module in ("session", "_qt.automatic_finder"):
        monkeypatch.setattr(f"napari_sam.{module}.LARGE_PLANE", 1 << 20)
    user.viewer.add_image(image(1024, 1100), name="slide")
    user.settle()
    user.choose("grid", 8)
    user.own.choose(filters=Filters(score=0.85, stability=0.7))
    user.press("run")
    assert "written into segmentation" in user.status
    labels = user.own.target.data
    assert len(np.unique(labels)) > 10
    assert user.own.found is None
    user.press("undo")
    assert not labels.any()
    user.choose("mode", "free")
    user.press("run")
    assert "tile by tile" in user.status
    user.viewer.layers.remove("slide")
    user.viewer.add_image(image(2, 1024, 1100), name="slides")
    user.own.set_layers(target=None)
    user.choose("mode", "everything")
    user.settle()
    user.press("run_stack")
    labels = user.own.target.data
    assert labels.shape == (2, 1024, 1100)
    assert set(np.unique(labels[0])) & set(np.unique(labels[1])) - {0}


def test_cancel_changes_nothing(user, discs, monkeypatch):
    """Cancel stops the search between two steps."""
    user.viewer.add_image(image(64, 64), name="cells")
    user.settle()
    user.choose("grid", 64)
    user.controls.run.click()
    user.qtbot.waitUntil(lambda: discs.decoded > 0, timeout=20000)
    user.widget.cancel.click()
    user.settle()
    assert discs.decoded < 64 * 64
    assert user.own.found is None
    assert "Cancelled" in user.status
    assert [layer.name for layer in user.viewer.layers] == ["cells"]


def test_in_a_real_viewer(make_napari_viewer, qtbot, discs):
    """Opened through the manifest; closing the dock takes the preview out."""
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Automatic masks")
    assert isinstance(widget, AutomaticMasksWidget)
    user = Finding(viewer, qtbot, widget)
    viewer.add_image(image(64, 64), name="cells")
    user.settle()
    user.find()
    user.press("accept_all")
    # With napari's own style, which makes fields wider.
    assert widget.inside.minimumSizeHint().width() <= 300
    names = [layer.name for layer in viewer.layers]
    assert names == ["cells", "segmentation", "found objects"]
    viewer.window.remove_dock_widget(widget)
    assert [layer.name for layer in viewer.layers] == ["cells", "segmentation"]


def test_deleting_the_image_empties_the_list(found):
    """Nothing can be written for an image that is gone."""
    found.viewer.layers.remove("cells")
    found.settle()
    assert found.own.found is None
    assert found.rows == 0
    assert len(found.viewer.layers) == 0


def test_filters_in_the_unit():
    """Areas become pixels; no limits leave the options' own."""
    from napari_sam import AutomaticOptions

    options = AutomaticOptions(area_range=(1, 2))
    assert Filters().applied_to(options, 0.25).area_range == (1, 2)
    assert Filters(smallest=1).applied_to(options, 0.25).area_range == (4, np.inf)


def test_the_chooser_knows_new_models(user, monkeypatch):
    """When it is told; what is chosen stays."""
    box = user.controls.model
    count = box.count()
    more = (*ns.list_models(), replace(ns.list_models()[0], name="of my own"))
    monkeypatch.setattr("napari_sam._qt.model_chooser.list_models", lambda: more)
    offer_new_models()
    assert box.count() == count + 1
    assert box.currentData() == user.own.choices.model
    greyed = [i for i in range(count) if not box.model().item(i).isEnabled()]
    assert greyed == [i for i in range(count) if missing_extra(more[i])]


def test_one_order_of_undo_with_segment_anything(make_napari_viewer, qtbot, discs):
    """Its key takes back what was accepted here, in its turn, and writes it again."""
    viewer = make_napari_viewer()
    user = User(viewer, qtbot)
    viewer.add_image(image(64, 64), name="cells")
    user.settle()
    user.start()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Automatic masks")
    finding = Finding(viewer, qtbot, widget)
    assert finding.own.engine.cache is user.annotator.engine.cache
    user.points.add([20, 24])
    user.settle()
    finding.find()
    finding.press("accept_all")
    labels = finding.own.target
    written = labels.data.copy()
    assert written.any()
    user.points.add([50, 50])
    user.settle()
    user.key("Shift-Z")
    assert len(user.points.data) == 1
    np.testing.assert_array_equal(labels.data, written)
    user.key("Shift-Z")
    assert not labels.data.any()
    assert "found, segmentation" in user.annotator.undo.texts()[1]
    assert not finding.controls.undo.isEnabled()
    user.key("Shift-Y")
    np.testing.assert_array_equal(labels.data, written)
    finding.press("undo")
    assert not labels.data.any()
    assert finding.status == "Taken back."
    assert "found, segmentation" in user.annotator.undo.texts()[1]
    user.key("Shift-Y")
    user.key("Shift-Y")
    assert len(user.points.data) == 2
    # Out of its turn it leaves the history.
    finding.press("undo")
    assert not labels.data.any()
    assert len(user.points.data) == 2
    user.key("Shift-Z")
    user.key("Shift-Z")
    assert len(user.points.data) == 0
