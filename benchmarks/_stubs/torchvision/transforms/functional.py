"""Image functions of torchvision on PIL images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image


def to_pil_image(picture: np.ndarray | torch.Tensor) -> Image.Image:
    """Make a PIL image of an (H, W, C) uint8 array or a (C, H, W) uint8 tensor."""
    if isinstance(picture, torch.Tensor):
        picture = picture.permute(1, 2, 0).numpy()
    if picture.dtype != np.uint8:
        raise TypeError(f"picture must be uint8, got {picture.dtype}.")
    return Image.fromarray(picture)


def resize(image: Image.Image, size: Sequence[int]) -> Image.Image:
    """Resize to (rows, columns); bilinear, torchvision's default for PIL images."""
    if not isinstance(image, Image.Image):
        raise TypeError(f"image must be a PIL image, got {type(image).__name__}.")
    rows, columns = size
    return image.resize((columns, rows), Image.Resampling.BILINEAR)
