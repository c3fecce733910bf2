"""TinyViT, the image encoder of MobileSAM: 1024 x 1024 RGB to a 64 x 64 embedding.

Wu et al., "TinyViT" (2022), in the shape MobileSAM gave it (official file
``mobile_sam/modeling/tiny_vit_sam.py``): four stages at 256, 128, 64 and 64 pixels.
Tokens stay (B, H, W, C) throughout, which is the channels-last memory of (B, C, H, W),
so that convolutions and linear layers follow each other without a copy.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_sam.modeling.common import (
    Neck,
    by_rows,
    by_tokens,
    by_window_rows,
    merge_windows,
    pad_to_windows,
)
from napari_sam.stopping import may_stop

EMBED_DIMS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
NUM_HEADS = (2, 4, 5, 10)
WINDOWS = (7, 7, 14, 7)
MLP_RATIO = 4
IMAGENET_CLASSES = 1000


class ConvNorm(nn.Module):
    """Convolution without bias, then batch normalisation; optionally GELU.

    In evaluation the normalisation is folded into the convolution's weights at each
    call: the weights are small, and a folded copy could become stale.
    """

    def __init__(
        self, dims: tuple[int, int], kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        padding = kernel // 2
        self.c = nn.Conv2d(*dims, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(dims[1])

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (out, in, k, k) and bias (out,) that do both steps at once."""
        if self.bn.running_var is None or self.bn.running_mean is None:
            raise RuntimeError("the batch normalisation has no running statistics")
        scale = self.bn.weight * torch.rsqrt(self.bn.running_var + self.bn.eps)
        bias = self.bn.bias - self.bn.running_mean * scale
        return self.c.weight * scale[:, None, None, None], bias

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, in) to (B, H', W', out)."""
        return self.prepared()(x)

    def prepared(self) -> Callable[[Tensor], Tensor]:
        """Return this layer as a function whose folding is done already."""
        if self.training:
            return self._normalize_batch
        return partial(_convolve, self.c, *self.folded())

    def _normalize_batch(self, x: Tensor) -> Tensor:
        x = self.bn(self.c(x.permute(0, 3, 1, 2)))
        return x.permute(0, 2, 3, 1)


def _convolve(conv: nn.Conv2d, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """Convolve (B, H, W, in) as ``conv`` would with these weights."""
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    if conv.kernel_size == (1, 1):
        return F.linear(x, weight[:, :, 0, 0], bias)
    x = x.permute(0, 3, 1, 2)
    padding = conv.kernel_size[0] // 2
    x = F.conv2d(x, weight, bias, conv.stride, padding, groups=conv.groups)
    return x.permute(0, 2, 3, 1)


class ConvChain(nn.Module):
    """Convolutions that are applied to a few rows at a time, where that is faster."""

    stride = 1
    width = 0

    def _prepare(self) -> Callable[[Tensor], Tensor]:
        """Return the chain as a function of (B, H, W, C)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, in) to (B, H / stride, W / stride, out)."""
        function = self._prepare()
        if self.training:  # batch statistics are of the whole image
            return function(x)
        return by_rows(function, x, self.width, self.stride)


class PatchEmbed(ConvChain):
    """Two 3x3 convolutions of stride 2: (B, H, W, 3) to (B, H/4, W/4, 64)."""

    stride = 4

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = dim // 8  # half the channels at a quarter of the pixels
        self.seq = nn.Sequential(
            ConvNorm((3, dim // 2), 3, stride=2),
            nn.GELU(),
            ConvNorm((dim // 2, dim), 3, stride=2),
        )

    def _prepare(self) -> Callable[[Tensor], Tensor]:
        first, second = (cast("ConvNorm", self.seq[i]).prepared() for i in (0, 2))
        return lambda x: second(F.gelu(first(x)))


class MBConv(ConvChain):
    """Inverted bottleneck: widen, depthwise 3x3, narrow, add; then GELU."""

    def __init__(self, dim: int, expand: int = 4) -> None:
        super().__init__()
        self.width = hidden = dim * expand
        self.conv1 = ConvNorm((dim, hidden))
        self.conv2 = ConvNorm((hidden, hidden), 3, groups=hidden)
        self.conv3 = ConvNorm((hidden, dim))

    def _prepare(self) -> Callable[[Tensor], Tensor]:
        convs = (self.conv1, self.conv2, self.conv3)
        widen, mix, narrow = (conv.prepared() for conv in convs)
        return lambda x: F.gelu(x + narrow(F.gelu(mix(F.gelu(widen(x))))))


class PatchMerging(ConvChain):
    """Between stages: change the width and, except before width 320, halve the size."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.stride = 1 if out_dim in (320, 448, 576) else 2
        self.width = out_dim
        self.conv1 = ConvNorm((dim, out_dim))
        self.conv2 = ConvNorm((out_dim, out_dim), 3, self.stride, groups=out_dim)
        self.conv3 = ConvNorm((out_dim, out_dim))

    def _prepare(self) -> Callable[[Tensor], Tensor]:
        convs = (self.conv1, self.conv2, self.conv3)
        first, mix, last = (conv.prepared() for conv in convs)
        # Few steps, but what is rounded here is passed on to all that follow.
        dtype = self.conv1.c.weight.dtype
        return lambda x: last(F.gelu(mix(F.gelu(first(x.to(dtype))))))


