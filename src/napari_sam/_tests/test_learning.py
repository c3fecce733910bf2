"""Learning while annotating: what helps is kept, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_sam._learning_lessons import Goal, attend, examination, overlap
from napari_sam._mask_boxes import tight_box
from napari_sam._tests.tiny_models import WIDTH, tiny_predictor
from napari_sam.learning import (
    AcceptedObject,
    AdaptedPredictor,
    Learned,
    Learner,
    LearningOptions,
)
from napari_sam.learning import split as split_objects
from napari_sam.types import ImageEmbedding, Prompts

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 256
QUICK = LearningOptions(seconds=60, steps=16, rate=3e-3)


def disc(number: int) -> tuple[ImageEmbedding, NDArray[np.bool_]]:
    """Make a plane whose embedding tells inside from outside, and the object in it."""
    rng = np.random.default_rng(number)
    row, column = rng.uniform(70, 186, 2)
    y, x = np.indices((SIDE, SIDE))
    mask = (y - row) ** 2 + (x - column) ** 2 < rng.uniform(25, 45) ** 2
    features = torch.from_numpy(rng.normal(0, 0.3, (1, WIDTH, 64, 64))).float()
    inside = torch.from_numpy(mask[::4, ::4].copy())
    features[0, :4, inside] += 3.0
    return ImageEmbedding(features, (SIDE, SIDE), f"disc {number}", "tiny 0"), mask


def discs(count: int) -> list[AcceptedObject]:
    """Accept objects, each found by a box."""
    return [
        AcceptedObject(n, embedding, mask, Prompts(box=tight_box(mask)))
        for n, (embedding, mask) in enumerate(map(disc, range(count)))
    ]


def box_iou(predictor: Any, number: int) -> float:
    """IoU of a box's mask with an object that nobody has learned from."""
    embedding, mask = disc(number)
    found = predictor.predict(embedding, Prompts(box=tight_box(mask))).best
    return float((found & mask).sum() / (found | mask).sum())


@pytest.fixture(scope="module")
def learned() -> Learned:
    """Learn from three discs."""
    return Learner(tiny_predictor(), QUICK).learn_all(discs(3))


def test_objects_held_back_and_others_are_found_better(learned: Learned) -> None:
    """And the model itself is as it was."""
    assert learned.after.mean > learned.before.mean + 0.1
    assert (learned.objects, learned.held_back) == (2, 1)
    assert all(change.dtype == np.float16 for change in learned.changes.values())
    base = tiny_predictor()
    adapted = AdaptedPredictor(base, learned.changes)
    before, after = (
        np.mean([box_iou(one, number) for number in range(50, 53)])
        for one in (base, adapted)
    )
    assert after > before + 0.1
    fresh = tiny_predictor().model.state_dict()
    for name, tensor in base.model.state_dict().items():
        assert torch.equal(tensor, fresh[name])
    embedding, _ = disc(0)
    assert adapted.checksum == embedding.model_checksum


def test_equal_objects_and_seed_teach_the_same(learned: Learned) -> None:
    """Bit for bit; and a round that was stopped leaves no trace."""
    learner = Learner(tiny_predictor(), QUICK)
    steps = learner.learn(discs(3))
    for _ in range(40):
        next(steps)
    steps.close()
    again = learner.learn_all(discs(3))
    assert again.changes.keys() == learned.changes.keys()
    for name, change in again.changes.items():
        np.testing.assert_array_equal(change, learned.changes[name])


def test_what_makes_it_worse_is_not_kept(learned: Learned) -> None:
    """A model that finds discs takes steps that are far too large."""
    options = LearningOptions(seconds=60, steps=4, rate=50.0, check_every=2)
    base = AdaptedPredictor(tiny_predictor(), learned.changes)
    again = Learner(base, options).learn_all(discs(3))
    assert not again.changes
    assert again.after == again.before
    assert again.before.mean > 0.3


def test_what_was_learned_before_stays_if_nothing_is_better(learned: Learned) -> None:
    """To the bit, so that it keeps its name."""
    options = LearningOptions(seconds=60, steps=2, rate=1e-9, check_every=1)
    learner = Learner(tiny_predictor(), options)
    again = learner.learn_all(discs(3), learned.changes)
    assert again.changes is learned.changes
    assert again.after.mean == pytest.approx(learned.after.mean, abs=0.01)


def test_two_objects_are_held_back_in_turn() -> None:
    """From three on, every third is; numbers decide, and not the order."""
    two, seven = discs(2), discs(7)
    assert [(len(f.taught), len(f.held)) for f in split_objects(two, 3)] == [(1, 1)] * 2
    (fold,) = split_objects(seven[::-1], 3)
    assert sorted(one.number for one in fold.held) == [2, 5]
    learned = Learner(tiny_predictor(), QUICK).learn_all(two)
    assert (learned.objects, learned.held_back) == (2, 2)
    with pytest.raises(ValueError, match="at least 2 different ones, got 1"):
        Learner(tiny_predictor()).learn_all([seven[0], seven[0]])


def test_half_decoded_lessons_give_the_answers_of_the_predictor() -> None:
    """Cells in their places: the same mask as from the whole decoder."""
    predictor = tiny_predictor()
    embedding, mask = disc(1)
    decoder = predictor.model.mask_decoder
    question = next(iter(examination(Goal.of(embedding.features, mask))))
    with torch.no_grad():
        logits, _ = predictor.model.decode(
            embedding.features, question.points, None, question.multimask
        )
    answer = logits[0, 0].numpy() > 0
    assert answer.any()
    goal = Goal(embedding.features, answer, np.ones((256, 256), bool))
    lesson = attend(predictor.model, goal, question)
    assert overlap(decoder, lesson) == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"no.such": np.zeros(1)}, "does not fit"),
        ({"iou_token.weight": np.zeros(1)}, "does not fit"),
        ({"iou_token.weight": np.full((1, WIDTH), np.nan)}, "must be finite"),
    ],
)
def test_changes_that_do_not_fit_are_refused(changes: Any, message: str) -> None:
    """In one sentence."""
    with pytest.raises(ValueError, match=message):
        AdaptedPredictor(tiny_predictor(), changes)


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((SIDE, SIDE), bool),
        np.ones((SIDE, SIDE), np.uint8),
        np.ones((9, 9), bool),
        np.ones((SIDE, SIDE, 1), bool),
    ],
)
def test_masks_that_say_nothing_are_refused(mask: Any) -> None:
    """Empty, of another type or size."""
    with pytest.raises(ValueError, match="mask must be bool"):
        AcceptedObject(0, disc(0)[0], mask)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 0},
        {"steps": 0},
        {"steps": 1.5},
        {"rate": -1.0},
        {"rate": np.nan},
        {"held_back": 1},
        {"seed": -1},
        {"patience": True},
    ],
)
def test_options_are_checked(wrong: Any) -> None:
    """The sentence names the option."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LearningOptions(**wrong)
