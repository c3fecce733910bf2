"""Planes stretched to a square, as SAM 2 and SAM 3 see them, to and from our frames.

SAM keeps a plane's proportions and pads it; its successors stretch it. What leaves a
predictor is in the answer frame all the same (see `transforms`), whatever the model, so
that nothing else has to know. For square planes the two frames are one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from napari_sam.transforms import model_size
from napari_sam.types import MODEL_SIZE


def stretch_pixels(pixels: Tensor, side: int) -> Tensor:
    """Resize to a square and make three channels of one.

    Parameters
    ----------
    pixels : Tensor of shape (1 or 3, h, w), uint8
    side : int

    Returns
    -------
    Tensor of shape (3, side, side), uint8
    """
    if pixels.shape[1:] != (side, side):
        layers = [Image.fromarray(one.cpu().numpy()) for one in pixels]
        resized = [
            np.array(one.resize((side, side), Image.Resampling.BILINEAR))
            for one in layers
        ]
        pixels = torch.from_numpy(np.stack(resized))
    return pixels.expand(3, -1, -1)


def points_to_square(
    points: NDArray[np.float64], plane_size: tuple[int, int], side: int
) -> NDArray[np.float64]:
    """(row, column) in plane pixels to (x, y) in the square, each (N, 2)."""
    scale = np.divide(side, plane_size)
    return np.ascontiguousarray((points * scale)[:, ::-1])


def square_to_answer(values: Tensor, plane_size: tuple[int, int], size: int) -> Tensor:
    """Resample from the stretched square to the answer frame's layout.

    Parameters
    ----------
    values : Tensor of shape (B, C, n, n), float
    plane_size : (H, W)
    size : int
        Side of the result: 256 for logits, 64 for features.

    Returns
    -------
    Tensor of shape (B, C, size, size)
        Where the frame is padding, what is at the plane's border.
    """
    n = values.shape[-1]
    rows, columns = (n * MODEL_SIZE / (size * side) for side in model_size(plane_size))
    return _resample(values, size, (rows, columns))


def answer_to_square(values: Tensor, plane_size: tuple[int, int], size: int) -> Tensor:
    """Resample (B, C, n, n) to a stretched (B, C, size, size): the inverse."""
    n = values.shape[-1]
    rows, columns = (n * side / (size * MODEL_SIZE) for side in model_size(plane_size))
    return _resample(values, size, (rows, columns))


def _resample(values: Tensor, size: int, step: tuple[float, float]) -> Tensor:
    """Read a square at every so many of its rows and columns, from the edge on."""
    n = values.shape[-1]
    if size == n and step == (1.0, 1.0):
        return values
    centres = torch.arange(size, device=values.device, dtype=torch.float32) + 0.5
    # grid_sample counts from -1 at one edge to 1 at the other, and takes (x, y).
    y, x = (centres * (2 * one / n) - 1 for one in step)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    return F.grid_sample(
        values.float(),
        grid.expand(len(values), -1, -1, -1),
        padding_mode="border",
        align_corners=False,
    )
