"""The widget "Words", with a detector of fixed boxes and a model of discs."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

import torch
from napari.components import ViewerModel
from qtpy.QtWidgets import QAbstractButton, QComboBox

from napari_sam import model_folders
from napari_sam._detections import TextOptions
from napari_sam._qt.outline import box_corners
from napari_sam._qt.words import WordsWidget
from napari_sam._qt.words_choices import split_words
from napari_sam._qt.words_layers import note_objects
from napari_sam._session_text import NamedObject
from napari_sam._tests.test_qt_steps import PLUGIN, DiscPredictor, JobUser, image
from napari_sam._tests.tiny_detectors import save_detector
from napari_sam._tests.tiny_hub import offline, serving
from napari_sam.text_detector import DetectorKind, TextDetector

WORDS = "nucleus, dark spot"
# Scores of both phrases, and (x, y, width, height) of centres.
SCORES = [[0.9, 0.1], [0.2, 0.6], [0.25, 0.1], [0.85, 0.3]]
BOXES = [[16.0, 16, 10, 8], [44, 20, 12, 12], [30, 48, 8, 8], [17, 16, 10, 8]]


class Looks:
    """Counts how often it is asked."""

    def __init__(self):
        self.count = 0

    def __call__(self, model, tokenizer, pixels, phrases):
        """Give the same boxes in every plane."""
        self.count += 1
        return torch.tensor(SCORES)[:, : len(phrases)], torch.tensor(BOXES)


@pytest.fixture
def looks(monkeypatch, tmp_path):
    """Make the widget load a model of discs, and a detector of fixed boxes."""
    found = Looks()
    predictor = DiscPredictor()
    detector = TextDetector(
        torch.nn.Identity(), None, DetectorKind("", found), "fixed", "cpu"
    )
    monkeypatch.setattr("napari_sam._qt.engine.load_model", lambda name: predictor)
    monkeypatch.setattr("napari_sam._qt.words_finder.load_detector", lambda _: detector)
    monkeypatch.setattr("napari_sam._qt.kept_model.download", lambda *_: None)
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path))
    return found


class Searching(JobUser):
    """Someone with the widget in a viewer."""

    def __init__(self, viewer, qtbot, widget=None):
        widget = widget or WordsWidget(viewer)
        super().__init__(viewer, qtbot, widget, widget.finder)

    @property
    def is_idle(self):
        """Whether nothing is under way."""
        return super().is_idle and not self.own.job and not self.own._resting.isActive()

    @property
    def phrases(self):
        """Phrases of the boxes in the layer."""
        layer = self.own.boxes.layer
        return [] if layer is None else list(layer.features["phrase"])


@pytest.fixture
def user(qtbot, looks):
    """Someone with an empty viewer, without its window, and the widget."""
    made = Searching(ViewerModel(), qtbot)
    qtbot.addWidget(made.widget, before_close_func=lambda one: one.finder.close())
    return made


@pytest.fixture
def found(user):
    """Someone who found both words in an image."""
    user.viewer.add_image(image(64, 64), name="cells", scale=(0.5, 0.5))
    user.controls.words.setPlainText(WORDS)
    user.settle()
    user.press("find")
    return user


def test_an_empty_viewer_says_what_to_do(user):
    """First an image, then words; tooltips; 300 pixels; what will be downloaded."""
    assert user.status == "Open an image, or choose one above."
    assert not user.controls.find.isEnabled()
    assert "620 MB" in user.controls.about.text()
    user.viewer.add_image(image(48, 64), name="a name that is much too long " * 3)
    user.settle()
    assert "Type what to look for" in user.status
    assert not user.controls.find.isEnabled()
    user.controls.words.setPlainText("nucleus")
    assert user.controls.find.isEnabled()
    assert "Press Find" in user.status
    for kind in (QAbstractButton, QComboBox):
        for one in user.widget.findChildren(kind):
            assert not one.isVisibleTo(user.widget) or one.toolTip() or one.objectName()
    assert user.widget.inside.minimumSizeHint().width() <= 300


def test_words_are_split():
    """At commas and ends of lines; each once."""
    assert split_words("") == []
    assert split_words(" a b ,, c.\nd;a b") == ["a b", "c", "d"]


def test_boxes_and_masks_where_they_are(found):
    """Rectangles in the image's pixels, a mask in each, phrase and score beside."""
    layer, preview = found.own.boxes.layer, found.own.preview.layer
    assert found.phrases == ["nucleus", "dark spot", "nucleus"]
    assert [round(one, 2) for one in layer.features["score"]] == [0.9, 0.6, 0.25]
    np.testing.assert_allclose(layer.data[0].min(axis=0), (11.5, 10.5))
    np.testing.assert_allclose(layer.data[0].max(axis=0), (19.5, 20.5))
    np.testing.assert_allclose(layer.scale, (0.5, 0.5))
    assert len(np.unique(layer.edge_color, axis=0)) == 2
    assert set(np.unique(preview.data)) == {0, 1, 2, 3}
    assert preview.data[16, 16] == 1
    assert preview.data[20, 44] == 2
    assert found.controls.counts.text() == "2 nucleus, 1 dark spot"
    assert "3 found" in found.status


