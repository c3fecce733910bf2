"""The two-way transformer of the mask decoder: a few tokens against an image.

As in the official file ``segment_anything/modeling/transformer.py``, with the
products of cross attention re-associated. An image has 4096 cells, a prompt about 7
tokens: the token side is projected twice, the image side never, which gives the same
scores and sums for a fraction of the work, e.g. ``(q W_k) X^T`` for ``q (X W_k)^T``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ProjectedImage(NamedTuple):
    """An image's side of the first block, which does not depend on the prompt.

    Each of shape (heads, P, d).
    """

    keys: Tensor
    values: Tensor
    queries: Tensor


class Attention(nn.Module):
    """Multi-head attention with an inner width of ``dim / downsample``."""

    def __init__(self, dim: int, num_heads: int, downsample: int = 1) -> None:
        super().__init__()
        inner = dim // downsample
        self.num_heads = num_heads
        self.scale = (inner // num_heads) ** -0.5
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def _heads(self, x: Tensor) -> Tensor:
        """(B, N, heads * d) to (B, heads, N, d)."""
        batch, length, _ = x.shape
        return x.view(batch, length, self.num_heads, -1).transpose(1, 2)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention as it is written: (B, N, C) queries, (B, M, C) keys and values."""
        q, k, v = (
            self._heads(project(x))
            for project, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        out = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _folded_scores(
        self, tokens: Tensor, image: Tensor, sides: tuple[nn.Linear, nn.Linear]
    ) -> Tensor:
        """Scores of projected tokens against an image that is not projected.

        Parameters
        ----------
        tokens : Tensor of shape (B, T, C)
        image : Tensor of shape (B or 1, P, C)
        sides : tuple of nn.Linear
            The tokens' projection, and the image's.

        Returns
        -------
        Tensor of shape (B, heads * T, P)
        """
        token_proj, image_proj = sides
        small = self._heads(token_proj(tokens)) * self.scale  # (B, heads, T, d)
        weight = image_proj.weight.unflatten(0, (self.num_heads, -1))  # (heads, d, C)
        bias = image_proj.bias.view(1, self.num_heads, -1, 1)  # (1, heads, d, 1)
        folded = (small @ weight).flatten(1, 2)  # (B, heads * T, C)
        constant = (small @ bias).flatten(1, 2)  # (B, heads * T, 1)
        if image.shape[0] == 1:
            # One image for all prompts: one product, the image is not copied.
            scores: Tensor = folded.flatten(0, 1) @ image[0].T
            scores += constant.flatten(0, 1)
            return scores.view(*folded.shape[:2], image.shape[1])
        return torch.baddbmm(constant, folded, image.transpose(1, 2))

    def tokens_to_image(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Gather from the image into the tokens.

        Parameters
        ----------
        tokens : Tensor of shape (B, T, C)
            Queries.
        keys, values : Tensor of shape (B or 1, P, C)
            The image with and without positions.

        Returns
        -------
        Tensor of shape (B, T, C)
        """
        weights = self._folded_scores(tokens, keys, (self.q_proj, self.k_proj))
        weights = weights.softmax(-1)  # (B, heads * T, P)
        if values.shape[0] == 1:
            gathered = (weights.flatten(0, 1) @ values[0]).view(*weights.shape[:2], -1)
        else:
            gathered = weights @ values  # (B, heads * T, C)
        gathered = gathered.unflatten(1, (self.num_heads, -1))  # (B, heads, T, C)
        project = self.v_proj.weight.unflatten(0, (self.num_heads, -1)).transpose(1, 2)
        out = (gathered @ project).transpose(1, 2).flatten(2)  # (B, T, heads * d)
        # The weights of a query sum to one, so the bias goes through unchanged.
        return self.out_proj(out + self.v_proj.bias)  # type: ignore[no-any-return]

    def tokens_to_projected(self, tokens: Tensor, image: ProjectedImage) -> Tensor:
        """`tokens_to_image` with one image for all prompts, projected beforehand."""
        queries = self._stacked(self.q_proj(tokens))
        weights = (queries @ image.keys.transpose(1, 2)).softmax(-1)  # (heads, B*T, P)
        out = (weights @ image.values).transpose(0, 1).flatten(1)  # (B * T, heads * d)
        return self.out_proj(out).view(tokens.shape)  # type: ignore[no-any-return]

    def image_to_tokens(
        self, image: tuple[Tensor, Tensor], keys: Tensor, values: Tensor
    ) -> Tensor:
        """Gather from the tokens into the image, and add the result to it.

        Parameters
        ----------
        image : tuple of Tensor of shape (B or 1, P, C)
            The image with positions (queries) and without (what is added to).
        keys, values : Tensor of shape (B, T, C)
            Tokens with and without their positions.

        Returns
        -------
        Tensor of shape (B, P, C)
        """
        queries, residual = image
        scores = self._folded_scores(keys, queries, (self.k_proj, self.q_proj))
        # The softmax is over the tokens: (B, heads, T, P), P being the fast axis.
        weights = scores.unflatten(1, (self.num_heads, -1)).softmax(2).flatten(1, 2)
        return self._mixed(residual, weights, values)

    def projected_to_tokens(
        self, image: tuple[ProjectedImage, Tensor], keys: Tensor, values: Tensor
    ) -> Tensor:
        """`image_to_tokens` with one image for all prompts, projected beforehand."""
        projected, residual = image
        small = self._stacked(self.k_proj(keys))
        scores = small @ projected.queries.transpose(1, 2)  # (heads, B * T, P)
        weights = scores.unflatten(1, keys.shape[:2]).softmax(2)  # (heads, B, T, P)
        return self._mixed(residual, weights.transpose(0, 1).flatten(1, 2), values)

    def project_image(self, image: Tensor, which: nn.Linear) -> Tensor:
        """(1, P, C) to (heads, P, d) by one of this layer's projections."""
        return self._heads(which(image))[0].contiguous()

    def _stacked(self, small: Tensor) -> Tensor:
        """(B, T, heads * d) to scaled (heads, B * T, d)."""
        rows = small.flatten(0, 1)
        stacked = rows.view(len(rows), self.num_heads, -1).transpose(0, 1)
        return stacked.mul(self.scale)

    def _mixed(self, residual: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        """Add tokens (B, T, C) to (B or 1, P, C) by weights (B, heads * T, P)."""
        project = self.out_proj.weight.T.unflatten(0, (self.num_heads, -1))
        small = self._heads(self.v_proj(values)) @ project  # (B, heads, T, C)
        # The weights of a head sum to one, so that this adds the bias exactly once.
        small = (small + self.out_proj.bias / self.num_heads).flatten(1, 2)
        residual = residual.expand(small.shape[0], -1, -1)
        if residual.device.type != "cpu":
            return torch.baddbmm(residual, weights.transpose(1, 2), small)
        # On a CPU one product after the other is twice as fast as a batch of them.
        parts = zip(residual, weights.transpose(1, 2), small, strict=True)
        mixed = [torch.addmm(*part)[None] for part in parts]
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


class Mlp(nn.Module):
    """Two linear layers with a ReLU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden)
        self.lin2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return self.lin2(F.relu(self.lin1(x)))  # type: ignore[no-any-return]


class TwoWayAttentionBlock(nn.Module):
    """Tokens to tokens, tokens to image, MLP, image to tokens.

    Parameters
    ----------
    dim, num_heads, mlp_dim : int
        Width, heads and hidden width.
    is_first : bool
        The first block attends among tokens without positions or residual.
    """

    def __init__(
        self, dim: int, num_heads: int, mlp_dim: int, is_first: bool = False
    ) -> None:
        super().__init__()
        self.is_first = is_first
        self.self_attn = Attention(dim, num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = Attention(dim, num_heads, downsample=2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, mlp_dim)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = Attention(dim, num_heads, downsample=2)

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        prompts: Tensor,
        positions: Tensor,
        projected: ProjectedImage | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Apply one block.

        Parameters
        ----------
        tokens : Tensor of shape (B, T, C)
        image : Tensor of shape (B or 1, P, C)
        prompts : Tensor of shape (B, T, C)
            The tokens at the start, which serve as their positions.
        positions : Tensor of shape (P, C)
            Positions of the image's cells.
        projected : ProjectedImage, optional
            Of this block and image, from `project`.

        Returns
        -------
        tuple of Tensor
            New tokens (B, T, C) and image (B, P, C).
        """
        if self.is_first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + prompts
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)
        gather, spread = self.cross_attn_token_to_image, self.cross_attn_image_to_token
        if projected is None:
            placed_image = image + positions
            gathered = gather.tokens_to_image(tokens + prompts, placed_image, image)
        else:
            gathered = gather.tokens_to_projected(tokens + prompts, projected)
        tokens = self.norm2(tokens + gathered)
        tokens = self.norm3(tokens + self.mlp(tokens))
        keys = tokens + prompts
        if projected is None:
            image = spread.image_to_tokens((placed_image, image), keys, tokens)
        else:
            image = spread.projected_to_tokens((projected, image), keys, tokens)
        return tokens, self.norm4(image)

    def project(self, image: Tensor, positions: Tensor) -> ProjectedImage:
        """Project an image (1, P, C) once for all prompts."""
        gather, spread = self.cross_attn_token_to_image, self.cross_attn_image_to_token
        placed = image + positions
        return ProjectedImage(
            gather.project_image(placed, gather.k_proj),
            gather.project_image(image, gather.v_proj),
            spread.project_image(placed, spread.q_proj),
        )


class TwoWayTransformer(nn.Module):
    """Decode tokens and image against each other, twice, then tokens once more."""

    def __init__(
        self, dim: int = 256, num_heads: int = 8, mlp_dim: int = 2048, depth: int = 2
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(dim, num_heads, mlp_dim, is_first=i == 0)
            for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(dim, num_heads, downsample=2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(
        self,
        image: Tensor,
        positions: Tensor,
        prompts: Tensor,
        projected: ProjectedImage | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode.

        Parameters
        ----------
        image : Tensor of shape (B or 1, P, C)
            Image embedding plus dense prompt; 1 if all prompts share it.
        positions : Tensor of shape (P, C)
        prompts : Tensor of shape (B, T, C)
        projected : ProjectedImage, optional
            Of the first layer.

        Returns
        -------
        tuple of Tensor
            Tokens (B, T, C) and image (B, P, C).
        """
        tokens = prompts
        for i, layer in enumerate(self.layers):
            first = projected if i == 0 else None
            tokens, image = layer(tokens, image, prompts, positions, first)
        gathered = self.final_attn_token_to_image.tokens_to_image(
            tokens + prompts, image + positions, image
        )
        return self.norm_final_attn(tokens + gathered), image
