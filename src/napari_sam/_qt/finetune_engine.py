"""What the worker does to fine-tune a model: read, check, train, compare; no Qt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_sam._finetuning_data import (
    LabelledImage,
    labelled_images,
    planes_of,
    split_groups,
)
from napari_sam._finetuning_resume import resume_path
from napari_sam._qt.transfer import Transfer
from napari_sam.evaluation import centre_click, objects_of
from napari_sam.finetuning import FinetuneOptions, TrainingStep, finetune
from napari_sam.predictor import Predictor
from napari_sam.registry import (
    download,
    get_spec,
    is_available,
    load_model,
    models_directory,
)
from napari_sam.types import Prompts

# Objects of the plane that is shown before and after.
MOST_OBJECTS = 8


@dataclass(frozen=True, eq=False)
class ImageValues:
    """What an Image layer held when training was asked for.

    Parameters
    ----------
    name : str
    data : array
        Of a multiscale layer all levels.
    contrast_limits : (float, float)
    rgb, multiscale : bool
    """

    name: str
    data: Any
    contrast_limits: tuple[float, float]
    rgb: bool
    multiscale: bool


@dataclass(frozen=True, eq=False)
class LabelsValues:
    """What a Labels layer held then; a copy, as the user goes on painting."""

    name: str
    data: Any
    multiscale: bool


Pair: TypeAlias = tuple[ImageValues, LabelsValues]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be trained, and on what.

    Parameters
    ----------
    data : Path, or tuple of (ImageValues, LabelsValues)
    model : str
        What to start from.
    name : str
        Of the new model.
    options : FinetuneOptions
    is_unchecked : bool
        Train also if nothing can be held out.
    """

    data: Path | tuple[Pair, ...]
    model: str
    name: str
    options: FinetuneOptions
    is_unchecked: bool = False


class OneImage:
    """Nothing can be held out, and the user has not agreed to that."""


@dataclass(frozen=True, eq=False)
class Compared:
    """A plane with the masks of one click on each object, by one model.

    Parameters
    ----------
    masks : list of ndarray of shape (H, W), bool
    iou : float
        Mean over the objects.
    """

    masks: list[NDArray[np.bool_]]
    iou: float


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """One plane by the model before and after.

    Parameters
    ----------
    pixels : ndarray of shape (H, W) or (H, W, 3), uint8
    truth : list of ndarray of shape (H, W), bool
        The user's objects.
    before, after : Compared
    is_held_out : bool
        Whether the model was not trained on it.
    """

    pixels: NDArray[np.uint8]
    truth: list[NDArray[np.bool_]]
    before: Compared
    after: Compared
    is_held_out: bool


@dataclass(frozen=True, eq=False)
class Tuned:
    """What came of it.

    Parameters
    ----------
    name : str
    path : Path, optional
        The new model; None if nothing better than the old one was found.
    pictures : BeforeAfter, optional
        None if there is no model, or no object is large enough to be clicked on.
    """

    name: str
    path: Path | None = None
    pictures: BeforeAfter | None = None


