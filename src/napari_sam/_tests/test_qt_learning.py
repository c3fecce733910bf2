"""Learn while annotating in the widget: on, undone, saved, and back again."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari.components import ViewerModel

from napari_sam._qt.controller import Annotator
from napari_sam._qt.engine import Engine
from napari_sam._qt.learning_controls import LearningControls
from napari_sam._tests.tiny_models import tiny_predictor
from napari_sam.embedding_cache import EmbeddingCache
from napari_sam.learning import Learned, Learner, LearningStep, Overlaps
from napari_sam.replay import replay_session
from napari_sam.session_file import Commit, read_session

DATA = np.random.default_rng(3).integers(0, 255, (4, 40, 48)).astype(np.uint8)
TAUGHT = "output_hypernetworks_mlps.1.layers.0.weight"


class Teacher(Learner):
    """Teaches the same to every pupil of as many objects, until it may end."""

    may_end = threading.Event()

    def learn(self, objects, current=None):
        """Return something that changes masks."""
        yield LearningStep(0, 0.0)
        while not self.may_end.wait(0.01):
            yield LearningStep(1, 0.0)
        rng = np.random.default_rng(len(objects))
        shape = dict(self._model.mask_decoder.named_parameters())[TAUGHT].shape
        change = rng.normal(0, 0.3, shape).astype(np.float16)
        before, after = Overlaps(0.5, 0.5, 0.5), Overlaps(0.6, 0.6, 0.6)
        return Learned({TAUGHT: change}, before, after, len(objects) - 1, 1, 3, 0.0)


class Desk:
    """An annotator and the controls of learning; only the lesson is made up."""

    def __init__(self, qtbot) -> None:
        self.qtbot = qtbot
        self.viewer = ViewerModel()
        self.viewer.add_image(DATA, name="cells", contrast_limits=(0, 255))
        engine = Engine(lambda name, **_: tiny_predictor(), EmbeddingCache())
        self.annotator = Annotator(self.viewer, engine)
        self.learning = self.annotator.learning
        self.controls = LearningControls(self.learning)
        qtbot.addWidget(self.controls)
        self.annotator.refresh()
        self.wait(lambda: self.annotator.autosave.found is not None)

    def wait(self, condition) -> None:
        self.qtbot.waitUntil(condition, timeout=60000)

    def settle(self) -> None:
        self.qtbot.wait(10)
        self.wait(lambda: not self.annotator.runner.is_busy)
        if Teacher.may_end.is_set():
            self.wait(lambda: not self.learning.is_learning)

    def click(self, plane: int) -> str:
        """Click in a plane; returns the version of the decoder that answered."""
        self.viewer.dims.set_point(0, plane)
        self.annotator.start()
        self.annotator.choose(object_id=plane + 1)
        self.annotator.layers.points.add((plane, 20, 20))
        self.annotator.refresh()
        self.settle()
        return self.annotator.work.answer.model.decoder

    def accept(self) -> None:
        self.annotator.choose_mask(0)
        self.annotator.accept()
        self.settle()


@pytest.fixture
def desk(qtbot, tmp_path, monkeypatch):
    """Make desks; all are closed in the end."""
    monkeypatch.setenv("NAPARI_SAM_SESSIONS", str(tmp_path / "sessions"))
    monkeypatch.setattr("napari_sam._qt.learning_engine.Learner", Teacher)
    Teacher.may_end.set()
    made: list[Desk] = []

    def make() -> Desk:
        made.append(Desk(qtbot))
        return made[-1]

    yield make
    for one in made:
        one.annotator.close()


def test_accepted_objects_teach_and_sessions_keep_it(desk, tmp_path):
    """Off by default; undone commits are forgotten; replay gives the same labels."""
    first = desk()
    learning, controls = first.learning, first.controls
    assert not controls.switch.isChecked()
    assert controls.back.isHidden()
    for plane in range(2):
        assert first.click(plane) == ""
        first.accept()
    assert learning.version == ""
    controls.switch.click()
    first.settle()
    two = learning.version
    assert two
    assert "Learned from 1 object:" in controls.status.text()
    assert "0.50 → 0.60" in controls.status.text()
    assert not controls.back.isHidden()
    # The model itself, which other widgets may share, is as it was.
    fresh = tiny_predictor().model.state_dict()
    base = first.annotator.engine.predictor("mobile_sam")
    for name, tensor in base.model.state_dict().items():
        assert torch.equal(tensor, fresh[name])
    assert first.click(2) == two
    first.accept()
    three = learning.version
    assert three not in ("", two)
    first.annotator.undo.undo()
    first.settle()
    assert learning.version == two
    first.annotator.undo.redo()
    first.settle()
    assert learning.version == three
    labels = first.viewer.layers["segmentation"].data.copy()
    first.annotator.close()
    (file,) = (tmp_path / "sessions").iterdir()
    saved = read_session(file)
    made = [e.request.model.decoder for e in saved.log if isinstance(e, Commit)]
    assert made == ["", "", two]
    assert saved.decoder == three
    np.testing.assert_array_equal(replay_session(file, DATA, tiny_predictor()), labels)

    again = desk()
    again.wait(lambda: again.annotator.autosave.offer is not None)
    again.annotator.autosave.restore()
    again.wait(lambda: again.learning.version == three)
    assert not again.learning.is_on
    assert again.click(3) == three
    again.controls.back.click()
    again.settle()
    assert again.learning.version == ""
    assert again.annotator.work.answer.model.decoder == ""
    assert again.controls.back.isHidden()
    # One more object: it learns from those of yesterday, too.
    again.accept()
    again.controls.switch.click()
    again.settle()
    assert "Learned from 3 objects:" in again.controls.status.text()


def test_clicks_come_between_the_steps_and_a_round_is_ended(desk):
    """What is accepted meanwhile is learned from in the next round."""
    one = desk()
    one.controls.switch.click()
    Teacher.may_end.clear()
    for plane in range(2):
        one.click(plane)
        one.accept()
    assert one.learning.is_learning
    assert "Learning from 2 objects" in one.controls.status.text()
    one.click(2)
    one.accept()
    assert one.learning.version == ""
    Teacher.may_end.set()
    one.settle()
    assert len(one.learning.known) == 2
    assert "Learned from 2 objects:" in one.controls.status.text()
