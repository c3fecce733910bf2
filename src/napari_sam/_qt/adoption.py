"""Take the user's own Points or Shapes layer for prompts once he draws into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.layers import Points, Shapes

from napari_sam._qt.workspace import ROLE, adopt_prompts, layers_of

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam._qt.state import Choices

# Columns that say of a layer that its points or shapes are prompts.
PROMPT_FEATURES = {"object", "label"}


class Adopter:
    """Notices points or shapes drawn into a layer that is for that.

    That is a layer that was empty, or one whose features name objects. What is drawn
    into a layer full of other things, such as detected spots, is no prompt.

    Parameters
    ----------
    viewer : napari.Viewer
    on_drawn : callable
        Called, without arguments, when there is a layer to adopt.

    Notes
    -----
    napari holds methods weakly: who listens must be kept by someone else.
    """

    def __init__(self, viewer: Any, on_drawn: Callable[[], None]) -> None:
        self.viewer = viewer
        self._on_drawn = on_drawn
        self._drawn: Points | Shapes | None = None
        self._counts: dict[Points | Shapes, int] = {}
        events = viewer.layers.events
        for emitter in (events.inserted, events.removed):
            emitter.connect(self._on_layers)
        self._on_layers()

    def adopt(self, image: Image | None, choices: Choices) -> None:
        """Make the layer that was drawn into the prompt layer of an image.

        Parameters
        ----------
        image : Image layer, optional
        choices : Choices
            What is said of the prompts that say nothing.
        """
        layer, self._drawn = self._drawn, None
        if image is not None and layer in self._counts:
            adopt_prompts(self.viewer, image, layer, choices.object_id, choices.label)

    def stop(self) -> None:
        """Listen to nothing any more."""
        events = self.viewer.layers.events
        for emitter in (events.inserted, events.removed):
            emitter.disconnect(self._on_layers)
        for layer in self._counts:
            layer.events.data.disconnect(self._on_data)
        self._counts = {}

    def _on_layers(self, event: Any = None) -> None:
        there = [
            layer
            for layer in layers_of(self.viewer)
            if isinstance(layer, (Points, Shapes))
        ]
        for layer in set(self._counts).difference(there):
            layer.events.data.disconnect(self._on_data)
            del self._counts[layer]
        for layer in there:
            if layer not in self._counts:
                self._counts[layer] = len(layer.data)
                layer.events.data.connect(self._on_data)

    def _on_data(self, event: Any) -> None:
        layer = event.source
        before, now = self._counts.get(layer, 0), len(layer.data)
        self._counts[layer] = now
        # Before a point is added napari says that it will be: then nothing has changed.
        if now > before and _is_for_prompts(layer, before):
            self._drawn = layer
            self._on_drawn()


def _is_for_prompts(layer: Points | Shapes, count_before: int) -> bool:
    if ROLE in layer.metadata:
        return False
    return count_before == 0 or not PROMPT_FEATURES.isdisjoint(layer.features.columns)
