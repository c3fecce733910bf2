"""Models in the widgets: which cannot be chosen, and why; each is loaded once."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from qtpy.QtWidgets import QComboBox

from napari_sam._qt.controls import fill, grey_out
from napari_sam._qt.loaded_models import LoadedModels
from napari_sam._qt.preferences import Preferences
from napari_sam._qt.shared_cache import new_engine
from napari_sam._tests.tiny_models import tiny_predictor


def test_what_cannot_be_chosen_is_grey_and_says_why(qtbot):
    """Until it can; other entries stay as they are."""
    box = QComboBox()
    qtbot.addWidget(box)
    fill(box, [("mobile_sam", "mobile_sam"), ("sam3", "sam3")], "mobile_sam")
    grey_out(box, 1, "needs a library")
    model = box.model()
    assert [model.item(row).isEnabled() for row in (0, 1)] == [True, False]
    assert model.item(1).toolTip() == "needs a library"
    grey_out(box, 1, None)
    assert model.item(1).isEnabled()
    assert model.item(1).toolTip() == ""


class Held:
    """Something that a weak reference can hold."""


def test_a_model_is_loaded_once_and_ends_with_its_last_user():
    """For equal keys, also when two threads ask at once."""
    models, made = LoadedModels(), []

    def load():
        time.sleep(0.05)
        made.append(1)
        return Held()

    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(lambda _: models.get("a", load), range(2))
    assert one is two
    assert models.get("b", load) is not one
    assert len(made) == 2
    del one, two
    gc.collect()
    models.get("a", load)
    assert len(made) == 3


def test_widgets_share_a_loaded_model(qapp, monkeypatch, tmp_path):
    """Of one name; a checkpoint that is another file now is loaded anew."""
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path))
    loaded = []

    def load(name):
        loaded.append(name)
        return tiny_predictor()

    monkeypatch.setattr("napari_sam._qt.engine.load_model", load)
    engines = [new_engine(Preferences()) for _ in range(3)]
    assert engines[0].cache is engines[1].cache
    for engine in engines[:2]:
        list(engine.prepare("mobile_sam"))
    assert loaded == ["mobile_sam"]
    checkpoint = tmp_path / "other.pt"
    checkpoint.touch()
    monkeypatch.setattr("napari_sam._qt.engine.checkpoint_path", lambda _: checkpoint)
    list(engines[2].prepare("mobile_sam"))
    assert loaded == ["mobile_sam"] * 2
