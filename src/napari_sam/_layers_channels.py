"""Which channels of an image SAM sees: all, one colour, or another image's with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._layers_view import is_same_grid

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_sam._layers_view import ViewPlane

ALL = ""
COLOURS = ("red", "green", "blue")


@dataclass(frozen=True, eq=False)
class OneColour:
    """One colour of an array with a last axis of colour, read where it is asked for.

    Parameters
    ----------
    data : array of shape (..., 3) or (..., 4)
    index : int
        Which colour.
    """

    data: Any
    index: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Without colour."""
        return tuple(self.data.shape[:-1])

    @property
    def ndim(self) -> int:
        """Number of axes, without colour."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the array."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    def __getitem__(self, where: Any) -> NDArray[Any]:
        where = where if isinstance(where, tuple) else (where,)
        rest = (slice(None),) * (self.ndim - len(where))
        return np.asarray(self.data[(*where, *rest, self.index)])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OneColour):
            return NotImplemented
        return self.data is other.data and self.index == other.index

    def __hash__(self) -> int:
        return hash((id(self.data), self.index))


@dataclass(frozen=True, eq=False)
class TogetherAsColour:
    """Two or three grey arrays of one shape as red, green and blue, 8 bit.

    Parameters
    ----------
    parts : sequence of array
    limits : sequence of (float, float)
        Values shown black and bright, of each.
    """

    parts: Sequence[Any]
    limits: Sequence[tuple[float, float]]

    @property
    def shape(self) -> tuple[int, ...]:
        """With a last axis of colour."""
        return (*self.parts[0].shape, 3)

    @property
    def ndim(self) -> int:
        """Number of axes, with colour."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """8 bit, whatever the parts have."""
        return np.dtype(np.uint8)

    def __getitem__(self, where: Any) -> NDArray[np.uint8]:
        from napari_sam.transforms import stretch  # with torch: only when it is read

        where = where if isinstance(where, tuple) else (where,)
        inner, colour = where[: self.ndim - 1], where[self.ndim - 1 :]
        seen = [
            stretch(np.asarray(part[inner]), limits)
            for part, limits in zip(self.parts, self.limits, strict=True)
        ]
        seen += [np.zeros_like(seen[0])] * (3 - len(seen))
        return np.stack(seen, axis=-1)[(..., *colour)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TogetherAsColour):
            return NotImplemented
        same = len(self.parts) == len(other.parts) and all(
            a is b for a, b in zip(self.parts, other.parts, strict=True)
        )
        return same and tuple(self.limits) == tuple(other.limits)

    def __hash__(self) -> int:
        return hash((tuple(map(id, self.parts)), tuple(self.limits)))


def channel_choices(
    image_layer: Image, others: Sequence[Image], view: ViewPlane | None
) -> list[tuple[str, str]]:
    """List what can be chosen as channels of an image, as (text, value).

    Parameters
    ----------
    image_layer : napari.layers.Image
    others : sequence of Image layer
        Those in the viewer; grey ones with the same voxels can be seen with it.
    view : ViewPlane, optional
        Without one, no other image is on offer.

    Returns
    -------
    list of (str, str)
        The first is the image as it is.
    """
    if image_layer.rgb:
        return [("colour", ALL), *((f"{name} only", name) for name in COLOURS)]
    found = [("this image", ALL)]
    for other in others:
        if view is not None and _fits(other, image_layer, view):
            found.append((f"with {other.name}", str(other.unique_id)))
    return found


def _fits(other: Image, image_layer: Image, view: ViewPlane) -> bool:
    is_another = other is not image_layer and not other.rgb
    return is_another and is_same_grid(other, image_layer, view)


def with_channels(
    image_layer: Image, others: Sequence[Image], view: ViewPlane, chosen: str
) -> Any:
    """Return what SAM sees of an image, as an array that is read plane by plane.

    Parameters
    ----------
    image_layer : napari.layers.Image
    others : sequence of Image layer
    view : ViewPlane
    chosen : str
        A value of `channel_choices`; one that is not there any more is the image as it
        is.

    Returns
    -------
    array
        The layer's own data, or a view of equal value each time.
    """
    data = _full(image_layer)
    if image_layer.rgb and chosen in COLOURS:
        return OneColour(data, COLOURS.index(chosen))
    for other in others:
        if str(other.unique_id) == chosen and _fits(other, image_layer, view):
            both = (image_layer, other)
            limits = [one.contrast_limits for one in both]
            return TogetherAsColour(
                [_full(one) for one in both],
                [(float(low), float(high)) for low, high in limits],
            )
    return data


def _full(layer: Image) -> Any:
    return layer.data[0] if layer.multiscale else layer.data
