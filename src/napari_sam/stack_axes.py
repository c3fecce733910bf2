"""Which axes of an array make a plane, and which are sliced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class ArrayLike(Protocol):
    """An array that may be lazy: numpy, dask, zarr and their like."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> Any:
        """Data type of the values."""

    def __getitem__(self, index: Any, /) -> Any:
        """Part of the array."""


@dataclass(frozen=True)
class StackAxes:
    """Which axes of an image make a plane, and which are sliced.

    Parameters
    ----------
    plane : tuple of int
        Axis of the rows and axis of the columns.
    sliced : tuple of int
        The other axes, in order, without colour.
    is_rgb : bool
        Whether the last axis is colour.
    """

    plane: tuple[int, int]
    sliced: tuple[int, ...]
    is_rgb: bool

    @classmethod
    def of(
        cls, shape: Sequence[int], plane_axes: Sequence[int], rgb: bool | None
    ) -> StackAxes:
        """Resolve the axes of an image.

        Parameters
        ----------
        shape : sequence of int
        plane_axes : (rows, columns)
            May be negative; they count without the colour axis.
        rgb : bool, optional
            By default a last axis of 3 or 4 is colour, if there are two more.

        Raises
        ------
        ValueError
            If the image has too few axes, or the plane axes are not two of them.
        """
        can_be_rgb = len(shape) >= 3 and shape[-1] in (3, 4)
        if rgb and not can_be_rgb:
            raise ValueError(
                "image must end in an axis of 3 or 4 colours if rgb is True, "
                f"got shape {tuple(shape)}."
            )
        is_rgb = can_be_rgb if rgb is None else bool(rgb)
        ndim = len(shape) - is_rgb
        if ndim < 2:
            raise ValueError(
                f"image must have at least 2 axes, got shape {tuple(shape)}."
            )
        axes = whole_numbers(plane_axes)
        if axes is None or len(axes) != 2 or any(not -ndim <= a < ndim for a in axes):
            raise ValueError(
                f"plane_axes must be two of the image's {ndim} axes, "
                f"got {plane_axes!r}."
            )
        rows, columns = (a % ndim for a in axes)
        if rows == columns:
            raise ValueError(f"plane_axes must be different axes, got {plane_axes!r}.")
        sliced = tuple(a for a in range(ndim) if a not in (rows, columns))
        return cls((rows, columns), sliced, is_rgb)


def check_image(image: Any) -> ArrayLike:
    """Return an array of numbers with pixels, or raise ValueError."""
    try:
        if not hasattr(image, "shape") or not hasattr(image, "dtype"):
            image = np.asarray(image)
        kind = np.dtype(image.dtype).kind
    except (TypeError, ValueError):
        raise ValueError(
            "image must be an array (numpy, dask, zarr or alike), "
            f"got {type(image).__name__}."
        ) from None
    if kind not in "buif":
        raise ValueError(
            f"image must be bool, integer or real numbers, got dtype {image.dtype}."
        )
    if 0 in image.shape:
        raise ValueError(f"image must have pixels, got shape {tuple(image.shape)}.")
    checked: ArrayLike = image
    return checked


def whole_numbers(values: Any) -> tuple[int, ...] | None:
    """As a tuple of int if that is what they are; a single number counts as one."""
    many = values if isinstance(values, (tuple, list, np.ndarray)) else (values,)
    if any(isinstance(v, bool) or not isinstance(v, (int, np.integer)) for v in many):
        return None
    return tuple(int(v) for v in many)
