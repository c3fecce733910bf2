"""Layers as MobileSAM's TinyViT uses them: built, but idle at inference."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class DropPath(nn.Module):
    """Stochastic depth; the identity in evaluation mode, the only one offered."""

    def __init__(self, drop_prob: float | None = None) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """Return the input."""
        if self.training and self.drop_prob:
            raise RuntimeError("this stand-in of timm is for inference only.")
        return x


def to_2tuple(value: Any) -> tuple[Any, ...]:
    """Repeat one number; leave a pair as it is."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with a truncated normal distribution; overwritten by the checkpoint."""
    return nn.init.trunc_normal_(tensor, mean, std)
