"""Automatic masks that words fit, with a ranker that likes what is on the right."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari.components import ViewerModel

from napari_sam import model_folders
from napari_sam._tests.finding import Finding, load_discs
from napari_sam._tests.test_qt_steps import image
from napari_sam._tests.tiny_hub import offline
from napari_sam._tests.tiny_rankers import save_ranker
from napari_sam.text_ranker import TextRanking

WIDTH = 64


class Likes:
    """The first phrase fits what is on the right; notes what it is asked."""

    def __init__(self):
        self.asked = []

    def rank(self, plane, boxes, phrases, against):
        """Score by the middle of the box."""
        self.asked.append((len(boxes), tuple(phrases), tuple(against)))
        scores = np.zeros((len(boxes), len(phrases)), np.float32)
        scores[:, 0] = (boxes[:, 1] + boxes[:, 3]) / 2 / WIDTH
        return TextRanking(tuple(phrases), scores, scores)


@pytest.fixture
def likes(monkeypatch, tmp_path):
    """Have the widget load discs, and that ranker."""
    load_discs(monkeypatch, tmp_path)
    made = Likes()
    monkeypatch.setattr("napari_sam._qt.automatic_finder.load_ranker", lambda _: made)
    monkeypatch.setattr("napari_sam._qt.kept_model.download", lambda *_: None)
    return made


def someone(qtbot, *shape):
    """Someone who found objects."""
    user = Finding(ViewerModel(), qtbot)
    qtbot.addWidget(user.widget, before_close_func=lambda one: one.finder.close())
    user.fit = user.controls.fit
    user.viewer.add_image(image(*shape), name="cells")
    user.settle()
    return user


@pytest.fixture
def user(qtbot, likes):
    """Someone who found objects in an image."""
    made = someone(qtbot, 64, WIDTH)
    made.find()
    return made


def compare(user, words="nucleus, cell"):
    """Type words, and compare."""
    user.fit.phrases.setText(words)
    assert user.fit.compare.isVisibleTo(user.widget)
    assert user.fit.compare.isEnabled()
    user.fit.compare.click()
    user.settle()


def middles(found):
    """Middle of each box that is shown, 0 to 1."""
    return found.shown.boxes[:, 1::2].mean(axis=1) / WIDTH


def test_what_fits_is_shown_and_first(user, likes):
    """The slider hides at once; the table is sorted by it; nothing is asked anew."""
    every = user.shown
    assert not user.fit.compare.isVisibleTo(user.widget)
    assert user.controls.table.isColumnHidden(4)
    compare(user)
    assert sum(count for count, *_ in likes.asked) == len(every)
    words, rivals = ("nucleus", "cell"), ("background", "something else")
    assert {asked[1:] for asked in likes.asked} == {(words, rivals)}
    assert user.shown == every
    found = user.own.found
    np.testing.assert_allclose(found.fit_scores, middles(found), rtol=1e-6)
    table = user.controls.table
    assert not table.isColumnHidden(4)
    column = [table.model().index(row, 4).data() for row in range(user.rows)]
    assert column == sorted(column, reverse=True)
    assert {one.phrase for one in found.fits.values()} == {"nucleus"}
    count = len(likes.asked)
    user.fit.min_fit.setValue(0.5)
    assert user.shown < every
    assert (middles(user.own.found) > 0.5).all()
    user.fit.min_fit.setValue(1.0)
    assert user.rows == 0
    assert "lower Fits from" in user.status
    user.fit.min_fit.setValue(0.0)
    assert user.shown == every
    assert len(likes.asked) == count


def test_what_the_sliders_bring_is_compared_too(user, likes):
    """Only what is not yet; other words begin anew, and no words end it."""
    user.controls.score.setValue(0.85)
    fewer = user.shown
    compare(user)
    assert sum(count for count, *_ in likes.asked) == len(fewer)
    user.fit.min_fit.setValue(0.5)
    user.controls.score.setValue(0.6)
    user.settle()
    assert (middles(user.own.found) > 0.5).all()
    total = len(user.own.found.fits)
    assert sum(count for count, *_ in likes.asked) == total > len(fewer)
    user.fit.against.setText("debris")
    user.settle()
    assert len(user.own.found.fits) == total
    compare(user, "vesicle")
    assert likes.asked[-1][1:] == (("vesicle",), ("debris",))
    user.press("run")
    assert not np.isnan(user.own.found.fit_scores).any()
    user.fit.phrases.setText("")
    assert user.own.words is None
    assert (middles(user.own.found) < 0.5).any()


def test_through_a_stack(qtbot, likes):
    """Every plane is compared before objects are linked and written."""
    user = someone(qtbot, 3, 64, WIDTH)
    user.find()
    compare(user)
    user.fit.min_fit.setValue(0.5)
    user.press("run_stack")
    labels = user.own.target.data
    assert labels.any(axis=(1, 2)).all()
    columns = np.flatnonzero(labels.any(axis=(0, 1)))
    assert columns.min() > WIDTH / 4


def test_a_folder_of_the_users(user, monkeypatch, tmp_path):
    """With a real, tiny model; a wrong folder is refused in a sentence."""
    from napari_sam import load_ranker

    monkeypatch.setattr(user.own.rankers, "load", lambda name: load_ranker(name, "cpu"))
    monkeypatch.setattr(
        "napari_sam._qt.finder_widget.QFileDialog.getExistingDirectory",
        lambda *_: str(tmp_path),
    )
    box = user.fit.ranker
    box.setCurrentIndex(box.count() - 1)
    box.activated.emit(box.count() - 1)
    assert "config.json" in user.status
    assert box.currentData() == "clip_base"
    save_ranker("clip", tmp_path)
    box.setCurrentIndex(box.count() - 1)
    box.activated.emit(box.count() - 1)
    assert box.currentData() == str(tmp_path)
    assert not user.fit.about.isVisibleTo(user.widget)
    compare(user, "nucleus")
    scores = user.own.found.fit_scores
    assert ((scores > 0) & (scores < 1)).all()


def test_offline_or_without_the_library(qtbot, monkeypatch, tmp_path):
    """One sentence says what to put where, or what to install; nothing is hidden."""
    load_discs(monkeypatch, tmp_path)
    offline(monkeypatch)
    user = someone(qtbot, 64, WIDTH)
    user.find()
    assert not user.fit.about.isVisibleTo(user.widget)
    compare(user)
    assert "605 MB" in user.fit.about.text()
    assert str(tmp_path / "clip_base") in user.status
    assert user.own.words is None
    assert len(user.shown) == user.rows > 0
    compare(user, "nucleus, nucleus, background")
    assert "different words" in user.status
    monkeypatch.setattr(model_folders, "find_spec", lambda name: None)
    user.settle()
    user.own.choose(min_fit=0.1)
    assert "pip install" in user.fit.about.text()
    assert not user.fit.ranker.model().item(0).isEnabled()
    user.own.compare()
    assert "pip install" in user.status
    assert user.widget.inside.minimumSizeHint().width() <= 300
