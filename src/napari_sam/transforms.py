"""From any array to what SAM sees, and coordinates and masks to and fro.

Frames: *plane* pixels are (row, column), pixel centres at integers. The *model*
frame is the plane resized so that its longer side is 1024, zero-padded at the bottom
and right to a square; the *answer* frame is the model frame at a quarter of the size.
(x, y) order exists in `points_to_model` and `box_to_model` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from napari_sam.types import LOGITS_SIZE, MODEL_SIZE

PREPROCESSING_VERSION = 1
"""Raised whenever the pixels SAM sees change for the same input."""

ContrastLimits = tuple[float, float]

# Of larger planes every n-th pixel is enough to find the percentiles.
_SAMPLE_PIXELS = 1 << 20
_PERCENTILES = (0.5, 99.5)
# Logits of a mask prompt made from a binary mask; about what SAM itself answers.
_MASK_LOGIT = 10.0


def check_plane(plane: NDArray[Any]) -> NDArray[Any]:
    """Refuse what is not a plane of grey or colour pixels.

    Parameters
    ----------
    plane : ndarray of shape (H, W), (H, W, 3) or (H, W, 4)
        bool, integer or real; an alpha channel is dropped.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, 3)

    Raises
    ------
    ValueError
        If the shape or dtype is another, or the plane has no pixels.
    """
    try:
        plane = np.asarray(plane)
    except ValueError:
        raise ValueError("plane must be an array with rows of one length.") from None
    if plane.dtype.kind not in "buif":
        raise ValueError(
            f"plane must be bool, integer or real numbers, got dtype {plane.dtype}."
        )
    is_colour = plane.ndim == 3 and plane.shape[2] in (3, 4)
    if plane.ndim != 2 and not is_colour:
        raise ValueError(
            f"plane must have shape (H, W), (H, W, 3) or (H, W, 4), got {plane.shape}."
        )
    if plane.size == 0:
        raise ValueError(f"plane must have pixels, got shape {plane.shape}.")
    return plane[..., :3] if is_colour else plane


def check_contrast_limits(limits: Sequence[float]) -> ContrastLimits:
    """Return (low, high) as finite floats with low < high, or raise ValueError."""
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        raise ValueError(
            f"contrast_limits must be two numbers (low, high), got {limits!r}."
        ) from None
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(
            f"contrast_limits must be finite with low < high, got ({low}, {high})."
        )
    return low, high


def default_contrast_limits(*planes: NDArray[Any]) -> ContrastLimits | None:
    """Limits that fit the planes, or None if their values are to be seen as they are.

    uint8 and bool are seen as they are. Real colour between 0 and 1 is stretched from
    (0, 1), as napari shows it. Everything else is stretched from the 0.5th to the
    99.5th percentile of the finite values.

    Parameters
    ----------
    *planes : ndarray of shape (H, W) or (H, W, C)
        Planes of one image.

    Returns
    -------
    (low, high), or None
        Equal if all values are.
    """
    if planes[0].dtype == np.uint8 or planes[0].dtype == bool:
        return None
    values = np.concatenate([_sample(plane) for plane in planes])
    values = values[np.isfinite(values)]
    if values.size == 0:
        return (0.0, 0.0)
    is_real_colour = planes[0].ndim == 3 and planes[0].dtype.kind == "f"
    if is_real_colour and values.min() >= 0 and values.max() <= 1:
        return (0.0, 1.0)
    # Halved and doubled: the range of the largest float64 would overflow.
    low, high = 2 * np.percentile(values / 2, _PERCENTILES)
    if low == high:  # a few bright pixels on a constant background
        low, high = values.min(), values.max()
    return float(low), float(high)


def _sample(plane: NDArray[Any]) -> NDArray[np.float64]:
    rows, columns = plane.shape[:2]
    step = max(1, int(np.sqrt(rows * columns / _SAMPLE_PIXELS)))
    # A thin plane must keep at least one pixel of its short side.
    return plane[::step, ::step].astype(np.float64).ravel()


def to_uint8(
    plane: NDArray[Any], contrast_limits: Sequence[float] | None = None
) -> NDArray[np.uint8]:
    """Convert a plane of any dtype to the 8 bit SAM was trained on.

    Parameters
    ----------
    plane : ndarray of shape (H, W), (H, W, 3) or (H, W, 4)
        bool, integer or real. NaN becomes black, infinities black and white.
    contrast_limits : (low, high), optional
        Values shown black and white. Chosen by `default_contrast_limits` if omitted,
        so that uint8 stays as it is.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, 3), uint8

    Raises
    ------
    ValueError
        If the plane or the limits are not as above.

    Examples
    --------
    >>> import numpy as np
    >>> to_uint8(np.array([[0.0, 1.0, np.nan, np.inf]]), (0, 2)).tolist()
    [[0, 128, 0, 255]]
    """
    plane = check_plane(plane)
    if contrast_limits is not None:
        limits: ContrastLimits | None = check_contrast_limits(contrast_limits)
    else:
        limits = default_contrast_limits(plane)
    return stretch(plane, limits)


def stretch(plane: NDArray[Any], limits: ContrastLimits | None) -> NDArray[np.uint8]:
    """`to_uint8` with limits already found; None or equal limits are allowed."""
    if limits is None:
        seen: NDArray[np.uint8] = plane.astype(np.uint8)
        if plane.dtype == bool:
            seen *= np.uint8(255)
        return seen
    low, high = limits
    # Halved, so that the range of the largest float64 does not overflow.
    half = high / 2 - low / 2
    if half == 0:
        return np.zeros(plane.shape, np.uint8)
    is_short = plane.dtype.itemsize <= 2 or plane.dtype == np.float32
    is_coarse = 1e-20 < half < 1e20 and half > 1e-3 * max(abs(low), abs(high))
    values: NDArray[Any] = plane.astype(
        np.float32 if is_short and is_coarse else np.float64
    )
    values = (np.clip(values, low, high) / 2 - low / 2) / half
    values *= 255
    grey: NDArray[np.uint8] = np.rint(np.nan_to_num(values)).astype(np.uint8)
    return grey


def channels_to_rgb(
    channels: Sequence[NDArray[Any]],
    contrast_limits: Sequence[Sequence[float] | None] | None = None,
) -> NDArray[np.uint8]:
    """Show one to three channels to SAM as red, green and blue.

    Parameters
    ----------
    channels : sequence of 1 to 3 ndarray of shape (H, W)
        One is shown grey, two red and green.
    contrast_limits : sequence of (low, high) or None, optional
        One for each channel, as in `to_uint8`.

    Returns
    -------
    ndarray of shape (H, W) for one channel, (H, W, 3) otherwise, uint8

    Raises
    ------
    ValueError
        If there are no or more channels, or their shapes or limits do not fit.
    """
    if not 1 <= len(channels) <= 3:
        raise ValueError(f"channels must be 1 to 3 planes, got {len(channels)}.")
    limits = [None] * len(channels) if contrast_limits is None else contrast_limits
    if len(limits) != len(channels):
        raise ValueError(
            f"contrast_limits must be one pair for each of the {len(channels)} "
            f"channels, got {len(limits)}."
        )
    planes = [to_uint8(c, pair) for c, pair in zip(channels, limits, strict=True)]
    if len({plane.shape for plane in planes}) != 1 or planes[0].ndim != 2:
        shapes = [plane.shape for plane in planes]
        raise ValueError(f"channels must have one shape (H, W), got {shapes}.")
    if len(planes) == 1:
        return planes[0]
    planes += [np.zeros_like(planes[0])] * (3 - len(planes))
    return np.stack(planes, axis=-1)


def model_size(plane_size: tuple[int, int]) -> tuple[int, int]:
    """Size (h, w) of a plane in the model frame: the longer side is 1024.

    Rounds half up, as ``segment_anything/utils/transforms.py`` does; a side is never
    less than one pixel.
    """
    scale = MODEL_SIZE / max(plane_size)
    h, w = (max(1, int(side * scale + 0.5)) for side in plane_size)
    return h, w


def resize_to_model(
    plane: NDArray[np.uint8], plane_size: tuple[int, int] | None = None
) -> Tensor:
    """Resize a plane to the model frame's scale, without padding.

    With Pillow's antialiased ``BILINEAR``, as the official code does: other libraries
    differ by a grey level, and some masks change with that.

    Parameters
    ----------
    plane : ndarray of shape (H, W) or (H, W, 3), uint8
    plane_size : (rows, columns), optional
        Of the plane that these are every n-th rows and columns of; (H, W) by default.

    Returns
    -------
    Tensor of shape (1 or 3, h, w), uint8
    """
    size = model_size(plane_size or (plane.shape[0], plane.shape[1]))
    if plane.shape[:2] != size:
        picture = Image.fromarray(np.ascontiguousarray(plane))
        plane = np.array(picture.resize(size[::-1], Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(np.ascontiguousarray(plane))
    return pixels[None] if plane.ndim == 2 else pixels.permute(2, 0, 1)


def normalize_and_pad(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Standardise resized pixels, then pad them with zeros to the square frame.

    Parameters
    ----------
    pixels : Tensor of shape (1 or 3, h, w), uint8
        One channel stands for three equal ones.
    mean, std : Tensor of shape (3,), float32

    Returns
    -------
    Tensor of shape (3, 1024, 1024), float32
    """
    normal = (pixels.to(mean.dtype) - mean[:, None, None]) / std[:, None, None]
    bottom, right = (MODEL_SIZE - side for side in pixels.shape[1:])
    return F.pad(normal, (0, right, 0, bottom))


