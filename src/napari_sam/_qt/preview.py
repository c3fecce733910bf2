"""The mask of now, in a layer of its own, before it is accepted."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from napari_sam._layers import ViewPlane
from napari_sam._layers_make import placement
from napari_sam._layers_view import image_shape
from napari_sam._qt.outline import WindowOutline
from napari_sam._qt.own_layer import OwnLayer
from napari_sam._qt.workspace import (
    PREVIEW,
    ROLE,
    add_keeping_selection,
    find_prompts,
    place_at,
)
from napari_sam.types import Prediction


class Preview(OwnLayer[Labels]):
    """A Labels layer of one plane that shows a mask before it is accepted.

    With an outline of the window that was looked at, where there was one.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self.outline = WindowOutline(viewer)
        self._drawn: tuple[Prediction, int, int] | None = None

    def show(
        self,
        prediction: Prediction,
        mask_index: int,
        object_id: int,
        image: Image,
        view: ViewPlane,
    ) -> None:
        """Show one mask of a prediction where it is.

        Parameters
        ----------
        prediction : Prediction
        mask_index : int
        object_id : int
            Gives the colour, that of the label to be.
        image : Image layer
        view : ViewPlane
            The plane of the prediction.
        """
        self.prepare(image, view)
        layer = self.layer
        if layer is None:
            return
        drawn = (prediction, mask_index, object_id)
        if drawn != self._drawn:
            mask = prediction.masks[mask_index]
            draw(layer, plane_data(mask, object_id, view))
            self._drawn = drawn
        place_at(layer, plane_placement(image, view))
        self._set_visible(True)
        self.outline.show(prediction.window, image, view)

    def prepare(self, image: Image, view: ViewPlane) -> None:
        """Make the layer, still empty and hidden, if it is not there.

        Parameters
        ----------
        image : Image layer
        view : ViewPlane

        Notes
        -----
        napari takes its time to add a layer; it is not to be taken from the first
        click.
        """
        if self.is_there:
            return
        shape = image_shape(image)
        rows, columns = view.plane_axes
        empty = np.zeros((shape[rows], shape[columns]), dtype=bool)
        self.layer = Labels(
            plane_data(empty, 0, view),
            name="preview",
            opacity=0.6,
            visible=False,
            **plane_placement(image, view),
        )
        self.layer.metadata[ROLE] = (PREVIEW, str(image.unique_id))
        self._drawn = None
        points, shapes = find_prompts(self.viewer, image)
        add_keeping_selection(self.viewer, self.layer, shapes or points)

    def hide(self) -> None:
        """Hide the mask, and the outline."""
        self.outline.hide()
        super().hide()

    def remove(self) -> None:
        """Take the layers out of the viewer."""
        self.outline.remove()
        super().remove()


def plane_data(
    mask: NDArray[np.bool_], object_id: int, view: ViewPlane
) -> NDArray[Any]:
    """Labels with the axes of the image, one voxel thick along those not shown.

    Parameters
    ----------
    mask : ndarray of shape (H, W), bool
    object_id : int
    view : ViewPlane

    Returns
    -------
    ndarray
        Of the smallest integers that hold the number: napari draws 8 and 16 bits as
        they are, and reckons with others for each pixel.
    """
    dtype = np.min_scalar_type(object_id)
    return plane_labels(np.where(mask, dtype.type(object_id), dtype.type(0)), view)


def plane_labels(labels: NDArray[Any], view: ViewPlane) -> NDArray[Any]:
    """Do as `plane_data` with a label image (H, W)."""
    rows, columns = view.plane_axes
    pixels = labels.T if rows > columns else labels
    return np.expand_dims(pixels, view.sliced_axes)


def plane_placement(image: Image | Labels, view: ViewPlane) -> dict[str, Any]:
    """Keywords that put a layer of one plane where that plane is in an image.

    Parameters
    ----------
    image : Image layer
    view : ViewPlane

    Returns
    -------
    dict
    """
    place = placement(image)
    own = Affine(
        **{name: place[name] for name in ("scale", "translate", "rotate", "shear")}
    )
    first = np.zeros(image.ndim)
    first[list(view.sliced_axes)] = view.index
    return {**place, "translate": own(first)}


def draw(layer: Labels, data: NDArray[Any]) -> None:
    """Show other labels; of the same shape and type, they go into the array."""
    if (layer.data.shape, layer.data.dtype) != (data.shape, data.dtype):
        layer.data = data
        return
    np.copyto(layer.data, data)
    # Assigning would have napari look at the extent of every layer in the viewer again,
    # and a thumbnail of a preview is of no use: that is half of the time it takes.
    layer.refresh(thumbnail=False, highlight=False, extent=False)
