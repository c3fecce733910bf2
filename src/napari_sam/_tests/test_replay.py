"""Sessions done again without a window."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_sam._adapted_predictor import AdaptedPredictor
from napari_sam._cli import app
from napari_sam._history import DrawnPrompts
from napari_sam._label_changes import changed_pixels, plane_change
from napari_sam._tests.tiny_models import tiny_predictor
from napari_sam.replay import replay_session, replay_steps
from napari_sam.session import Session
from napari_sam.session_file import (
    Commit,
    Edit,
    SavedDecoder,
    SavedImage,
    SavedModel,
    SavedObject,
    SavedRequest,
    SavedSession,
    SavedTarget,
    image_key,
    recorded_labels,
    write_session,
)
from napari_sam.transforms import mask_to_logits
from napari_sam.types import Prompts

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = np.random.default_rng(3).integers(0, 4000, (3, 40, 48)).astype(np.uint16)
MODEL = SavedModel("tiny", "tiny 0", "float32")
# plane axes, plane, object, prompts, mask of the plane, chosen mask
STEPS: list[tuple[Any, ...]] = [
    ((1, 2), 1, 1, Prompts([[20, 20]]), False, 0),
    ((1, 2), 1, 2, Prompts([[22, 24], [5, 5]], [1, 0], [10, 10, 30, 40]), False, 0),
    ((0, 2), 7, 3, Prompts(box=[0, 5, 3, 30]), False, 0),
    ((2, 1), 0, 1, Prompts([[9.5, 10.25]]), False, 2),
    ((1, 2), 2, 4, Prompts(box=[5, 5, 30, 30]), True, 0),
]


@pytest.fixture(scope="module")
def session() -> SavedSession:
    """Record commits as the widget would, with an edit by hand among them."""
    predictor = tiny_predictor()
    labels = np.zeros(IMAGE.shape, np.uint16)
    log: list[Any] = []
    hand = np.zeros((40, 48), np.uint16)
    hand[10:20, 10:20] = 9
    edit = plane_change((1, 2), (1,), labels[1], hand, hand > 0)
    assert edit is not None
    edit.apply_to(labels)
    log.append(Edit(0, (edit,)))
    for axes, plane, number, prompts, has_mask, index in STEPS:
        player = Session(IMAGE, predictor, axes, False, (10.0, 3000.0))
        mask = None
        said = prompts
        if has_mask:
            mask = np.zeros(player.plane_size, bool)
            mask[8:25, 8:25] = True
            logits = mask_to_logits(mask)
            said = Prompts(None, None, prompts.box, logits)
        found = player.segment(said, plane).masks[index]
        sliced = next(i for i in range(3) if i not in axes)
        view = np.moveaxis(labels, sliced, 0)[plane]
        view = view.T if axes[0] > axes[1] else view
        wanted = np.where(found, np.uint16(number), np.uint16(0))
        written = changed_pixels(view, wanted, np.array([number], np.uint16))
        change = plane_change(axes, (plane,), view, wanted, written)
        changes = () if change is None else (change,)
        for one in changes:
            one.apply_to(labels)
        what = SavedObject(number, plane, axes, prompts, mask)
        request = SavedRequest(what, MODEL, (10.0, 3000.0))
        log.append(Commit(request, index, "protect", 0, changes))
    image = SavedImage("a", None, IMAGE.shape, "uint16", False, image_key(IMAGE, False))
    target = SavedTarget("cells", IMAGE.shape, "uint16", True)
    empty = DrawnPrompts()
    saved = SavedSession(image, empty, empty, {}, targets=(target,), log=tuple(log))
    assert len(np.unique(labels)) > 2
    np.testing.assert_array_equal(recorded_labels(saved, 0), labels)
    return saved


def test_the_same_labels_come_out(session: SavedSession, tmp_path: Path) -> None:
    """Bit for bit, through the file, along any axes, with a mask and an edit."""
    path = tmp_path / "a.napari-sam"
    write_session(path, session)
    labels = replay_session(path, IMAGE, tiny_predictor())
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, recorded_labels(session, 0))


def test_what_was_there_before_is_kept(session: SavedSession) -> None:
    """Labels of before the session stay where the session did not write."""
    before = np.zeros(IMAGE.shape, np.uint8)
    before[2, -3:, -3:] = 200
    labels = replay_session(session, IMAGE, tiny_predictor(), labels=before)
    assert (labels[2, -3:, -3:] == 200).any()


def test_another_model_image_or_layer_is_refused(session: SavedSession) -> None:
    """One sentence each."""
    with pytest.raises(ValueError, match="'tiny' with other weights than these"):
        replay_session(session, IMAGE, tiny_predictor(1))
    with pytest.raises(ValueError, match="the pixels differ"):
        replay_session(session, IMAGE + 1, tiny_predictor())
    with pytest.raises(ValueError, match=r"layer must be one of \['cells'\]"):
        replay_session(session, IMAGE, tiny_predictor(), layer="nuclei")
    nothing = SavedSession(session.image, session.points, session.shapes, {})
    with pytest.raises(ValueError, match="accepted no mask yet"):
        replay_session(nothing, IMAGE, tiny_predictor())


def test_steps_are_progress_and_can_be_given_up(session: SavedSession) -> None:
    """One step for each entry of the log."""
    steps = replay_steps(session, IMAGE, lambda _: tiny_predictor())
    assert [next(steps) for _ in range(3)] == [1, 2, 3]
    steps.close()


def test_the_command_line(
    session: SavedSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in, a label file out; what goes wrong is a sentence."""
    monkeypatch.setattr("napari_sam._cli.replay.load", lambda _: tiny_predictor())
    saved, image, out = (tmp_path / n for n in ("s.napari-sam", "i.tif", "o.tif"))
    write_session(saved, session)
    tifffile.imwrite(image, IMAGE, photometric="minisblack")
    arguments = ["replay", str(saved), "--image", str(image), "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "6 steps replayed, the labels that were recorded" in done.output
    np.testing.assert_array_equal(tifffile.imread(out), recorded_labels(session, 0))
    assert CliRunner().invoke(app, arguments).exit_code == 2
    tifffile.imwrite(image, IMAGE + 1, photometric="minisblack")
    done = CliRunner().invoke(app, [*arguments, "--force"])
    assert done.exit_code == 2
    assert "the pixels differ" in done.output


def test_what_the_decoder_had_learned_is_replayed(tmp_path: Path) -> None:
    """Each mask by the decoder that was in force when it was accepted."""
    name = "output_hypernetworks_mlps.1.layers.0.weight"
    rng = np.random.default_rng(0)
    base, prompts = tiny_predictor(), Prompts([[20, 20]])
    shape = dict(base.model.mask_decoder.named_parameters())[name].shape
    learned = {v: {name: rng.normal(size=shape).astype(np.float16)} for v in "ab"}
    labels, log = np.zeros(IMAGE.shape, np.uint16), []
    for number, version in enumerate(("", "a", "b"), start=1):
        used = AdaptedPredictor(base, learned[version]) if version else base
        player = Session(IMAGE, used, (1, 2), False, (10.0, 3000.0))
        wanted = player.segment(prompts, number - 1).masks[0] * np.uint16(number)
        plane = labels[number - 1]
        change = plane_change((1, 2), (number - 1,), plane, wanted, wanted > 0)
        assert change is not None
        change.apply_to(labels)
        what = SavedObject(number, number - 1, (1, 2), prompts)
        request = SavedRequest(what, replace(MODEL, decoder=version), (10.0, 3000.0))
        log.append(Commit(request, 0, "protect", 0, (change,)))
    image = SavedImage("a", None, IMAGE.shape, "uint16", False, image_key(IMAGE, False))
    target = SavedTarget("cells", IMAGE.shape, "uint16", True)
    decoders = tuple(SavedDecoder(v, MODEL, learned[v]) for v in "ab")
    empty = DrawnPrompts()
    saved = SavedSession(
        image, empty, empty, {}, targets=(target,), log=tuple(log), decoders=decoders
    )
    path = tmp_path / "a.napari-sam"
    write_session(path, saved)
    np.testing.assert_array_equal(replay_session(path, IMAGE, base), labels)
    others = replace(saved, decoders=decoders[::-1])
    swapped = tuple(
        replace(one, version=v) for one, v in zip(others.decoders, "ab", strict=True)
    )
    other = replay_session(replace(saved, decoders=swapped), IMAGE, base)
    assert (other != labels).any()
