"""Actions that have a key, whichever layer is active.

None of the keys is used by napari 0.9 itself, for the viewer or for any type of layer:
a layer's own keys come before the viewer's. The second key of some actions is, and does
what napari's users expect in such a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Action:
    """Something the user does.

    Parameters
    ----------
    name : str
        Of the method of `Annotator`, or of the widget.
    key : str
        As napari writes keys.
    text : str
        Tooltip.
    elsewhere : str
        A second key, which does something of its own in some types of layers.
    """

    name: str
    key: str
    text: str
    elsewhere: str = ""

    @property
    def tooltip(self) -> str:
        """What it does, and its key."""
        return f"{self.text} ({self.key})"


ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("accept", "K", "Keep: write the mask into the labels"),
        Action("discard", "W", "Wipe: remove the object's prompts in this plane"),
        Action("toggle_label", "G", "Switch between foreground and background"),
        Action("use_label", "H", "Begin with the object's label in this plane"),
        Action("cycle_mask", "Q", "See the next of the masks"),
        Action("next_free_object", "N", "New object: go on with the next free number"),
        Action("next_object", "U", "Go to the next object"),
        Action("previous_object", "J", "Go to the previous object"),
        # In a Labels layer Ctrl-Z is napari's: it takes back what was painted there.
        Action(
            "undo", "Shift-Z", "Undo: prompts, masks, what was accepted", "Control-Z"
        ),
        Action("redo", "Shift-Y", "Do again what was undone", "Control-Shift-Z"),
    )
}


def bind(viewer: Any, slots: Mapping[str, Callable[[], None]]) -> list[str]:
    """Bind the keys of actions in a viewer; keys that are taken stay as they are.

    Parameters
    ----------
    viewer : napari.Viewer
    slots : mapping of str to callable
        What to call, by name of the action.

    Returns
    -------
    list of str
        Keys that were bound, for `unbind`.
    """
    bound = []
    for name, slot in slots.items():
        action = ACTIONS[name]
        for key in filter(None, (action.key, action.elsewhere)):
            try:
                viewer.bind_key(key, _ignoring_viewer(slot))
            except ValueError:  # the user's own, or another widget's
                continue
            bound.append(key)
    return bound


def _ignoring_viewer(slot: Callable[[], None]) -> Callable[[Any], None]:
    return lambda viewer: slot()


def unbind(viewer: Any, keys: list[str]) -> None:
    """Give keys back.

    Parameters
    ----------
    viewer : napari.Viewer
    keys : list of str
        From `bind`.
    """
    for key in keys:
        viewer.bind_key(key, None)