def test_sliders_filter_without_looking_again(found, looks):
    """Score and overlap act on boxes and masks at once."""
    assert looks.count == 1
    found.controls.score.setValue(0.5)
    found.settle()
    assert found.phrases == ["nucleus", "dark spot"]
    assert set(np.unique(found.own.preview.layer.data)) == {0, 1, 2}
    found.controls.overlap_limit.setValue(1.0)
    found.settle()
    assert found.phrases == ["nucleus", "nucleus", "dark spot"]
    found.controls.score.setValue(1.0)
    found.settle()
    assert not found.own.boxes.layer.visible
    assert "No box passes" in found.status
    assert not found.controls.accept.isEnabled()
    found.controls.score.setValue(0.2)
    found.settle()
    assert found.own.boxes.layer.visible
    assert looks.count == 1


def test_deleted_boxes_are_left_out(found):
    """A box that the user deletes takes its mask with it."""
    layer = found.own.boxes.layer
    layer.selected_data = {1}
    layer.remove_selected()
    found.settle()
    assert found.phrases == ["nucleus", "nucleus"]
    assert set(np.unique(found.own.preview.layer.data)) == {0, 1, 3}
    found.controls.score.setValue(0.5)
    found.settle()
    assert found.phrases == ["nucleus"]


def test_accept_writes_labels_and_their_table(found):
    """Free numbers, other labels kept, phrase and score of each; undone together."""
    labels = found.viewer.add_labels(np.zeros((64, 64), np.uint8), scale=(0.5, 0.5))
    labels.data[:4, :4] = 7
    labels.features = {"size": np.arange(8.0)}
    found.own.set_layers(target=labels)
    found.press("accept")
    assert set(np.unique(labels.data)) == {0, 7, 8, 9, 10}
    table = labels.features.set_index("index")
    assert table.loc[[8, 9, 10], "phrase"].tolist() == [
        "nucleus",
        "dark spot",
        "nucleus",
    ]
    assert table.loc[8, "score"] == 0.9
    assert table.loc[7, "size"] == 7
    assert "3 objects written" in found.status
    assert not found.own.boxes.layer.visible
    assert not found.controls.accept.isEnabled()
    found.press("undo")
    assert set(np.unique(labels.data)) == {0, 7}
    assert labels.features["index"].max() == 7
    assert found.controls.accept.isEnabled()


def test_a_stack_is_linked(user, looks):
    """Each plane is looked at once; objects have one number in all of them."""
    user.viewer.add_image(image(3, 64, 64), name="stack")
    user.controls.words.setPlainText(WORDS)
    user.settle()
    user.press("find_stack")
    assert looks.count == 3
    assert user.controls.counts.text() == "6 nucleus, 3 dark spot"
    user.viewer.dims.set_current_step(0, 2)
    user.settle()
    data = user.own.boxes.layer.data
    assert {float(one[0, 0]) for one in data} == {2.0}
    assert user.own.preview.layer.data.shape == (1, 64, 64)
    user.press("accept")
    labels = user.own.target
    assert labels.data.shape == (3, 64, 64)
    assert set(np.unique(labels.data)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(labels.data[0], labels.data[2])
    assert list(labels.features["index"]) == [1, 2, 3]
    assert looks.count == 3
    labels.undo()
    assert not labels.data.any()


def test_another_plane_shows_nothing(user):
    """Boxes stay with their plane."""
    user.viewer.add_image(image(3, 64, 64), name="stack")
    user.viewer.dims.set_current_step(0, 0)
    user.controls.words.setPlainText(WORDS)
    user.settle()
    user.press("find")
    assert user.own.boxes.layer.visible
    user.viewer.dims.set_current_step(0, 1)
    user.settle()
    assert not user.own.boxes.layer.visible
    assert "another plane" in user.status
    user.viewer.dims.order = (1, 0, 2)
    user.settle()
    assert not user.own.boxes.layer.visible
    user.viewer.layers.remove("stack")
    user.settle()
    assert user.own.found is None
    assert len(user.viewer.layers) == 0


def test_cancel_and_failure_change_nothing(user, looks, monkeypatch):
    """A search can be stopped; what goes wrong is one sentence."""
    user.viewer.add_image(image(64, 64), name="cells")
    user.controls.words.setPlainText("nucleus")
    user.settle()
    user.controls.find.click()
    user.widget.cancel.click()
    user.settle()
    assert "Cancelled" in user.status
    assert user.own.found is None
    monkeypatch.setattr(
        Looks,
        "__call__",
        lambda *args: (_ for _ in ()).throw(
            ValueError("phrases must be shorter for this model, got 'nucleus'.")
        ),
    )
    user.press("find")
    assert "shorter" in user.status
    assert user.own.found is None


def test_without_the_library(user, monkeypatch):
    """Detectors are grey, and the line says what to install."""
    user.viewer.add_image(image(64, 64), name="cells")
    user.controls.words.setPlainText("nucleus")
    monkeypatch.setattr(model_folders, "find_spec", lambda name: None)
    user.settle()
    assert 'pip install "napari-sam-stacks[text]"' in user.status
    assert not user.controls.find.isEnabled()
    model = user.controls.detector.model()
    assert not any(model.item(row).isEnabled() for row in range(model.rowCount()))
    assert "pip install" in model.item(0).toolTip()


def test_a_folder_of_the_users(qtbot, tmp_path, monkeypatch):
    """Real loading code: a wrong folder is refused, a right one finds boxes."""
    predictor = DiscPredictor()
    monkeypatch.setattr("napari_sam._qt.engine.load_model", lambda name: predictor)
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "cache"))
    user = Searching(ViewerModel(), qtbot)
    qtbot.addWidget(user.widget, before_close_func=lambda one: one.finder.close())
    user.viewer.add_image(image(64, 64), name="cells")
    user.controls.words.setPlainText("nucleus\ncell wall")
    user.settle()
    user.own.choose_folder(str(tmp_path))
    assert "config.json" in user.status
    assert user.own.choices.detector == "owlv2_base"
    folder = save_detector("owlv2", tmp_path / "words")
    user.own.choose_folder(str(folder))
    assert user.controls.detector.currentText() == "words"
    assert user.controls.detector.currentData() == str(folder)
    assert not user.controls.about.isVisibleTo(user.widget)
    user.controls.show_options(TextOptions(0.01, 1.0))
    user.press("find")
    assert set(user.phrases) <= {"nucleus", "cell wall"}
    assert len(user.phrases) > 0


