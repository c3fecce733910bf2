"""Listen to what changes in a viewer, and only say that something did."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_sam._layers import PromptLayers

if TYPE_CHECKING:
    from napari.layers import Layer

DIMS_EVENTS = ("current_step", "order", "ndisplay", "ndim")
TRANSFORM_EVENTS = ("scale", "translate", "rotate", "shear", "affine", "units")
IMAGE_EVENTS = (*TRANSFORM_EVENTS, "contrast_limits", "name")
PROMPT_EVENTS = (*TRANSFORM_EVENTS, "data", "features", "feature_defaults")

Slot = Callable[..., None]


class Watcher:
    """Connects two slots to a viewer, an image and prompt layers.

    Parameters
    ----------
    viewer : napari.Viewer
    on_change : callable
        Called, with an event, when something may have changed.
    on_pixels : callable
        Called when the image has other pixels.

    Notes
    -----
    napari holds methods weakly: who watches must be kept by someone else.
    """

    def __init__(self, viewer: Any, on_change: Slot, on_pixels: Slot) -> None:
        self._on_change = on_change
        self._on_pixels = on_pixels
        events = viewer.layers.events
        self._viewer_events = [
            *self._emitters(viewer.dims, DIMS_EVENTS),
            *((event, on_change) for event in (events.inserted, events.removed)),
        ]
        self._layer_events: list[tuple[Any, Slot]] = []
        _connect(self._viewer_events)

    def watch(self, image: Layer | None, prompts: PromptLayers) -> None:
        """Listen to these layers, and to no others.

        Parameters
        ----------
        image : Image layer, optional
        prompts : PromptLayers
        """
        wanted: list[tuple[Any, Slot]] = []
        if image is not None:
            wanted.append((image.events.data, self._on_pixels))
            wanted += self._emitters(image, IMAGE_EVENTS)
        for layer in (prompts.points, prompts.shapes):
            if layer is not None:
                wanted += self._emitters(layer, PROMPT_EVENTS)
        now = [id(emitter) for emitter, _ in self._layer_events]
        if now != [id(emitter) for emitter, _ in wanted]:
            _disconnect(self._layer_events)
            _connect(wanted)
            self._layer_events = wanted

    def stop(self) -> None:
        """Listen to nothing any more."""
        _disconnect(self._viewer_events + self._layer_events)
        self._viewer_events, self._layer_events = [], []

    def _emitters(self, source: Any, names: tuple[str, ...]) -> list[tuple[Any, Slot]]:
        # Older versions of napari lack some of them.
        found = (getattr(source.events, name, None) for name in names)
        return [(event, self._on_change) for event in found if event is not None]


def _connect(pairs: list[tuple[Any, Slot]]) -> None:
    for emitter, slot in pairs:
        emitter.connect(slot)


def _disconnect(pairs: list[tuple[Any, Slot]]) -> None:
    for emitter, slot in pairs:
        emitter.disconnect(slot)
