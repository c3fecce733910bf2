"""The widget's values as those of a session file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from napari_sam._history import DrawnPrompts, State
from napari_sam._layers_make import session_arguments
from napari_sam._layers_prompts import ObjectPrompts
from napari_sam._layers_view import image_shape
from napari_sam._qt.engine import Request, Source
from napari_sam.registry import MODELS
from napari_sam.session_file import (
    SavedChoice,
    SavedImage,
    SavedModel,
    SavedObject,
    SavedRequest,
    SavedSession,
)
from napari_sam.sharpening import SharpMode

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam._qt.state import Choices, LabelKey

KEPT_CHOICES = (
    "model",
    "contrast",
    "object_id",
    "overlap",
    "sharp",
    "next_after_accept",
)


def saved_image(image: Image) -> SavedImage:
    """Describe an image layer; the key is left to the worker."""
    data = session_arguments(image).image
    source = image.source.path
    return SavedImage(
        image.name,
        None if source is None else str(source),
        tuple(int(n) for n in data.shape),
        str(data.dtype),
        bool(image.rgb),
        "",
    )


def saved_object(key: LabelKey, prompts: ObjectPrompts) -> SavedObject:
    """Describe prompts of an object in a plane."""
    number, plane, axes = key
    return SavedObject(number, plane, axes, prompts.prompts, prompts.mask)


def saved_request(request: Request, models: Mapping[str, SavedModel]) -> SavedRequest:
    """Describe what a model was asked."""
    source = request.source
    key = request.object_id, request.plane, source.plane_axes
    model = models.get(source.model, SavedModel(source.model, "", "auto"))
    what = saved_object(key, request.prompts)
    return SavedRequest(what, model, source.contrast_limits, source.sharp)


def saved_session(
    image: Image, state: State, choices: Choices, models: Mapping[str, SavedModel]
) -> SavedSession:
    """Gather all but the log; nothing large is copied.

    Parameters
    ----------
    image : Image layer
    state : State
        Prompts in data coordinates of the image.
    choices : Choices
    models : mapping of str to SavedModel

    Returns
    -------
    SavedSession
    """
    kept: dict[str, Any] = {name: getattr(choices, name) for name in KEPT_CHOICES}
    if not image.rgb:
        low, high = image.contrast_limits
        kept |= {"contrast_low": float(low), "contrast_high": float(high)}
    return SavedSession(
        saved_image(image),
        state.points,
        state.shapes,
        kept,
        tuple(saved_object(key, one) for key, one in state.corrections.items()),
        tuple(
            SavedChoice(saved_object(key, prompts), index)
            for key, (prompts, index) in state.chosen.items()
        ),
        tuple(saved_request(request, models) for request in state.accepted),
    )


def restored_state(session: SavedSession, image: Image, edition: int) -> State:
    """Make the state of a session whose image is open again.

    Parameters
    ----------
    session : SavedSession
    image : Image layer
    edition : int
        Of the image's pixels.
    """
    chosen = {
        _key(one.what): (_prompts(one.what), one.mask_index) for one in session.chosen
    }
    requests = (restored_request(one, image, edition) for one in session.accepted)
    return State(
        session.points,
        session.shapes,
        {_key(one): _prompts(one) for one in session.corrections},
        chosen,
        frozenset(requests),
        int(session.choices.get("object_id", 1)),
    )


def restored_choices(session: SavedSession, choices: Choices) -> Choices:
    """Choices of a session, as far as they are known here."""
    kept = {name: session.choices.get(name) for name in KEPT_CHOICES}
    allowed = {
        "model": tuple(MODELS),
        "contrast": ("layer", "percentiles"),
        "overlap": ("protect", "overwrite"),
        "sharp": get_args(SharpMode),
    }
    good: dict[str, Any] = {
        name: value
        for name, value in kept.items()
        if value is not None and (name not in allowed or value in allowed[name])
    }
    return replace(choices, **good)


def in_axes(drawn: DrawnPrompts, image: Image) -> DrawnPrompts:
    """Refuse prompts that have other axes than an image.

    Raises
    ------
    ValueError
        If they have.
    """
    ndim = len(image_shape(image))
    if any(rows.shape[1] != ndim for rows in drawn.data):
        raise ValueError(f"prompts of the session must have {ndim} axes.")
    return drawn


def _key(what: SavedObject) -> LabelKey:
    return what.object_id, what.plane, what.plane_axes


def _prompts(what: SavedObject) -> ObjectPrompts:
    return ObjectPrompts(what.prompts, what.mask)


def restored_request(saved: SavedRequest, image: Image, edition: int) -> Request:
    """Make a request whose image is open again; as `restored_state`."""
    seen = session_arguments(image)
    source = Source(
        seen.image,
        saved.what.plane_axes,
        seen.rgb,
        saved.contrast_limits,
        saved.model.name,
        saved.sharp,
    )
    what = saved.what
    prompts = _prompts(what)
    return Request(source, what.plane, what.object_id, prompts, edition)