def test_offline_says_what_to_put_where(qtbot, tmp_path, monkeypatch):
    """A download that fails names the files and the folder."""
    offline(monkeypatch)
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "cache"))
    user = Searching(ViewerModel(), qtbot)
    qtbot.addWidget(user.widget, before_close_func=lambda one: one.finder.close())
    user.viewer.add_image(image(64, 64), name="cells")
    user.controls.words.setPlainText("nucleus")
    user.settle()
    user.press("find")
    assert "tokenizer" in user.status
    assert str(tmp_path / "cache" / "owlv2_base") in user.status


def test_a_download_can_be_cancelled_midway(qtbot, tmp_path, monkeypatch):
    """The bar follows it; Cancel stops it, and what came of it is gone."""
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "cache"))
    page = save_detector("owlv2", tmp_path / "page")
    user = Searching(ViewerModel(), qtbot)
    qtbot.addWidget(user.widget, before_close_func=lambda one: one.finder.close())
    user.viewer.add_image(image(64, 64), name="cells")
    user.controls.words.setPlainText("nucleus")
    user.settle()
    monkeypatch.setattr(model_folders, "_CHUNK", 256)
    with serving(page, monkeypatch) as hub:
        hub.is_slow = True
        user.controls.find.click()
        transfer = user.own.engine.transfer
        qtbot.waitUntil(lambda: transfer.done > 0, timeout=10000)
        bar = user.widget.progress
        qtbot.waitUntil(lambda: bar.format().endswith("%p%"), timeout=10000)
        assert "Downloading owlv2_base" in bar.format()
        user.widget.cancel.click()
        assert user.status == "Cancelled; nothing was changed."
    user.settle()
    folder = tmp_path / "cache" / "owlv2_base"
    assert not (folder / "model.safetensors").exists()
    assert user.status == "Cancelled; nothing was changed."


def test_in_a_real_viewer(make_napari_viewer, qtbot, looks):
    """Opened through the manifest; closing the dock takes its layers out."""
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Words")
    assert isinstance(widget, WordsWidget)
    user = Searching(viewer, qtbot, widget)
    viewer.add_image(image(64, 64), name="cells")
    user.controls.words.setPlainText(WORDS)
    user.settle()
    user.press("find")
    user.press("accept")
    assert widget.inside.minimumSizeHint().width() <= 300
    names = [layer.name for layer in viewer.layers]
    assert sorted(names) == ["cells", "found boxes", "found objects", "segmentation"]
    viewer.window.remove_dock_widget(widget)
    assert [layer.name for layer in viewer.layers] == ["cells", "segmentation"]


def test_tables_and_corners():
    """A table without numbers counts from 0; boxes lie in the right axes."""
    from napari.layers import Labels

    from napari_sam._layers import ViewPlane

    view = ViewPlane((2, 0), (5,), (0.0, 5.0, 0.0))
    found = box_corners((1.0, 2.0, 4.0, 8.0), view)
    assert (found[:, 1] == 5).all()
    assert (found[:, 2].min(), found[:, 2].max()) == (0.5, 3.5)
    assert (found[:, 0].min(), found[:, 0].max()) == (1.5, 7.5)
    labels = Labels(np.zeros((4, 4), int))
    note_objects(labels, [])
    assert labels.features.empty
    note_objects(labels, [NamedObject(3, "a", 0.5)])
    note_objects(labels, [NamedObject(3, "b", 0.7), NamedObject(4, "a", 0.1)])
    assert labels.features["phrase"].tolist() == ["b", "a"]
