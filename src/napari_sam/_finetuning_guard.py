"""So that a model does not forget photographs while it learns the user's images.

A few everyday photographs of scikit-image are shown to the base model with prompts
all over; the trained model is to answer them alike (Li & Hoiem, "Learning without
Forgetting", 2016). Whether it does is looked at on other photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage import data

from napari_sam._finetuning_data import LabelledImage
from napari_sam._finetuning_prompts import PromptBatch
from napari_sam._mask_boxes import tight_box
from napari_sam.predictor import Predictor
from napari_sam.types import ImageEmbedding, Prediction, Prompts

PRACTISED = ("chelsea", "coffee", "camera", "stereo_motorcycle")
LOOKED_AT = ("astronaut", "rocket")
# Photographs are marked with so many tiles along either axis, so that views of them
# are cut around some place as views of labelled images are around some object.
TILES = 8
# Side of the grid of points on each photograph that is looked at.
GRID = 4
# Masks that the base model is sure of are what should not change.
SURE = 0.88


def photographs(names: Sequence[str]) -> list[LabelledImage]:
    """Photographs of scikit-image by name; their labels are square tiles."""
    found = []
    for name in names:
        loaded = getattr(data, name)()
        # A stereo pair comes with its disparity; one eye is a photograph.
        pixels = np.ascontiguousarray(loaded[0] if type(loaded) is tuple else loaded)
        rows, columns = (
            np.arange(length) * TILES // length for length in pixels.shape[:2]
        )
        tiles = (1 + rows[:, None] * TILES + columns).astype(np.uint8)
        found.append(LabelledImage(pixels, tiles, name, name))
    return found


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
            points = grid_prompts(image.size)
            sure = [
                (prompt, answer)
                for prompt, answer in zip(
                    points, _ask(predictor, embedding, points), strict=True
                )
                if answer.best_score > SURE and answer.best.any()
            ]
            boxes = [Prompts(box=tight_box(answer.best)) for _, answer in sure]
            asked = [prompt for prompt, _ in sure] + boxes
            prompts.append(asked)
            masks.append(
                [answer.best for _, answer in sure]
                + [a.best for a in _ask(predictor, embedding, boxes)]
            )
        return cls(embeddings, prompts, masks, images)

    def kept(self, predictor: Predictor, encodes: bool) -> float:
        """Mean IoU of a model's masks with those of the base: of clicks, or of boxes.

        The worse of the two. Boxes are rarely forgotten, and would hide that single
        clicks, which say less, are.

        Parameters
        ----------
        predictor : Predictor
        encodes : bool
            Whether its image encoder is another one than the base's.
        """
        ious: dict[bool, list[float]] = {True: [], False: []}
        for i, image in enumerate(self.images):
            embedding = predictor.embed(image.pixels) if encodes else self.embeddings[i]
            prompts = self.prompts[i]
            answers = _ask(predictor, embedding, prompts)
            for prompt, answer, mask in zip(
                prompts, answers, self.masks[i], strict=True
            ):
                both = np.count_nonzero(answer.best & mask)
                either = np.count_nonzero(answer.best | mask)
                ious[prompt.box is None].append(both / either if either else 1.0)
        return min(
            (float(np.mean(kind)) for kind in ious.values() if kind), default=1.0
        )


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
