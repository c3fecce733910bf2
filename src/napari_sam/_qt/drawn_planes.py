"""In which plane prompts were drawn whose layer has no axis to say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard
from weakref import WeakKeyDictionary

import numpy as np

from napari_sam._layers_history import prompts_in_image

if TYPE_CHECKING:
    from napari.layers import Image, Points, Shapes
    from numpy.typing import NDArray

    from napari_sam._history import DrawnPrompts
    from napari_sam._layers_view import ViewPlane

# A prompt has moved if it did by one of so many parts of a pixel.
_PARTS = 1000


class DrawnPlanes:
    """Places prompts in an image: those of a 2D layer on a stack where they were drawn.

    While such a layer is there, napari shows it in every plane, and so its prompts
    count in every plane. Of what is written down, each must lie somewhere.
    """

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, dict[Any, NDArray[np.float64]]] = (
            WeakKeyDictionary()
        )

    def placed(
        self,
        layer: Points | Shapes | None,
        drawn: DrawnPrompts,
        image: Image,
        view: ViewPlane | None,
    ) -> DrawnPrompts:
        """Give prompts the data coordinates of an image; to be called as they change.

        Parameters
        ----------
        layer : Points or Shapes layer, optional
        drawn : DrawnPrompts
            What it holds.
        image : Image layer
        view : ViewPlane, optional
            Where prompts lie that are new.

        Returns
        -------
        DrawnPrompts
            As of `prompts_in_image`.
        """
        found = prompts_in_image(layer, drawn, image, view)
        if not lacks_axes(layer, image) or view is None or not found.data:
            return found
        missing = image.ndim - layer.ndim
        here = np.zeros(image.ndim)
        here[list(view.sliced_axes)] = view.index
        known, now = self._known.get(layer, {}), {}
        places = [
            np.rint(_PARTS * rows[:, missing:]).astype(np.int64) for rows in found.data
        ]
        pairs = zip(found.data, places, strict=True)
        if not found.kinds:  # one array of all points
            pairs = zip(found.data[0], places[0], strict=True)
        numbers = found.features.get("object", (None,) * len(found))
        for number, (prompt, place) in zip(numbers, pairs, strict=True):
            key = number, place.tobytes()
            now[key] = known.get(key, here[:missing])
            prompt[..., :missing] = now[key]
        self._known[layer] = now
        return found


def lacks_axes(
    layer: Points | Shapes | None, image: Image
) -> TypeGuard[Points | Shapes]:
    """Whether a layer does not say where along all axes of an image its prompts lie."""
    return layer is not None and layer.ndim < image.ndim
