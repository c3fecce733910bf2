"""What the predictor hands to the mask decoder."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from napari_sam.modeling.mask_decoder import ImageSide
from napari_sam.modeling.sam import Sam
from napari_sam.prompting import check_prompts, prompt_points
from napari_sam.types import LOGITS_SIZE, ImageEmbedding, Prompts

CELLS = 64
"""Side of an embedding; a cell of it is `RATIO` cells of the answer wide."""
RATIO = LOGITS_SIZE // CELLS

Decode = Callable[[Sequence[int]], list[int]]
"""Decodes prompts at some positions, and returns these."""
Part = tuple[slice, slice]
"""Rows and columns of an answer, in multiples of `RATIO`."""


def check_decodable(
    embedding: ImageEmbedding, prompts: Sequence[Prompts], checksum: str
) -> None:
    """Refuse an embedding of other weights, and prompts that do not fit its plane."""
    if not isinstance(embedding, ImageEmbedding):
        kind = type(embedding).__name__
        raise ValueError(f"embedding must be an ImageEmbedding, got {kind}.")
    if embedding.model_checksum != checksum:
        raise ValueError(
            "embedding was made by another model; encode the plane with this one."
        )
    for one in prompts:
        check_prompts(one, embedding.plane_size)


def prompt_kind(prompts: Prompts) -> tuple[int, bool, bool]:
    """Prompts of one kind have equally many tokens, and decode as one batch."""
    has_mask = prompts.mask_logits is not None
    return len(prompts.points), prompts.box is not None, has_mask


def groups_of(kinds: Iterable[Hashable]) -> list[list[int]]:
    """Positions of what is alike."""
    groups: dict[Hashable, list[int]] = {}
    for index, kind in enumerate(kinds):
        groups.setdefault(kind, []).append(index)
    return list(groups.values())


def point_tensors(
    prompts: Sequence[Prompts], plane_size: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """(x, y) of shape (B, N, 2) in the model's frame and labels (B, N)."""
    tokens = [prompt_points(one, plane_size) for one in prompts]
    coordinates = torch.from_numpy(np.stack([xy for xy, _ in tokens])).float()
    labels = torch.from_numpy(np.stack([kinds for _, kinds in tokens]))
    return coordinates.to(device), labels.to(device)


def mask_tensor(prompts: Sequence[Prompts], device: torch.device) -> Tensor | None:
    """Mask logits (B, 1, 256, 256), or None if the prompts have none."""
    given = [one.mask_logits for one in prompts if one.mask_logits is not None]
    return torch.from_numpy(np.stack(given))[:, None].to(device) if given else None


class PartDecoder:
    """Decodes prompts of one plane, each on a part of it.

    Parameters
    ----------
    embedding : ImageEmbedding
    asked : sequence of (Prompts, Part)

    Raises
    ------
    ValueError
        If a prompt has no mask.
    """

    def __init__(
        self, embedding: ImageEmbedding, asked: Sequence[tuple[Prompts, Part]]
    ) -> None:
        if any(one.mask_logits is None for one, _ in asked):
            raise ValueError("prompts must have a mask each to be decoded on a part.")
        self._embedding = embedding
        self._asked = list(asked)
        self._found: dict[int, tuple[Tensor, Tensor]] = {}
        # By device, since memory may send a model to the CPU.
        self._cells: dict[torch.device, ImageSide] = {}

    @property
    def groups(self) -> list[list[int]]:
        """Positions of prompts that decode as one batch: of one kind and size."""
        sizes = [tuple(s.stop - s.start for s in part) for _, part in self._asked]
        kinds = [prompt_kind(one) for one, _ in self._asked]
        return groups_of(zip(kinds, sizes, strict=True))

    @property
    def answers(self) -> list[tuple[Tensor, Tensor]]:
        """Logits (3, rows, columns) and scores (3,), once all groups are decoded."""
        return [self._found[index] for index in range(len(self._asked))]

    def decode(self, model: Sam, indices: Sequence[int]) -> list[int]:
        """Decode some prompts of one group."""
        device = model.pixel_mean.device
        if device not in self._cells:
            self._cells[device] = model.cells(self._embedding.features.to(device))
        prompts = [self._asked[index][0] for index in indices]
        parts = [self._asked[index][1] for index in indices]
        pairs = zip(prompts, parts, strict=True)
        masks = [p.mask_logits[part] for p, part in pairs if p.mask_logits is not None]
        answers = model.decode_part(
            _cut(self._cells[device], parts),
            torch.from_numpy(np.stack(masks))[:, None].to(device),
            point_tensors(prompts, self._embedding.plane_size, device),
        )
        logits, scores = (answer.float().cpu() for answer in answers)
        found = zip(logits, scores, strict=True)
        self._found.update(zip(indices, found, strict=True))
        return list(indices)


def _cut(cells: ImageSide, parts: Sequence[Part]) -> ImageSide:
    """Keep of an image's cells those of some parts of one size, at their positions."""
    grid = torch.arange(CELLS * CELLS, device=cells.image.device).view(CELLS, CELLS)
    index = torch.stack(
        [
            grid[
                rows.start // RATIO : rows.stop // RATIO,
                columns.start // RATIO : columns.stop // RATIO,
            ]
            for rows, columns in parts
        ]
    )  # (B, rows, columns) of cells
    chosen = index.flatten(1)
    shape = (index.shape[1], index.shape[2])
    return ImageSide(cells.image[0][chosen], cells.positions[chosen], shape)
