"""A Labels layer of one plane that shows what may become of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_sam._layers_view import world_matrix
from napari_sam._qt.own_layer import OwnLayer
from napari_sam._qt.preview import draw, plane_labels, plane_placement
from napari_sam._qt.volume_units import is_length_unit, micrometres
from napari_sam._qt.workspace import (
    PREVIEW,
    ROLE,
    add_keeping_selection,
    place_at,
)

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_sam._layers import ViewPlane


class PlaneLayer(OwnLayer[Labels]):
    """Shows label images of planes on top of a layer, in a layer of their own.

    Parameters
    ----------
    viewer : napari.Viewer
    name : str
    colormap : colormap of labels, optional
    opacity : float
    """

    def __init__(
        self, viewer: Any, name: str, colormap: Any = None, opacity: float = 0.6
    ) -> None:
        super().__init__(viewer)
        self._name, self._colormap, self._opacity = name, colormap, opacity

    def show(
        self, labels: NDArray[Any], like: Image | Labels, view: ViewPlane
    ) -> Labels:
        """Show a label image.

        Parameters
        ----------
        labels : ndarray of shape (H, W), int
        like : Image or Labels layer
            Where the plane is.
        view : ViewPlane

        Returns
        -------
        Labels layer
        """
        data = plane_labels(labels.astype(np.int32), view)
        place = plane_placement(like, view)
        layer = self.layer
        if layer is not None and (layer.ndim != data.ndim or not self.is_there):
            self.remove()
            layer = None
        if layer is None:
            layer = Labels(
                data,
                name=self._name,
                opacity=self._opacity,
                colormap=self._colormap,
                **place,
            )
            layer.metadata[ROLE] = (PREVIEW, str(like.unique_id))
            self.layer = layer
            add_keeping_selection(self.viewer, layer, None)
            return layer
        draw(layer, data)
        place_at(layer, place)
        self._set_visible(True)
        return layer


def lengths(layer: Image | Labels, view: ViewPlane) -> tuple[tuple[float, ...], str]:
    """Read off a layer how far its voxels are apart along each axis, and the unit.

    Parameters
    ----------
    layer : Image or Labels layer
    view : ViewPlane
        Of it the units and the axes of rows and columns count.

    Returns
    -------
    tuple of (tuple of float, str)
        In "µm", if rows and columns have units of length; else in pixels of the layer's
        scale, "px".
    """
    units = (view.units or layer.units)[-layer.ndim :]
    matrix = world_matrix(layer, view.units)[:-1, :-1]
    matrix = matrix * [[micrometres(unit)] for unit in units]
    steps = tuple(np.linalg.norm(matrix, axis=0).tolist())
    is_known = all(is_length_unit(units[axis]) for axis in view.plane_axes)
    return steps, "µm" if is_known else "px"
