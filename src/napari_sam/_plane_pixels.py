"""From answers of SAM's resolution to the pixels of a plane."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sam._enlarging import Enlarger
from napari_sam._tracking import Answer
from napari_sam.types import Prediction

__all__ = ["PlanePixels"]


class PlanePixels:
    """Brings answers to the pixels of planes of one size.

    Parameters
    ----------
    plane_size : (H, W)
    """

    def __init__(self, plane_size: tuple[int, int]) -> None:
        self.plane_size = plane_size
        self._enlarger = Enlarger(plane_size)

    def mask(self, answer: Answer) -> NDArray[np.bool_]:
        """(H, W) bool."""
        mask = np.zeros(self.plane_size, bool)
        found = self._enlarger.above(torch.from_numpy(answer.full), 0)
        if found is not None:
            levels, where = found
            mask[where] = levels > 0
        return mask

    def labels(self, objects: Mapping[int, Answer | Prediction]) -> NDArray[np.int64]:
        """Put the objects of one plane into a label image.

        Parameters
        ----------
        objects : dict of object id to Answer or Prediction
            A prediction's best mask counts, whatever its logits are.

        Returns
        -------
        ndarray of shape (H, W), int64
            Object ids; 0 is background. Where objects overlap, the one whose logits
            are higher there gets the pixel.
        """
        labels = np.zeros(self.plane_size, np.int64)
        best = np.full(self.plane_size, -np.inf, np.float32)
        for key, one in objects.items():
            if isinstance(one, Prediction):
                logits, lowest = np.ascontiguousarray(one.best_logits), -np.inf
            else:
                logits, lowest = one.full, 0.0
            found = self._enlarger.above(torch.from_numpy(logits), lowest)
            if found is None:
                continue
            levels, where = found
            mask = one.best[where] if isinstance(one, Prediction) else levels > 0
            wins = mask & (levels > best[where])
            labels[where][wins] = key
            best[where][wins] = levels[wins]
        return labels
