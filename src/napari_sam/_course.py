"""What an object's seeds tell about the way between and beyond them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_sam._appearance import FloatArray, Mask


def signed_distance(mask: Mask) -> FloatArray:
    """Distance to the border in cells, positive inside."""
    inside = ndimage.distance_transform_edt(mask)
    outside = ndimage.distance_transform_edt(~mask)
    distance: FloatArray = inside - outside
    return distance


class Shape:
    """The mask of a seed, and its signed distance, also where it is moved to.

    Parameters
    ----------
    mask : ndarray of shape (256, 256), bool
    """

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self.centre = np.array(ndimage.center_of_mass(mask))
        self.distance = signed_distance(mask)

    def moved(self, centre: FloatArray) -> FloatArray:
        """Signed distance (256, 256) of the mask, moved to another centre."""
        moved: FloatArray = ndimage.shift(
            self.distance, centre - self.centre, order=1, mode="nearest"
        )
        return moved


@dataclass(frozen=True, eq=False)
class Target:
    """The next seed in the direction a tracker runs in, and how many planes away."""

    shape: Shape
    planes: int


@dataclass(frozen=True, eq=False)
class Course:
    """What the seeds tell about the way ahead.

    Parameters
    ----------
    half_length : float
        Planes from the object's widest to its end, as far as can be guessed.
    offset : float
        Planes from its widest to the seed the tracker starts from.
    target : Target, optional
        The next seed in this direction.
    is_measured : bool
        Whether several seeds say so; otherwise a sphere is assumed.
    """

    half_length: float
    offset: float = 0.0
    target: Target | None = None
    is_measured: bool = False

    @classmethod
    def outwards(cls, shapes: Mapping[int, Shape], plane: int, radius: float) -> Course:
        """From the outermost seed: an ellipsoid through the seeds, else a sphere.

        Parameters
        ----------
        shapes : dict of plane to Shape
            All seeds of the object.
        plane : int
            The one to start from.
        radius : float
            Of the largest seed, in steps from plane to plane.
        """
        areas = {one: int(shape.mask.sum()) for one, shape in shapes.items()}
        widest = max(areas, key=areas.__getitem__)
        offset = abs(plane - widest)
        other = plane if offset else max(areas, key=lambda one: abs(one - widest))
        if other == widest:
            return cls(radius)
        # Area of an ellipsoid's section: 1 - (distance / half length) squared.
        narrowing = max(1 - areas[other] / areas[widest], 0.02)
        half_length = abs(other - widest) / np.sqrt(narrowing)
        return cls(half_length, offset, is_measured=True)
