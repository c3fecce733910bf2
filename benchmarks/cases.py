"""What is timed: the list of cases, and inputs that both sides share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MODEL_SIZE = 1024

Answer: TypeAlias = NDArray[Any] | list[tuple[NDArray[Any], NDArray[Any]]]
"""An embedding, or for each prompt its masks (or logits) and scores."""

Model = Literal["mobile_sam", "vit_b"]
Work = Literal["encoder", "network", "decoder", "predict", "new_image", "predict_batch"]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Parameters
    ----------
    name : str
        As ``--only`` takes it.
    model : {"mobile_sam", "vit_b"}
        The shipped checkpoint, or a ViT-B of random weights.
    work : str
        What one repeat does; each side has a method of this name.
    count : int
        Number of prompts, one point each.
    title : str
        Shown in the table.
    """

    name: str
    model: Model
    work: Work
    count: int
    title: str


CASES = {
    case.name: case
    for case in (
        Case("encoder_mobile_sam", "mobile_sam", "encoder", 0, "MobileSAM, set image"),
        Case("network_mobile_sam", "mobile_sam", "network", 0, "MobileSAM, network"),
        Case("encoder_vit_b", "vit_b", "encoder", 0, "ViT-B, set image"),
        Case("network_vit_b", "vit_b", "network", 0, "ViT-B, network"),
        Case("decoder_1", "mobile_sam", "decoder", 1, "decoder, 1 point"),
        Case("decoder_64", "mobile_sam", "decoder", 64, "decoder, 64 points"),
        Case("predict_1", "mobile_sam", "predict", 1, "predict, 1 point"),
        Case("new_image_1", "mobile_sam", "new_image", 1, "set image, predict 1"),
        Case("predict_64", "mobile_sam", "predict_batch", 64, "predict 64 points"),
    )
}


def as_array(tensor: Tensor) -> NDArray[Any]:
    """Bring a tensor to the CPU as an array; a GPU has finished its work then."""
    tensor = tensor.detach().cpu()
    return (tensor if tensor.dtype is torch.bool else tensor.float()).numpy()


def grid_points(count: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Whole (row, column) pixels of shape (count, 2) on a square grid over an image."""
    side = int(np.ceil(np.sqrt(count)))
    steps = (np.arange(side) + 0.5) / side
    grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    points: NDArray[np.float64] = np.floor(grid[:count] * shape[:2])
    return points


def network_input(image: NDArray[np.uint8], mean: Tensor, std: Tensor) -> Tensor:
    """Normalise an image and pad it to (1, 3, 1024, 1024), float32.

    It is cut instead of resized: both networks only have to see the same numbers.
    """
    pixels = torch.from_numpy(image[:MODEL_SIZE, :MODEL_SIZE].copy()).permute(2, 0, 1)
    normalised = (pixels.float() - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    rows, columns = normalised.shape[1:]
    padding = (0, MODEL_SIZE - columns, 0, MODEL_SIZE - rows)
    return torch.nn.functional.pad(normalised, padding)[None]
