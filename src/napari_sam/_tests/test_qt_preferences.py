"""Keys, models and budgets in napari's preferences; actions as commands; one cache."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

import napari.settings
from npe2 import PluginManifest

import napari_sam
from napari_sam._qt.keys import ACTIONS
from napari_sam._qt.preferences import PLUGIN, Preferences, read_preferences
from napari_sam._qt.shared_cache import shared_cache
from napari_sam._tests.test_qt_annotation import counting, user  # noqa: F401
from napari_sam._tests.test_qt_steps import User, image
from napari_sam.registry import MODELS

has_settings = pytest.mark.skipif(
    not hasattr(napari.settings, "get_plugin_settings"),
    reason="plugins have preferences from napari 0.9 on",
)


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """Preferences in a directory of their own."""
    monkeypatch.setattr(napari.settings, "_CFG_PATH", str(tmp_path / "settings.yaml"))
    napari.settings._clear_plugin_settings_cache()
    yield napari.settings.get_plugin_settings(PLUGIN)
    napari.settings._clear_plugin_settings_cache()


def test_the_manifest_declares_what_the_code_knows():
    """Each action is a command and has a key; defaults and choices are the same."""
    path = Path(napari_sam.__file__).parent / "napari.yaml"
    found = PluginManifest.from_file(path).contributions
    commands = {command.id: command.python_name for command in found.commands}
    for name in ACTIONS:
        python_name = f"napari_sam._qt.commands:{name}"
        assert commands[f"{PLUGIN}.{name}"] == python_name
    keys = found.configurations["keys"].properties
    assert {n: p.default for n, p in keys.items()} == {
        name: action.key for name, action in ACTIONS.items()
    }
    model = found.configurations["model"].properties
    assert model["name"].enum == list(MODELS)
    cache, ours = found.configurations["cache"].properties, Preferences()
    assert {name: one.default for name, one in cache.items()} == {
        name: getattr(ours, name) for name in cache
    }
    assert (model["name"].default, model["precision"].default) == (
        ours.model,
        ours.precision,
    )


@has_settings
def test_preferences_are_read_and_used(settings, monkeypatch, user):  # noqa: F811
    """A changed key works at once, whichever layer is active, and is in the tooltip."""
    assert read_preferences().budgets == Preferences().budgets
    settings.model.name = "sam_vit_b"
    settings.cache.host_gib = 0.5
    user.viewer.window.remove_dock_widget(user.dock)
    one = User(user.viewer, user.qtbot)
    assert one.annotator.choices.model == "sam_vit_b"
    assert one.annotator.engine.cache.host.budget == 1 << 29
    one.annotator.choose(model="mobile_sam")
    one.viewer.add_image(image(48, 64), name="cells")
    one.settle()
    one.start()
    assert one.controls.next.toolTip().endswith("(U)")
    settings.keys.next_object = "F8"
    assert one.controls.next.toolTip().endswith("(F8)")
    for layer in list(one.viewer.layers):
        one.viewer.layers.selection.active = layer
        before = one.controls.object_id.value()
        one.key("F8")
        one.key("U")
        assert one.controls.object_id.value() == before + 1
    settings.keys.next_object = ""
    one.key("F8")
    assert one.controls.object_id.value() == before + 1
    assert one.controls.next.toolTip() == ACTIONS["next_object"].text
    told: list[str] = []
    monkeypatch.setattr("napari_sam._qt.keys.show_warning", told.append)
    settings.keys.next_object = "Bogus"
    settings.keys.next_object = "K"
    assert ["'Bogus' is taken" in told[0], "'K' is taken" in told[1]] == [True, True]
    one.viewer.window.remove_dock_widget(one.dock)
    settings.keys.next_object = "F8"
    assert "F8" not in one.viewer.keymap


def test_commands_open_the_widget_and_act(make_napari_viewer, counting):  # noqa: F811
    """As the command palette runs them."""
    from napari._app_model import get_app_model

    viewer = make_napari_viewer()
    run = get_app_model().commands.execute_command
    run(f"{PLUGIN}.next_object").result()
    run(f"{PLUGIN}.next_object").result()
    widgets = list(viewer.window.dock_widgets.values())
    assert [widget.controls.object_id.value() for widget in widgets] == [3]


def test_long_work_is_in_napari_as_well(user, counting):  # noqa: F811
    """Cancel there is the widget's Cancel; what SAM sees and the bars are shown."""
    viewer, own = user.viewer, user.annotator
    viewer.add_image(image(3, 48, 64), name="stack")
    viewer.dims.set_current_step(0, 0)
    user.settle()
    user.start()
    user.wait(lambda: len(own.ready) == 3)
    user.wait(lambda: user.controls.picture.pixmap().height() > 0)
    np.testing.assert_array_equal(own.work.picture.pixels, own.image.data[0])
    assert user.controls.planes._ready == {0, 1, 2}
    assert "of 2.0 GiB" in user.controls.bars.bars["memory"].format()
    predict, release = counting.predict, threading.Event()

    def slow(*arguments):
        assert release.wait(10)
        return predict(*arguments)

    counting.predict = slow
    user.points.add([0, 20, 24])
    user.wait(lambda: user.widget.activity._entry is not None)
    entry = user.widget.activity._entry
    user.wait(lambda: entry.desc.startswith("Looking at plane 0"))
    assert entry in type(entry)._all_instances
    entry.cancel()
    user.wait(lambda: user.status == "Cancelled.")
    release.set()
    user.wait(lambda: not own.runner.is_busy)
    assert user.preview is None
    user.wait(lambda: entry not in type(entry)._all_instances)
    # Before another plane is looked at, the picture would be wrong.
    own.choose(contrast="percentiles")
    assert user.controls.picture.text()


