"""What the worker does, in napari's list of activities."""

from __future__ import annotations

import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari.resources import LOADING_GIF_PATH
from qtpy.QtGui import QMovie
from qtpy.QtWidgets import QLabel, QWidget

from napari_sam._qt.activity import CALM, Activity


class Entry:
    """An entry of napari's, which handles events while it is made and changed."""

    made = 0
    on_event = staticmethod(lambda: None)

    def __init__(self, total, desc) -> None:
        type(self).made += 1
        self.total, self.desc, self.n, self.is_closed = total, desc, 0, False
        self.on_event()

    def set_description(self, text) -> None:
        assert not self.is_closed
        self.desc = text
        self.on_event()

    def update(self, step) -> None:
        assert not self.is_closed
        self.n += step

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def entries(monkeypatch):
    """Class of the entries that are made."""
    kind = type("Kind", (Entry,), {})
    monkeypatch.setattr("napari_sam._qt.activity.cancelable_progress", kind)
    return kind


@pytest.fixture
def window(qtbot):
    """Return a widget with a wheel in it, as napari's window has one."""
    window = QWidget()
    wheel = QLabel(window)
    wheel.setMovie(QMovie(LOADING_GIF_PATH, parent=wheel))
    qtbot.addWidget(window)
    return window


def test_the_wheel_turns_slowly_as_long_as_there_is_an_entry(entries, window):
    """Then at its own pace again, for others."""
    movie = window.findChild(QLabel).movie()
    inside = QWidget(window)
    activity = Activity(inside)
    activity.show("encoding")
    assert movie.speed() == CALM
    activity.hide()
    assert movie.speed() == 100


def test_timers_while_the_entry_is_made(entries, window):
    """What is shown meanwhile makes no second entry, and no endless depth."""
    activity = Activity(window)
    entries.on_event = staticmethod(lambda: activity.show("again"))
    activity.show("loading", 1, 4)
    activity.show("loading", 3, 4)
    assert entries.made == 1
    assert activity._entry.n == 3


def test_the_entry_is_taken_away_while_it_changes(entries, window):
    """Nothing is done to an entry that is closed; the next one is new."""
    activity = Activity(window)
    activity.show("loading", 0, 4)
    entries.on_event = staticmethod(activity.hide)
    activity.show("encoding", 2, 9)
    assert activity._entry is None
    entries.on_event = staticmethod(lambda: None)
    activity.show("encoding", 2, 9)
    assert entries.made == 2
