"""Photographs that a model is not to forget, and what the base model shows of them.

Everyday photographs of scikit-image, as they are, and in grey with everything small and
there many times: so do many of the images look that a model is asked about later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import color, data, transform
from torch import Tensor

from napari_sam import transforms
from napari_sam._finetuning_data import LabelledImage
from napari_sam._finetuning_losses import mask_iou
from napari_sam._finetuning_prompts import CELL, PromptBatch
from napari_sam._finetuning_views import valid_cells
from napari_sam.evaluation import centre_click
from napari_sam.predictor import Predictor

SMALL = "small "
"""Before the name of a photograph that is shown in grey, small, and many times."""
PRACTISED = (
    "chelsea",
    "coffee",
    "camera",
    "stereo_motorcycle",
    "page",
    "brick",
    SMALL + "coffee",
    SMALL + "camera",
    SMALL + "stereo_motorcycle",
)
LOOKED_AT = ("astronaut", "rocket", "gravel", SMALL + "astronaut", SMALL + "rocket")
# Photographs are marked with so many tiles along either axis, so that views of them
# are cut around some place as views of labelled images are around some object.
TILES = 8
# Side of a small copy of a photograph in pixels, and copies along either axis.
COPY_SIDE, COPIES = 256, 3


def photographs(names: Sequence[str]) -> list[LabelledImage]:
    """Photographs of scikit-image by name; their labels are square tiles."""
    found = []
    for name in names:
        loaded = getattr(data, name.removeprefix(SMALL))()
        # A stereo pair comes with its disparity; one eye is a photograph.
        pixels = np.ascontiguousarray(loaded[0] if type(loaded) is tuple else loaded)
        if name.startswith(SMALL):
            pixels = small_and_many(pixels)
        rows, columns = (
            np.arange(length) * TILES // length for length in pixels.shape[:2]
        )
        tiles = (1 + rows[:, None] * TILES + columns).astype(np.uint8)
        found.append(LabelledImage(pixels, tiles, name, name))
    return found


def small_and_many(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put small grey copies of a picture side by side, each turned another way.

    Parameters
    ----------
    pixels : ndarray of shape (H, W) or (H, W, 3), uint8

    Returns
    -------
    ndarray of shape (768, 768), uint8
    """
    grey = color.rgb2gray(pixels) if pixels.ndim == 3 else pixels / 255
    side = (COPY_SIDE, COPY_SIDE)
    copy = transform.resize(grey, side, anti_aliasing=True)  # type: ignore[no-untyped-call]
    small = np.rint(255 * copy).astype(np.uint8)
    turned = [
        [np.rot90(small, row + column) for column in range(COPIES)]
        for row in range(COPIES)
    ]
    return np.block(turned)


@dataclass(frozen=True, eq=False)
class Clicks:
    """Single clicks on a photograph, and what the base model shows for them.

    Parameters
    ----------
    shown : LabelledImage
        The photograph.
    prompts : PromptBatch
        One point each.
    masks : Tensor of shape (B, 1, 256, 256), bool
        In the answer frame.
    scores : Tensor of shape (B, 1)
        Predicted IoU of these masks.
    """

    shown: LabelledImage
    prompts: PromptBatch
    masks: Tensor
    scores: Tensor

    @classmethod
    def anywhere(
        cls, base: Predictor, shown: LabelledImage, count: int, rng: np.random.Generator
    ) -> Clicks:
        """Click anywhere, and then in the middle of what is shown for that.

        Users click in the middle of objects, where what they mean is another thing than
        at random places, most of which are in the background.

        Parameters
        ----------
        base : Predictor
            Of SAM or MobileSAM.
        shown : LabelledImage
        count : int
            Of random clicks.
        rng : numpy.random.Generator
        """
        size = transforms.model_size(shown.size)
        points = rng.uniform(0.02, 0.98, (count, 1, 2)) * size[::-1]
        first = cls.at(base, shown, points)
        cells = [
            centre_click(mask)[::-1]
            for mask in first.masks[:, 0].cpu().numpy()
            if mask.any()
        ]
        if not cells:
            return first
        second = cls.at(base, shown, (np.array(cells)[:, None] + 0.5) * CELL)
        points = np.concatenate([first.prompts.points, second.prompts.points])
        return cls(
            shown,
            cls.prompts_at(points),
            torch.cat([first.masks, second.masks]),
            torch.cat([first.scores, second.scores]),
        )

    @staticmethod
    def prompts_at(points: NDArray[np.float64]) -> PromptBatch:
        """One click on each of B objects; points (B, 1, 2) as (x, y)."""
        return PromptBatch(points, np.ones(points.shape[:2], np.int64))

    @classmethod
    def at(
        cls, base: Predictor, shown: LabelledImage, points: NDArray[np.float64]
    ) -> Clicks:
        """Click at points (B, 1, 2), (x, y) in the model frame."""
        prompts = cls.prompts_at(points)
        # Copied: tensors made in inference mode cannot take part in training.
        features = base.embed(shown.pixels).features.clone()
        xy, labels = (part.to(base.device) for part in prompts.tokens())
        with torch.no_grad():
            answer = base.model.decode(features, (xy, labels), None, True)
        return cls.of(shown, prompts, answer)

    @classmethod
    def of(
        cls, shown: LabelledImage, prompts: PromptBatch, answer: tuple[Tensor, Tensor]
    ) -> Clicks:
        """Take what is shown of the base model's logits and scores."""
        logits, scores = answer
        best, rows = scores.argmax(1, keepdim=True), torch.arange(len(scores))
        masks = logits[rows.to(best.device)[:, None], best] > 0
        valid = torch.from_numpy(valid_cells(shown.size)).to(masks.device)
        return cls(shown, prompts, masks & valid, scores.gather(1, best).float())

    def wanted(self, logits: Tensor) -> Tensor:
        """Scores (B, M) that masks should have, so that the same thing is shown.

        Parameters
        ----------
        logits : Tensor of shape (B, M, 256, 256)
            Answers to the same clicks.
        """
        valid = torch.from_numpy(valid_cells(self.shown.size)).to(logits.device)
        alike = mask_iou(logits, self.masks.float(), valid[None, None].float())
        return alike * self.scores
