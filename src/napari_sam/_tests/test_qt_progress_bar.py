"""A progress bar that moves little."""

from __future__ import annotations

import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

import itertools

from napari_sam._qt import progress_bar
from napari_sam._qt.progress_bar import FULL, Bar, ProgressBar, crept


@pytest.fixture
def bar(qtbot, monkeypatch):
    """Return a bar, shown, and a clock that is set by hand."""
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: bar.now)
    bar = ProgressBar()
    bar.now = 100.0
    qtbot.addWidget(bar)
    bar.show()
    return bar


def test_what_is_done_is_shown(bar):
    """Of work of known length, its share and a text."""
    bar.show_done(0.25, "3 of 12 planes")
    assert (bar.value(), bar.maximum()) == (FULL // 4, FULL)
    assert bar.text() == "3 of 12 planes"


def test_the_bar_is_drawn_with_the_window_and_not_at_once(qtbot, monkeypatch):
    """Qt's own draws before setValue returns, which takes the window's time."""
    drawn = []
    monkeypatch.setattr(Bar, "paintEvent", lambda *_: drawn.append(1))
    bar = Bar()
    qtbot.addWidget(bar)
    bar.show()
    qtbot.waitUntil(lambda: bool(drawn))
    drawn.clear()
    bar.setValue(50)
    assert bar.value() == 50
    assert not drawn
    qtbot.waitUntil(lambda: bool(drawn))
    bar.setUpdatesEnabled(False)
    bar.setValue(60)
    assert bar.value() == 60
    assert not bar.updatesEnabled()  # as somebody else wants it


def test_unknown_work_fills_the_bar_ever_more_slowly(bar):
    """It is never full, and goes on where it was when it is asked for again."""
    bar.show_unknown(10, "Looking")
    seen = [bar.value()]
    for _ in range(6):
        bar.now += 10
        bar.show_unknown(10, "Looking")
        seen.append(bar.value())
    steps = [after - before for before, after in itertools.pairwise(seen)]
    assert seen[0] == 0
    assert steps == sorted(steps, reverse=True)
    assert 0 < seen[-1] < FULL
    assert bar.text() == "Looking"


def test_the_bar_moves_by_itself_and_only_while_it_is_seen(bar, qtbot):
    """A timer of few steps a second, which rests when hidden; then it begins anew."""
    bar.show_unknown(1)
    bar.now += 1
    qtbot.waitUntil(lambda: bar.value() == round(FULL * crept(1)))
    bar.hide()
    bar.now += 1
    qtbot.wait(2 * progress_bar.STEP)
    assert bar.value() == round(FULL * crept(1))
    bar.show()
    assert bar.value() == 0


def test_it_is_never_qts_animation(bar):
    """Minimum and maximum are never equal, which would animate it."""
    for act in (bar.show_unknown, lambda: bar.show_done(0), lambda: bar.show_done(1)):
        act()
        assert bar.maximum() > bar.minimum()
