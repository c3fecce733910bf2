"""SAM 2, EdgeTAM, SAM-HQ and SAM 3 as predictors, by the transformers library."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_sam import decoding, transforms
from napari_sam._square_frame import (
    answer_to_square,
    points_to_square,
    square_to_answer,
    stretch_pixels,
)
from napari_sam._video_memory import VideoMemory
from napari_sam.decoding import CELLS, Part
from napari_sam.model_folders import (
    FAMILIES,
    SAM_HQ,
    Family,
    folder_checksum,
    read_kind,
    read_network,
)
from napari_sam.predictor import Predictor
from napari_sam.stopping import may_stop
from napari_sam.types import (
    LOGITS_SIZE,
    ImageEmbedding,
    ModelInput,
    Precision,
    Prompts,
)

if TYPE_CHECKING:
    from pathlib import Path


class FamilyPredictor(Predictor):
    """A model of the transformers library, as every other predictor.

    Weights stay in float32; a shorter precision is that of the encoder's products.

    Parameters
    ----------
    model : nn.Module
        Of the class that the family names.
    family : Family
    checksum, name, device, precision
        As in `Predictor`.
    """

    model: Any

    def __init__(
        self,
        model: nn.Module,
        family: Family,
        checksum: str,
        **options: Any,
    ) -> None:
        self.family = family
        super().__init__(model, checksum, **options)  # type: ignore[arg-type]
        self.side = int(self.model.prompt_encoder.input_image_size)
        self._shapes = _level_shapes(self.model, family)
        for part in self.model.vision_encoder.modules():
            if not any(part.children()):
                part.register_forward_pre_hook(_stop_before)

    def _place(self, model: Any) -> None:
        self.model = model.to(self.device)

    def restore(self, features: Tensor, plane: ModelInput, key: str) -> ImageEmbedding:
        """Put stored features of a plane, all levels in one row, into an embedding."""
        coarse = self._split(features)[0]
        if self.family.stretches:
            coarse = square_to_answer(coarse, plane.plane_size, CELLS)
        return ImageEmbedding(
            coarse, plane.plane_size, key, self.checksum, plane.window, features
        )

    def new_memory(self, planes: int) -> VideoMemory | None:
        """Return an empty memory for one object of a stack; None for other models.

        Parameters
        ----------
        planes : int
            How many planes the stack has.
        """
        if not self.family.remembers:
            return None
        return VideoMemory(self.model, planes, lambda plane: self._split(plane.stored))

    def _split(self, levels: Tensor) -> list[Tensor]:
        """Return views (1, ...) of the levels that are in one row."""
        parts = levels.split([prod(shape) for shape in self._shapes])
        pairs = zip(parts, self._shapes, strict=True)
        return [part.view(1, *shape) for part, shape in pairs]

    @torch.inference_mode()
    def _encode(self, planes: Sequence[ModelInput]) -> list[ImageEmbedding]:
        frames = torch.stack([self._frame(plane) for plane in planes])
        with self._autocast():
            levels = self._levels(frames)
        rows = torch.cat([level.to(self.dtype).flatten(1) for level in levels], dim=1)
        return [
            self.restore(row.clone(), plane, self.key(plane))
            for row, plane in zip(rows, planes, strict=True)
        ]

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def _frame(self, plane: ModelInput) -> Tensor:
        """Pixels as the network wants them, (3, side, side)."""
        mean, std = (255 * torch.tensor(value) for value in self.family.standard)
        if not self.family.stretches:
            return transforms.normalize_and_pad(plane.pixels, mean, std).to(self.device)
        pixels = stretch_pixels(plane.pixels, self.side).to(self.device)
        mean, std = mean.to(self.device), std.to(self.device)
        return (pixels - mean[:, None, None]) / std[:, None, None]

    def _levels(self, frames: Tensor) -> list[Tensor]:
        """Features as the decoder reads them, the coarse ones first."""
        found = self.model.get_image_embeddings(frames)
        if self.family is SAM_HQ:
            coarse, of_blocks = found
            return [coarse, of_blocks[0]]
        return list(reversed(found))

    def decode_parts(
        self, embedding: ImageEmbedding, asked: Sequence[tuple[Prompts, Part]]
    ) -> list[tuple[Tensor, Tensor]]:
        """Decode each prompt on the whole plane, and cut its part out of the answer.

        Parameters and returns as in `Predictor.decode_parts`; these decoders look at
        the whole plane.
        """
        decoding.PartDecoder(embedding, asked)  # refuses what has no mask
        logits, scores = self.decode(embedding, [one for one, _ in asked], True)
        answers = zip(logits, scores, asked, strict=True)
        return [(one[:, *part], three) for one, three, (_, part) in answers]

    @torch.inference_mode()
    def _decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        multimask: bool,
        min_score: float | None,
    ) -> tuple[Tensor, Tensor]:
        sparse, dense = self._encode_prompts(prompts, embedding.plane_size)
        count = len(prompts)
        levels = [
            level.to(self.device, torch.float32).expand(count, *level.shape[1:])
            for level in self._split(embedding.stored)
        ]
        coarse, *finer = levels
        positions = self.model.get_image_wide_positional_embeddings()
        logits, scores = self.model.mask_decoder(
            image_embeddings=coarse,
            image_positional_embeddings=positions.expand(count, -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            **self._finer(finer),
        )[:2]
        logits, scores = logits[:, 0], scores[:, 0]
        if min_score is not None:
            logits = logits[scores.amax(1) > min_score]
        if self.family.stretches:
            logits = square_to_answer(logits, embedding.plane_size, LOGITS_SIZE)
        return logits.float().cpu(), scores.float().cpu()

    def _finer(self, levels: list[Tensor]) -> dict[str, Any]:
        """Levels beside the coarse one, as the decoders call them."""
        if self.family is SAM_HQ:
            return {"intermediate_embeddings": levels, "hq_token_only": False}
        return {"high_resolution_features": levels[::-1]}

    def _encode_prompts(
        self, prompts: Sequence[Prompts], plane_size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, 1, N, C) and dense prompts (B, C, h, w) of prompts of one kind."""
        points = boxes = labels = None
        if len(prompts[0].points):
            points = self._coordinates([one.points for one in prompts], plane_size)
            labels = torch.from_numpy(np.stack([one.point_labels for one in prompts]))
            labels = labels[:, None].to(self.device)
        # Corners outside the plane are cut off, as for every model.
        limits = [*plane_size, *plane_size]
        corners = [
            np.clip(one.box, 0, limits).reshape(2, 2)
            for one in prompts
            if one.box is not None
        ]
        if corners:
            boxes = self._coordinates(corners, plane_size).flatten(2)
        masks = decoding.mask_tensor(prompts, self.device)
        if masks is not None and self.family.stretches:
            masks = answer_to_square(
                masks, plane_size, self.model.prompt_encoder.mask_input_size[0]
            )
        sparse, dense = self.model.prompt_encoder(points, labels, boxes, masks)
        if sparse is None:  # a mask alone has no tokens, as in the official code
            sparse = dense.new_zeros(len(prompts), 1, 0, dense.shape[1])
        return sparse, dense

    def _coordinates(
        self, points: Sequence[NDArray[np.float64]], plane_size: tuple[int, int]
    ) -> Tensor:
        """(x, y) of shape (B, 1, N, 2) in the network's frame."""
        if self.family.stretches:
            xy = [points_to_square(one, plane_size, self.side) for one in points]
        else:
            xy = [transforms.points_to_model(one, plane_size) for one in points]
        return torch.from_numpy(np.stack(xy)).float()[:, None].to(self.device)


def _stop_before(module: nn.Module, inputs: Any) -> None:
    """Let encodings end between two layers of a library that knows nothing of it."""
    may_stop()


def _level_shapes(model: Any, family: Family) -> list[tuple[int, ...]]:
    """Shapes of the levels of one plane's features, the coarse ones first."""
    encoder, decoder = model.vision_encoder.config, model.mask_decoder
    if family is SAM_HQ:
        cells = encoder.image_size // encoder.patch_size
        coarse = (encoder.output_channels, cells, cells)
        return [coarse, (cells, cells, encoder.hidden_size)]
    channels = [decoder.hidden_size // n for n in (1, 4, 8)]
    sizes = reversed(model.backbone_feature_sizes)
    return [(n, *size) for n, size in zip(channels, sizes, strict=True)]


def load_family(
    folder: Path, name: str, device: str, precision: Precision
) -> FamilyPredictor:
    """Open a model's folder as a predictor.

    Raises
    ------
    ImportError, ValueError
        As `read_network` and `read_kind`.
    """
    family = read_kind(folder, FAMILIES)
    network = read_network(folder, family.class_name)
    options = {"name": name, "device": device, "precision": precision}
    return FamilyPredictor(network, family, folder_checksum(folder), **options)
