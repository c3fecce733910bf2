"""So that a model does not forget photographs while it learns the user's images.

A few photographs are shown to the base model with prompts all over; the trained model
is to answer them alike (Li & Hoiem, "Learning without Forgetting", 2016). Whether it
does is looked at on other photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam._finetuning_data import LabelledImage
from napari_sam._finetuning_photographs import LOOKED_AT, photographs
from napari_sam._finetuning_prompts import PromptBatch
from napari_sam._mask_boxes import tight_box
from napari_sam.evaluation import centre_click, iou_of
from napari_sam.predictor import Predictor
from napari_sam.types import ImageEmbedding, Prediction, Prompts

# Side of the grid of points on each photograph that is looked at.
GRID = 4
# Masks that the base model is sure of are what should not change.
SURE = 0.88
# Boxes of each photograph: they are forgotten more rarely than clicks.
MOST_BOXES = 4
# Two masks with more in common are of the same thing: it is asked for once.
SAME = 0.7


def practice_prompts(
    count: int, size: tuple[int, int], rng: np.random.Generator
) -> PromptBatch:
    """Points or boxes anywhere in a photograph.

    Parameters
    ----------
    count : int
    size : (h, w)
        Of the photograph in the model frame.
    rng : numpy.random.Generator
    """
    limits = np.array(size[::-1], float)
    centres = rng.uniform(0.02, 0.98, (count, 2)) * limits
    if rng.random() < 0.6:
        points = centres[:, None]
        return PromptBatch(points, np.ones((count, 1), np.int64))
    half = np.exp(rng.uniform(np.log(0.03), np.log(0.35), (count, 2))) * limits
    corners = np.stack([centres - half, centres + half], axis=1)
    boxes = np.clip(corners, 0, [limits, limits])
    nothing = np.zeros((count, 0, 2)), np.zeros((count, 0), np.int64)
    return PromptBatch(*nothing, boxes)


@dataclass(frozen=True, eq=False)
class Memory:
    """What the base model answers on the photographs that are looked at.

    Parameters
    ----------
    embeddings : list of ImageEmbedding
    prompts : list of list of Prompts
        Of each photograph.
    masks : list of list of ndarray of shape (H, W), bool
        The base model's answers.
    images : list of LabelledImage
        The photographs.
    """

    embeddings: list[ImageEmbedding]
    prompts: list[list[Prompts]]
    masks: list[list[NDArray[np.bool_]]]
    images: list[LabelledImage]

    @classmethod
    def of(cls, predictor: Predictor) -> Memory:
        """Ask the base model."""
        images = photographs(LOOKED_AT)
        embeddings = [predictor.embed(one.pixels) for one in images]
        prompts: list[list[Prompts]] = []
        masks: list[list[NDArray[np.bool_]]] = []
        for image, embedding in zip(images, embeddings, strict=True):
            things = _sure_masks(predictor, embedding, grid_prompts(image.size))
            asked = [Prompts(points=[centre_click(mask)]) for mask in things]
            asked += [Prompts(box=tight_box(mask)) for mask in things[:MOST_BOXES]]
            prompts.append(asked)
            masks.append([a.best for a in _ask(predictor, embedding, asked)])
        return cls(embeddings, prompts, masks, images)

    def kept(self, predictor: Predictor, encodes: bool) -> float:
        """Mean IoU of a model's masks with those of the base: of clicks, or of boxes.

        The worse of the two. Boxes are rarely forgotten, and would hide that single
        clicks, which say less, are. Every photograph weighs the same.

        Parameters
        ----------
        predictor : Predictor
        encodes : bool
            Whether its image encoder is another one than the base's.
        """
        means: dict[bool, list[float]] = {True: [], False: []}
        for i, image in enumerate(self.images):
            embedding = predictor.embed(image.pixels) if encodes else self.embeddings[i]
            ious: dict[bool, list[float]] = {True: [], False: []}
            answers = _ask(predictor, embedding, self.prompts[i])
            for prompt, answer, mask in zip(
                self.prompts[i], answers, self.masks[i], strict=True
            ):
                ious[prompt.box is None].append(iou_of(answer.best, mask))
            for kind, some in ious.items():
                means[kind] += [float(np.mean(some))] if some else []
        return min(
            (float(np.mean(kind)) for kind in means.values() if kind), default=1.0
        )


def _sure_masks(
    predictor: Predictor, embedding: ImageEmbedding, prompts: Sequence[Prompts]
) -> list[NDArray[np.bool_]]:
    """Different masks (H, W) that a model is sure of."""
    found: list[NDArray[np.bool_]] = []
    for answer in _ask(predictor, embedding, prompts):
        mask = answer.best
        is_sure = answer.best_score > SURE and mask.any()
        if is_sure and all(iou_of(mask, one) < SAME for one in found):
            found.append(mask)
    return found


def grid_prompts(size: tuple[int, int]) -> list[Prompts]:
    """Single points in a grid over a plane."""
    centres = (np.arange(GRID) + 0.5) / GRID
    return [
        Prompts(points=[[row * size[0], column * size[1]]])
        for row in centres
        for column in centres
    ]


def _ask(
    predictor: Predictor, embedding: ImageEmbedding, prompts: Sequence[Prompts]
) -> list[Prediction]:
    return predictor.predict_batch(embedding, prompts) if prompts else []