def test_a_download_shows_how_far_it_is_and_can_be_cancelled(user, monkeypatch):  # noqa: F811
    """Part by part, as pooch reports it; the next one begins anew."""
    begun, parts = threading.Event(), threading.Semaphore(0)

    def fetch(spec, transfer):
        transfer.total = 100 << 20
        for _ in range(100):
            begun.set()
            assert parts.acquire(timeout=10)
            transfer.update(1 << 20)

    there = partial(bool, False)
    monkeypatch.setattr("napari_sam._qt.engine.is_available", lambda spec: there())
    monkeypatch.setattr("napari_sam._qt.scene.is_available", lambda spec: there())
    monkeypatch.setattr("napari_sam._qt.engine.download", fetch)
    user.viewer.add_image(image(48, 64), name="cells")
    user.settle()
    assert user.controls.start.text() == "Download"
    user.press("start")
    assert begun.wait(10)
    parts.release(25)
    bar = user.controls.progress
    user.wait(lambda: bar.value() == 250)
    assert "Downloading mobile_sam" in bar.format()
    user.press("cancel")
    parts.release()
    user.wait(lambda: not user.annotator.runner.is_busy)
    assert user.status.startswith("mobile_sam is not on this computer")
    parts.release(100)
    user.press("start")
    user.settle()
    assert "mobile_sam" in user.annotator.engine._predictors


def test_two_viewers_share_a_cache(user, make_napari_viewer, qtbot, counting):  # noqa: F811
    """What one has encoded the other need not; other budgets are another cache."""
    data = image(48, 64)
    other = User(make_napari_viewer(), qtbot)
    for one in (user, other):
        one.viewer.add_image(data, name="cells")
        one.settle()
        one.start()
        one.points.add([20, 24])
        one.settle()
        assert one.preview is not None
    assert counting.encoded == 1
    caches = [one.annotator.engine.cache for one in (user, other)]
    assert caches[0] is caches[1]
    assert shared_cache(Preferences(disk_gib=1.0)) is not caches[0]
