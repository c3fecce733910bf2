"""Contrast for a stack, from a look at a few of its planes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sam import transforms, windows
from napari_sam.types import Plane, Window

# Planes looked at to choose the contrast of a stack.
PLANES = 5
# Of a plane that is never read as a whole: parts along each axis, and their side.
PARTS, SIDE = 4, 256


class _Image(Protocol):
    """An image whose planes are read by themselves."""

    @property
    def planes(self) -> list[Plane]: ...
    @property
    def plane_size(self) -> tuple[int, int]: ...
    @property
    def is_large(self) -> bool: ...
    def read_plane(self, plane: Plane, window: Window | None) -> NDArray[Any]: ...


def contrast_of_planes(image: _Image) -> transforms.ContrastLimits | None:
    """Choose (low, high) that SAM sees black and white; None if none are needed.

    From planes spread evenly; from more if all of these are one value.
    """
    planes = image.planes
    last, count = len(planes) - 1, min(PLANES, len(planes))
    some = [planes[i] for i in np.linspace(0, last, count).round().astype(int)]
    limits = _limits_of(image, some)
    # All the same so far: look on until there is something to see.
    others = iter(planes if count < len(planes) else ())
    while limits is not None and limits[0] == limits[1]:
        plane = next(others, None)
        if plane is None:
            break
        limits = _limits_of(image, [some[0], plane])
    return limits


def _limits_of(
    image: _Image, planes: Sequence[Plane]
) -> transforms.ContrastLimits | None:
    parts: Sequence[Window | None] = [None]
    if image.is_large:  # a few parts of it, spread evenly
        parts = windows.sample(image.plane_size, PARTS, SIDE)
    seen = [
        transforms.check_plane(image.read_plane(plane, part))
        for plane in planes
        for part in parts
    ]
    return transforms.default_contrast_limits(*seen)
