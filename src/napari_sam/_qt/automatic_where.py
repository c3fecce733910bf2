"""Where objects are looked for: inside of shapes, and like a selected label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._layers_shapes import fill, outline
from napari_sam._layers_view import convert, image_shape

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Shapes
    from numpy.typing import NDArray

    from napari_sam._layers import ViewPlane

# Lines have no inside.
_WITH_INSIDE = ("rectangle", "polygon", "ellipse")


def region_in(
    shapes: Shapes | None, image: Image, view: ViewPlane
) -> NDArray[np.bool_]:
    """Pixels inside of the shapes of a layer in the displayed plane.

    Parameters
    ----------
    shapes : Shapes layer, optional
    image : Image layer
    view : ViewPlane

    Returns
    -------
    ndarray of shape (H, W), bool

    Raises
    ------
    ValueError
        If there are none.
    """
    shape = image_shape(image)
    size = shape[view.plane_axes[0]], shape[view.plane_axes[1]]
    region = np.zeros(size, bool)
    pairs = () if shapes is None else zip(shapes.data, shapes.shape_type, strict=True)
    for corners, kind in pairs:
        if kind not in _WITH_INSIDE:
            continue
        placed = convert(
            outline(np.asarray(corners, np.float64), kind), shapes, image, view
        )
        there = placed[:, list(view.sliced_axes)]
        if np.isfinite(placed).all() and (np.rint(there) == view.index).all():
            region |= fill(placed[:, list(view.plane_axes)], size)
    if not region.any():
        raise ValueError(
            "there is no shape in this plane: draw a polygon or rectangle into a "
            "Shapes layer, and choose that layer as the region."
        )
    return region


def examples_in(target: Labels, plane: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels of the selected label in the displayed plane.

    Parameters
    ----------
    target : Labels layer
    plane : ndarray of shape (H, W), int
        Its labels there.

    Returns
    -------
    ndarray of shape (H, W), bool

    Raises
    ------
    ValueError
        If there are none.
    """
    number = int(target.selected_label)
    found: NDArray[np.bool_] = plane == number
    if number == 0 or not found.any():
        raise ValueError(
            f"{target.name} has no label {number} in this plane: select the label of "
            "an object to look for others like it."
        )
    return found
