"""Prompts on a plane: what is allowed, and what the prompt encoder is given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_sam import transforms
from napari_sam.modeling.prompt_encoder import BOX_MAX, BOX_MIN, PADDING
from napari_sam.types import Prompts


def check_prompts(prompts: Prompts, plane_size: tuple[int, int]) -> None:
    """Refuse prompts that say nothing, or nothing about this plane.

    Parameters
    ----------
    prompts : Prompts
    plane_size : (H, W)

    Raises
    ------
    ValueError
        If there is no point, box or mask; a point lies outside the plane; or a box
        does not touch it.
    """
    if not isinstance(prompts, Prompts):
        raise ValueError(f"prompts must be Prompts, got {type(prompts).__name__}.")
    if prompts.is_empty:
        raise ValueError("prompts must have at least one point, a box or a mask.")
    rows, columns = plane_size
    limits = np.array(plane_size) - 0.5
    outside = ((prompts.points < -0.5) | (prompts.points > limits)).any(axis=1)
    if outside.any():
        point = prompts.points[outside][0].tolist()
        raise ValueError(
            f"points must lie within the {rows} x {columns} plane, got {point}."
        )
    box = prompts.box
    if box is not None and ((box[:2] >= plane_size).any() or (box[2:] <= 0).any()):
        raise ValueError(
            f"box must overlap the {rows} x {columns} plane, got {box.tolist()}."
        )


def prompt_points(
    prompts: Prompts, plane_size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points and box corners as the prompt encoder takes them.

    Parameters
    ----------
    prompts : Prompts
        A box is cut to the plane.
    plane_size : (H, W)

    Returns
    -------
    tuple of ndarray
        (x, y) of shape (N, 2) in the model frame, and labels (N,). Without a box a
        padding point is appended, as in the official prompt encoder; a mask alone
        has no points at all.
    """
    xy = transforms.points_to_model(prompts.points, plane_size)
    labels = prompts.point_labels
    if prompts.box is not None:
        box = np.clip(prompts.box, 0, [*plane_size, *plane_size])
        xy = np.concatenate([xy, transforms.box_to_model(box, plane_size)])
        labels = np.append(labels, [BOX_MIN, BOX_MAX])
    elif len(xy):
        xy = np.concatenate([xy, np.zeros((1, 2))])
        labels = np.append(labels, PADDING)
    return xy, labels
