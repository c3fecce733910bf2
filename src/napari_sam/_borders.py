"""Where the border of an object lies, by what the border of its seed looks like.

SAM puts borders too far out in one image and too far in in another. The user's box says
where the border of the seed is; the grey values there say where it is elsewhere.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_sam._appearance import Appearance, FloatArray, Mask, PlaneView, Slices

# In cells of the answer; as wide as a border is uncertain.
BLUR = 1.0
THRESHOLDS = np.linspace(-2, 2, 17)
# Likeness that a logit must gain, so that equal borders stay where they are.
RELUCTANCE = 0.02


def likeness(appearance: Appearance, view: PlaneView, part: Slices) -> FloatArray:
    """Log-likelihood ratio of the grey values in a part of a plane, blurred."""
    blurred: FloatArray = ndimage.gaussian_filter(
        appearance.by_grey(view, part), BLUR, mode="nearest"
    )
    return blurred


def rim(mask: Mask) -> Mask:
    """Cells on both sides of a mask's border.

    Examples
    --------
    >>> rim(np.array([[0, 0, 0, 1, 1]], bool)).astype(int)
    array([[0, 0, 1, 1, 0]])
    """
    cells = np.zeros(mask.shape, bool)
    across = mask[1:] ^ mask[:-1]
    cells[1:] |= across
    cells[:-1] |= across
    along = mask[:, 1:] ^ mask[:, :-1]
    cells[:, 1:] |= along
    cells[:, :-1] |= along
    return cells


def at_border(like: FloatArray, mask: Mask, valid: Mask) -> float | None:
    """Mean likeness at a mask's border; None if it has none."""
    cells = rim(mask) & valid
    return float(like[cells].mean()) if cells.any() else None


def matched_threshold(
    logits: FloatArray, like: FloatArray, valid: Mask, wanted: float | None
) -> float:
    """Choose the logit at which the border looks like that of the seed.

    Parameters
    ----------
    logits, like : ndarray of shape (rows, columns)
        Of a part of a plane.
    valid : ndarray of shape (rows, columns), bool
    wanted : float, optional
        Likeness at the seed's border, if it has one.

    Returns
    -------
    float
        From -2 to 2; 0 if nothing tells.
    """
    if wanted is None:
        return 0.0
    found = [at_border(like, (logits > one) & valid, valid) for one in THRESHOLDS]
    misses = [
        np.inf if one is None else abs(one - wanted) + RELUCTANCE * abs(threshold)
        for one, threshold in zip(found, THRESHOLDS, strict=True)
    ]
    best = int(np.argmin(misses))
    return float(THRESHOLDS[best]) if np.isfinite(misses[best]) else 0.0
