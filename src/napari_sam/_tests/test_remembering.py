"""Objects through a stack by the memory of a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from napari_sam import Prompts, PropagationOptions, Session, load_model
from napari_sam._remembering import Known, follow_by_memory, memories_of
from napari_sam._square_frame import square_to_answer
from napari_sam._tests.tiny_families import save_tiny
from napari_sam.transforms import mask_to_logits
from napari_sam.types import Prediction

VOLUME = np.random.default_rng(0).integers(0, 255, (7, 48, 64), dtype=np.uint8)
MASK = np.zeros((48, 64), bool)
MASK[10:30, 20:40] = True
GIVEN = Prediction(
    MASK[None], np.ones(1, np.float32), mask_to_logits(MASK)[None], plane=0
)


@pytest.fixture(scope="module", params=["sam2_video", "edgetam_video", "sam3_video"])
def predictor(request, tmp_path_factory):
    """Load a video model with random weights."""
    folder = save_tiny(request.param, tmp_path_factory.mktemp("video"))
    return load_model(checkpoint=folder, device="cpu", precision="float32")


class Notes:
    """A memory that writes down what it is asked, and finds the last mask again."""

    def __init__(self):
        self.asked = []

    def show(self, plane, embedding, mask):
        """Write it down."""
        self.asked.append(("show", plane, embedding))

    def find(self, plane, embedding, step):
        """Write it down; nothing is found in plane 5."""
        self.asked.append((step, plane, embedding))
        return np.full((256, 256), -1.0 if plane == 5 else 1.0, np.float32), 0.5


class Planes:
    """A stack whose embeddings are their numbers."""

    def __len__(self):
        """Seven."""
        return 7

    def embed(self, plane):
        """Return its number."""
        return plane


def follow(shown, stops, planes=range(7)):
    """Follow one object with a memory that takes notes."""
    notes = Notes()
    known = Known(dict.fromkeys(shown, GIVEN), stops)
    steps = follow_by_memory(Planes(), {4: known}, {4: notes}, list(planes))
    found = [(plane, sorted(objects)) for plane, objects in steps]
    assert all(plane == embedding for _, plane, embedding in notes.asked)
    return found, [entry[:2] for entry in notes.asked]


def test_up_from_the_first_seed_then_down():
    """Each plane once; between two seeds upwards only; what is lost is left out."""
    found, asked = follow([2, 4], [])
    assert asked == [
        ("show", 2),
        ("show", 4),
        (1, 3),
        (1, 5),
        (1, 6),
        (-1, 1),
        (-1, 0),
    ]
    assert [plane for plane, _ in found] == [3, 5, 6, 1, 0, 2, 4]
    assert [plane for plane, objects in found if not objects] == [5]


def test_stops_end_a_way():
    """Beyond a plane without the object it is sought from the other seed only."""
    _, asked = follow([1, 6], [3])
    assert asked[2:] == [(1, 2), (-1, 5), (-1, 4), (-1, 0)]
    _, asked = follow([3], [1, 5])
    assert asked[1:] == [(1, 4), (-1, 2)]


def test_no_further_than_wanted():
    """A part of a stack costs no more than that part and the way there."""
    found, asked = follow([1], [], [3, 1])
    assert asked == [("show", 1), (1, 2), (1, 3)]
    assert sorted(plane for plane, _ in found) == [1, 3]
    found, asked = follow([5], [6], [])
    assert found == []
    assert asked == [("show", 5)]


@pytest.mark.parametrize("axes", [(1, 2), (0, 2)])
def test_a_session_follows_by_memory(predictor, axes):
    """In both directions, along every axis, always the same."""
    session = Session(VOLUME, predictor, plane_axes=axes)
    seeds = {2: Prompts(box=[1, 20, 6, 40])}
    wanted = range(6)
    by_plane = {one.plane: one for one in session.propagate(seeds, planes=wanted)}
    assert 2 in by_plane
    assert set(by_plane) <= set(wanted)
    for one in by_plane.values():
        assert one.masks.shape == (1, *session.plane_size)
        assert np.isfinite(one.logits).all()
        assert 0 <= one.scores[0] <= 1
    again = {one.plane: one for one in session.propagate(seeds, planes=wanted)}
    for plane, one in by_plane.items():
        np.testing.assert_array_equal(one.best, again[plane].best)


def test_it_remembers(predictor):
    """What was shown elsewhere changes what is found; options can switch it off."""
    session = Session(VOLUME, predictor)
    small = np.zeros_like(MASK)
    small[30:34, 3:9] = True
    answers = []
    for mask in (MASK, small):
        (memory,) = memories_of(predictor, [1], 7)
        memory.show(2, session.embed(2), mask)
        found, score = memory.find(3, session.embed(3), 1)
        assert found.shape == (256, 256)
        assert found.dtype == np.float32
        assert 0 <= score <= 1
        answers.append([score, *found.ravel()])
    assert answers[0] != answers[1]
    off = PropagationOptions(model_memory=False)
    assert len(list(session.propagate({2: MASK}, options=off)))


def test_it_remembers_as_the_library_does(predictor):
    """Its own way from pixels to masks, up a stack and down."""
    import transformers

    model, side = predictor.model, predictor.side
    planes = [predictor.prepare(plane) for plane in VOLUME]
    frames = torch.stack([predictor._frame(one) for one in planes])
    kind = getattr(
        transformers, type(model).__name__.replace("Model", "InferenceSession")
    )
    theirs = kind(video=frames, dtype=torch.float32)
    shown = torch.from_numpy(MASK)[None, None].float()
    square = F.interpolate(shown, (side, side), mode="bilinear", antialias=True) > 0.5
    theirs.add_mask_inputs(theirs.obj_id_to_idx(1), 3, square)
    theirs.obj_with_new_inputs = [1]
    (ours,) = memories_of(predictor, [1], len(VOLUME))
    ours.show(3, predictor.embed(VOLUME[3]), MASK)
    with torch.inference_mode():
        model(theirs, frame_idx=3)
        for plane in (4, 5, 6):
            answer = model(theirs, frame_idx=plane)
            logits, score = ours.find(plane, predictor.embed(VOLUME[plane]), 1)
            expected = square_to_answer(answer.pred_masks, MASK.shape, 256)[0, 0]
            # The library keeps memories in bfloat16: rounding adds up from here on.
            error = np.abs(logits - expected.numpy())
            assert error.max() < 1e-3 or plane > 4
            assert error.mean() < 0.01 * expected.abs().mean()
            sure = answer.object_score_logits.sigmoid().item()
            assert score == pytest.approx(sure, abs=1e-3)


def test_memory_does_not_grow_with_the_stack(predictor):
    """Large arrays of planes that are out of reach are let go."""
    session = Session(VOLUME, predictor)
    (memory,) = memories_of(predictor, [1], 60)
    memory.show(20, session.embed(0), MASK)
    sizes = []
    for plane in range(21, 34):
        memory.find(plane, session.embed(plane % 7), 1)
        kept = memory._tracked
        sizes.append(sum(v.nbytes for one in kept.values() for v in one.values()))
    assert sizes[-1] <= sizes[5]
    assert set(kept) == set(range(30, 34))
    memory.find(19, session.embed(1), -1)
    assert set(memory._tracked) == {19}


def test_it_is_cancelled_between_planes(predictor):
    """Closing the generator stops the work."""
    session = Session(VOLUME, predictor)
    steps = session.propagate({3: MASK})
    next(steps)
    steps.close()
    objects = {1: {0: MASK}, 9: {6: MASK}}
    labels = session.segment_objects(objects)
    assert labels.shape == VOLUME.shape
    assert (labels[0] == 1).sum() >= MASK.sum() * 0.5


def test_models_for_images_have_no_memory(tmp_path):
    """They are followed as all others are."""
    folder = save_tiny("sam2", tmp_path / "images")
    plain = load_model(checkpoint=folder, device="cpu", precision="float32")
    assert plain.new_memory(5) is None
    assert memories_of(plain, [1, 2], 5) == []
