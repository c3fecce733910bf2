"""Layers that more than one part of the model uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a (B, C, H, W) tensor.

    Biased variance and ``eps`` 1e-6, as in ``segment_anything/modeling/common.py``.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def channels_last(self, x: Tensor) -> Tensor:
        """Normalise (..., C), the channels being the last axis."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)

    def forward(self, x: Tensor) -> Tensor:
        # With channels-last memory both permutations are views, nothing is copied.
        return self.channels_last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def image_neck(in_channels: int, out_channels: int) -> nn.Sequential:
    """From the encoder's width to the embedding's: 1x1 and 3x3 convolutions."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        LayerNorm2d(out_channels),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        LayerNorm2d(out_channels),
    )


def pad_to_windows(x: Tensor, window: int, value: Tensor) -> Tensor:
    """Extend (B, H, W, C) at the bottom and right to multiples of the window.

    Parameters
    ----------
    x : Tensor of shape (B, H, W, C)
    window : int
        Side of a window in tokens.
    value : Tensor of shape (C,)
        What a token outside the image is.

    Returns
    -------
    Tensor of shape (B, H', W', C)
    """
    batch, height, width, channels = x.shape
    rows, columns = -height % window, -width % window
    if not rows and not columns:
        return x
    full = (batch, height + rows, width + columns, channels)
    padded = value.to(x.dtype).expand(full).contiguous()
    padded[:, :height, :width] = x
    return padded


def merge_windows(x: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Put windows back in their places and cut off the padding.

    Parameters
    ----------
    x : Tensor of shape (B * rows * columns, heads, window * window, d)
        One attention window each.
    grid : tuple of int
        Number of window (rows, columns) in the padded image.
    size : tuple of int
        (H, W) of the image before padding.

    Returns
    -------
    Tensor of shape (B, H, W, heads * d)
    """
    windows, heads, tokens, d = x.shape
    side = int(tokens**0.5)
    rows, columns = grid
    x = x.view(windows // (rows * columns), rows, columns, heads, side, side, d)
    x = x.permute(0, 1, 4, 2, 5, 3, 6)  # (B, rows, side, columns, side, heads, d)
    x = x.reshape(-1, rows * side, columns * side, heads * d)
    return x[:, : size[0], : size[1]]
