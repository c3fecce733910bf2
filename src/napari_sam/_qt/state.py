"""What the widget knows, as frozen values, and what follows from it; no Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from napari_sam._layers_features import FOREGROUND
from napari_sam._layers_prompts import ObjectPrompts
from napari_sam._layers_view import ViewPlane
from napari_sam._qt.engine import (
    Answer,
    CacheReport,
    Picture,
    Request,
    Source,
    plane_text,
)
from napari_sam.sharpening import SharpMode
from napari_sam.types import Plane, Prompts

LabelKey: TypeAlias = tuple[int, Plane, tuple[int, int]]
"""Number of an object, plane, and axes of the plane."""


@dataclass(frozen=True)
class Choices:
    """What the user chose in the widget.

    Parameters
    ----------
    model : str
    contrast : {"layer", "percentiles"}
        What SAM sees black and white; see `session_arguments`.
    object_id : int
        Number of the object that prompts are for.
    label : {"foreground", "background"}
        What the next prompt says.
    overlap : {"protect", "overwrite"}
        See `CommitOptions`.
    next_after_accept : bool
        Whether accepting goes on with the next free number.
    channel : str
        A value of `channel_choices`; "" is the image as it is.
    sharp : {"off", "auto", "always"}
        Whether small objects are looked at again in a window of their own.
    """

    model: str = "mobile_sam"
    contrast: Literal["layer", "percentiles"] = "layer"
    object_id: int = 1
    label: str = FOREGROUND
    overlap: Literal["protect", "overwrite"] = "protect"
    next_after_accept: bool = False
    channel: str = ""
    sharp: SharpMode = "off"


@dataclass(frozen=True)
class Scene:
    """What the viewer shows, read off its layers in one go.

    Parameters
    ----------
    image_name : str, optional
        None if there is no image.
    problem : str, optional
        Why the displayed plane cannot be segmented, in a sentence.
    has_prompt_layers : bool
    source : Source, optional
    view : ViewPlane, optional
    prompts : mapping of int to ObjectPrompts
        Prompts of the displayed plane by object.
    edition : int
        Counts changes of the pixels.
    download : str, optional
        What there is to know before the model is downloaded; None if it is there.
    """

    image_name: str | None = None
    problem: str | None = None
    has_prompt_layers: bool = False
    source: Source | None = None
    view: ViewPlane | None = None
    prompts: Mapping[int, ObjectPrompts] = field(default_factory=dict)
    edition: int = 0
    download: str | None = None


@dataclass(frozen=True)
class Work:
    """What was asked of the worker, and what came of it.

    Parameters
    ----------
    submitted : Request, optional
        The last one.
    answer : Answer, optional
        The last one that arrived.
    mask_index : int
        Which of its masks is chosen.
    accepted : frozenset of Request
        Those whose masks were written.
    written : str
        Where the last of them was written, in words.
    awaits_accept : Request, optional
        Its mask is accepted as soon as it is there.
    doing : str
        What the worker does, in words; "" if nothing.
    error : str
        Why the last request came to nothing.
    cache : CacheReport, optional
    picture : Picture, optional
        The last plane that was looked at, as SAM sees it.
    """

    submitted: Request | None = None
    answer: Answer | None = None
    mask_index: int = 0
    accepted: frozenset[Request] = frozenset()
    written: str = ""
    awaits_accept: Request | None = None
    doing: str = ""
    error: str = ""
    cache: CacheReport | None = None
    picture: Picture | None = None


def merge_prompts(drawn: ObjectPrompts | None, label: ObjectPrompts) -> ObjectPrompts:
    """Add what a label says about an object to what was drawn.

    Parameters
    ----------
    drawn : ObjectPrompts, optional
    label : ObjectPrompts
        A mask and the box around it.

    Returns
    -------
    ObjectPrompts
        All points, both masks, and the box around both boxes.
    """
    if drawn is None:
        return label
    points = drawn.prompts
    boxes = [one for one in (points.box, label.prompts.box) if one is not None]
    edges = np.stack(boxes)
    box = [*edges[:, :2].min(axis=0), *edges[:, 2:].max(axis=0)]
    masks = [one for one in (drawn.mask, label.mask) if one is not None]
    mask = np.logical_or.reduce(masks) if masks else None
    return ObjectPrompts(Prompts(points.points, points.point_labels, box), mask)


def with_labels(scene: Scene, labels: Mapping[LabelKey, ObjectPrompts]) -> Scene:
    """Add labels that are to be corrected to the prompts of the displayed plane.

    Parameters
    ----------
    scene : Scene
    labels : mapping
        By object, plane and axes of the plane.

    Returns
    -------
    Scene
    """
    if scene.view is None:
        return scene
    prompts, here = dict(scene.prompts), (scene.view.plane, scene.view.plane_axes)
    for (number, *where), label in labels.items():
        if tuple(where) == here:
            prompts[number] = merge_prompts(prompts.get(number), label)
    return replace(scene, prompts=prompts)


def resolve_request(scene: Scene, choices: Choices) -> Request | None:
    """Find out what is to be segmented now; None if nothing can be.

    Parameters
    ----------
    scene : Scene
    choices : Choices

    Returns
    -------
    Request or None
    """
    prompts = scene.prompts.get(choices.object_id)
    if scene.source is None or scene.view is None or scene.download is not None:
        return None
    # Background alone says nothing about where an object is.
    if prompts is None or not prompts.has_foreground:
        return None
    return Request(
        scene.source, scene.view.plane, choices.object_id, prompts, scene.edition
    )


def shown_answer(scene: Scene, choices: Choices, work: Work) -> Answer | None:
    """Choose the answer that is to be seen, if any.

    While prompts change, the last answer for the same object and plane stays visible.

    Parameters
    ----------
    scene : Scene
    choices : Choices
    work : Work

    Returns
    -------
    Answer or None
    """
    wanted, answer = resolve_request(scene, choices), work.answer
    if wanted is None or answer is None or wanted in work.accepted:
        return None
    asked = answer.request
    same_place = (wanted.source, wanted.plane, wanted.edition) == (
        asked.source,
        asked.plane,
        asked.edition,
    )
    return answer if same_place and wanted.object_id == asked.object_id else None


def status_text(scene: Scene, choices: Choices, work: Work) -> str:
    """Say what goes on, or what to do next, in a sentence or two.

    Parameters
    ----------
    scene : Scene
    choices : Choices
    work : Work

    Returns
    -------
    str

    Examples
    --------
    >>> status_text(Scene(), Choices(), Work())
    'Open an image, or choose one above.'
    """
    if scene.image_name is None:
        return "Open an image, or choose one above."
    if scene.problem is not None:
        return _sentence(scene.problem)
    if scene.download is not None:
        return f"{choices.model} is not on this computer yet. {scene.download}"
    if not scene.has_prompt_layers:
        return (
            "Press Start and click on an object, or draw into a Points or Shapes "
            "layer of your own."
        )
    wanted = resolve_request(scene, choices)
    if wanted is None:
        return f"{work.written} {_prompt_hint(scene, choices)}".lstrip()
    if wanted in work.accepted:
        hint = "Press New for the next object, or add prompts to correct this one."
        return f"{work.written} {hint}".lstrip()
    if work.error and wanted == work.submitted:
        return _sentence(work.error)
    if work.awaits_accept is not None:
        return "The mask will be accepted as soon as it is there."
    answer = shown_answer(scene, choices, work)
    if answer is None or answer.request != wanted:
        return f"{work.doing or 'Waiting'}: the mask is on its way."
    count = len(answer.prediction.masks)
    closer = _window_text(answer, choices)
    if count > 1:
        return f"{closer}Accept this mask, see the other {count - 1}, or add a point."
    return f"{closer}Accept this mask, or correct it with another point."


def _window_text(answer: Answer, choices: Choices) -> str:
    """Say where SAM looked closer; "" if it was not asked to."""
    window = answer.prediction.window
    if choices.sharp == "off":
        return ""
    if window is None:
        return "Seen in the whole plane. "
    rows = f"rows {window.row_min} to {window.row_max}"
    return f"Seen in {rows}, columns {window.column_min} to {window.column_max}. "


def sharp_names(report: CacheReport | None) -> dict[SharpMode, str]:
    """Name the ways to look closer, and what each costs.

    Parameters
    ----------
    report : CacheReport, optional
        With how long the last encoding took.

    Examples
    --------
    >>> sharp_names(CacheReport(1, 0, 0, seconds=1.25))["auto"]
    'small objects: +1.2 s a plane or window'
    """
    seconds = None if report is None else report.seconds
    once = "one encoding" if seconds is None else f"+{seconds:.1f} s"
    cost = f"{once} a plane or window"
    return {
        "off": "off",
        "auto": f"small objects: {cost}",
        "always": f"all that can be larger: {cost}",
    }


def written_text(object_id: int, layer_name: str, count: int) -> str:
    """Say what accepting a mask changed.

    Parameters
    ----------
    object_id : int
    layer_name : str
    count : int
        Number of pixels that changed.

    Examples
    --------
    >>> written_text(2, "cells", 120)
    "Object 2 is in layer 'cells'."
    """
    if count == 0:
        return f"Object {object_id} changed nothing in layer {layer_name!r}."
    return f"Object {object_id} is in layer {layer_name!r}."


def _prompt_hint(scene: Scene, choices: Choices) -> str:
    name = f"object {choices.object_id}"
    if choices.object_id in scene.prompts:
        return f"Mark {name} itself: there is only background so far."
    if choices.label != FOREGROUND:
        return f"Switch to foreground and click on {name}."
    return f"Click on {name}, or draw a box around it."


def _sentence(text: str) -> str:
    """Turn what an error says into a sentence for people, who know no arguments."""
    text = text.replace("object_id", "the object's number")
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!")) else f"{text}."


def cache_text(scene: Scene, is_ready: bool, report: CacheReport | None) -> str:
    """Say whether the displayed plane is encoded, and how many are in memory.

    Parameters
    ----------
    scene : Scene
    is_ready : bool
        Whether the plane's embedding is known to be in the cache.
    report : CacheReport, optional

    Returns
    -------
    str
    """
    if scene.view is None:
        return "No plane to look at"
    plane = plane_text(scene.view.plane) if scene.view.index else "image"
    state = "ready" if is_ready else "not encoded yet"
    text = f"{plane[:1].upper()}{plane[1:]}: {state}"
    if report is None:
        return text
    return f"{text} · {report.planes} in memory"
