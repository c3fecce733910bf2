"""What follows from what the widget knows; no window is opened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qtpy.QtCore", exc_type=ImportError)

from napari_sam._layers import BACKGROUND, ObjectPrompts, ViewPlane
from napari_sam._qt.engine import (
    Answer,
    CacheReport,
    Encoded,
    Engine,
    Request,
    Source,
)
from napari_sam._qt.keys import ACTIONS
from napari_sam._qt.plane_index import Known, PlaneIndex
from napari_sam._qt.prefetch import neighbours
from napari_sam._qt.scene import download_text, size_text
from napari_sam._qt.state import (
    Choices,
    Scene,
    Work,
    cache_text,
    resolve_request,
    shown_answer,
    status_text,
)
from napari_sam.embedding_cache import EmbeddingCache, EmbeddingDirectory
from napari_sam.registry import list_models
from napari_sam.types import Plane, Prediction, Prompts

IMAGE = np.zeros((4, 32, 32), dtype=np.uint8)
SOURCE = Source(IMAGE, (1, 2), False, (0.0, 1.0), "mobile_sam")
VIEW = ViewPlane((1, 2), (2,), (2.0, 0.0, 0.0))
POINT = ObjectPrompts(Prompts([[3, 4]]))
BACK = ObjectPrompts(Prompts([[3, 4]], [0]))
SCENE = Scene("cells", None, True, SOURCE, VIEW, {1: POINT})
REPORT = CacheReport(3, 6 << 20, 2 << 30)


def answer(request: Request, count: int = 3) -> Answer:
    """Make an answer of empty masks."""
    prediction = Prediction(
        np.zeros((count, 32, 32), bool),
        np.linspace(0.5, 0.9, count, dtype=np.float32),
        np.zeros((count, 256, 256), np.float32),
        request.plane,
    )
    return Answer(request, prediction, REPORT)


def request() -> Request:
    """Return what the scene asks for."""
    found = resolve_request(SCENE, Choices())
    assert found is not None
    return found


def test_a_request_has_everything_the_worker_needs():
    """Values only."""
    assert request() == Request(SOURCE, 2, 1, POINT, 0)


@pytest.mark.parametrize(
    "scene",
    [
        Scene(),
        replace(SCENE, prompts={}),
        replace(SCENE, prompts={2: POINT}),
        replace(SCENE, prompts={1: BACK}),
        replace(SCENE, source=None),
        replace(SCENE, view=None),
        replace(SCENE, download="Download it."),
    ],
)
def test_nothing_is_asked_for_without_an_object(scene):
    """No image, no prompts of this object, only background, no model."""
    assert resolve_request(scene, Choices()) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(SCENE, prompts={1: ObjectPrompts(Prompts([[3, 5]]))}),
        replace(SCENE, view=replace(VIEW, index=(1,))),
        replace(SCENE, edition=1),
        replace(SCENE, source=replace(SOURCE, contrast_limits=(0.0, 2.0))),
        replace(SCENE, source=replace(SOURCE, plane_axes=(0, 2))),
        replace(SCENE, source=replace(SOURCE, model="sam_vit_b")),
        replace(SCENE, source=replace(SOURCE, image=IMAGE.copy())),
    ],
)
def test_whatever_changes_the_mask_makes_another_request(other):
    """Prompts, plane, pixels, contrast, axes, model, image."""
    assert resolve_request(other, Choices()) not in (request(), None)
    assert resolve_request(replace(SCENE), Choices()) == request()


def test_what_is_shown_belongs_to_the_object_and_plane():
    """While prompts change, the last mask stays; elsewhere it is hidden."""
    work = Work(answer=answer(request()))
    assert shown_answer(SCENE, Choices(), work) is work.answer
    moved = replace(SCENE, prompts={1: ObjectPrompts(Prompts([[9, 9]]))})
    assert shown_answer(moved, Choices(), work) is work.answer
    both = replace(SCENE, prompts={1: POINT, 2: POINT})
    assert shown_answer(both, Choices(object_id=2), work) is None
    away = replace(SCENE, view=replace(VIEW, index=(1,)))
    assert shown_answer(away, Choices(), work) is None
    assert shown_answer(replace(SCENE, edition=1), Choices(), work) is None
    assert shown_answer(replace(SCENE, prompts={}), Choices(), work) is None
    accepted = replace(work, accepted=frozenset({request()}))
    assert shown_answer(SCENE, Choices(), accepted) is None


@pytest.mark.parametrize(
    ("scene", "choices", "work", "words"),
    [
        (Scene(), Choices(), Work(), "Open an image"),
        (Scene("cells", "it is rotated"), Choices(), Work(), "It is rotated."),
        (replace(SCENE, download="Get it."), Choices(), Work(), "not on this computer"),
        (replace(SCENE, has_prompt_layers=False), Choices(), Work(), "Press Start"),
        (replace(SCENE, prompts={}), Choices(), Work(), "Click on object 1"),
        (replace(SCENE, prompts={}), Choices(label=BACKGROUND), Work(), "foreground"),
        (replace(SCENE, prompts={1: BACK}), Choices(), Work(), "only background"),
        (SCENE, Choices(), Work(submitted=request()), "on its way"),
        (SCENE, Choices(), Work(submitted=request(), error="no disk"), "No disk."),
        (SCENE, Choices(), Work(awaits_accept=request()), "will be accepted"),
        (SCENE, Choices(), Work(answer=answer(request())), "other 2"),
        (SCENE, Choices(), Work(answer=answer(request(), 1)), "Accept this mask, or"),
        (
            SCENE,
            Choices(),
            Work(accepted=frozenset({request()}), written="It is there."),
            "It is there. Press N",
        ),
    ],
)
def test_the_status_says_what_to_do_next(scene, choices, work, words):
    """In words, for every state."""
    assert words in status_text(scene, choices, work)


def test_the_cache_line_counts_in_units_people_know():
    """Plane, state, planes in memory."""
    assert cache_text(Scene(), False, None) == "No plane to look at"
    assert cache_text(SCENE, False, None) == "Plane 2: not encoded yet"
    text = cache_text(SCENE, True, REPORT)
    assert text == "Plane 2: ready · 3 in memory"


@pytest.mark.parametrize("spec", list_models(), ids=lambda spec: spec.name)
def test_a_model_is_downloaded_only_after_its_size_and_licence_were_shown(
    spec, monkeypatch, tmp_path
):
    """What comes with the package needs no download."""
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path))
    text = download_text(spec.name)
    if spec.bundled:
        assert text is None
    else:
        assert size_text(spec) in text
        assert spec.license in text


def test_neighbours_are_near_inside_and_other_planes():
    """Along every axis, the nearest first."""
    assert neighbours((), ()) == []
    assert neighbours((2,), (5,)) == [3, 1, 4, 0]
    found = neighbours((0, 2), (3, 4))
    assert found[:3] == [(0, 3), (0, 1), (1, 2)]
    assert len(set(found)) == len(found)
    assert set(found) <= set(np.ndindex(3, 4))


def test_keys_are_not_those_of_napari():
    """Of no layer type and of no viewer, so that they work whatever is active."""
    import napari.layers
    from napari.components import ViewerModel
    from napari.utils.key_bindings import coerce_keybinding
    from napari.utils.shortcuts import default_shortcuts

    taken = {coerce_keybinding(k) for keys in default_shortcuts.values() for k in keys}
    found = (getattr(napari.layers, name) for name in napari.layers.__all__)
    classes = [one for one in found if hasattr(one, "class_keymap")]
    assert len(classes) > 6
    for one in (ViewerModel, *classes):
        taken |= set(one.class_keymap)
    ours = [coerce_keybinding(action.key) for action in ACTIONS.values()]
    assert len(set(ours)) == len(ours)
    assert not taken.intersection(ours)


def run(steps):
    """Return what a generator yields, and what it returns."""
    found = []
    while True:
        try:
            found.append(next(steps))
        except StopIteration as end:
            return found, end.value


def test_planes_encoded_before_are_known_again(tiny_predictor, tmp_path):
    """By another engine, of equal planes, model and contrast, while they are there."""
    image = np.random.default_rng(0).integers(0, 255, (2, 4, 32, 32)).astype(np.uint8)
    source = replace(SOURCE, image=image, plane_axes=(2, 3), contrast_limits=None)

    def known(source: Source) -> frozenset[Plane]:
        engine = Engine(lambda name: tiny_predictor, EmbeddingCache(tmp_path))
        (found,) = (
            step
            for step in run(engine.prefetch(source, [(1, 2), (0, 3)]))[0]
            if isinstance(step, Known)
        )
        return found.planes

    assert known(source) == frozenset()
    assert known(replace(source, image=image.copy())) == {(1, 2), (0, 3)}
    assert known(replace(source, contrast_limits=(0, 99))) == frozenset()
    assert known(replace(source, image=image + 1)) == frozenset()
    for file in tmp_path.glob("*.npz"):
        file.unlink()
    assert known(source) == frozenset()


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "null", '[["a", "b"]]', "[[[0], 1, 2]]"]
)
def test_an_index_that_cannot_be_read_is_empty(tmp_path, text):
    """Nor is one that cannot be written an error."""
    directory = EmbeddingDirectory(tmp_path, 1 << 20)
    index = PlaneIndex(directory, "image")
    index.note(3, "key")
    directory.path("key").touch()
    (file,) = (tmp_path / "planes").iterdir()
    assert PlaneIndex(directory, "image").planes() == {3}
    file.write_text(text)
    assert PlaneIndex(directory, "image").planes() == frozenset()
    file.unlink()
    (tmp_path / "planes").rmdir()
    (tmp_path / "planes").touch()
    index.note(4, "other")
    assert index.planes() == {3}
    assert PlaneIndex(None, "image").planes() == frozenset()


def test_the_engine_loads_once_and_encodes_once(tiny_predictor):
    """And says what it does."""
    loaded = []

    def load(name: str):
        loaded.append(name)
        return tiny_predictor

    image = np.random.default_rng(0).integers(0, 255, (4, 32, 32)).astype(np.uint8)
    source = replace(SOURCE, image=image, contrast_limits=None)
    engine = Engine(load, EmbeddingCache())
    before = tiny_predictor.encoded
    steps, found = run(engine.segment(Request(source, 2, 1, POINT)))
    assert steps == ["Loading mobile_sam", "Looking at plane 2"]
    assert found.prediction.masks.shape == (3, 32, 32)
    assert found.cache.planes == 1
    (picture, known, *steps), _ = run(engine.prefetch(source, [2, 3]))
    assert known == Known(source, frozenset())
    np.testing.assert_array_equal(picture.pixels, image[2])
    assert [(type(s), s.plane, s.cache.planes) for s in steps] == [
        (Encoded, 2, 1),
        (Encoded, 3, 2),
    ]
    assert loaded == ["mobile_sam"]
    assert tiny_predictor.encoded - before == 2
    engine.forget()
    assert engine._session is None
