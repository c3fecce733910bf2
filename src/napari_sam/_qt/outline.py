"""Rectangles of a plane in the viewer, and that of a closer look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Shapes

from napari_sam._layers_make import placement
from napari_sam._layers_view import image_shape
from napari_sam._qt.own_layer import OwnLayer
from napari_sam._qt.workspace import (
    PREVIEW,
    ROLE,
    add_keeping_selection,
    find_prompts,
    place_at,
)

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import ArrayLike, NDArray

    from napari_sam._layers import ViewPlane
    from napari_sam.types import Window

COLOUR = "#2fc6f5"
# Of the longest side of the image.
_EDGE_WIDTH = 0.002


class WindowOutline(OwnLayer[Shapes]):
    """Shows which part of the plane was looked at, in a layer of its own.

    Parameters
    ----------
    viewer : napari.Viewer

    Notes
    -----
    The layer is made when there is first something to show: napari takes its time to
    add one, and most masks have no window. It is none for prompts.
    """

    def show(self, window: Window | None, image: Image, view: ViewPlane) -> None:
        """Show a window of a plane of an image; None hides the last one.

        Parameters
        ----------
        window : Window, optional
        image : Image layer
        view : ViewPlane
            The plane that the window lies in.
        """
        if window is None:
            self.hide()
            return
        layer = self._layer_on(image)
        edges = (window.row_min, window.column_min, window.row_max, window.column_max)
        corners = box_corners(edges, view)
        if len(layer.data) != 1 or not np.array_equal(layer.data[0], corners):
            layer.data = [corners]
        place_at(layer, placement(image))
        self._set_visible(True)

    def _layer_on(self, image: Image) -> Shapes:
        """Return the layer; a new one if it is gone or was of another image."""
        own = (PREVIEW, str(image.unique_id))
        layer = self.layer
        if layer is None or layer.metadata[ROLE] != own or not self.is_there:
            self.remove()
            layer = self.layer = Shapes(
                ndim=image.ndim,
                name="closer look",
                face_color="transparent",
                edge_color=COLOUR,
                edge_width=max(0.5, _EDGE_WIDTH * max(image_shape(image)[-2:])),
                **placement(image),
            )
            layer.metadata[ROLE] = own
            layer.editable = False  # nothing is to be drawn into it
            points, shapes = find_prompts(self.viewer, image)
            add_keeping_selection(self.viewer, layer, shapes or points)
        return layer


def box_corners(edges: ArrayLike, view: ViewPlane) -> NDArray[np.float64]:
    """Corners of a box in the coordinates of the image, where pixel centres are whole.

    Parameters
    ----------
    edges : array_like of shape (4,)
        (row_min, column_min, row_max, column_max), pixel edges, half-open.
    view : ViewPlane
        The plane that it lies in.

    Returns
    -------
    ndarray of shape (4, D)
    """
    top, left, bottom, right = np.asarray(edges, np.float64) - 0.5
    found = np.empty((4, len(view.index) + 2))
    found[:, list(view.sliced_axes)] = view.index
    found[:, view.plane_axes[0]] = top, top, bottom, bottom
    found[:, view.plane_axes[1]] = left, right, right, left
    return found
