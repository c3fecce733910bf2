"""Learn while annotating: accepted objects adapt a copy of the mask decoder.

A few objects, a few seconds, embeddings that are there already. What is learned is
kept only while objects that are held back from it are found better than before, and
what the model finds by itself in the same planes stays as it was.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam._adapted_predictor import AdaptedPredictor, Changes, as_sam
from napari_sam._finetuning_guard import SURE, grid_prompts
from napari_sam._generators import result_of
from napari_sam._learning_course import Course, Exam, Search
from napari_sam._learning_lessons import (
    Goal,
    Lesson,
    asked,
    attend,
    examination,
    practice,
)
from napari_sam._learning_values import (
    AcceptedObject,
    Learned,
    LearningOptions,
    LearningStep,
    Overlaps,
)
from napari_sam._mask_boxes import tight_box
from napari_sam.modeling.sam import Sam
from napari_sam.predictor import Predictor
from napari_sam.types import Prompts

__all__ = [
    "AcceptedObject",
    "AdaptedPredictor",
    "Learned",
    "Learner",
    "LearningOptions",
    "LearningStep",
    "Overlaps",
]

FEWEST = 2
"""Objects there must be: one to learn from, and one to see whether it helped."""
PRACTICE = 6
"""Simulated prompts of each object that are learned from."""
# Where between the base and what was learned better is looked for at the end.
SHARES = (0.6, 0.3)
# Planes, and masks of the base model in each, that must stay as they are.
GUARDED_PLANES, GUARDED_MASKS = 2, 3
# Points of a plane that are tried to find such masks.
GUARD_TRIES = 6


class Learner:
    """Adapts the mask decoder of a model to accepted objects.

    Parameters
    ----------
    base : Predictor
        Of SAM or MobileSAM; it is not changed.
    options : LearningOptions, optional

    Raises
    ------
    ValueError
        If the model is of another family.

    Notes
    -----
    Half decoded prompts of an object are kept until it is no longer among those
    that `learn` is given.
    """

    def __init__(self, base: Predictor, options: LearningOptions | None = None) -> None:
        model = as_sam(base)
        self.options = options or LearningOptions()
        self.base = base
        # In float32, whatever the precision of the model: steps are small.
        decoder = copy.deepcopy(model.mask_decoder).float().requires_grad_(False)
        self._model = Sam(model.image_encoder, model.prompt_encoder, decoder)
        self._model.to(base.device).eval()
        self._lessons: dict[AcceptedObject, tuple[list[Lesson], list[Lesson]]] = {}
        self._guards: dict[str, list[Lesson]] = {}
        self._spent = 0.0

    def learn(
        self, objects: Sequence[AcceptedObject], current: Changes | None = None
    ) -> Generator[LearningStep, None, Learned]:
        """Learn from objects, a small step at a time.

        Parameters
        ----------
        objects : sequence of AcceptedObject
            At least `FEWEST`. Two are each held back once; of more, every third.
        current : mapping of str to ndarray, optional
            What was learned before from some of them: kept if nothing is better.

        Yields
        ------
        LearningStep
            Closing the generator stops the work, at once.

        Returns
        -------
        Learned
            The same for the same objects and seed, unless the time ran out.

        Raises
        ------
        ValueError
            If there are too few objects.
        """
        folds = split(objects, self.options.held_back)
        round_ = self._round(objects, folds, current)
        self._spent = 0.0
        while True:
            began = time.thread_time()  # what others compute meanwhile is not counted
            try:
                number, overlaps = next(round_)
            except StopIteration as end:
                learned: Learned = end.value
                return learned
            self._spent += time.thread_time() - began
            yield LearningStep(number, self._spent, overlaps)

    def learn_all(
        self, objects: Sequence[AcceptedObject], current: Changes | None = None
    ) -> Learned:
        """Learn to the end; everything as in `learn`."""
        return result_of(self.learn(objects, current))

    def _round(
        self,
        objects: Sequence[AcceptedObject],
        folds: Sequence[Fold],
        current: Changes | None,
    ) -> Generator[tuple[int, Overlaps | None], None, Learned]:
        yield from self._prepare(objects)
        guards = [one for lessons in self._guards.values() for one in lessons]
        courses = [
            Course(
                self._model.mask_decoder,
                [one for item in fold.taught for one in self._lessons[item][0]],
                [one for item in fold.held for one in self._lessons[item][1]],
                self.options,
            )
            for fold in folds
        ]
        exam = Exam(courses, guards)
        before = yield from exam.take(0)
        search = Search(before, courses)
        if current and len(folds) == 1:
            courses[0].load(current)
            search.note((yield from exam.take(0)), [current])
            courses[0].load({})
        number, began = 0, self._spent
        while number < self.options.steps:
            if self._spent - began > self.options.seconds:
                break
            number += 1
            for course in courses:
                for _ in course.step():
                    yield number, None
            if number % self.options.check_every == 0:
                search.note((yield from exam.take(number)))
                if search.in_vain >= self.options.patience:
                    break
        last = search.changes or [course.changes() for course in courses]
        for share in SHARES:
            for course, changes in zip(courses, last, strict=True):
                course.load({n: share * one for n, one in changes.items()})
            search.note((yield from exam.take(number)))
        held = len({one.number for fold in folds for one in fold.held})
        count = len({one.number for one in objects})
        return Learned(
            search.mean_changes(),
            before,
            search.best,
            count if len(folds) > 1 else count - held,
            held,
            number,
            self._spent,
        )

    def _prepare(
        self, objects: Sequence[AcceptedObject]
    ) -> Generator[tuple[int, None], None, None]:
        """Make the lessons that are not there yet, a prompt a step."""
        self._lessons = {one: v for one, v in self._lessons.items() if one in objects}
        planes = {one.embedding.key: one for one in objects}
        self._guards = {k: v for k, v in self._guards.items() if k in planes}
        for one in objects:
            if one in self._lessons:
                continue
            goal = Goal.of(one.embedding.features, one.mask)
            if not goal.is_visible:
                self._lessons[one] = [], []
                continue
            rng = np.random.default_rng((self.options.seed, one.number))
            questions = list(practice(goal, PRACTICE, rng))
            if one.prompts is not None:
                questions.append(asked(one.prompts, one.embedding.plane_size))
            taught, held = [], []
            for question in questions:
                taught.append(attend(self._model, goal, question, rng))
                yield 0, None
            for question in examination(goal):
                held.append(attend(self._model, goal, question))
                yield 0, None
            self._lessons[one] = taught, held
        for key, one in planes.items():
            if key not in self._guards and len(self._guards) < GUARDED_PLANES:
                self._guards[key] = yield from self._guard(one)

    def _guard(
        self, one: AcceptedObject
    ) -> Generator[tuple[int, None], None, list[Lesson]]:
        """Find what the base model is sure of in a plane, and ask for it by boxes."""
        embedding, lessons = one.embedding, list[Lesson]()
        rng = np.random.default_rng(self.options.seed)
        grid = grid_prompts(embedding.plane_size)
        for index in rng.permutation(len(grid))[:GUARD_TRIES]:
            if len(lessons) == GUARDED_MASKS:
                break
            found = self.base.predict(embedding, grid[index])
            yield 0, None
            if found.best_score < SURE or not found.best.any():
                continue
            box = Prompts(box=tight_box(found.best))
            answer = self.base.predict(embedding, box).best
            goal = Goal.of(embedding.features, answer) if answer.any() else None
            if goal is not None and goal.is_visible:
                question = asked(box, embedding.plane_size)
                lessons.append(attend(self._model, goal, question, rng))
            yield 0, None
        return lessons


@dataclass(frozen=True, eq=False)
class Fold:
    """Objects that are learned from, and objects that are held back from that."""

    taught: list[AcceptedObject]
    held: list[AcceptedObject]


def split(objects: Sequence[AcceptedObject], every: int) -> list[Fold]:
    """Hold objects back, by their numbers alone.

    Parameters
    ----------
    objects : sequence of AcceptedObject
    every : int
        Of so many objects the last is held back.

    Returns
    -------
    list of Fold
        One; or, while too few objects are there, one for each of two objects.

    Raises
    ------
    ValueError
        If there are fewer than two.
    """
    numbers = sorted({one.number for one in objects})
    if len(numbers) < FEWEST:
        raise ValueError(
            f"objects must be at least {FEWEST} different ones, got {len(numbers)}."
        )
    regular = {n for n in numbers if n % every == every - 1}
    if regular and regular != set(numbers):
        chosen = [regular]
    else:
        chosen = [{number} for number in numbers[-2:]]
    return [
        Fold(
            [one for one in objects if one.number not in held],
            [one for one in objects if one.number in held],
        )
        for held in chosen
    ]
