"""Prompts to tokens: points and box corners sparse, masks dense.

As in the official file ``segment_anything/modeling/prompt_encoder.py``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from napari_sam.modeling.common import LayerNorm2d

PADDING, BACKGROUND, FOREGROUND, BOX_MIN, BOX_MAX = -1, 0, 1, 2, 3
"""Labels of a point: a box is two points, its corners."""


class PositionEmbeddingRandom(nn.Module):
    """Positions as random Fourier features (Tancik et al. 2020)."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        matrix = torch.randn(2, num_features)
        self.register_buffer("positional_encoding_gaussian_matrix", matrix)
        self.positional_encoding_gaussian_matrix: Tensor

    def forward(self, coordinates: Tensor) -> Tensor:
        """(..., 2) as (x, y) in [0, 1] to (..., 2 * num_features)."""
        projected = (2 * coordinates - 1) @ self.positional_encoding_gaussian_matrix
        projected = 2 * math.pi * projected
        return torch.cat([projected.sin(), projected.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Encode points, boxes and masks.

    Parameters
    ----------
    embed_dim : int
        Width of a token.
    grid : int
        Side of the image embedding.
    image_size : int
        Side in pixels of the frame the coordinates are given in.
    mask_channels : int
        Hidden width of the mask's convolutions.
    """

    def __init__(
        self,
        embed_dim: int = 256,
        grid: int = 64,
        image_size: int = 1024,
        mask_channels: int = 16,
    ) -> None:
        super().__init__()
        self.grid, self.image_size = grid, image_size
        self.pe_layer = PositionEmbeddingRandom(embed_dim // 2)
        self.point_embeddings = nn.ModuleList(
            nn.Embedding(1, embed_dim) for _ in range(4)
        )
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, 2, stride=2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, 2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, embed_dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)
        self._kept: tuple[Tensor, int, Tensor] | None = None

    def dense_positions(self) -> Tensor:
        """Position encoding of the image embedding's cells, (grid * grid, C).

        They are the same for all planes, so in inference the last are kept for as long
        as their matrix is the same.
        """
        matrix = self.pe_layer.positional_encoding_gaussian_matrix
        # What is made in inference could not be used in training.
        if not torch.is_inference_mode_enabled():
            return self._positions(matrix)
        version = 0 if matrix.is_inference() else matrix._version
        kept = self._kept
        if kept is None or kept[0] is not matrix or kept[1] != version:
            kept = self._kept = matrix, version, self._positions(matrix)
        return kept[2]

    def _positions(self, matrix: Tensor) -> Tensor:
        centres = torch.arange(self.grid, device=matrix.device, dtype=matrix.dtype)
        centres = (centres + 0.5) / self.grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        positions: Tensor = self.pe_layer(torch.stack([x, y], dim=-1))
        return positions.flatten(0, 1)

    def embed_points(self, coordinates: Tensor, labels: Tensor) -> Tensor:
        """Tokens of points and box corners.

        Parameters
        ----------
        coordinates : Tensor of shape (B, N, 2)
            (x, y) in pixels of the model's frame, pixel centres at integers.
        labels : Tensor of shape (B, N), int64
            -1 padding, 0 background, 1 foreground, 2 and 3 the corners of a box.

        Returns
        -------
        Tensor of shape (B, N, C)
        """
        positions = self.pe_layer((coordinates + 0.5) / self.image_size)
        kinds = [self.not_a_point_embed, *self.point_embeddings]
        table = torch.cat([kind.weight for kind in kinds])  # (5, C), by label + 1
        # A padding point has no place: only its own embedding remains.
        placed = (labels != PADDING)[..., None]
        return torch.where(placed, positions, 0.0) + table[labels + 1]

    def embed_masks(self, masks: Tensor | None) -> Tensor:
        """Dense prompt of a mask, or of none.

        Parameters
        ----------
        masks : Tensor of shape (B, 1, 256, 256), or None
            Logits in the answer frame.

        Returns
        -------
        Tensor of shape (B, grid * grid, C), or (1, 1, C) without masks
        """
        if masks is None:
            return self.no_mask_embed.weight[None]
        dense: Tensor = self.mask_downscaling(masks)  # (B, C, grid, grid)
        return dense.flatten(2).transpose(1, 2)

    def forward(
        self, coordinates: Tensor, labels: Tensor, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Sparse (B, N, C) and dense (B or 1, grid * grid or 1, C) prompts."""
        return self.embed_points(coordinates, labels), self.embed_masks(masks)
