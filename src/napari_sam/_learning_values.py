"""What learning while annotating is told, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam._adapted_predictor import Changes
from napari_sam._learning_lessons import KINDS
from napari_sam.types import ImageEmbedding, Prompts

# Overlap with what the base model finds that is good enough; as in fine-tuning.
KEPT = 0.9


@dataclass(frozen=True, eq=False)
class AcceptedObject:
    """An object whose mask in one plane is right.

    Parameters
    ----------
    number : int
        Counts accepted objects from 0; planes of one object share it. It decides what
        is held back, so it must not change.
    embedding : ImageEmbedding
        Of the whole plane.
    mask : ndarray of shape (H, W), bool
    prompts : Prompts, optional
        By which it was found; they are learned from besides simulated ones.

    Raises
    ------
    ValueError
        If the mask is empty or not of the plane's size.
    """

    number: int
    embedding: ImageEmbedding
    mask: NDArray[np.bool_]
    prompts: Prompts | None = None

    def __post_init__(self) -> None:
        mask, size = np.asarray(self.mask), self.embedding.plane_size
        if mask.dtype != bool or mask.shape != tuple(size) or not mask.any():
            raise ValueError(
                f"mask must be bool, of shape {tuple(size)} and not empty, got "
                f"{mask.dtype} of shape {mask.shape}."
            )


@dataclass(frozen=True)
class LearningOptions:
    """How a decoder learns while objects are accepted.

    Parameters
    ----------
    seconds : float
        Processor time after which training ends. Before, every new object takes about
        as long as ten clicks, once.
    steps : int
        Steps after which it ends, if that comes first.
    rate : float
        Learning rate.
    check_every : int
        Steps between looks at the objects held back.
    patience : int
        Looks in vain after which a round ends.
    held_back : int
        Every how many objects one is held back, once there are so many.
    seed : int

    Raises
    ------
    ValueError
        If a number is not above 0 (the seed: below 0), or `held_back` is below 2.
    """

    seconds: float = 5.0
    steps: int = 48
    rate: float = 1e-4
    check_every: int = 8
    patience: int = 4
    held_back: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"held_back": 2, "seed": 0, "seconds": 0, "rate": 0}
        for name, value in vars(self).items():
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            lowest = least.get(name, 1)
            is_open = name in ("seconds", "rate")
            if (
                not is_number
                or not lowest <= value < np.inf
                or (is_open and value == 0)
                or (not is_open and not isinstance(value, int))
            ):
                kind = "a number above" if is_open else "a whole number of at least"
                raise ValueError(f"{name} must be {kind} {lowest}, got {value!r}.")


@dataclass(frozen=True)
class Overlaps:
    """How good a decoder is, as mean overlaps (IoU).

    Parameters
    ----------
    box, click, followed : float
        With the objects held back: of a box, of a click, and met again in a plane.
    kept : float
        With masks that the base model finds by itself; 1 is no change.
    """

    box: float
    click: float
    followed: float
    kept: float = 1.0

    @property
    def mean(self) -> float:
        """Mean over the objects held back."""
        return (self.box + self.click + self.followed) / 3

    def merit(self, base: Overlaps) -> float:
        """How good, all told; what is worse than the base counts once more."""
        worse: float = sum(
            max(0.0, getattr(base, kind) - getattr(self, kind)) for kind in KINDS
        )
        return self.mean - worse - max(0.0, KEPT - self.kept)


@dataclass(frozen=True)
class LearningStep:
    """A small part of the work; between two of them it can be stopped.

    Parameters
    ----------
    number : int
        Steps of training so far.
    seconds : float
        Processor time so far.
    overlaps : Overlaps, optional
        If the objects held back have just been looked at.
    """

    number: int
    seconds: float
    overlaps: Overlaps | None = None


@dataclass(frozen=True, eq=False)
class Learned:
    """What came of a round.

    Parameters
    ----------
    changes : mapping of str to ndarray, float16
        What is added to tensors of the mask decoder, by name; empty if the base model
        is better than anything that was found.
    before, after : Overlaps
        Of the base model, and of the adapted one.
    objects, held_back : int
        How many objects were learned from, and how many held back.
    steps : int
    seconds : float
        Processor time.
    """

    changes: Changes
    before: Overlaps
    after: Overlaps
    objects: int
    held_back: int
    steps: int
    seconds: float