def points_to_model(
    points: NDArray[np.float64], plane_size: tuple[int, int]
) -> NDArray[np.float64]:
    """(row, column) in plane pixels to (x, y) in the model frame.

    Each axis is scaled by its own rounded size, as the official ``apply_coords`` does.

    Parameters
    ----------
    points : ndarray of shape (N, 2)
    plane_size : (H, W)

    Returns
    -------
    ndarray of shape (N, 2)

    Examples
    --------
    >>> import numpy as np
    >>> points_to_model(np.array([[10.0, 20.0]]), (512, 256)).tolist()
    [[40.0, 20.0]]
    """
    scale = np.divide(model_size(plane_size), plane_size)
    return np.ascontiguousarray((points * scale)[:, ::-1])


def points_from_model(
    points: NDArray[np.float64], plane_size: tuple[int, int]
) -> NDArray[np.float64]:
    """(x, y) in the model frame to (row, column): the inverse of `points_to_model`."""
    scale = np.divide(model_size(plane_size), plane_size)
    return np.ascontiguousarray(points[:, ::-1] / scale)


def box_to_model(
    box: NDArray[np.float64], plane_size: tuple[int, int]
) -> NDArray[np.float64]:
    """Box of pixel edges (4,) to two corners (2, 2) as (x, y) in the model frame."""
    return points_to_model(box.reshape(2, 2), plane_size)


