"""The box around a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def tight_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Smallest box around the pixels of a plane's mask.

    Parameters
    ----------
    mask : ndarray of shape (H, W), bool

    Returns
    -------
    tuple of int
        (row_min, column_min, row_max, column_max), half-open, which are the edges of
        pixels; (0, 0, 0, 0) if the mask is empty.

    Examples
    --------
    >>> tight_box(np.array([[0, 0, 0], [0, 1, 1]], bool))
    (1, 1, 2, 3)
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return 0, 0, 0, 0
    columns = np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
