"""Read what the viewer shows, in one go, into a frozen value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_sam._layers import (
    ObjectPrompts,
    PromptLayers,
    ViewPlane,
    prompts_from_layers,
    session_arguments,
    view_plane,
)
from napari_sam._layers_channels import TogetherAsColour, with_channels
from napari_sam._qt.engine import Source
from napari_sam._qt.state import Choices, Scene
from napari_sam._qt.workspace import images_of
from napari_sam.registry import get_spec, is_available
from napari_sam.types import Architecture, ModelSpec

if TYPE_CHECKING:
    from napari.layers import Image

# Parameters in float32: what a checkpoint of each encoder weighs.
SIZES: dict[Architecture, str] = {
    "vit_t": "40 MB",
    "vit_b": "375 MB",
    "vit_l": "1.2 GB",
    "vit_h": "2.5 GB",
}


def read_scene(
    viewer: Any,
    image: Image | None,
    layers: PromptLayers,
    choices: Choices,
    edition: int = 0,
) -> Scene:
    """Read what the viewer shows of an image and its prompts.

    Parameters
    ----------
    viewer : napari.Viewer
    image : Image layer, optional
    layers : PromptLayers
    choices : Choices
    edition : int
        Counts changes of the image's pixels.

    Returns
    -------
    Scene
        With a `problem` where the displayed plane cannot be segmented.
    """
    if image is None:
        return Scene()
    has_layers = layers.points is not None or layers.shapes is not None
    problem = None
    source: Source | None = None
    view: ViewPlane | None = None
    prompts: dict[int, ObjectPrompts] = {}
    try:
        view = view_plane(viewer.dims, image)
        seen = session_arguments(image, choices.contrast)
        data, rgb, limits = seen.image, seen.rgb, seen.contrast_limits
        if choices.channel:
            others = images_of(viewer)
            data = with_channels(image, others, view, choices.channel)
        if data is not seen.image:
            rgb, limits = isinstance(data, TogetherAsColour), None
        source = Source(
            data, view.plane_axes, rgb, limits, choices.model, choices.sharp
        )
        prompts = prompts_from_layers(image, view, layers)
    except ValueError as error:
        problem = str(error)
    return Scene(
        image_name=image.name,
        problem=problem,
        has_prompt_layers=has_layers,
        source=source,
        view=view,
        prompts=prompts,
        edition=edition,
        download=download_text(choices.model),
    )


def download_text(model: str) -> str | None:
    """Say what downloading a model means; None if it is on this computer.

    Parameters
    ----------
    model : str

    Returns
    -------
    str or None
    """
    spec = get_spec(model)
    if is_available(spec):
        return None
    return f"Download it once: about {size_text(spec)}, licence {spec.license}."


def size_text(spec: ModelSpec) -> str:
    """Say how large a model's files are, about."""
    return spec.size or SIZES[spec.encoder]
