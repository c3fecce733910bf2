"""What SAM sees of the plane that was looked at last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam import transforms
from napari_sam.types import ModelInput, Window

# Of larger planes no copy is kept.
MAX_BYTES = 1 << 26


@dataclass(frozen=True)
class Looked:
    """How a plane is looked at.

    Parameters
    ----------
    limits : (low, high), optional
        Values that SAM sees black and white.
    shape : (rows, columns)
        Of the plane, or the window of it, that the pixels are of.
    window : Window, optional
    """

    limits: transforms.ContrastLimits | None
    shape: tuple[int, int]
    window: Window | None


class KeptPlane:
    """Resizes planes to the model's frame, the same one only once.

    Every click on a plane asks for it, to find its embedding. The pixels are compared
    with those of the last time: users may have changed them.
    """

    def __init__(self) -> None:
        self._kept: tuple[NDArray[Any], Looked, ModelInput] | None = None

    def prepare(self, raw: NDArray[Any], looked: Looked) -> ModelInput:
        """Turn the pixels of a plane into what SAM sees.

        Parameters
        ----------
        raw : ndarray of shape (H, W) or (H, W, 3)
            As they were read.
        looked : Looked

        Returns
        -------
        ModelInput
        """
        kept = self._kept
        if kept is not None and kept[1] == looked and _is_same(kept[0], raw):
            return kept[2]
        pixels = transforms.stretch(raw, looked.limits)
        seen = ModelInput(
            transforms.resize_to_model(pixels, looked.shape),
            looked.shape,
            looked.window,
        )
        self._kept = (raw.copy(), looked, seen) if raw.nbytes <= MAX_BYTES else None
        return seen


def _is_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    # NaN differs from itself: such planes are prepared anew.
    return one.dtype == other.dtype and np.array_equal(one, other)
