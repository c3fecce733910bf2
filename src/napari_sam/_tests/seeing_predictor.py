"""A predictor without a network: it answers with what is bright at the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad, pixel_shuffle, pixel_unshuffle

from napari_sam._tests.tiny_models import tiny_sam
from napari_sam.decoding import Part
from napari_sam.predictor import Predictor
from napari_sam.prompting import prompt_points
from napari_sam.types import ImageEmbedding, ModelInput, Prompts

BRIGHT = 0.4


class SeeingPredictor(Predictor):
    """Its embedding is the plane itself; its masks are what is bright at the prompts.

    Of the three masks the first is the object, the second the box and the third
    nothing, which it likes best, so that a caller who only follows scores is lost.
    """

    def __init__(self) -> None:
        super().__init__(tiny_sam(), "seeing", device="cpu", precision="float32")
        self.encoded = 0
        self.batches: list[int] = []

    def encode(self, planes: Sequence[ModelInput]) -> list[ImageEmbedding]:
        """Pack the 256 x 256 cells of a plane into 16 features of 64 x 64."""
        self.encoded += len(planes)
        found = []
        for plane in planes:
            shown = plane.pixels.float().mean(dim=0, keepdim=True) / 255
            right, bottom = 1024 - shown.shape[2], 1024 - shown.shape[1]
            cells = avg_pool2d(pad(shown, (0, right, 0, bottom)), 4)
            features = pixel_unshuffle(cells[None], 4)
            found.append(self.restore(features, plane, self.key(plane)))
        return found

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        multimask: bool,
        min_score: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Answer each prompt by the bright cells that its box or point touches."""
        self.batches.append(len(prompts))
        cells = pixel_shuffle(embedding.features.float(), 4)[0, 0].numpy()
        labels, _ = ndimage.label(cells > BRIGHT)
        masks = [self._answer(labels, one, embedding.plane_size) for one in prompts]
        logits = torch.from_numpy(np.where(np.stack(masks), 6.0, -6.0)).float()
        scores = torch.tensor([[0.9, 0.9, 0.95]]).repeat(len(prompts), 1)
        kept = slice(None) if multimask else slice(0, 1)
        return logits[:, kept], scores[:, kept]

    def decode_parts(
        self, embedding: ImageEmbedding, asked: Sequence[tuple[Prompts, Part]]
    ) -> list[tuple[Tensor, Tensor]]:
        """Cut the answers of `decode`."""
        prompts = [one for one, _ in asked]
        logits, scores = self.decode(embedding, prompts, multimask=True)
        answers = zip(logits, scores, asked, strict=True)
        return [(one[:, *part], three) for one, three, (_, part) in answers]

    @staticmethod
    def _answer(labels: Any, prompts: Prompts, size: tuple[int, int]) -> Any:
        xy, _ = prompt_points(prompts, size)
        inside = np.zeros(labels.shape, bool)
        if prompts.box is not None:
            (c0, r0), (c1, r1) = np.round(xy[-2:] / 4).astype(int)
            inside[r0 : max(r1, r0 + 1), c0 : max(c1, c0 + 1)] = True
        else:
            for x, y in np.minimum(xy[: len(prompts.points)] / 4, 255).astype(int):
                inside[y, x] = True
        touched = np.unique(labels[inside])
        found = np.isin(labels, touched[touched > 0])
        return np.stack([found, inside, np.zeros_like(inside)])
