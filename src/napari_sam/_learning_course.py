"""One decoder that learns, how it is examined, and the search for the best."""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_sam._adapted_predictor import Changes
from napari_sam._learning_lessons import (
    KINDS,
    LEARNS,
    Kind,
    Lesson,
    lesson_loss,
    overlap,
)
from napari_sam._learning_values import LearningOptions, Overlaps
from napari_sam.modeling.mask_decoder import MaskDecoder

BATCH = 4
WARM_UP = 5
LARGEST_GRADIENT = 1.0
# Overlap that must be gained, so that chance alone does not change the model.
LEAST_GAIN = 0.005


class Course:
    """A decoder that learns from some lessons, and is examined with others."""

    def __init__(
        self,
        base: MaskDecoder,
        taught: list[Lesson],
        held: list[Lesson],
        options: LearningOptions,
    ) -> None:
        self.taught, self.held, self.options = taught, held, options
        self.decoder = copy.deepcopy(base)
        self._weights = {
            name: one.requires_grad_(True)
            for name, one in self.decoder.named_parameters()
            if name.startswith(LEARNS)
        }
        self._start = {n: one.detach().clone() for n, one in self._weights.items()}
        self._optimizer = torch.optim.AdamW(
            self._weights.values(), lr=options.rate, weight_decay=0.0
        )
        self._rng = np.random.default_rng(options.seed)
        self._order: list[int] = []
        self._steps = 0

    def step(self) -> Generator[None, None, None]:
        """Take one step, a lesson at a time."""
        self._steps += 1
        for _ in range(BATCH if self.taught else 0):
            self._order = (
                self._order or self._rng.permutation(len(self.taught)).tolist()
            )
            lesson = self.taught[self._order.pop()]
            (lesson_loss(self.decoder, lesson) / BATCH).backward()
            yield
        for group in self._optimizer.param_groups:
            group["lr"] = self.options.rate * min(1.0, self._steps / WARM_UP)
        nn.utils.clip_grad_norm_(self._weights.values(), LARGEST_GRADIENT)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def changes(self) -> dict[str, NDArray[np.float16]]:
        """Return what has been learned, as it is kept: in half precision."""
        return {
            name: (one.detach() - self._start[name]).half().cpu().numpy()
            for name, one in self._weights.items()
        }

    def load(self, changes: Mapping[str, NDArray[Any]]) -> None:
        """Put changes on the base; what is not among them is the base's."""
        with torch.no_grad():
            for name, one in self._weights.items():
                one.copy_(self._start[name])
                if name in changes:
                    one += torch.from_numpy(changes[name]).to(one)


class Exam:
    """Looks at the objects held back, and at what must stay as it is."""

    def __init__(self, courses: Sequence[Course], guards: Sequence[Lesson]) -> None:
        self.courses, self.guards = courses, guards

    def take(
        self, number: int
    ) -> Generator[tuple[int, Overlaps | None], None, Overlaps]:
        """Examine the decoders as they are, a prompt a step."""
        found: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
        kept = []
        for course in self.courses:
            for lesson in course.held:
                found[lesson.kind].append(overlap(course.decoder, lesson))
                yield number, None
            for lesson in self.guards:
                kept.append(overlap(course.decoder, lesson))
                yield number, None
        means = {k: float(np.mean(v)) if v else 0.0 for k, v in found.items()}
        overlaps = Overlaps(**means, kept=float(np.mean(kept)) if kept else 1.0)
        yield number, overlaps
        return overlaps


class Search:
    """The best that was found so far; at first the base."""

    def __init__(self, before: Overlaps, courses: Sequence[Course]) -> None:
        self._before, self._courses = before, courses
        self.best = before
        self.changes: Sequence[Changes] = []
        self.in_vain = 0

    def note(self, found: Overlaps, changes: Sequence[Changes] | None = None) -> None:
        """Keep what the decoders have learned, if they are the best so far.

        `changes` are those that the decoders were given, if they have learned nothing
        since: read off them, these would be rounded once more.
        """
        least = self.best.merit(self._before) + (0 if self.changes else LEAST_GAIN)
        if found.merit(self._before) <= least:
            self.in_vain += 1
            return
        self.best, self.in_vain = found, 0
        self.changes = changes or [course.changes() for course in self._courses]

    def mean_changes(self) -> Changes:
        """Mean over the decoders; with a single one, what it has learned."""
        if not self.changes:
            return {}
        if len(self.changes) == 1:
            return self.changes[0]
        # In float32: sums in half precision would be rounded twice.
        return {
            name: np.stack([one[name] for one in self.changes])
            .mean(axis=0, dtype=np.float32)
            .astype(np.float16)
            for name in self.changes[0]
        }