class TuningEngine:
    """Trains for one widget.

    Parameters
    ----------
    load : callable, optional
        As `load_model`.
    """

    def __init__(self, load: Callable[..., Predictor] = load_model) -> None:
        self._load = load
        self.transfer = Transfer()
        self._is_enough = threading.Event()

    def begin(self) -> None:
        """Forget that the last training was ended."""
        self._is_enough.clear()

    def finish(self) -> None:
        """End the training after its step, and keep the best model so far."""
        self._is_enough.set()
        self.transfer.cancel()

    def tune(
        self, plan: Plan
    ) -> Generator[str | TrainingStep, None, Tuned | OneImage | None]:
        """Fine-tune a model.

        Parameters
        ----------
        plan : Plan

        Yields
        ------
        str or TrainingStep
            What is being done, or how far the training is.

        Returns
        -------
        Tuned, OneImage or None
            None if it was ended before it began.

        Raises
        ------
        ValueError
            Before anything is begun, if the data cannot be learnt from, or there is a
            model of this name.
        OSError
        """
        yield "Reading the images"
        images = read_images(plan.data)
        groups = {one.group for one in images}
        if len(groups) == 1 and not plan.is_unchecked:
            return OneImage()
        target = models_directory() / f"{plan.name}.pt"
        start = self._prepare(plan, target)
        if not is_available(get_spec(plan.model)):
            self.transfer.begin()
            yield f"Downloading {plan.model}, once"
            download(get_spec(plan.model), self.transfer)
        if self._is_enough.is_set():
            return None
        yield f"Encoding the images, and looking how good {plan.model} is"
        with closing(start()) as steps:
            for step in steps:
                yield step
                if self._is_enough.is_set():
                    break
        # Only what was cut off by a crash is gone on with.
        resume_path(target).unlink(missing_ok=True)
        if not target.is_file():
            return Tuned(plan.name)
        yield "Comparing before and after"
        return Tuned(plan.name, target, self._compare(plan, images, target))

    def _prepare(
        self, plan: Plan, target: Path
    ) -> Callable[[], Generator[TrainingStep, None, None]]:
        """Find out whether to begin, or to go on after a crash."""
        target.parent.mkdir(parents=True, exist_ok=True)
        begin = partial(finetune, plan.data, target, plan.model, plan.options)
        if resume_path(target).is_file():
            try:
                steps = begin(resume=True)
            except ValueError:  # other data, options or model
                pass
            else:
                return lambda: steps
        if target.is_file():
            raise ValueError(
                f"there is a model called {plan.name} already; choose another name."
            )
        return begin

    def _compare(
        self, plan: Plan, images: Sequence[LabelledImage], tuned: Path
    ) -> BeforeAfter | None:
        """Show one plane to both models; held out, if there is one."""
        options = plan.options
        trained, held_out = split_groups(images, options.held_out, options.seed)
        shown = max(held_out or trained, key=lambda one: np.count_nonzero(one.labels))
        rng = np.random.default_rng(options.seed)
        truth = [mask for _, mask in objects_of(shown.labels, MOST_OBJECTS, rng)]
        if not truth:
            return None
        before = compare(self._load(plan.model), shown, truth)
        after = compare(self._load(plan.name, checkpoint=tuned), shown, truth)
        return BeforeAfter(shown.pixels, truth, before, after, bool(held_out))


def read_images(data: Path | tuple[Pair, ...]) -> list[LabelledImage]:
    """Read what there is to learn from, and refuse what is not labelled.

    Parameters
    ----------
    data : Path, or tuple of (ImageValues, LabelsValues)

    Raises
    ------
    ValueError
        If labels are empty or do not fit, or nothing is labelled.
    """
    if isinstance(data, Path):
        return labelled_images(data)
    found: list[LabelledImage] = []
    for number, (image, labels) in enumerate(data):
        planes = planes_of(image, labels, f"image {number} {image.name}")
        if not planes:
            raise ValueError(
                f"{labels.name!r} is empty: paint every object of {image.name!r} with "
                "a number of its own, or leave the image out."
            )
        found += planes
    return found


def compare(
    predictor: Predictor, image: LabelledImage, truth: Sequence[NDArray[np.bool_]]
) -> Compared:
    """Click once on each object of a plane.

    Parameters
    ----------
    predictor : Predictor
    image : LabelledImage
    truth : sequence of ndarray of shape (H, W), bool
        The objects.
    """
    embedding = predictor.embed(image.pixels)
    prompts = [Prompts([centre_click(mask)], [1]) for mask in truth]
    masks = [one.best for one in predictor.predict_batch(embedding, prompts)]
    ious = [
        np.count_nonzero(mask & true) / np.count_nonzero(mask | true)
        for mask, true in zip(masks, truth, strict=True)
    ]
    return Compared(masks, float(np.mean(ious)))
