"""What fine-tuning is told, and what it reports."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from napari_sam.types import Precision

Trained: TypeAlias = Literal["decoder", "decoder+prompt", "lora", "full"]
TRAINED: tuple[str, ...] = get_args(Trained)

WARM_UP = 15
"""Updates until the learning rate is reached."""
LAST_RATE = 0.05
"""Of the learning rate, what is left at the end: it falls as a cosine."""


@dataclass(frozen=True)
class FinetuneOptions:
    """How a model is fine-tuned.

    Parameters
    ----------
    train : {"decoder", "decoder+prompt", "lora", "full"}
        What is trained: the mask decoder (images are encoded once: quick, also
        without a GPU); the prompt encoder, too; low-rank adapters in the image
        encoder's attention, and the decoder; or everything.
    minutes : float
        Time after which training ends.
    steps : int, optional
        Number of steps after which it ends, if that comes first.
    patience : int
        Ends after so many checks in a row that found no better model.
    learning_rate : float, optional
        1e-4 for the decoder and adapters, 1e-5 for everything, if omitted. It is
        reached after a few updates, and falls towards the end of the run.
    batch : int
        Objects trained on at a time.
    accumulate : int
        Rounds of prompts whose gradients make one update; of "lora" and "full",
        simulations, which train the encoder once for all their rounds.
    held_out : float
        Fraction of the images or volumes that is not trained on, but decides which
        model is kept; at least one. 0: none, and the last model is kept.
    remember : float
        Fraction of the steps that repeat the base model's answers on photographs, so
        that it does not forget them.
    augment : bool
        Also train on flipped, turned, cut and re-exposed images.
    check_every : int
        Steps between checks on the images held out.
    seed : int
    precision : {"auto", "float32", "bfloat16"}
        Of the products; weights and updates are float32.
    device : str
        ``"auto"`` or a torch device.

    Raises
    ------
    ValueError
        If an option is not as above.
    """

    train: Trained = "decoder"
    minutes: float = 10.0
    steps: int | None = None
    patience: int = 8
    learning_rate: float | None = None
    batch: int = 4
    accumulate: int = 1
    held_out: float = 0.2
    remember: float = 0.4
    augment: bool = True
    check_every: int = 30
    seed: int = 0
    precision: Precision = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.train not in TRAINED:
            names = ", ".join(TRAINED)
            raise ValueError(f"train must be one of {names}, got {self.train!r}.")
        for name in ("minutes", "learning_rate"):
            value = getattr(self, name)
            if name == "learning_rate" and value is None:
                continue
            if not _is_number(value) or not 0 < value < np.inf:
                raise ValueError(f"{name} must be a number above 0, got {value!r}.")
        for name in ("held_out", "remember"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value < 1:
                raise ValueError(
                    f"{name} must be at least 0 and less than 1, got {value!r}."
                )
        for name in ("steps", "patience", "batch", "accumulate", "check_every"):
            value = getattr(self, name)
            if name == "steps" and value is None:
                continue
            if not _is_whole(value) or value < 1:
                raise ValueError(
                    f"{name} must be a whole number of at least 1, got {value!r}."
                )
        if not _is_whole(self.seed) or self.seed < 0:
            raise ValueError(
                f"seed must be a whole number of at least 0, got {self.seed!r}."
            )
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(
                "precision must be auto, float32 or bfloat16 to train, "
                f"got {self.precision!r}."
            )

    @property
    def rate(self) -> float:
        """The learning rate, given or by default."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1e-5 if self.train == "full" else 1e-4

    @property
    def trains_encoder(self) -> bool:
        """Whether the embeddings of an image change while it trains."""
        return self.train in ("lora", "full")


def schedule(updates: int, done: float) -> float:
    """Share of the learning rate: a short rise, then a cosine to the end of the run.

    Parameters
    ----------
    updates : int
        From 1.
    done : float
        How much of the run is done, 0 to 1.

    Examples
    --------
    >>> round(schedule(100, 0.0), 3), round(schedule(100, 1.0), 3)
    (1.0, 0.05)
    """
    fall = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return min(1.0, updates / WARM_UP) * (LAST_RATE + (1 - LAST_RATE) * fall)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


@dataclass(frozen=True)
class HeldOut:
    """How good a model is on the images held out.

    Parameters
    ----------
    click1, click3, click5, box : float
        Mean IoU after so many clicks, and of a tight box, over the objects.
    kept : float
        Mean IoU of its masks with the base model's on photographs; 1 is no change.
        NaN if it was not looked at: only what is better otherwise is worth it.
    """

    click1: float
    click3: float
    click5: float
    box: float
    kept: float = float("nan")

    @property
    def mean(self) -> float:
        """Mean of the four."""
        return (self.click1 + self.click3 + self.click5 + self.box) / 4


@dataclass(frozen=True)
class TrainingStep:
    """One step of fine-tuning.

    Parameters
    ----------
    number : int
        From 1; step 0 only reports the base model on the images held out.
    seconds : float
        Since training began, earlier runs that were resumed counted in.
    loss, focal, dice, iou : float
        Total and terms, means over the rounds of the step. NaN if it had none.
    remembered : float
        How far the answers on photographs are from the base model's; NaN in steps
        that did not look.
    held_out : HeldOut, optional
        In every ``check_every``-th step, and once more after the last.
    is_best : bool
        Whether the file now holds the model of this step.
    """

    number: int
    seconds: float
    loss: float = float("nan")
    focal: float = float("nan")
    dice: float = float("nan")
    iou: float = float("nan")
    remembered: float = float("nan")
    held_out: HeldOut | None = None
    is_best: bool = False
