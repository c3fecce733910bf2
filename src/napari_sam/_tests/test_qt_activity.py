"""What the worker does, in napari's list of activities."""

from __future__ import annotations

import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari_sam._qt.activity import Activity


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


def test_timers_while_the_entry_is_made(entries):
    """What is shown meanwhile makes no second entry, and no endless depth."""
    activity = Activity()
    entries.on_event = staticmethod(lambda: activity.show("again"))
    activity.show("loading", 1, 4)
    activity.show("loading", 3, 4)
    assert entries.made == 1
    assert activity._entry.n == 3


def test_the_entry_is_taken_away_while_it_changes(entries):
    """Nothing is done to an entry that is closed; the next one is new."""
    activity = Activity()
    activity.show("loading", 0, 4)
    entries.on_event = staticmethod(activity.hide)
    activity.show("encoding", 2, 9)
    assert activity._entry is None
    entries.on_event = staticmethod(lambda: None)
    activity.show("encoding", 2, 9)
    assert entries.made == 2
