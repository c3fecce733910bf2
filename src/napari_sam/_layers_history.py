"""Prompts of Points and Shapes layers, read as values and put back."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._history import DrawnPrompts
from napari_sam._layers_view import ViewPlane, convert

if TYPE_CHECKING:
    from napari.layers import Image, Points, Shapes


def drawn_prompts(layer: Points | Shapes | None) -> DrawnPrompts:
    """Read what a layer holds.

    Parameters
    ----------
    layer : Points or Shapes layer, optional

    Returns
    -------
    DrawnPrompts
        Copies; empty if there is no layer.

    Examples
    --------
    >>> from napari.layers import Points
    >>> drawn = drawn_prompts(Points([[1, 2]], features={"object": [3]}))
    >>> drawn.data, drawn.features
    ((array([[1., 2.]]),), {'object': (3,)})
    """
    if layer is None or len(layer.data) == 0:
        return DrawnPrompts()
    table = layer.features
    features = {str(name): _values(table[name]) for name in table}
    if hasattr(layer, "shape_type"):
        data = tuple(np.array(corners, dtype=np.float64) for corners in layer.data)
        return DrawnPrompts(data, features, tuple(map(str, layer.shape_type)))
    data = (np.array(layer.data, dtype=np.float64),)
    return DrawnPrompts(data, features, shown=tuple(layer.shown.tolist()))


def prompts_in_image(
    layer: Points | Shapes | None,
    drawn: DrawnPrompts,
    image: Image,
    view: ViewPlane | None,
) -> DrawnPrompts:
    """Give prompts of a layer the data coordinates of an image.

    Parameters
    ----------
    layer : Points or Shapes layer, optional
    drawn : DrawnPrompts
        What it holds.
    image : Image layer
    view : ViewPlane, optional
        Where the viewer is, for axes that the layer lacks.

    Returns
    -------
    DrawnPrompts
        What has no place in the image is left out.
    """
    if layer is None or view is None or not drawn.data:
        return drawn
    placed = convert(np.concatenate(drawn.data), layer, image, view)
    good = np.asarray(np.isfinite(placed).all(axis=1))
    if not drawn.kinds:
        kept = [bool(one) for one in good]
        data: tuple[Any, ...] = (placed[good],)
    else:
        ends = np.cumsum([len(rows) for rows in drawn.data])[:-1]
        kept = [bool(one.all()) for one in np.split(good, ends)]
        data = tuple(compress(np.split(placed, ends), kept))
    features = {n: tuple(compress(v, kept)) for n, v in drawn.features.items()}
    kinds = tuple(compress(drawn.kinds, kept))
    return DrawnPrompts(data, features, kinds, tuple(compress(drawn.shown, kept)))


def put_prompts(layer: Points | Shapes, drawn: DrawnPrompts) -> None:
    """Make a layer hold these prompts, and no others.

    Parameters
    ----------
    layer : Points or Shapes layer
        How it looks, its mode and what is drawn next stay as they are.
    drawn : DrawnPrompts
    """
    if drawn_prompts(layer) == drawn:
        return
    mode, defaults = layer.mode, layer.feature_defaults.copy()
    layer.mode = "pan_zoom"  # which ends what is being drawn
    layer.selected_data = set()
    if hasattr(layer, "shape_type"):
        _put_shapes(layer, drawn)
    else:
        _put_points(layer, drawn)
    layer.feature_defaults = defaults
    layer.mode = mode
    # Colours follow features only when told.
    layer.refresh_colors()


def _put_points(layer: Any, drawn: DrawnPrompts) -> None:
    layer.data = drawn.data[0] if drawn.data else np.empty((0, layer.ndim))
    if drawn.data:
        layer.features = _table(layer, drawn)
        layer.shown = np.array(drawn.shown, dtype=bool)


def _put_shapes(layer: Any, drawn: DrawnPrompts) -> None:
    same = min(len(layer.data), len(drawn))
    kept = list(layer.edge_width[:same])
    layer.selected_data = set(range(len(layer.data)))
    layer.remove_selected()
    if not drawn.data:
        return
    width = kept + [layer.current_edge_width] * (len(drawn) - same)
    layer.add(list(drawn.data), shape_type=list(drawn.kinds), edge_width=width)
    layer.features = _table(layer, drawn)


def _table(layer: Any, drawn: DrawnPrompts) -> Any:
    """Features as a table with the types of the layer's own columns."""
    types = layer.features.dtypes
    table = type(layer.features)(dict(drawn.features))
    return table.astype({name: types[name] for name in table if name in types})


def _values(column: Any) -> tuple[Any, ...]:
    # NaN, what napari fills gaps with, would make no two states equal.
    missing = column.isna().tolist()
    pairs = zip(column.tolist(), missing, strict=True)
    return tuple(None if is_missing else value for value, is_missing in pairs)
