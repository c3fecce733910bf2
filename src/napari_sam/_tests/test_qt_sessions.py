"""Sessions of the widget: saved by themselves, there again after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari.components import ViewerModel

from napari_sam._qt import session_store
from napari_sam._qt.autosave import DELAY
from napari_sam._qt.controller import Annotator
from napari_sam._qt.engine import Engine
from napari_sam._tests.test_qt_steps import DiscPredictor, User, image
from napari_sam.embedding_cache import EmbeddingCache
from napari_sam.replay import replay_session
from napari_sam.session_file import SUFFIX, Commit, read_session, write_session


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Directory of the sessions of one test."""
    monkeypatch.setenv("NAPARI_SAM_SESSIONS", str(tmp_path / "sessions"))
    return tmp_path / "sessions"


@pytest.fixture
def notes(monkeypatch):
    """Collect what is shown as a note or an error."""
    found: list[str] = []
    monkeypatch.setattr("napari_sam._qt.report.show_info", found.append)
    monkeypatch.setattr("napari_sam._qt.report.show_error", found.append)
    return found


class Desk:
    """An annotator without a window; everything else is real."""

    def __init__(self, qtbot, data, **layer) -> None:
        self.qtbot = qtbot
        self.viewer = ViewerModel()
        self.layer = self.viewer.add_image(data, name="cells", **layer)
        self.viewer.dims.set_point(0, 0)
        engine = Engine(lambda name, **_: DiscPredictor(), EmbeddingCache())
        self.annotator = Annotator(self.viewer, engine)
        self.annotator.refresh()
        self.wait(lambda: self.annotator.autosave.found is not None)

    def wait(self, condition) -> None:
        self.qtbot.waitUntil(condition, timeout=20000)

    def settle(self) -> None:
        self.qtbot.wait(10)
        self.wait(lambda: not self.annotator.runner.is_busy)

    def click(self, *point) -> None:
        self.annotator.start()
        self.annotator.layers.points.add(point)
        self.annotator.refresh()
        self.settle()

    def accept(self) -> None:
        self.annotator.accept()
        self.settle()

    @property
    def labels(self) -> np.ndarray:
        return self.viewer.layers["segmentation"].data

    def restore(self) -> None:
        assert self.annotator.autosave.offer is not None
        self.annotator.autosave.restore()
        self.wait(lambda: self.annotator.autosave.offer is None)
        self.settle()


@pytest.fixture
def desk(qtbot, folder):
    """Make desks; all are closed in the end."""
    made: list[Desk] = []

    def make(data=None, **layer) -> Desk:
        data = image(5, 48, 64) if data is None else data
        made.append(Desk(qtbot, data, **layer))
        return made[-1]

    yield make
    for one in made:
        one.annotator.close()


def annotate(one: Desk) -> None:
    """Two accepted objects, a background point, a painted pixel, a chosen mask."""
    one.viewer.dims.set_point(0, 1)
    one.annotator.choose(next_after_accept=True)
    one.click(1, 20, 24)
    one.annotator.choose_mask(0)
    one.accept()
    one.click(1, 24, 30)
    one.accept()
    layer = one.viewer.layers["segmentation"]
    layer.data_setitem((np.array([1]), np.array([2]), np.array([3])), 77)
    one.viewer.dims.set_point(0, 3)
    one.click(3, 30, 40)
    one.annotator.choose_mask(2)


def test_work_is_there_again_and_replays_to_the_same(desk, folder):
    """Prompts, masks, accepted, labels; what is painted by hand, too."""
    first = desk()
    assert first.annotator.autosave.offer is None
    annotate(first)
    expected, data = first.labels.copy(), first.layer.data
    first.annotator.close()
    (file,) = folder.iterdir()
    saved = read_session(file)
    assert sum(isinstance(entry, Commit) for entry in saved.log) == 2
    np.testing.assert_array_equal(
        replay_session(saved, data, DiscPredictor()), expected
    )
    again = desk(data.copy())
    again.viewer.dims.set_point(0, 3)
    again.restore()
    np.testing.assert_array_equal(again.labels, expected)
    assert again.labels.dtype == expected.dtype
    own = again.annotator
    np.testing.assert_array_equal(
        own.layers.points.data, [[1, 20, 24], [1, 24, 30], [3, 30, 40]]
    )
    assert list(own.layers.points.features["object"]) == [1, 2, 3]
    assert own.choices.object_id == 3
    assert own.work.mask_index == 2
    again.viewer.dims.set_point(0, 1)
    own.choose(object_id=1)
    again.settle()
    assert own.preview.layer is None or not own.preview.layer.visible  # accepted
    # Going on: one more object, in the same file.
    own.choose(object_id=3)
    again.viewer.dims.set_point(0, 3)
    own.refresh()
    again.settle()
    again.accept()
    expected = again.labels.copy()
    own.close()
    (file,) = folder.iterdir()
    np.testing.assert_array_equal(replay_session(file, data, DiscPredictor()), expected)


