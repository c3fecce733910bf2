"""Mask decoder: image embedding and prompt tokens to masks and predicted IoU.

As in the official file ``segment_anything/modeling/mask_decoder.py``.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_sam.modeling.common import LayerNorm2d, by_tokens
from napari_sam.modeling.transformer import (
    ProjectedImage,
    TwoWayAttentionBlock,
    TwoWayTransformer,
)

NUM_MASK_TOKENS = 4
"""One mask for a clear prompt (the first), three for an ambiguous one."""

# A cell becomes 16 pixels of 32 channels; wider, so that parts are smaller than
# elsewhere: several results of a part are alive at a time.
UPSCALE_WIDTH = 4 * 16 * 32


class ImageSide(NamedTuple):
    """What the decoder needs of an image, whatever the prompt.

    Parameters
    ----------
    image : Tensor of shape (B or 1, P, C)
        Image embedding plus dense prompt, one row a cell; one for all prompts, or one
        each.
    positions : Tensor of shape (P, C)
        Positions of the cells.
    shape : tuple of int
        (rows, columns) of the P cells: the grid of the embedding, or a part of it.
    projected : ProjectedImage, optional
        The first layer's projections, if the image serves many prompts.
    """

    image: Tensor
    positions: Tensor
    shape: tuple[int, int]
    projected: ProjectedImage | None = None


class Mlp(nn.Module):
    """Linear layers with ReLU between."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)  # type: ignore[no-any-return]


def _as_linear(layer: nn.ConvTranspose2d) -> tuple[Tensor, Tensor | None]:
    """Transposed convolution of kernel and stride 2 as one matrix product.

    Weight (4 * out, in) and bias (4 * out,). The four are the quarters of a cell, row
    by row; they are put in their places at the very end, when few channels are left.
    """
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)
    return weight, None if layer.bias is None else layer.bias.repeat(4)


class MaskDecoder(nn.Module):
    """Predict masks from an image embedding and prompts.

    Parameters
    ----------
    dim : int
        Width of embedding and tokens.
    """

    def __init__(self, dim: int = 256) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(dim)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(NUM_MASK_TOKENS, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp(dim, dim, dim, dim // 8) for _ in range(NUM_MASK_TOKENS)
        )
        self.iou_prediction_head = Mlp(dim, dim, dim, NUM_MASK_TOKENS)

    def forward(
        self,
        image: ImageSide,
        sparse: Tensor,
        multimask: bool,
        min_score: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict masks.

        Parameters
        ----------
        image : ImageSide
        sparse : Tensor of shape (B, N, C)
            Point and box tokens.
        multimask : bool
            Three masks (of the second to fourth token) instead of one (of the first).
        min_score : float, optional
            Make masks only for prompts of which one has a higher predicted IoU. It is
            known before the masks are, and these are half of the work.

        Returns
        -------
        tuple of Tensor
            Mask logits (B, M, 4 * rows, 4 * columns), predicted IoU (B, M); M is 3 or
            1.
            With `min_score`, logits of fewer prompts, in their order.
        """
        tokens, cells = self.attend(image, sparse)
        scores, mask_tokens, masks = self.score(tokens, multimask)
        if min_score is not None:
            wanted = scores.float().amax(1) > min_score
            if not wanted.all():
                cells, mask_tokens = cells[wanted], mask_tokens[wanted]
        logits = self.upscale(cells, mask_tokens, masks)
        # A pixel's row is (cell row, coarse quarter row, fine quarter row).
        logits = logits.unflatten(1, image.shape).permute(0, 3, 1, 4, 6, 2, 5, 7)
        rows, columns = image.shape
        return logits.reshape(*logits.shape[:2], 4 * rows, 4 * columns), scores

    def attend(self, image: ImageSide, sparse: Tensor) -> tuple[Tensor, Tensor]:
        """First half of `forward`: the transformer, before any mask is made.

        Parameters
        ----------
        image, sparse
            As in `forward`.

        Returns
        -------
        tuple of Tensor
            Tokens (B, 5 + N, C), of which the first is that of the scores and the next
            four those of the masks, and cells (B, P, C).
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        own = own.expand(sparse.shape[0], -1, -1)
        tokens = torch.cat([own, sparse], dim=1)  # (B, 5 + N, C)
        return self.transformer(  # type: ignore[no-any-return]
            image.image, image.positions, tokens, image.projected
        )

    def score(self, tokens: Tensor, multimask: bool) -> tuple[Tensor, Tensor, slice]:
        """Predicted IoU (B, M), mask tokens (B, 4, C), and which of them are asked."""
        masks = slice(1, None) if multimask else slice(0, 1)
        # The scores decide between masks: their head may stay in float32.
        dtype = next(self.iou_prediction_head.parameters()).dtype
        scores = self.iou_prediction_head(tokens[:, 0].to(dtype))[:, masks]
        return scores, tokens[:, 1 : 1 + NUM_MASK_TOKENS], masks

    def project(self, side: ImageSide) -> ImageSide:
        """Prepare one image (1, P, C) for many prompts."""
        first = cast("TwoWayAttentionBlock", self.transformer.layers[0])
        return side._replace(projected=first.project(side.image, side.positions))

    def upscale(self, image: Tensor, mask_tokens: Tensor, masks: slice) -> Tensor:
        """Mask logits of the chosen mask tokens, cell by cell.

        Parameters
        ----------
        image : Tensor of shape (B, P, C)
            The transformer's image.
        mask_tokens : Tensor of shape (B, 4, C)
        masks : slice
            Which of the four masks to make.

        Returns
        -------
        Tensor of shape (B, P, M, 2, 2, 2, 2)
            Of each cell: mask, then row and column of its quarters, then row and
            column of their quarters.
        """
        heads = list(self.output_hypernetworks_mlps)[masks]
        chosen = mask_tokens[:, masks]
        weights = torch.stack(
            [head(chosen[:, i]) for i, head in enumerate(heads)], dim=1
        )  # (B, M, C / 8)
        weight1, bias1 = _as_linear(
            cast("nn.ConvTranspose2d", self.output_upscaling[0])
        )
        norm = cast("LayerNorm2d", self.output_upscaling[1])
        weight2, bias2 = _as_linear(
            cast("nn.ConvTranspose2d", self.output_upscaling[3])
        )

        def upscale_cells(weight: Tensor, cells: Tensor) -> Tensor:
            """Cells (n, C), weights (M, C / 8) of one prompt to logits (n, M * 16)."""
            x = F.linear(cells, weight1, bias1).unflatten(-1, (4, -1))
            x = F.gelu(norm.channels_last(x))  # (n, 4, C / 4)
            x = F.gelu(F.linear(x, weight2, bias2))  # (n, 4, 4 * C / 8)
            x = weight @ x.view(-1, weight.shape[1]).T  # (M, n * 16)
            return x.view(len(weight), -1, 16).transpose(0, 1).flatten(1)

        parts = [
            by_tokens(partial(upscale_cells, weight), cells, UPSCALE_WIDTH)
            for cells, weight in zip(image, weights, strict=True)
        ]
        if not parts:
            return image.new_empty(0, image.shape[1], len(heads), 2, 2, 2, 2)
        logits = torch.stack(parts)  # (B, P, M * 16)
        return logits.view(*logits.shape[:2], -1, 2, 2, 2, 2)
