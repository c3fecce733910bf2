"""What those have in common who find objects and write them into labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_sam._layers import PromptLayers
from napari_sam._layers_view import image_shape, plane_name
from napari_sam._qt import workspace
from napari_sam._qt.layer_work import LayerWork
from napari_sam._qt.object_writer import ObjectWriter
from napari_sam._qt.plane_layer import PlaneLayer
from napari_sam._qt.scene import read_scene
from napari_sam._qt.state import Choices

if TYPE_CHECKING:
    from napari.layers import Image, Labels
    from qtpy.QtCore import QObject

    from napari_sam._qt.engine import Engine, Source
    from napari_sam.types import Plane


class ObjectFinder(LayerWork):
    """Follows the viewer, has objects found by the worker, and shows them.

    Parameters
    ----------
    viewer : napari.Viewer
    engine : Engine
        What the worker calls.
    choices : object
        What the user chose; its ``model`` is a name of `load_model`.
    parent : QObject, optional
    """

    def __init__(
        self,
        viewer: Any,
        engine: Engine,
        choices: Any,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(PlaneLayer(viewer, "found objects"), parent)
        self.engine = engine
        self.writer = ObjectWriter(viewer, self.runner)
        self.writer.steps.changed.connect(self.changed)
        self.choices = choices
        self.image: Image | None = None
        self.source: Source | None = None
        self.found: Any = None

    def refresh(self) -> None:
        """Read off the viewer what can be done now."""
        if self._is_closed:
            return
        images = workspace.images_of(self.viewer)
        if not workspace.is_in(self.viewer, self.image):
            self.image = images[0] if images else None
        if not workspace.is_in(self.viewer, self.target):
            self.writer.target = workspace.labels_of(self.viewer, self.image)
        found = self.found
        if found is not None and not workspace.is_in(self.viewer, found.image):
            self._forget()
        scene = read_scene(
            self.viewer, self.image, PromptLayers(), Choices(self.choices.model)
        )
        self.view, self.source = scene.view, scene.source
        self.problem = scene.problem or ""
        self._watcher.watch(self.image, PromptLayers())
        self._on_refreshed()
        self.changed.emit()

    def choose(self, **choices: Any) -> None:
        """Change choices by name."""
        raise NotImplementedError

    def choose_folder(self, folder: str) -> None:
        """Choose a folder with a model that knows words; refused if it has none."""
        raise NotImplementedError

    def undo(self) -> None:
        """Take back what was written last."""
        raise NotImplementedError

    def _on_refreshed(self) -> None:
        """Do what else follows from another view or other layers."""

    def _forget(self) -> None:
        """Let go of what was found."""
        raise NotImplementedError

    @property
    def target(self) -> Labels | None:
        """Labels that are written into; made when needed."""
        return self.writer.target

    @property
    def is_stack(self) -> bool:
        """Whether the image has more than one plane."""
        return self.image is not None and len(image_shape(self.image)) > 2

    def stack_planes(self) -> list[Plane]:
        """Planes along the last axis that is not shown; none of a 2D image."""
        view = self.view
        if self.image is None or view is None or not view.index:
            return []
        # Of a time series of stacks, the stack.
        count = image_shape(self.image)[view.sliced_axes[-1]]
        return [plane_name((*view.index[:-1], at)) for at in range(count)]

    def set_layers(self, **layers: Any) -> None:
        """Choose layers by name: the `image`, the `target` labels, or others."""
        for name, layer in layers.items():
            setattr(self.writer if name == "target" else self, name, layer)
        self.refresh()

    def cancel(self) -> None:
        """Stop what is being done; nothing is changed."""
        self.engine.transfer.cancel()
        self.runner.cancel()
        self._say("Cancelled; nothing was changed.")

    def _let_go(self) -> None:
        self.engine.transfer.cancel()
        self.writer.close()
