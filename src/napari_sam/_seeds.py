"""Seeds: what the user says of an object in one plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_sam.prompting import check_prompts
from napari_sam.transforms import mask_to_logits
from napari_sam.types import Prediction, Prompts

Seed: TypeAlias = Prompts | Prediction | NDArray[np.bool_]


def is_stop(seed: Seed) -> bool:
    """Whether a seed says that the object is not in its plane.

    That is an empty mask, or negative points alone.
    """
    if isinstance(seed, Prompts):
        has_shape = seed.box is not None or seed.mask_logits is not None
        return not has_shape and not seed.point_labels.any()
    mask = seed.best if isinstance(seed, Prediction) else seed
    return not mask.any()


def check_seeds(seeds: object, count: int, plane_size: tuple[int, int]) -> None:
    """Refuse seeds from which no object can be followed.

    Parameters
    ----------
    seeds : dict of int to Prompts, Prediction or bool (H, W)
    count : int
        Number of planes of the stack.
    plane_size : (H, W)

    Raises
    ------
    ValueError
        If there are none, a plane does not exist, a seed is of another kind or shape or
        says nothing, or none shows the object.
    """
    if not isinstance(seeds, Mapping) or not seeds:
        raise ValueError("seeds must be a dict of plane to prompts or mask, not empty.")
    for plane, seed in seeds.items():
        is_whole = isinstance(plane, (int, np.integer)) and not isinstance(plane, bool)
        if not is_whole or not 0 <= plane < count:
            raise ValueError(
                f"seeds must be in planes 0 to {count - 1}, got {plane!r}."
            )
        if isinstance(seed, Prompts):
            check_prompts(seed, plane_size)
            continue
        mask = seed.best if isinstance(seed, Prediction) else seed
        is_mask = isinstance(mask, np.ndarray) and mask.dtype == bool
        if not is_mask or mask.shape != plane_size:
            raise ValueError(
                f"seeds must be Prompts, a Prediction or a bool mask of shape "
                f"{plane_size}, got {_describe(seed)} in plane {plane}."
            )
    if all(is_stop(seed) for seed in seeds.values()):
        raise ValueError("seeds must show the object in at least one plane.")


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return type(value).__name__


def as_given(seed: Seed, plane: int) -> Prediction:
    """Take a mask as it is."""
    if isinstance(seed, Prediction):
        return _best_only(seed)
    logits = mask_to_logits(np.asarray(seed))
    return Prediction(np.array(seed)[None], np.ones(1, np.float32), logits[None], plane)


def _best_only(prediction: Prediction) -> Prediction:
    best = slice(prediction.best_index, prediction.best_index + 1)
    return Prediction(
        prediction.masks[best],
        prediction.scores[best],
        prediction.logits[best],
        prediction.plane,
    )


def within_box(prediction: Prediction, prompts: Prompts) -> Prediction:
    """Cut the best mask to the box: the user has said where the object ends."""
    best = _best_only(prediction)
    if prompts.box is None:
        return best
    size = np.array(best.best.shape)
    low = np.clip(np.floor(prompts.box[:2] + 0.5), 0, size).astype(int)
    high = np.clip(np.floor(prompts.box[2:] + 0.5), 0, size).astype(int)
    inside = np.zeros(best.best.shape, bool)
    inside[low[0] : high[0], low[1] : high[1]] = True
    if not (best.best & inside).any():
        return best
    logits = np.minimum(best.logits, mask_to_logits(inside))
    return Prediction(best.masks & inside, best.scores, logits, best.plane)
