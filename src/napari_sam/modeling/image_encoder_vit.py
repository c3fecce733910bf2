"""ViT, the image encoder of SAM: 1024 x 1024 RGB to a 64 x 64 embedding.

Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection" (2022),
as in the official file ``segment_anything/modeling/image_encoder.py``: attention in
windows of 14 x 14 tokens, over the whole image in four blocks, with decomposed
relative positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_sam.modeling.common import (
    Neck,
    by_tokens,
    by_window_rows,
    merge_windows,
    pad_to_windows,
)
from napari_sam.stopping import may_stop

# Queries of one chunk times keys: the scores of a chunk should stay in the cache.
CHUNK_SCORES = 1 << 21


@dataclass(frozen=True)
class ViTConfig:
    """Size of an image encoder.

    Parameters
    ----------
    embed_dim, depth, num_heads : int
        Width, number of blocks, attention heads.
    global_attn_indexes : tuple of int
        Blocks that attend to the whole image; the others attend within windows.
    window_size : int
        Side of a window in tokens.
    img_size, patch_size : int
        Side of the image, and of the patch that makes a token, in pixels.
    mlp_ratio : float
        Width of the hidden layer relative to ``embed_dim``.
    out_channels : int
        Width of the embedding.
    """

    embed_dim: int
    depth: int
    num_heads: int
    global_attn_indexes: tuple[int, ...]
    window_size: int = 14
    img_size: int = 1024
    patch_size: int = 16
    mlp_ratio: float = 4.0
    out_channels: int = 256

    @property
    def tokens_per_side(self) -> int:
        """Side of the token grid."""
        return self.img_size // self.patch_size


VIT_B = ViTConfig(768, 12, 12, (2, 5, 8, 11))
VIT_L = ViTConfig(1024, 24, 16, (5, 11, 17, 23))
VIT_H = ViTConfig(1280, 32, 16, (7, 15, 23, 31))


class PatchEmbed(nn.Module):
    """One linear map per patch: (B, 3, H, W) to (B, H/16, W/16, C)."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, H / 16, W / 16, C)."""
        return self.proj(x).permute(0, 2, 3, 1)  # type: ignore[no-any-return]


def relative_positions(size: int, table: Tensor) -> Tensor:
    """Learned vector for each pair of a query's and a key's position on one axis.

    Parameters
    ----------
    size : int
        Positions on the axis.
    table : Tensor of shape (L, d)
        Vectors by distance; interpolated linearly if L is not ``2 * size - 1``.

    Returns
    -------
    Tensor of shape (size, size, d)
        [query, key]; the vector of distance ``query - key``.
    """
    length = 2 * size - 1
    if table.shape[0] != length:
        rows = table.T[None]  # (1, d, L)
        table = F.interpolate(rows, size=length, mode="linear")[0].T
    positions = torch.arange(size, device=table.device)
    return table[positions[:, None] - positions[None, :] + size - 1]


def position_bias(rel_h: Tensor, rel_w: Tensor) -> Tensor:
    """Sum of row and column terms for each key.

    Parameters
    ----------
    rel_h, rel_w : Tensor of shape (..., queries, H) and (..., queries, W)

    Returns
    -------
    Tensor of shape (..., queries, H * W)
    """
    return (rel_h[..., :, None] + rel_w[..., None, :]).flatten(-2)


