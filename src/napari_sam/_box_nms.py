"""Of masks that are nearly the same, one is kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def box_nms(
    boxes: NDArray[np.int64], scores: NDArray[np.floating], threshold: float
) -> NDArray[np.intp]:
    """Drop each box that overlaps a better one (non-maximum suppression).

    As ``torchvision.ops.nms`` on the boxes of the official mask generator, which end
    *at* the last pixel, not after it.

    Parameters
    ----------
    boxes : ndarray of shape (N, 4), int
        (row_min, column_min, row_max, column_max), half-open.
    scores : ndarray of shape (N,)
        Of equal ones the first is better.
    threshold : float
        IoU of boxes above which the worse one goes.

    Returns
    -------
    ndarray of shape (K,), intp
        Indices of the boxes kept, best first.

    Examples
    --------
    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    >>> box_nms(boxes, np.array([0.8, 0.9, 0.7]), 0.7).tolist()
    [1, 2]
    """
    low = boxes[:, :2].astype(np.float32)
    high = boxes[:, 2:].astype(np.float32) - 1
    areas = (high - low).prod(axis=1)
    rest = np.argsort(-scores, kind="stable")
    kept = []
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(best)
        sides = np.minimum(high[best], high[rest]) - np.maximum(low[best], low[rest])
        shared = np.maximum(sides, 0).prod(axis=1)
        union = areas[best] + areas[rest] - shared
        # A box one pixel wide has no area here, and so overlaps nothing.
        iou = np.divide(shared, union, out=np.zeros_like(union), where=union > 0)
        rest = rest[iou <= threshold]
    return np.array(kept, np.intp)
