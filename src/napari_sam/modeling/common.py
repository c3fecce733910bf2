"""Layers that more than one part of the model uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Intermediate results on a CPU are made in parts of about this size: they stay in the
# cache, and glibc does not map and unmap fresh memory for each of them.
PART_BYTES = 8 << 20


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
        """(B, C, H, W) to (B, C, H, W)."""
        # With channels-last memory both permutations are views, nothing is copied.
        return self.channels_last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Neck(nn.Sequential):
    """From the encoder's width to the embedding's: 1x1 and 3x3 convolutions.

    Parameters
    ----------
    in_channels, out_channels : int
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )

    @property
    def dtype(self) -> torch.dtype:
        """What the large convolution, like the rest of the encoder, computes in."""
        return cast("nn.Conv2d", self[2]).weight.dtype

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H, W)."""
        for layer in self:
            x = layer(x.to(cast("Tensor", layer.weight).dtype))
        return x


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


def by_tokens(function: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
    """Apply a function of single tokens to a few tokens at a time.

    Parameters
    ----------
    function : callable
        (N, C) to (N, D), each token by itself.
    x : Tensor of shape (..., C)
    width : int
        Channels of the widest intermediate result.

    Returns
    -------
    Tensor of shape (..., D)
    """
    tokens = x.reshape(-1, x.shape[-1])
    size = _part_length(x, len(tokens), width)
    parts = [function(part) for part in tokens.split(size)]
    return _joined(parts, dim=0).view(*x.shape[:-1], -1)


def by_window_rows(
    function: Callable[[Tensor], Tensor], x: Tensor, window: int, width: int
) -> Tensor:
    """Apply a function of attention windows to a few rows of windows at a time.

    Parameters
    ----------
    function : callable
        (B, H, W, C) to (B, H, W, D), each window by itself.
    x : Tensor of shape (B, H, W, C)
    window : int
        Side of a window in tokens.
    width : int
        Channels of the widest intermediate result.

    Returns
    -------
    Tensor of shape (B, H, W, D)
    """
    token_width = x.shape[0] * window * x.shape[2] * width
    rows = _part_length(x, -(-x.shape[1] // window), token_width)
    return _joined([function(part) for part in x.split(rows * window, dim=1)], dim=1)


def by_rows(
    function: Callable[[Tensor], Tensor], x: Tensor, width: int, stride: int = 1
) -> Tensor:
    """Apply 3x3 convolutions to a few rows of an image at a time.

    Parameters
    ----------
    function : callable
        (B, H, W, C) to (B, H / stride, W / stride, D); one output row must depend on
        the input of its neighbouring output rows at most.
    x : Tensor of shape (B, H, W, C)
    width : int
        Values of the widest intermediate result for one pixel of the input.
    stride : int
        Of the whole function.

    Returns
    -------
    Tensor of shape (B, H / stride, W / stride, D)
    """
    rows = x.shape[1] // stride
    size = _part_length(x, rows, x.shape[0] * x.shape[2] * stride * width)
    if size >= rows:
        return function(x)
    parts = []
    for first in range(0, rows, size):
        last = min(first + size, rows)
        # One more row on each side; what the padding there spoils is cut off again.
        above, below = max(first - 1, 0), min(last + 1, rows)
        part = function(x[:, above * stride : below * stride])
        parts.append(part[:, first - above : last - above])
    return torch.cat(parts, dim=1)


def _part_length(x: Tensor, length: int, width: int) -> int:
    """How many of ``length`` equal pieces, of ``width`` values each, make a part."""
    if x.device.type != "cpu":
        return length
    parts = -(-length * width * x.element_size() // PART_BYTES)
    return -(-length // min(parts, length))


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
