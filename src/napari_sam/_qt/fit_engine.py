"""What the worker does to compare masks with words; no Qt, no layers."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam._candidates import Candidates
from napari_sam._linking import link_planes
from napari_sam._qt.automatic_engine import PlaneLabels, StackSearch, prepared
from napari_sam._qt.engine import Engine, Source
from napari_sam._qt.kept_model import KeptModel
from napari_sam._qt.progress import Progress
from napari_sam.text_ranker import CROPS_AT_ONCE, TextRanker
from napari_sam.types import Plane

Rankers = KeptModel[TextRanker]


@dataclass(frozen=True)
class FitWords:
    """Words that masks are compared with.

    Parameters
    ----------
    phrases : tuple of str
    against : tuple of str
        What they compete with.
    ranker : str
        Name or folder of the model that compares.
    """

    phrases: tuple[str, ...]
    against: tuple[str, ...]
    ranker: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """Masks of a plane that are to be compared with words.

    Parameters
    ----------
    source : Source
    plane : int or tuple of int
    masks : Candidates
    numbers : ndarray of shape (N,), int
        Of the masks.
    words : FitWords
    """

    source: Source
    plane: Plane
    masks: Candidates
    numbers: NDArray[np.intp]
    words: FitWords


@dataclass(frozen=True)
class Fit:
    """How well words fit a mask.

    Parameters
    ----------
    score : float
        Of the phrase that fits best, 0 to 1.
    phrase : str
    """

    score: float
    phrase: str


Fits = dict[int, Fit]


def compare(
    engine: Engine, rankers: Rankers, request: Comparison
) -> Generator[Progress | Fits, None, None]:
    """Compare masks with words, some a step.

    Parameters
    ----------
    engine : Engine
    rankers : KeptModel of TextRanker
    request : Comparison

    Yields
    ------
    Progress, or dict of int to Fit
        The latter by number, as they are found.
    """
    words = request.words
    ranker = yield from rankers.prepare(words.ranker, engine.transfer)
    yield from prepared(engine, request.source)
    session = engine.open(request.source)
    count = len(request.masks)
    for first in range(0, count, CROPS_AT_ONCE):
        yield Progress(first / count, "Comparing objects with the words")
        some = np.arange(first, min(first + CROPS_AT_ONCE, count))
        ranking = session.rank_by_text(
            request.masks.take(some),
            words.phrases,
            request.plane,
            ranker,
            words.against,
        )
        scores = ranking.scores.max(axis=1)
        yield {
            int(number): Fit(float(score), words.phrases[best])
            for number, score, best in zip(
                request.numbers[some], scores, ranking.best, strict=True
            )
        }


def search_stack_for(
    engine: Engine,
    rankers: Rankers,
    request: StackSearch,
    wanted: tuple[FitWords, float],
) -> Generator[Progress, None, list[PlaneLabels]]:
    """Find objects in planes of a stack, and keep those that words fit.

    Parameters
    ----------
    engine : Engine
    rankers : KeptModel of TextRanker
    request : StackSearch
    wanted : (FitWords, float)
        The words, and the score that one of them must exceed.

    Yields
    ------
    Progress

    Returns
    -------
    list of (plane, ndarray of shape (H, W))
        As `search_stack`.
    """
    words, min_fit = wanted
    ranker = yield from rankers.prepare(words.ranker, engine.transfer)
    yield from prepared(engine, request.source)
    session = engine.open(request.source)
    found: list[NDArray[np.int32]] = []
    for plane in request.planes:
        done = len(found) / len(request.planes)
        yield Progress(done, f"{len(found)} of {len(request.planes)} planes")
        masks = session.find_candidates(plane, request.options).select()
        ranking = session.rank_by_text(
            masks, words.phrases, plane, ranker, words.against
        )
        found.append(masks.take(ranking.passing(min_fit)).label_image())
    linked = link_planes(found, request.options)
    return list(zip(request.planes, linked, strict=True))