def draw_in_2d_layers(one: Desk) -> None:
    """Points in planes 1 and 3, a box in 2; then go to plane 4."""
    points = one.viewer.add_points(ndim=2, name="mine")
    shapes = one.viewer.add_shapes(ndim=2, name="boxes of mine")
    for plane, number, point in ((1, 1, (20, 24)), (3, 2, (30, 40))):
        one.viewer.dims.set_current_step(0, plane)
        one.annotator.choose(object_id=number)
        points.add(point)
        one.settle()
    one.viewer.dims.set_current_step(0, 2)
    shapes.add([[10, 12], [10, 30], [24, 30], [24, 12]], shape_type="rectangle")
    one.settle()
    one.viewer.dims.set_current_step(0, 4)
    one.settle()


def test_prompts_of_2d_layers_come_back_where_they_were_drawn(desk):
    """A layer of one's own without the axis of the planes; moved, they are new."""
    first = desk(scale=(2, 0.5, 0.5))
    draw_in_2d_layers(first)
    moved = first.viewer.layers["mine"]
    moved.data = np.vstack([moved.data[:1], [[31, 41]]])
    first.settle()
    first.annotator.close()
    again = desk(first.layer.data.copy(), scale=(2, 0.5, 0.5))
    again.restore()
    layers = again.annotator.layers
    np.testing.assert_allclose(layers.points.data, [[1, 40, 48], [4, 62, 82]])
    np.testing.assert_allclose(layers.shapes.data[0][:, 0], 2)
    assert layers.points.ndim == layers.shapes.ndim == 3


def test_2d_layers_give_way_to_restored_prompts(desk):
    """They stay as they are, but as layers of the user's; Undo goes back to nothing."""
    first = desk()
    first.click(1, 20, 24)
    first.annotator.close()
    again = desk(first.layer.data.copy())
    draw_in_2d_layers(again)
    mine = again.viewer.layers["mine"]
    again.restore()
    np.testing.assert_array_equal(again.annotator.layers.points.data, [[1, 20, 24]])
    assert again.annotator.layers.shapes.ndim == 3
    np.testing.assert_array_equal(mine.data, [[20, 24], [30, 40]])
    assert not mine.metadata
    again.annotator.undo.undo()
    again.settle()
    assert len(again.annotator.layers.points.data) == 0


def test_undone_commits_are_not_in_the_log(desk):
    """The log is what led to the labels of now, after any undo and redo."""
    one = desk()
    annotate(one)
    own = one.annotator
    for action in ("undo", "undo", "undo", "undo", "redo", "redo", "undo"):
        getattr(own.undo, action)()
        one.settle()
    session = own.autosave.snapshot()
    assert session is not None
    replayed = replay_session(session, one.layer.data, DiscPredictor())
    np.testing.assert_array_equal(replayed, one.labels)


def test_labels_of_the_user_are_complete_where_they_were_touched(desk):
    """What was in the plane before comes back with what was accepted."""
    one = desk()
    data = np.zeros((5, 48, 64), np.uint8)
    data[1, 5:9, 5:9] = 4
    own = one.viewer.add_labels(data, name="segmentation")
    one.annotator.set_target(own)
    annotate(one)
    session = one.annotator.autosave.snapshot()
    assert not session.targets[0].is_new
    replayed = replay_session(session, one.layer.data, DiscPredictor())
    np.testing.assert_array_equal(replayed, own.data)
    assert (replayed[1, 5:9, 5:9] == 4).all()


def test_a_full_disk_is_told_once_and_work_goes_on(desk, notes, monkeypatch):
    """When there is room again, everything is saved."""
    one = desk()
    own = one.annotator

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_sam._qt.session_store.write_session", full)
    for i in range(3):
        one.click(0, 20 + i, 24)
        own.autosave.save()
        one.wait(lambda: not own.autosave.runner.is_busy)
    assert len(notes) == 1
    assert "No space left" in notes[0]
    assert one.annotator.work.answer is not None
    monkeypatch.setattr("napari_sam._qt.session_store.write_session", write_session)
    one.click(0, 30, 30)
    own.autosave.save()
    one.wait(lambda: own.autosave.path.exists())
    assert len(read_session(own.autosave.path).points) == 4


def test_damaged_and_foreign_sessions_are_told_and_kept(desk, folder, notes):
    """One sentence, nothing restored, the file stays."""
    one = desk()
    one.click(0, 20, 24)
    one.annotator.close()
    (file,) = folder.iterdir()
    good = file.read_bytes()
    file.write_bytes(good[:-200])
    again = desk(one.layer.data.copy())
    assert again.annotator.autosave.offer is None
    assert len(notes) == 1
    assert "cannot be restored" in notes[0]
    assert file.read_bytes() == good[:-200]
    file.write_bytes(good)
    other = desk(image(5, 48, 64, seed=9))
    assert other.annotator.autosave.offer is None
    other.annotator.autosave.restore(file)
    other.wait(lambda: len(notes) == 2)
    assert "of another image" in notes[1]
    assert other.annotator.layers.points is None


