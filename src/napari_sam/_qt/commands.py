"""The actions as commands: napari lists them in its command palette."""

from __future__ import annotations

from typing import Any

import napari.viewer  # noqa: TC002 - napari looks at it to hand the viewer over
from qtpy.QtWidgets import QApplication

from napari_sam._qt.annotation import SegmentAnythingWidget
from napari_sam._qt.preferences import PLUGIN


def run(viewer: napari.viewer.Viewer, action: str) -> None:
    """Do an action in a viewer; its widget is opened if it is not.

    Parameters
    ----------
    viewer : napari.Viewer
    action : str
        A name in `napari_sam._qt.keys.ACTIONS`.
    """
    find_widget(viewer).do(action)


def find_widget(viewer: napari.viewer.Viewer) -> SegmentAnythingWidget:
    """Find or open the widget of a viewer.

    Parameters
    ----------
    viewer : napari.Viewer

    Returns
    -------
    SegmentAnythingWidget
    """
    found = open_widget(viewer)
    if found is not None:
        return found
    own = getattr(viewer, "__wrapped__", viewer)
    opened: SegmentAnythingWidget
    _, opened = own.window.add_plugin_dock_widget(PLUGIN, "Segment Anything")
    return opened


def open_widget(viewer: Any) -> SegmentAnythingWidget | None:
    """Find the widget of a viewer, if it is open.

    Parameters
    ----------
    viewer : napari.Viewer
    """
    # napari hands out proxies of one and the same viewer.
    own = getattr(viewer, "__wrapped__", viewer)
    for widget in open_widgets():
        if getattr(widget.viewer, "__wrapped__", widget.viewer) is own:
            return widget
    return None


def open_widgets() -> list[SegmentAnythingWidget]:
    """Find the widgets of all viewers."""
    return [
        widget
        for widget in QApplication.allWidgets()
        if isinstance(widget, SegmentAnythingWidget) and widget.is_open
    ]


def accept(viewer: napari.viewer.Viewer) -> None:
    """Accept the mask."""
    run(viewer, "accept")


def discard(viewer: napari.viewer.Viewer) -> None:
    """Discard the object's prompts in this plane."""
    run(viewer, "discard")


def toggle_label(viewer: napari.viewer.Viewer) -> None:
    """Switch between foreground and background."""
    run(viewer, "toggle_label")


def use_label(viewer: napari.viewer.Viewer) -> None:
    """Correct the object's label in this plane."""
    run(viewer, "use_label")


def cycle_mask(viewer: napari.viewer.Viewer) -> None:
    """See the next of the masks."""
    run(viewer, "cycle_mask")


def next_free_object(viewer: napari.viewer.Viewer) -> None:
    """Go on with a new object."""
    run(viewer, "next_free_object")


def next_object(viewer: napari.viewer.Viewer) -> None:
    """Go to the next object."""
    run(viewer, "next_object")


def previous_object(viewer: napari.viewer.Viewer) -> None:
    """Go to the previous object."""
    run(viewer, "previous_object")


def follow_object(viewer: napari.viewer.Viewer) -> None:
    """Follow the object through the stack."""
    run(viewer, "follow_object")


def follow_all(viewer: napari.viewer.Viewer) -> None:
    """Follow all marked objects through the stack."""
    run(viewer, "follow_all")


def next_doubtful(viewer: napari.viewer.Viewer) -> None:
    """Go to the next plane worth a look."""
    run(viewer, "next_doubtful")


def approve(viewer: napari.viewer.Viewer) -> None:
    """Approve the object's label in this plane."""
    run(viewer, "approve")


def undo(viewer: napari.viewer.Viewer) -> None:
    """Undo prompts, masks or what was accepted."""
    run(viewer, "undo")


def redo(viewer: napari.viewer.Viewer) -> None:
    """Do again what was undone."""
    run(viewer, "redo")
