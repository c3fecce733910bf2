"""New layers that lie on an image: for prompts, and for the labels they give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Labels, Points, Shapes

from napari_sam._layers_features import BACKGROUND, FOREGROUND, set_next_prompt
from napari_sam._layers_view import image_shape

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import DTypeLike

_COLOURS = {FOREGROUND: (0.0, 0.8, 0.2, 1.0), BACKGROUND: (0.9, 0.1, 0.1, 1.0)}
# Of the longest side of the image, which then fills the canvas.
_POINT_SIZE = 0.015
_EDGE_WIDTH = 0.004


@dataclass(frozen=True)
class SessionArguments:
    """What `Session` needs to know of an image layer.

    Parameters
    ----------
    image : array
        The layer's data as it is, lazy or not; of a pyramid the full resolution.
    rgb : bool
        Whether the last axis is colour.
    contrast_limits : (float, float), optional
        Values that SAM sees black and white; None where `Session` is to choose.
    """

    image: Any
    rgb: bool
    contrast_limits: tuple[float, float] | None


def session_arguments(
    image_layer: Image, contrast: Literal["layer", "percentiles"] = "layer"
) -> SessionArguments:
    """Read off an image layer what `Session` needs to know.

    Parameters
    ----------
    image_layer : napari.layers.Image
    contrast : {"layer", "percentiles"}
        Whether SAM sees the image as the layer's contrast limits show it, or from the
        0.5th to the 99.5th percentile. Colour images are always seen as they are.

    Returns
    -------
    SessionArguments

    Raises
    ------
    ValueError
        If `contrast` is not as above.
    """
    if contrast not in ("layer", "percentiles"):
        raise ValueError(
            f"contrast must be 'layer' or 'percentiles', got {contrast!r}."
        )
    data = image_layer.data[0] if image_layer.multiscale else image_layer.data
    low, high = (float(limit) for limit in image_layer.contrast_limits)
    # napari finds no limits in a first plane of NaN.
    is_known = np.isfinite([low, high]).all() and low < high
    is_used = contrast == "layer" and is_known and not image_layer.rgb
    return SessionArguments(
        data, bool(image_layer.rgb), (low, high) if is_used else None
    )


def placement(image_layer: Image | Labels) -> dict[str, Any]:
    """Keywords that put another layer where an image is: transforms, units, axes."""
    return {
        "scale": image_layer.scale,
        "translate": image_layer.translate,
        "rotate": image_layer.rotate,
        "shear": image_layer.shear,
        "affine": image_layer.affine.affine_matrix,
        "units": image_layer.units,
        "axis_labels": image_layer.axis_labels,
    }


def _features() -> dict[str, Any]:
    # The long word first: an empty column of strings would get no type of its own.
    return {"label": np.array([], dtype="<U10"), "object": np.array([], dtype=int)}


def _in_pixels(image_layer: Image, part: float, least: float) -> float:
    return max(least, part * max(image_shape(image_layer)[-2:]))


def make_points_layer(image_layer: Image, name: str) -> Points:
    """Make an empty layer for points on an image.

    Parameters
    ----------
    image_layer : napari.layers.Image
    name : str

    Returns
    -------
    napari.layers.Points
        With the image's transforms, units and axes and the features ``label`` and
        ``object``, green for foreground and red for background.
    """
    layer = Points(
        ndim=image_layer.ndim,
        features=_features(),
        feature_defaults={"label": FOREGROUND, "object": 1},
        face_color="label",
        face_color_cycle=_COLOURS,
        border_color="white",
        symbol="disc",
        size=_in_pixels(image_layer, _POINT_SIZE, 2),
        name=name,
        **placement(image_layer),
    )
    set_next_prompt(layer, 1)
    return layer


def make_shapes_layer(image_layer: Image, name: str) -> Shapes:
    """Make an empty layer for boxes, outlines and lines on an image.

    Parameters
    ----------
    image_layer : napari.layers.Image
    name : str

    Returns
    -------
    napari.layers.Shapes
        As the layer of `make_points_layer`; shapes are not filled.
    """
    layer = Shapes(
        ndim=image_layer.ndim,
        features=_features(),
        feature_defaults={"label": FOREGROUND, "object": 1},
        edge_color="label",
        edge_color_cycle=list(_COLOURS.values()),
        face_color="transparent",
        edge_width=_in_pixels(image_layer, _EDGE_WIDTH, 0.5),
        name=name,
        **placement(image_layer),
    )
    # The cycle alone would colour by the order in which labels come up.
    layer.edge_color_cycle_map = {k: np.array(v) for k, v in _COLOURS.items()}
    set_next_prompt(layer, 1)
    return layer


def make_labels_layer(
    image_layer: Image, name: str, dtype: DTypeLike = np.uint16
) -> Labels:
    """Make an empty layer for labels, with the voxels of an image.

    Parameters
    ----------
    image_layer : napari.layers.Image
    name : str
    dtype : dtype
        Integer type of the labels.

    Returns
    -------
    napari.layers.Labels
        Zeros, with the image's transforms, units and axes. Memory is taken where labels
        are written.
    """
    data = np.zeros(image_shape(image_layer), dtype=dtype)
    return Labels(data, name=name, **placement(image_layer))
