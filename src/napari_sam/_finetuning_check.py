"""Whether the model that is being trained has become better, on images held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from napari_sam._finetuning_copy import copy_for_training
from napari_sam._finetuning_data import LabelledImage
from napari_sam._finetuning_guard import Memory
from napari_sam._finetuning_options import FinetuneOptions, HeldOut
from napari_sam.evaluation import objects_of, score_objects, summary
from napari_sam.predictor import Predictor

CLICKS = 5
# A check must not take longer than the training between two of them.
MOST_IMAGES, MOST_OBJECTS = 8, 12
# Fewer objects than this say little: mirrored images are looked at as well.
ENOUGH_OBJECTS = 8
KEPT = 0.9
"""Mean IoU with the base model's masks on photographs that is good enough."""
FALL_COST = 2.0
"""What a fall with boxes or five clicks costs, on top of its part in the mean."""


class Checker:
    """Scores weights on the images held out and, if asked to, on photographs.

    Parameters
    ----------
    base : Predictor
        The base model.
    images : sequence of LabelledImage
        Held out; none is allowed.
    options : FinetuneOptions
    """

    def __init__(
        self,
        base: Predictor,
        images: Sequence[LabelledImage],
        options: FinetuneOptions,
    ) -> None:
        self.options = options
        model, names = copy_for_training(base.model, options)
        # The weights it is told to use are other ones, but the embeddings are the
        # base model's as long as its encoder is.
        self.predictor = Predictor(
            model, base.checksum, base.name, str(base.device), "float32"
        )
        parameters = dict(model.named_parameters())
        self._tuned = {name: parameters[name] for name in names}
        self._memory = Memory.of(base) if options.remember else None
        self._truth = chosen_objects(images, options.seed)
        self._embeddings = [
            None if options.trains_encoder else base.embed(image.pixels)
            for image, _ in self._truth
        ]

    def __call__(self, weights: Mapping[str, Tensor]) -> HeldOut | None:
        """Score weights by name; None if there is nothing held out."""
        if not self._truth:
            return None
        with torch.no_grad():
            for name, parameter in self._tuned.items():
                parameter.copy_(weights[name])
        scores = []
        for truth, stored in zip(self._truth, self._embeddings, strict=True):
            embedding = stored or self.predictor.embed(truth[0].pixels)
            scores += score_objects(self.predictor, embedding, truth, CLICKS)
        found = summary(scores)
        return HeldOut(*(found[k] for k in ("click1", "click3", "click5", "box")))

    def with_kept(self, held_out: HeldOut) -> HeldOut:
        """Add how the weights scored last do on photographs, if that is asked for."""
        if self._memory is None:
            return held_out
        kept = self._memory.kept(self.predictor, self.options.trains_encoder)
        return replace(held_out, kept=kept)


def chosen_objects(
    images: Sequence[LabelledImage], seed: int
) -> list[
    tuple[
        LabelledImage, list[tuple[int, np.ndarray[tuple[int, int], np.dtype[np.bool_]]]]
    ]
]:
    """Objects to look at: of several images, and of their mirror images if few."""
    step = max(1, -(-len(images) // MOST_IMAGES))
    some = list(images[::step])
    if not some:
        return []
    each = max(1, MOST_OBJECTS // len(some))
    found = []
    for flip in (None, np.fliplr, np.flipud):
        for number, image in enumerate(some):
            if flip is not None:
                image = replace(
                    image,
                    pixels=np.ascontiguousarray(flip(image.pixels)),
                    labels=flip(image.labels),
                )
            rng = np.random.default_rng((seed, number))
            objects = objects_of(image.labels, each, rng)
            if objects:
                found.append((image, objects))
        if sum(len(objects) for _, objects in found) >= ENOUGH_OBJECTS:
            break
    return found


def merit(held_out: HeldOut, base: HeldOut) -> float:
    """How good a model is, all told: higher is better, the base's own is its mean.

    What got worse than the base, with many clicks, with boxes, or on photographs,
    counts against it once more: nobody wants to pay with those for better clicks.
    """
    worse = max(0.0, base.click5 - held_out.click5) + max(0.0, base.box - held_out.box)
    forgotten = max(0.0, KEPT - held_out.kept) if held_out.kept >= 0 else 0.0
    return held_out.mean - FALL_COST * worse - forgotten
