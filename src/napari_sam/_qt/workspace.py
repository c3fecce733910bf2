"""The layers of the widget: those it makes, finds again, shows masks in."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Points, Shapes
from numpy.typing import NDArray

from napari_sam._layers import (
    PromptLayers,
    ViewPlane,
    check_target,
    make_labels_layer,
    make_points_layer,
    make_shapes_layer,
    set_next_prompt,
)
from napari_sam._layers_features import add_prompt_features, object_features
from napari_sam._layers_view import convert

ROLE = "napari-sam"
"""Key in ``layer.metadata`` that says what a layer is for."""
POINTS, SHAPES, PREVIEW = "points", "shapes", "preview"
NEW_LABELS = "new layer"
"""What choosers of labels call a layer that is made when it is needed."""
LABELS_OF = "napari-sam labels of"
"""Key in ``layer.metadata`` of labels that were made for an image, and of its id."""


def layers_of(viewer: Any) -> list[Layer]:
    """Layers of a viewer, themselves: not the proxies that a plugin is handed."""
    return list(iter(viewer.layers))


def is_in(viewer: Any, layer: Layer | None) -> bool:
    """Whether a layer is in a viewer."""
    return any(layer is other for other in layers_of(viewer))


def images_of(viewer: Any) -> list[Image]:
    """Images of a viewer, the topmost first."""
    return [
        layer
        for layer in reversed(layers_of(viewer))
        if isinstance(layer, Image) and not isinstance(layer, Labels)
    ]


def targets_of(
    viewer: Any, image: Image | None, view: ViewPlane | None
) -> list[Labels]:
    """Labels layers that masks of an image can be written into.

    Parameters
    ----------
    viewer : napari.Viewer
    image : Image layer, optional
    view : ViewPlane, optional

    Returns
    -------
    list of Labels layer
        The topmost first.
    """
    if image is None or view is None:
        return []
    return [
        layer
        for layer in reversed(layers_of(viewer))
        if isinstance(layer, Labels)
        and ROLE not in layer.metadata
        and _fits(layer, image, view)
    ]


def _fits(layer: Labels, image: Image, view: ViewPlane) -> bool:
    try:
        check_target(layer, image, view)
    except ValueError:
        return False
    return True


def labels_of(viewer: Any, image: Image | None) -> Labels | None:
    """Find the labels that were made for an image, such as those of a series.

    Parameters
    ----------
    viewer : napari.Viewer
    image : Image layer, optional

    Returns
    -------
    Labels layer or None
    """
    if image is None:
        return None
    for layer in layers_of(viewer):
        own = layer.metadata.get(LABELS_OF)
        if isinstance(layer, Labels) and own == str(image.unique_id):
            return layer
    return None


def made_for(viewer: Any, image: Image) -> list[Layer]:
    """Find the layers that the widget made for an image: prompts and preview.

    Parameters
    ----------
    viewer : napari.Viewer
    image : Image layer

    Returns
    -------
    list of Layer
    """
    roles = [(layer, layer.metadata.get(ROLE)) for layer in layers_of(viewer)]
    own = str(image.unique_id)
    return [layer for layer, role in roles if isinstance(role, tuple) and own in role]


def find_prompts(
    viewer: Any, image: Image | None
) -> tuple[Points | None, Shapes | None]:
    """Find the prompt layers that were made for an image.

    Parameters
    ----------
    viewer : napari.Viewer
    image : Image layer, optional

    Returns
    -------
    tuple of Points and Shapes layer, or None
    """
    if image is None:
        return None, None
    found: dict[str, Any] = {}
    for layer in layers_of(viewer):
        role = layer.metadata.get(ROLE)
        if isinstance(role, tuple) and role[1] == str(image.unique_id):
            found[role[0]] = layer
    return found.get(POINTS), found.get(SHAPES)


def make_prompts(viewer: Any, image: Image) -> tuple[Points, Shapes]:
    """Find or make the prompt layers of an image; points are active, ready for a click.

    Parameters
    ----------
    viewer : napari.Viewer
    image : Image layer

    Returns
    -------
    tuple of Points and Shapes layer
    """
    points, shapes = find_prompts(viewer, image)
    if shapes is None:
        shapes = make_shapes_layer(image, f"boxes: {image.name}")
        shapes.metadata[ROLE] = (SHAPES, str(image.unique_id))
        viewer.add_layer(shapes)
    if points is None:
        points = make_points_layer(image, f"points: {image.name}")
        points.metadata[ROLE] = (POINTS, str(image.unique_id))
        viewer.add_layer(points)
    viewer.layers.selection.active = points
    points.mode = "add"
    return points, shapes


def adopt_prompts(
    viewer: Any, image: Image, layer: Points | Shapes, object_id: int, label: str
) -> None:
    """Make a layer of the user's a prompt layer of an image, unless that has one.

    Nothing that can be seen of the layer changes. Its features get the columns that
    say which object a prompt is for, if it has none.

    Parameters
    ----------
    viewer : napari.Viewer
    image : Image layer
    layer : Points or Shapes layer
    object_id : int
    label : {"foreground", "background"}
        With the number, what is said of the points or shapes that are there.
    """
    points, shapes = find_prompts(viewer, image)
    role, present = (POINTS, points) if isinstance(layer, Points) else (SHAPES, shapes)
    if present is not None:
        return
    add_prompt_features(layer, object_id, label)
    layer.metadata[ROLE] = (role, str(image.unique_id))


def release_prompts(viewer: Any, image: Image) -> bool:
    """Give back layers of the user's that lack the axes of an image, or have others.

    Parameters
    ----------
    viewer : napari.Viewer
    image : Image layer

    Returns
    -------
    bool
        Whether there were any.
    """
    found = [
        layer
        for layer in find_prompts(viewer, image)
        if layer is not None and layer.ndim != image.ndim
    ]
    for layer in found:
        del layer.metadata[ROLE]
    return bool(found)


def say_next(layer: Points | Shapes, object_id: int, label: str) -> None:
    """Keep what is drawn next for the chosen object; selecting would change it.

    Parameters
    ----------
    layer : Points or Shapes layer
    object_id : int
    label : {"foreground", "background"}
    """
    defaults = layer.feature_defaults
    if any(
        name not in defaults or defaults[name][0] != value
        for name, value in (("object", object_id), ("label", label))
    ):
        set_next_prompt(layer, object_id, label)


def make_target(image: Image, object_id: int) -> Labels:
    """Make an empty layer for labels that holds a number.

    Parameters
    ----------
    image : Image layer
    object_id : int

    Returns
    -------
    Labels layer
    """
    dtype = np.promote_types(np.uint16, np.min_scalar_type(object_id))
    return make_labels_layer(image, "segmentation", dtype)


def add_keeping_selection(viewer: Any, layer: Layer, below: Layer | None) -> None:
    """Add a layer under another; what is active stays active.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : Layer
    below : Layer, optional
        On top of all others if omitted or not in the viewer.
    """
    active = viewer.layers.selection.active
    every = layers_of(viewer)
    index = next((i for i, other in enumerate(every) if other is below), len(every))
    viewer.layers.insert(index, layer)
    if active is not None:
        viewer.layers.selection.active = active


def place_at(layer: Layer, place: dict[str, Any]) -> None:
    """Move a layer, touching only what differs: each change redraws."""
    for name, value in place.items():
        current = getattr(layer, name)
        if name == "affine":
            current = current.affine_matrix
        if not np.array_equal(np.asarray(current), np.asarray(value)):
            setattr(layer, name, value)


def object_numbers(layers: PromptLayers) -> set[int]:
    """Numbers of all objects that have prompts, in any plane."""
    found: set[int] = set()
    for layer in (layers.points, layers.shapes):
        if layer is not None:
            found.update(object_features(layer, len(layer.data))[0])
    return found


def remove_prompts(
    layers: PromptLayers, image: Image, view: ViewPlane, object_id: int
) -> None:
    """Remove the prompts of an object in the displayed plane.

    Parameters
    ----------
    layers : PromptLayers
        Labels stay as they are.
    image : Image layer
    view : ViewPlane
    object_id : int
    """
    for layer in (layers.points, layers.shapes):
        if layer is None:
            continue
        numbers, _ = object_features(layer, len(layer.data))
        here = {
            i
            for i, (number, coordinates) in enumerate(
                zip(numbers, layer.data, strict=True)
            )
            if number == object_id and _is_in_plane(coordinates, layer, image, view)
        }
        if here:
            # Assigning data would keep the features of the first ones.
            layer.selected_data = here
            layer.remove_selected()


def _is_in_plane(
    coordinates: NDArray[np.float64], layer: Layer, image: Image, view: ViewPlane
) -> bool:
    at = np.asarray(coordinates, dtype=np.float64).reshape(-1, layer.ndim)
    there = convert(at, layer, image, view)[:, list(view.sliced_axes)]
    return bool((np.rint(there) == view.index).all())