def test_the_widget_offers_opens_and_saves(
    make_napari_viewer, qtbot, folder, tmp_path, monkeypatch
):
    """The offer is a button that is there when there is something to go on with."""
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path))
    monkeypatch.setattr(
        "napari_sam._qt.engine.load_model", lambda *_, **__: DiscPredictor()
    )
    user = User(make_napari_viewer(), qtbot)
    user.viewer.add_image(image(48, 64), name="cells")
    user.settle()
    assert user.widget.sessions.restore.isHidden()
    user.start()
    user.points.add([20, 24])
    user.settle()
    user.press("accept")
    copy = tmp_path / "copy"
    monkeypatch.setattr(
        "napari_sam._qt.session_controls.QFileDialog.getSaveFileName",
        lambda *_: (str(copy), ""),
    )
    user.widget.sessions.save.click()
    user.wait((tmp_path / "copy.napari-sam").exists)
    cells = user.annotator.image
    user.viewer.layers.clear()
    user.settle()
    user.viewer.add_image(cells.data.copy(), name="again")
    user.wait(lambda: not user.widget.sessions.restore.isHidden())
    assert "1 prompt, 1 accepted mask" in user.widget.sessions.restore.toolTip()
    user.widget.sessions.restore.click()
    user.wait(lambda: "segmentation" in user.viewer.layers)
    user.settle()
    assert user.layer("segmentation").data.any()
    assert user.widget.sessions.restore.isHidden()
    user.press("undo")
    assert len(user.annotator.layers.points.data) == 0


CRASH = """
import sys, time
import numpy as np
from qtpy.QtCore import QCoreApplication
from napari_sam._tests.test_qt_sessions import Desk
from napari_sam._tests.test_qt_steps import image

app = QCoreApplication([])

class Bot:
    def wait(self, ms):
        end = time.monotonic() + ms / 1000
        while time.monotonic() < end:
            app.processEvents()
    def waitUntil(self, condition, timeout):
        while not condition():
            self.wait(5)

desk = Desk(Bot(), image(5, 48, 64))
desk.annotator.choose(next_after_accept=True)
for number in range(1, 1000):
    row, column = 4 + 5 * (number % 8), 4 + 5 * (number // 8 % 11)
    desk.click(0, row, column)
    desk.accept()
    print(number, time.time(), flush=True)
    desk.qtbot.wait(100)
"""


def test_old_sessions_are_deleted(tmp_path, monkeypatch):
    """Neither the newest ones, nor young ones, nor files with names of the user's."""
    monkeypatch.setattr(session_store, "KEPT_FILES", 2)
    now, day = time.time(), 24 * 60 * 60
    ages = {"newest": 1, "young": 29, "old": 31, "older": 90}
    files = {
        age: tmp_path / session_store.own_name(f"v1:{i:016x}", i)
        for i, age in enumerate(ages)
    }
    files["mine"] = tmp_path / f"my cells{SUFFIX}"
    ages["mine"] = 400
    for age, days in ages.items():
        files[age].touch()
        os.utime(files[age], (now - days * day,) * 2)
    session_store.delete_old(tmp_path)
    left = {age for age, path in files.items() if path.exists()}
    assert left == {"newest", "young", "mine"}
    os.utime(files["young"], (now - 31 * day,) * 2)
    session_store.delete_old(tmp_path)  # now by number alone
    assert files["young"].exists()


def test_after_sigkill_all_but_the_last_moment_is_there(desk, folder):
    """A process that is killed in mid-annotation loses less than a second."""
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("this system has no SIGKILL")
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, "-c", CRASH],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    done: list[float] = []
    assert process.stdout is not None
    for line in process.stdout:
        done.append(float(line.split()[1]))
        if len(done) >= 12:
            break
    killed = time.time()
    os.kill(process.pid, signal.SIGKILL)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    one = desk()
    one.restore()
    found = len(one.annotator.layers.points.data)
    # What was done while the save of before was waited for, or being written; on a
    # slow machine the timer is late by as much as a click takes there.
    lost = DELAY / 1000 + 0.25 + max(np.diff(done))
    kept = sum(at < killed - lost for at in done)
    assert found >= max(kept, 1), (found, done, killed)
    numbers = set(np.unique(one.labels).tolist()) - {0}
    assert len(numbers) >= found - 1
    file = one.annotator.autosave.path
    np.testing.assert_array_equal(
        replay_session(file, one.layer.data, DiscPredictor()), one.labels
    )
