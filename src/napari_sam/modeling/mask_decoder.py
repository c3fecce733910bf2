"""Mask decoder: image embedding and prompt tokens to masks and predicted IoU.

As in the official file ``segment_anything/modeling/mask_decoder.py``.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_sam.modeling.common import LayerNorm2d
from napari_sam.modeling.transformer import TwoWayTransformer

NUM_MASK_TOKENS = 4
"""One mask for a clear prompt (the first), three for an ambiguous one."""


class Mlp(nn.Module):
    """Linear layers with ReLU between."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)  # type: ignore[no-any-return]


def _upscale_rows(x: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """Transposed convolution of kernel and stride 2 as one matrix product.

    (..., in) to (..., 4, out): the four are the cell's (row, column) quarters; they
    are put in their places at the very end, when few channels are left.
    """
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (4 * out, in)
    bias = None if layer.bias is None else layer.bias.repeat(4)
    return F.linear(x, weight, bias).unflatten(-1, (4, -1))


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
        self, image: Tensor, positions: Tensor, sparse: Tensor, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Predict masks.

        Parameters
        ----------
        image : Tensor of shape (B or 1, P, C)
            Image embedding plus dense prompt, one row a cell (P = grid * grid); one
            for all prompts, or one each.
        positions : Tensor of shape (P, C)
            Positions of the cells.
        sparse : Tensor of shape (B, N, C)
            Point and box tokens.
        multimask : bool
            Three masks (of the second to fourth token) instead of one (of the first).

        Returns
        -------
        tuple of Tensor
            Mask logits (B, M, 4 * grid, 4 * grid) and predicted IoU (B, M); M is 3 or 1.
        """
        tokens, image = self.decode_tokens(image, positions, sparse)
        masks = slice(1, None) if multimask else slice(0, 1)
        # The scores decide between masks: their head may stay in float32.
        dtype = self.iou_prediction_head.layers[0].weight.dtype
        scores = self.iou_prediction_head(tokens[:, 0].to(dtype))[:, masks]
        return self.upscale(image, tokens[:, 1 : 1 + NUM_MASK_TOKENS], masks), scores

    def decode_tokens(
        self, image: Tensor, positions: Tensor, sparse: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run the transformer: tokens (B, 5 + N, C) and image (B, P, C)."""
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        own = own.expand(sparse.shape[0], -1, -1)
        tokens = torch.cat([own, sparse], dim=1)  # (B, 5 + N, C)
        return self.transformer(image, positions, tokens)  # type: ignore[no-any-return]

    def upscale(self, image: Tensor, mask_tokens: Tensor, masks: slice) -> Tensor:
        """Mask logits of the chosen mask tokens.

        Parameters
        ----------
        image : Tensor of shape (B, P, C)
            The transformer's image.
        mask_tokens : Tensor of shape (B, 4, C)
        masks : slice
            Which of the four masks to make.

        Returns
        -------
        Tensor of shape (B, M, 4 * grid, 4 * grid)
        """
        first, norm, _, second, _ = self.output_upscaling
        x = norm.channels_last(_upscale_rows(image, first))  # (B, P, 4, C / 4)
        x = F.gelu(_upscale_rows(F.gelu(x), second))  # (B, P, 4, 4, C / 8)
        heads = list(self.output_hypernetworks_mlps)[masks]
        chosen = mask_tokens[:, masks]
        weights = torch.stack(
            [head(chosen[:, i]) for i, head in enumerate(heads)], dim=1
        )  # (B, M, C / 8)
        batch, side = x.shape[0], int(image.shape[1] ** 0.5)
        logits = weights @ x.flatten(1, 3).transpose(1, 2)  # (B, M, P * 16)
        logits = logits.view(batch, -1, side, side, 2, 2, 2, 2)
        # A pixel's row is (cell row, coarse quarter row, fine quarter row).
        logits = logits.permute(0, 1, 2, 4, 6, 3, 5, 7)
        return logits.reshape(batch, -1, 4 * side, 4 * side)