def attention_offsets(window: int) -> Tensor:
    """Which learned bias belongs to which pair of tokens of a window.

    Returns
    -------
    Tensor of shape (window**2, window**2), int64
        Index of (abs(row distance), abs(column distance)), numbered in the order of
        first occurrence, as the official code numbers them.
    """
    points = list(itertools.product(range(window), range(window)))
    numbers: dict[tuple[int, int], int] = {}
    for a, b in itertools.product(points, points):
        numbers.setdefault((abs(a[0] - b[0]), abs(a[1] - b[1])), len(numbers))
    indices = [
        numbers[abs(a[0] - b[0]), abs(a[1] - b[1])]
        for a, b in itertools.product(points, points)
    ]
    # On the CPU even when the model is laid out without memory (device "meta").
    return torch.tensor(indices, device="cpu").view(len(points), len(points))


class WindowAttention(nn.Module):
    """Multi-head attention within windows, normalising first, with a learned bias.

    The bias is gathered from its parameter at each call: the official code keeps a
    copy made by ``eval()``, which is stale if weights are loaded afterwards.
    """

    def __init__(self, dim: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, window**2))
        self.register_buffer("offsets", attention_offsets(window), persistent=False)
        self.offsets: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H, W, C)."""
        return by_window_rows(self._windows, x, self.window, self.qkv.out_features)

    def _windows(self, x: Tensor) -> Tensor:
        size, side, heads = (x.shape[1], x.shape[2]), self.window, self.num_heads
        # A token outside the image is zero before the normalisation, so the norm's
        # bias after it; projecting that once spares projecting all the padding.
        dtype = self.qkv.weight.dtype
        outside = F.linear(self.norm.bias.to(dtype), self.qkv.weight, self.qkv.bias)
        qkv = pad_to_windows(self.qkv(self.norm(x).to(dtype)), side, outside)
        rows, columns = qkv.shape[1] // side, qkv.shape[2] // side
        # Per head [q, k, v] side by side, unlike ViT's layout.
        qkv = qkv.view(-1, rows, side, columns, side, heads, 3, x.shape[3] // heads)
        qkv = qkv.permute(6, 0, 1, 3, 5, 2, 4, 7)
        # (3, B * windows, heads, tokens, d)
        q, k, v = qkv.reshape(3, -1, heads, side * side, qkv.shape[-1])
        bias = self.attention_biases[:, self.offsets]  # (heads, tokens, tokens)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
        return self.proj(merge_windows(out, (rows, columns), size))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Normalise, widen by 4, GELU, narrow."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, dim * MLP_RATIO)
        self.fc2 = nn.Linear(dim * MLP_RATIO, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return by_tokens(self._tokens, x, self.fc1.out_features)

    def _tokens(self, x: Tensor) -> Tensor:
        x = self.norm(x).to(self.fc1.weight.dtype)
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class TinyViTBlock(nn.Module):
    """Window attention, a depthwise convolution without residual, then the MLP."""

    def __init__(self, dim: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.attn = WindowAttention(dim, num_heads, window)
        self.mlp = Mlp(dim)
        self.local_conv = ConvNorm((dim, dim), 3, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H, W, C)."""
        x = self.local_conv(x + self.attn(x))
        may_stop()
        return x + self.mlp(x)  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Blocks of one width, then the change to the next width if there is one."""

    def __init__(
        self, blocks: list[nn.Module], downsample: PatchMerging | None
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H', W', C')."""
        for block in self.blocks:
            may_stop()
            x = block(x)
        may_stop()
        return x if self.downsample is None else self.downsample(x)


def _stage(index: int) -> Stage:
    dim = EMBED_DIMS[index]
    blocks: list[nn.Module] = [
        MBConv(dim)
        if index == 0
        else TinyViTBlock(dim, NUM_HEADS[index], WINDOWS[index])
        for _ in range(DEPTHS[index])
    ]
    last = index == len(EMBED_DIMS) - 1
    return Stage(blocks, None if last else PatchMerging(dim, EMBED_DIMS[index + 1]))


class TinyViT(nn.Module):
    """The image encoder of MobileSAM.

    Parameters
    ----------
    out_channels : int
        Width of the embedding.
    """

    def __init__(self, out_channels: int = 256) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(EMBED_DIMS[0])
        self.layers = nn.ModuleList(_stage(i) for i in range(len(EMBED_DIMS)))
        # The classifier TinyViT was pretrained with: unused, but in the checkpoint.
        self.norm_head = nn.LayerNorm(EMBED_DIMS[-1])
        self.head = nn.Linear(EMBED_DIMS[-1], IMAGENET_CLASSES)
        self.neck = Neck(EMBED_DIMS[-1], out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images.

        Parameters
        ----------
        x : Tensor of shape (B, 3, 1024, 1024)
            Normalised and padded RGB.

        Returns
        -------
        Tensor of shape (B, 256, 64, 64)
        """
        x = self.patch_embed(x.permute(0, 2, 3, 1))  # (B, 256, 256, 64)
        # The widest stage takes the precision it is given; see `precision.py`.
        x = x.to(self.neck.dtype)
        for stage in self.layers:
            x = stage(x)
        return self.neck(x.permute(0, 3, 1, 2))  # type: ignore[no-any-return]
