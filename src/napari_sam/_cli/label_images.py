"""From predictions to label images, and cleaning them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.types import Prediction


@dataclass(frozen=True)
class CleanOptions:
    """Morphology that is applied to labels, in the order of the fields.

    Lengths and areas are in the units of the spacing; 0 leaves a step out.

    Parameters
    ----------
    fill_holes : bool
    opening, closing, smooth : float
        Radius (of `smooth`: standard deviation).
    min_size : float
        Area (volume in 3D) below which parts are removed.
    keep_largest : bool
        Keep one part of each label.
    """

    fill_holes: bool = False
    opening: float = 0
    closing: float = 0
    smooth: float = 0
    min_size: float = 0
    keep_largest: bool = False

    def __post_init__(self) -> None:
        for name in ("opening", "closing", "smooth", "min_size"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                option = name.replace("_", "-")
                raise ValueError(f"--{option} must be 0 or more, got {value}.")


def clean(
    labels: NDArray[Any], options: CleanOptions, spacing: Sequence[float]
) -> NDArray[Any]:
    """Apply morphology to a label image, 2D or 3D.

    Parameters
    ----------
    labels : ndarray of shape ((plane,) row, column), int
    options : CleanOptions
    spacing : sequence of float
        One number for each axis.

    Returns
    -------
    ndarray of the shape and dtype of `labels`

    Raises
    ------
    ValueError
        As `napari_sam.postprocess` does.
    """
    from napari_sam import postprocess

    if not labels.any():
        return labels
    if options.fill_holes:
        labels = postprocess.fill_holes(labels, spacing=spacing)
    for name in ("opening", "closing", "smooth"):
        length = getattr(options, name)
        if length:
            labels = getattr(postprocess, name)(labels, length, spacing=spacing)
    if options.min_size:
        labels = postprocess.remove_small_objects(
            labels, options.min_size, spacing=spacing
        )
    return postprocess.keep_largest(labels) if options.keep_largest else labels


def paint(
    predictions: Iterable[tuple[int, Prediction]], plane_size: tuple[int, int]
) -> NDArray[np.int64]:
    """Make one label image of predictions; where they overlap, the surer one wins.

    Parameters
    ----------
    predictions : iterable of (int, Prediction)
        Label and prediction of each object; the best mask of each counts.
    plane_size : (H, W)

    Returns
    -------
    ndarray of shape (H, W), int64
    """
    labels = np.zeros(plane_size, np.int64)
    # The last painted is on top: of equal scores the first prediction.
    surest_first = sorted(predictions, key=lambda one: -one[1].best_score)
    for label, prediction in reversed(surest_first):
        labels[prediction.best] = label
    return labels


def smallest_dtype(highest: int) -> np.dtype[Any]:
    """Return the smallest unsigned type that holds the highest label."""
    return np.min_scalar_type(highest)
