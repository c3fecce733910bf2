"""napari layers to prompts, and masks to Labels layers; no Qt, no torch.

`segment_layers` is the whole way in one call. The dock widget goes it in steps:
`view_plane`, `prompts_from_layers`, `ObjectPrompts.to_prompts`, `Session.segment`,
`commit_mask`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from napari.layers import Image, Labels, Points, Shapes
from napari.layers.base import Layer

from napari_sam._label_changes import PROTECT, CommitOptions
from napari_sam._layers_commit import commit_labels, commit_mask
from napari_sam._layers_features import BACKGROUND, FOREGROUND, set_next_prompt
from napari_sam._layers_make import (
    SessionArguments,
    make_labels_layer,
    make_points_layer,
    make_shapes_layer,
    session_arguments,
)
from napari_sam._layers_prompts import (
    ObjectPrompts,
    PromptLayers,
    prompts_from_layers,
    seeds_from_layers,
)
from napari_sam._layers_target import (
    check_label,
    check_target,
    next_free_label,
    widen_labels,
)
from napari_sam._layers_view import ViewPlane, image_shape, view_plane
from napari_sam.session import Session

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_sam.predictor import Predictor
    from napari_sam.types import Plane

__all__ = [
    "BACKGROUND",
    "FOREGROUND",
    "PROTECT",
    "CommitOptions",
    "ObjectPrompts",
    "PromptLayers",
    "SessionArguments",
    "ViewPlane",
    "check_label",
    "check_target",
    "commit_labels",
    "commit_mask",
    "make_labels_layer",
    "make_points_layer",
    "make_shapes_layer",
    "next_free_label",
    "prompts_from_layers",
    "seeds_from_layers",
    "segment_layers",
    "session_arguments",
    "set_next_prompt",
    "view_plane",
    "widen_labels",
]

AnyLayer = TypeVar("AnyLayer", bound=Layer)


def segment_layers(
    viewer: ViewerModel,
    image: Image | str,
    points: Points | str | None = None,
    shapes: Shapes | str | None = None,
    labels: Labels | str = "segmentation",
    whole_stack: bool = False,
    *,
    masks: Labels | str | None = None,
    predictor: Predictor | None = None,
    options: CommitOptions = PROTECT,
) -> Labels:
    """Segment what the prompts in a viewer's layers mark, into a Labels layer.

    Parameters
    ----------
    viewer : napari.Viewer or napari.components.ViewerModel
        Its sliders and the order of its axes say which plane is meant.
    image : Image layer, or its name
        2D or a stack of any number of axes, colour or not, lazy or not. SAM sees it as
        the layer's contrast limits show it.
    points, shapes : Points and Shapes layer, or their names
        Prompts; the features ``object`` and ``label`` say for which object, and whether
        "foreground" or "background". What each shape means, and on which plane it
        counts, is told at `napari_sam._layers.prompts_from_layers`.
    labels : Labels layer, or its name
        Where the masks are written, in one step that ``labels.undo()`` takes back. Made
        anew if there is no layer of that name.
    whole_stack : bool
        Segment the objects in the displayed plane only, or follow them from all planes
        with prompts through the stack: along the last axis that has a slider.
    masks : Labels layer, or its name
        More prompts: each label says roughly where the object of its number is.
    predictor : Predictor, optional
        ``load_model("mobile_sam")`` by default.
    options : CommitOptions
        How masks are written over what is in `labels`. By default other labels are
        protected, and what the segmented objects had there is replaced.

    Returns
    -------
    napari.layers.Labels

    Raises
    ------
    ValueError
        If there is no such layer or it is of another kind, no prompt counts, or an
        argument is not as above; see also `view_plane`, `prompts_from_layers` and
        `check_target` in `napari_sam._layers`. All layers stay as they were.

    Examples
    --------
    >>> import napari_sam as ns
    >>> from napari.components import ViewerModel
    >>> from skimage.data import coins
    >>> viewer = ViewerModel()  # or napari.Viewer()
    >>> image = viewer.add_image(coins(), name="coins")
    >>> points = viewer.add_points([[55, 45], [70, 115]], features={"object": [1, 2]})
    >>> result = ns.segment_layers(viewer, image="coins", points=points)
    >>> result.name, result.data.shape, int(result.data.max())
    ('segmentation', (303, 384), 2)
    """
    image_layer = _layer(viewer, "image", image, Image)
    prompts = PromptLayers(
        _optional(viewer, "points", points, Points),
        _optional(viewer, "shapes", shapes, Shapes),
        _optional(viewer, "masks", masks, Labels),
    )
    is_new = isinstance(labels, str) and labels not in _names(viewer)
    target = None if is_new else _layer(viewer, "labels", labels, Labels)
    view = view_plane(viewer.dims, image_layer)
    if target is not None:
        check_target(target, image_layer, view)
    seeds = _seeds(image_layer, view, prompts, whole_stack)
    for number in seeds if target is not None else ():
        check_label(target, number)
    session = _session(image_layer, view, predictor)
    if whole_stack:
        planes = _through_stack(session, view, seeds)
    else:
        planes = _in_plane(session, view, seeds, options)
    if target is None:
        dtype = np.promote_types(np.uint16, np.min_scalar_type(max(seeds)))
        target = make_labels_layer(image_layer, str(labels), dtype)
    commit_labels(target, view, planes, seeds, options)
    if is_new:
        viewer.add_layer(target)
    return target


def _names(viewer: ViewerModel) -> list[str]:
    try:
        return [layer.name for layer in viewer.layers]
    except AttributeError:
        raise ValueError(
            f"viewer must be a napari viewer, got {type(viewer).__name__}."
        ) from None


def _optional(
    viewer: ViewerModel, argument: str, layer: Any, kind: type[AnyLayer]
) -> AnyLayer | None:
    return None if layer is None else _layer(viewer, argument, layer, kind)


def _layer(
    viewer: ViewerModel, argument: str, layer: Any, kind: type[AnyLayer]
) -> AnyLayer:
    """Find a layer of a viewer by its name, or check that it is there."""
    names = _names(viewer)
    if isinstance(layer, str):
        if layer not in names:
            raise ValueError(f"{argument} must be one of {names}, got {layer!r}.")
        layer = viewer.layers[layer]
    if not isinstance(layer, kind):
        raise ValueError(
            f"{argument} must be a layer of type {kind.__name__} or its name, "
            f"got {type(layer).__name__}."
        )
    if all(layer is not other for other in viewer.layers):
        raise ValueError(f"{argument} must be in the viewer, got {layer.name!r}.")
    return layer


_Seeds = dict[int, dict["Plane", ObjectPrompts]]


def _seeds(
    image_layer: Image, view: ViewPlane, prompts: PromptLayers, whole_stack: bool
) -> _Seeds:
    """Prompts of the objects that can be segmented, by plane."""
    if whole_stack and not view.index:
        raise ValueError(
            f"whole_stack must be False for the 2D image {image_layer.name!r}, "
            "got True."
        )
    if whole_stack:
        planes = _stack(image_layer, view)
        seeds = seeds_from_layers(image_layer, view, prompts, planes)
    else:
        here = prompts_from_layers(image_layer, view, prompts)
        seeds = {number: {view.plane: seed} for number, seed in here.items()}
    # Background alone says nothing about where an object is.
    found = {
        number: planes
        for number, planes in seeds.items()
        if any(seed.has_foreground for seed in planes.values())
    }
    if not found:
        where = "the stack" if whole_stack else f"plane {view.plane}"
        raise ValueError(
            f"points, shapes or masks must mark an object in {where} of "
            f"{image_layer.name!r}, there is no foreground prompt."
        )
    return found


def _stack(image_layer: Image, view: ViewPlane) -> list[tuple[int, ...]]:
    """Planes along the last sliced axis, where the viewer is along the others."""
    count = image_shape(image_layer)[view.sliced_axes[-1]]
    return [(*view.index[:-1], i) for i in range(count)]


def _session(
    image_layer: Image, view: ViewPlane, predictor: Predictor | None
) -> Session:
    if predictor is None:
        from napari_sam.registry import load_model

        predictor = load_model("mobile_sam")
    seen = session_arguments(image_layer)
    return Session(
        seen.image, predictor, view.plane_axes, seen.rgb, seen.contrast_limits
    )


def _in_plane(
    session: Session, view: ViewPlane, seeds: _Seeds, options: CommitOptions
) -> list[tuple[Plane, NDArray[Any]]]:
    """Label image of the displayed plane."""
    labels = np.zeros(session.plane_size, dtype=np.int64)
    for number, planes in seeds.items():
        found = session.segment(planes[view.plane].to_prompts(), view.plane)
        mask = found.in_plane(session.plane_size).best
        if options.overlap == "protect":  # also objects of this call, in order
            mask = mask & (labels == 0)
        labels[mask] = number
    return [(view.plane, labels)]


def _through_stack(
    session: Session, view: ViewPlane, seeds: _Seeds
) -> list[tuple[Plane, NDArray[Any]]]:
    """Label images of all planes of a stack."""
    prompts = {
        number: {plane: seed.to_prompts() for plane, seed in planes.items()}
        for number, planes in seeds.items()
    }
    found = session.propagate_objects(prompts, along=len(view.index) - 1)
    dtype = np.min_scalar_type(max(seeds))  # a whole stack of them is kept
    return [(plane, labels.astype(dtype)) for plane, labels in found]