def valid_cells(plane_size: tuple[int, int]) -> NDArray[np.bool_]:
    """(256, 256) bool: cells of the answer frame that a plane covers."""
    ratio = MODEL_SIZE // LOGITS_SIZE
    rows, columns = (-(-length // ratio) for length in model_size(plane_size))
    valid = np.zeros((LOGITS_SIZE, LOGITS_SIZE), bool)
    valid[:rows, :columns] = True
    return valid


def pixels_per_cell(plane_size: tuple[int, int]) -> NDArray[np.float64]:
    """Rows and columns of a plane in one cell of the answer frame."""
    ratio = MODEL_SIZE // LOGITS_SIZE
    pixels: NDArray[np.float64] = np.divide(plane_size, model_size(plane_size)) * ratio
    return pixels


def logits_to_plane(logits: Tensor, plane_size: tuple[int, int]) -> Tensor:
    """Resize answers to the pixels of the plane, as the official code does.

    First to 1024 x 1024, cut to the part that is not padding, then to the plane:
    a direct resize is not identical. Only the part that is needed is enlarged.

    Parameters
    ----------
    logits : Tensor of shape (B, C, 256, 256)
    plane_size : (H, W)

    Returns
    -------
    Tensor of shape (B, C, H, W), float32
    """
    ratio = MODEL_SIZE // LOGITS_SIZE
    h, w = model_size(plane_size)
    # One more cell than is kept: the enlargement looks at the next one.
    rows = min(LOGITS_SIZE, -(-h // ratio) + 1)
    columns = min(LOGITS_SIZE, -(-w // ratio) + 1)
    part = logits[..., :rows, :columns].float()
    large = F.interpolate(
        part, scale_factor=ratio, mode="bilinear", align_corners=False
    )[..., :h, :w]
    if (h, w) == tuple(plane_size):
        return large
    return F.interpolate(large, size=plane_size, mode="bilinear", align_corners=False)


def mask_to_logits(mask: NDArray[Any]) -> NDArray[np.float32]:
    """Make a mask prompt of a binary mask.

    Parameters
    ----------
    mask : ndarray of shape (H, W), bool
        In the pixels of the plane.

    Returns
    -------
    ndarray of shape (256, 256), float32
        +10 where the answer frame's cell is inside, -10 outside and in the padding, in
        proportion on the border.

    Raises
    ------
    ValueError
        If the mask is not a plane of bool.
    """
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.ndim != 2 or mask.size == 0:
        raise ValueError(
            "mask must be a bool array of shape (H, W), "
            f"got dtype {mask.dtype} and shape {mask.shape}."
        )
    ratio = MODEL_SIZE // LOGITS_SIZE
    h, w = model_size((mask.shape[0], mask.shape[1]))
    inside = torch.from_numpy(mask.astype(np.float32))[None, None]
    inside = F.interpolate(
        inside, size=(h, w), mode="bilinear", antialias=True, align_corners=False
    )
    inside = F.pad(inside, (0, MODEL_SIZE - w, 0, MODEL_SIZE - h))
    cells = F.avg_pool2d(inside, ratio)[0, 0]
    return ((2 * cells - 1) * _MASK_LOGIT).numpy()