def biased_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T + bias) v, written over the bias.

    Parameters
    ----------
    q, k, v : Tensor of shape (N, d) queries, (M, d) keys and values
        The queries scaled already.
    bias : Tensor of shape (N, M)
    """
    scores = bias.addmm_(q, k.T)
    # The largest score only keeps exp() finite: it cancels out, also in gradients.
    scores -= scores.detach().amax(-1, keepdim=True)
    weights = scores.exp_()
    return (weights @ v) / weights.sum(-1, keepdim=True)


class Attention(nn.Module):
    """Multi-head attention on a grid of tokens, with decomposed relative positions."""

    def __init__(self, dim: int, num_heads: int, size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        head_dim = dim // num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, head_dim))

    def forward(self, x: Tensor, window: int) -> Tensor:
        """Attend within windows, or over the whole image.

        Parameters
        ----------
        x : Tensor of shape (B, H, W, C)
        window : int
            Side of a window; 0 for the whole image.

        Returns
        -------
        Tensor of shape (B, H, W, C)
        """
        if not window:
            return self._attend_windows(0, x)
        attend = partial(self._attend_windows, window)
        return by_window_rows(attend, x, window, self.qkv.out_features)

    def _attend_windows(self, window: int, x: Tensor) -> Tensor:
        size, heads = (x.shape[1], x.shape[2]), self.num_heads
        side_h, side_w = (window, window) if window else size
        qkv = self.qkv(x)
        if window:
            # Padding is zero before this projection, so its bias after it.
            qkv = pad_to_windows(qkv, window, self.qkv.bias)
        rows, columns = qkv.shape[1] // side_h, qkv.shape[2] // side_w
        qkv = qkv.view(-1, rows, side_h, columns, side_w, 3, heads, x.shape[3] // heads)
        qkv = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7)
        # (3, B * windows, heads, side_h, side_w, d)
        q, k, v = qkv.reshape(3, -1, heads, side_h, side_w, qkv.shape[-1])
        out = self._attend(q, k.flatten(2, 3), v.flatten(2, 3))
        if window:
            return self.proj(merge_windows(out, (rows, columns), size))  # type: ignore[no-any-return]
        # (B, heads, H * W, d) -> (B, H, W, C)
        return self.proj(out.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(N, heads, h, w, d) queries over (N, heads, h * w, d) keys and values."""
        # The unscaled query makes the position terms (official add_decomposed_rel_pos).
        table_h = relative_positions(q.shape[2], self.rel_pos_h).to(q.dtype)
        table_w = relative_positions(q.shape[3], self.rel_pos_w).to(q.dtype)
        rel_h = torch.einsum("nghwd,hkd->nghwk", q, table_h).flatten(2, 3)
        rel_w = torch.einsum("nghwd,wkd->nghwk", q, table_w).flatten(2, 3)
        q = q.flatten(2, 3) * q.shape[-1] ** -0.5
        tokens = q.shape[2]
        chunk = max(1, CHUNK_SCORES // tokens)
        whole = q.device.type != "cpu" or chunk >= tokens * q.shape[1]
        if whole:
            bias = position_bias(rel_h, rel_w)
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        return _chunked_attention((q, k, v), (rel_h, rel_w), chunk)


def _chunked_attention(
    qkv: tuple[Tensor, Tensor, Tensor], relative: tuple[Tensor, Tensor], chunk: int
) -> Tensor:
    """Attention whose scores are made for ``chunk`` queries of a head at a time.

    Equal to softmax(q k^T + rel_h + rel_w) v. A whole image has 4096 x 4096 scores a
    head: they do not fit the cache, and writing them out costs more than making them.
    """
    attend = biased_attention
    if qkv[0].dtype != torch.float32:
        # Short formats would round the scores; this keeps them in float32.
        attend = partial(F.scaled_dot_product_attention, scale=1.0)
    heads = (t.flatten(0, 1) for t in (*qkv, *relative))  # (N * heads, tokens, ...)
    done = []
    for q, k, v, rel_h, rel_w in zip(*heads, strict=True):
        parts = zip(q.split(chunk), rel_h.split(chunk), rel_w.split(chunk), strict=True)
        done += [attend(part, k, v, position_bias(h, w)) for part, h, w in parts]
    return torch.cat(done).view(qkv[0].shape)


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden)
        self.lin2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return by_tokens(self._tokens, x, self.lin1.out_features)

    def _tokens(self, x: Tensor) -> Tensor:
        return self.lin2(F.gelu(self.lin1(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and MLP, each normalised first and added."""

    def __init__(self, config: ViTConfig, window: int) -> None:
        super().__init__()
        dim = config.embed_dim
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, config.num_heads, window or config.tokens_per_side)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * config.mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H, W, C)."""
        dtype = self.attn.qkv.weight.dtype  # the sums may be in a longer format
        may_stop()
        x = x + self.attn(self.norm1(x).to(dtype), self.window)
        may_stop()
        return x + self.mlp(self.norm2(x).to(dtype))  # type: ignore[no-any-return]


class ImageEncoderViT(nn.Module):
    """The image encoder of SAM.

    Parameters
    ----------
    config : ViTConfig
        `VIT_B`, `VIT_L`, `VIT_H` or a size of your own.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        side = config.tokens_per_side
        self.patch_embed = PatchEmbed(config.patch_size, config.embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, config.embed_dim))
        self.blocks = nn.ModuleList(
            Block(config, 0 if i in config.global_attn_indexes else config.window_size)
            for i in range(config.depth)
        )
        self.neck = Neck(config.embed_dim, config.out_channels)

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
        x = self.patch_embed(x) + self.pos_embed  # (B, 64, 64, C)
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))  # type: ignore[no-any-return]
