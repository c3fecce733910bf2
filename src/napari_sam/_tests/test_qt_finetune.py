"""The widget "Fine-tune" in a real viewer, with a model of few weights."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton

from napari_sam import finetuning, registry
from napari_sam._finetuning_options import FinetuneOptions, HeldOut, TrainingStep
from napari_sam._finetuning_resume import RESUME, resume_path
from napari_sam._qt import commands, finetune
from napari_sam._qt.finetune_engine import (
    BeforeAfter,
    Compared,
    OneImage,
    Plan,
    TuningEngine,
    read_images,
)
from napari_sam._qt.finetune_pictures import MASK, SIDE, TRUTH, outlined
from napari_sam._qt.finetune_plot import Curve, CurvePlot
from napari_sam._qt.finetune_state import UNCHECKED, Course, free_name, name_problem
from napari_sam._qt.preferences import PLUGIN
from napari_sam._tests.test_finetuning import build_tiny, open_tiny, pairs
from napari_sam._tests.tiny_models import tiny_predictor

QUICK = FinetuneOptions(
    steps=3, check_every=2, batch=1, remember=0, held_out=0.4, augment=False
)


def load_tiny(name, checkpoint=None):
    """Stand in for `load_model`: the base, or another one."""
    return tiny_predictor(0 if checkpoint is None else 1)


@pytest.fixture
def own_models(monkeypatch, tmp_path):
    """Fine-tune a tiny model, into a directory of the test."""
    monkeypatch.setenv("NAPARI_SAM_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(finetuning, "open_base", open_tiny)
    monkeypatch.setattr(finetuning, "build_from_state", build_tiny)
    # The format of a tiny model is none that there is.
    monkeypatch.setattr(finetuning, "recognise_encoder", lambda state: "vit_t")
    return tmp_path / "models"


class Tuning:
    """Someone with the widget in a viewer."""

    def __init__(self, viewer, qtbot):
        self.viewer, self.qtbot = viewer, qtbot
        _, self.widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Fine-tune")
        self.widget.engine = TuningEngine(load_tiny)
        self.controls = self.widget.controls
        self.pairs = self.controls.pairs

    @property
    def status(self):
        """What the widget says."""
        return self.controls.status.text()

    def add(self, count=3):
        """Add labelled images to the viewer."""
        for number, (image, labels) in enumerate(pairs(count)):
            self.viewer.add_image(image, name=f"cells {number}")
            self.viewer.add_labels(labels, name=f"labels {number}")

    def start(self):
        """Press Start, and wait for the end."""
        self.controls.start.click()
        self.settle()

    def settle(self):
        """Wait until nothing runs."""
        self.qtbot.waitUntil(self.controls.start.isEnabled, timeout=240000)


@pytest.fixture
def user(make_napari_viewer, qtbot, own_models, monkeypatch):
    """Someone with an empty viewer and the widget, who has little time."""

    def options(train, minutes):
        return replace(QUICK, train=train, minutes=minutes)

    monkeypatch.setattr(finetune, "FinetuneOptions", options)
    monkeypatch.setattr("napari_sam._qt.engine.load_model", load_tiny)
    return Tuning(make_napari_viewer(), qtbot)


def test_it_trains_shows_and_is_used(user, own_models, monkeypatch):
    """From ticked layers to a model that the other widget uses."""
    # Random weights need not get better: what comes later counts as better.
    worse = itertools.count(0, -1)
    monkeypatch.setattr(finetuning, "merit", lambda *_: next(worse))
    assert user.status == finetune.READY
    buttons = user.widget.findChildren(QAbstractButton)
    assert all(b.toolTip() for b in buttons if b.parent() is user.controls)
    assert user.controls.minimumSizeHint().width() <= 300
    annotating = commands.find_widget(user.viewer)
    user.add()
    chosen = [(image.name, labels.name) for image, labels in user.pairs.pairs()]
    assert chosen == [(f"cells {n}", f"labels {n}") for n in (2, 1, 0)]
    user.controls.name.setText("cells")
    user.start()
    course = user.widget.course
    assert len(course.losses) == 3
    assert len(course.checks) >= 2
    assert user.controls.quality.curves[0].points[0][1] == course.checks[0][1].click1
    tuned = user.widget.tuned
    assert tuned.name == "cells"
    assert user.status.startswith("cells is ready. On held-out images: one click")
    assert [path.name for path in own_models.iterdir()] == ["cells.pt"]
    assert user.controls.comparison.isVisibleTo(user.controls)
    assert tuned.pictures.is_held_out
    assert user.controls.name.text() == "my model"
    assert annotating.controls.model.findData("cells") >= 0
    user.controls.use.click()
    assert annotating.annotator.choices.model == "cells"
    assert annotating.controls.model.currentData() == "cells"
    assert "fine-tuned" in annotating.controls.about_model.text()
    user.controls.name.setText("cells")
    user.start()
    assert "is a model called cells already" in user.status


def test_what_cannot_be_learnt_from_is_refused(user, own_models, monkeypatch):
    """In one sentence, before anything is written."""
    said: list[str] = []
    monkeypatch.setattr("napari_sam._qt.report.show_error", said.append)
    user.start()
    assert user.status == "Tick at least one image that has labels."
    image, labels = pairs(1)[0]
    layer = user.viewer.add_image(image, name="cells")
    user.pairs._item(0).setCheckState(0, Qt.CheckState.Checked)
    user.start()
    assert "'cells' has no labels" in user.status
    wrong = user.viewer.add_labels(labels[:20], name="wrong")
    box = user.pairs.itemWidget(user.pairs._item(0), 1)
    box.setCurrentIndex(box.findText("wrong"))
    box.activated.emit(box.currentIndex())
    user.start()
    assert "must have the image's shape (48, 64), got (20, 64)" in user.status
    user.viewer.layers.remove(wrong)
    empty = user.viewer.add_labels(np.zeros_like(labels), name="empty")
    assert user.pairs.labels_of(0) is empty
    user.start()
    assert user.status.startswith("'empty' is empty: paint every object of 'cells'")
    assert user.status in said
    user.controls.name.setText("a/b")
    user.start()
    assert "letters, digits" in user.status
    assert layer in user.viewer.layers
    assert not own_models.exists()


def test_one_image_is_trained_on_only_if_asked_twice(user, own_models, monkeypatch):
    """Nothing is held out, and the user is told what that means."""
    user.add(1)
    user.start()
    assert "With only one image nothing can be held out" in user.status
    assert user.controls.start.text() == UNCHECKED
    assert not own_models.exists()
    user.pairs._item(0).setCheckState(0, Qt.CheckState.Unchecked)
    assert user.controls.start.text() == "Start"
    user.pairs._item(0).setCheckState(0, Qt.CheckState.Checked)

    def steps(data, out, model, options, resume=False):
        yield TrainingStep(1, 6.0, 1.5)
        out.write_bytes(b"a model")

    monkeypatch.setattr("napari_sam._qt.finetune_engine.finetune", steps)
    user.start()
    user.start()
    assert user.status.startswith("my model is ready; nothing was held out")
    assert not user.widget.tuned.pictures.is_held_out
    assert "it learned from" in user.controls.comparison.legend.text()


def test_cancel_keeps_the_best_so_far(user, own_models, monkeypatch):
    """The training ends, and its result is shown."""
    pauses = []

    def steps(data, out, model, options, resume=False):
        held_out = HeldOut(0.5, 0.6, 0.7, 0.7)
        yield TrainingStep(0, 0.0, held_out=held_out)
        out.write_bytes(b"a model")
        resume_path(out).write_bytes(b"")
        better = replace(held_out, click1=0.8)
        yield TrainingStep(1, 6.0, 1.5, held_out=better, is_best=True)
        for number in range(2, 10**6):
            pauses.append(user.widget.engine._is_enough.wait(0.02))
            yield TrainingStep(number, 6.0 + number, 1.0)

    monkeypatch.setattr("napari_sam._qt.finetune_engine.finetune", steps)
    user.add()
    user.controls.start.click()
    user.qtbot.waitUntil(lambda: len(user.widget.course.losses) > 3, timeout=20000)
    assert "0.50 before, 0.80 now" in user.status
    assert not user.controls.start.isEnabled()
    user.controls.cancel.click()
    user.settle()
    assert len(pauses) < 1000
    assert "one click 0.50 -> 0.80" in user.status
    assert user.controls.use.isEnabled()
    assert [path.name for path in own_models.iterdir()] == ["my model.pt"]
    user.viewer.window.remove_dock_widget(user.widget)
    assert not user.widget.is_open


def test_a_crash_is_gone_on_from(own_models, tmp_path):
    """With the same data; other data need another name."""
    for number, (image, labels) in enumerate(pairs(3)):
        np.savez(tmp_path / f"{number}.npz", image=image, label=labels)
    engine = TuningEngine(load_tiny)
    plan = Plan(tmp_path, "mobile_sam", "cells", QUICK)
    begun = engine.tune(plan)
    for step in begun:
        if isinstance(step, TrainingStep) and step.number == 2:
            break
    begun.close()  # as closing napari does
    names = {path.name for path in own_models.iterdir()}
    assert "cells.pt" + RESUME in names
    again = [one for one in engine.tune(plan) if isinstance(one, TrainingStep)]
    assert again[0].number == 3  # the last check was in step 2
    assert {path.name for path in own_models.iterdir()} <= {"cells.pt"}
    (own_models / "cells.pt").touch()
    with pytest.raises(ValueError, match="called cells already"):
        list(engine.tune(plan))


def test_one_image_in_a_folder(own_models, tmp_path):
    """Whether there is one is known once the folder was read."""
    image, labels = pairs(1)[0]
    np.savez(tmp_path / "a.npz", image=image, label=labels)
    steps = TuningEngine(load_tiny).tune(Plan(tmp_path, "mobile_sam", "cells", QUICK))
    assert next(steps) == "Reading the images"
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert isinstance(end.value.value, OneImage)
    assert registry.models_directory() == own_models
    with pytest.raises(ValueError, match="folder or a COCO"):
        read_images(own_models)


@pytest.mark.parametrize("is_colour", [False, True])
def test_outlines_are_drawn_around_the_objects(is_colour):
    """Of labels in blue, of masks in orange, on the part with objects."""
    pixels = np.full((400, 500, 3) if is_colour else (400, 500), 90, np.uint8)
    truth, mask = np.zeros((2, 400, 500), bool)
    truth[100:140, 200:280] = True
    mask[110:150, 210:290] = True
    compared = Compared([mask], 0.6)
    shown = BeforeAfter(pixels, [truth], compared, compared, True)
    drawn = outlined(shown, shown.after)
    assert max(drawn.shape[:2]) == SIDE
    colours = {tuple(colour) for colour in drawn.reshape(-1, 3).tolist()}
    assert colours == {(90, 90, 90), TRUTH, MASK}
    assert (drawn == MASK).all(-1).sum() < (drawn == 90).all(-1).sum()


def test_course_and_names():
    """A course counts what was reported; a name is free or refused."""
    bad, good = HeldOut(0.1, 0.2, 0.3, 0.4), HeldOut(0.5, 0.6, 0.7, 0.8)
    course = Course().after(TrainingStep(0, 0.0, held_out=bad))
    assert (course.losses, course.best) == ((), None)
    course = course.after(TrainingStep(1, 60.0, 2.0))
    course = course.after(TrainingStep(2, 120.0, 1.0, held_out=good, is_best=True))
    assert course.losses == ((1.0, 2.0), (2.0, pytest.approx(1.9)))
    assert course.best == (2.0, good)
    assert course.after(TrainingStep(3, 180.0, held_out=bad)).best == (2.0, good)
    assert free_name([]) == "my model"
    assert name_problem("", []) == "Give the new model a name."
    assert name_problem("Cells", ["cells"])
    assert name_problem("cells 2.1", ["cells"]) == ""


def test_plot_scales_to_its_values(qtbot):
    """The axes end at the given minute and at the largest value, or at 1."""
    loss, quality = CurvePlot("loss", "a"), CurvePlot("IoU", "b", top=1.0)
    for plot in (loss, quality):
        qtbot.addWidget(plot)
        plot.resize(280, plot.height())
        assert not plot.grab().isNull()
    loss.show_curves([Curve("", "#ff0000", [(0.5, 3.0), (2.0, 1.0)])], 2.0)
    quality.show_curves([Curve("1", "#ff0000", [(0.5, 0.3)], True)], 2.0, best=0.5)
    assert loss.limits == (2.0, 3.0)
    assert quality.limits == (2.0, 1.0)
    picture = loss.grab().toImage()
    colours = {
        picture.pixelColor(x, y).name()
        for x in range(picture.width())
        for y in range(picture.height())
    }
    assert "#ff0000" in colours
