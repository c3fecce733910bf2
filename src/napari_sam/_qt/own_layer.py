"""A layer that this package puts into the viewer, and takes out again."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from napari.layers import Layer

from napari_sam._qt.workspace import is_in

Kind = TypeVar("Kind", bound=Layer)


class OwnLayer(Generic[Kind]):
    """Holds a layer that is made when there is first something to show.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.layer: Kind | None = None

    @property
    def is_there(self) -> bool:
        """Whether the layer is in the viewer; the user may have deleted it."""
        return is_in(self.viewer, self.layer)

    def hide(self) -> None:
        """Hide the layer."""
        self._set_visible(False)

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        if self.layer is not None and self.is_there:
            self.viewer.layers.remove(self.layer)
        self.layer = None

    def _set_visible(self, is_visible: bool) -> None:
        # napari draws again even if nothing changes.
        if self.layer is not None and self.layer.visible != is_visible:
            self.layer.visible = is_visible
