"""Actions that have a key, whichever layer is active.

None of the keys is used by napari 0.9 itself, for the viewer or for any type of layer:
a layer's own keys come before the viewer's. The second key of some actions is, and does
what napari's users expect in such a layer. The user may choose others in napari's
preferences, which napari.yaml declares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app_model.types import KeyCode
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.notifications import show_warning


@dataclass(frozen=True)
class Action:
    """Something the user does.

    Parameters
    ----------
    name : str
        Of the method of `Annotator`, or of the widget.
    key : str
        As napari writes keys, unless the user prefers another.
    text : str
        What it does, for a tooltip.
    elsewhere : str
        A second key, which does something of its own in some types of layers.
    """

    name: str
    key: str
    text: str
    elsewhere: str = ""

    @property
    def tooltip(self) -> str:
        """What it does, and our key; `Controls.show_keys` puts in the user's."""
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
        Action("follow_object", "Shift-F", "Follow this object through the stack"),
        Action("follow_all", "Shift-O", "Follow all marked objects through the stack"),
        Action("next_doubtful", "Shift-N", "Go to the next plane worth a look"),
        Action("approve", "Shift-K", "Approve this plane: its label is right"),
        # In a Labels layer Ctrl-Z is napari's: it takes back what was painted there.
        Action(
            "undo", "Shift-Z", "Undo: prompts, masks, what was accepted", "Control-Z"
        ),
        Action("redo", "Shift-Y", "Do again what was undone", "Control-Shift-Z"),
    )
}


# For buttons of other widgets, whose work the same key takes back in its turn.
UNDO_TIP = (
    f'Where "Segment Anything" is open, its undo ({ACTIONS["undo"].key}) does so, '
    "too, in the order in which things were done"
)


def bind(
    viewer: Any,
    slots: Mapping[str, Callable[[], None]],
    chosen: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Bind the keys of actions in a viewer; keys that are taken stay as they are.

    Parameters
    ----------
    viewer : napari.Viewer
    slots : mapping of str to callable
        What to call, by name of the action.
    chosen : mapping of str to str, optional
        Other keys than ours by name of the action, as napari writes them; "" is none.
        One that napari does not know, or that is taken, is told.

    Returns
    -------
    dict of str to list of str
        Keys of each action that were bound, for `unbind`.
    """
    bound: dict[str, list[str]] = {}
    for name, slot in slots.items():
        action = ACTIONS[name]
        key = (chosen or {}).get(name, action.key).strip()
        bound[name] = []
        for one in filter(None, (key, action.elsewhere)):
            if _bind(viewer, one, slot):
                bound[name].append(one)
            elif one not in (action.key, action.elsewhere):
                show_warning(
                    f"Key {key!r} is taken or no key: choose another in the "
                    f"preferences for {action.text!r}."
                )
    return bound


def _bind(viewer: Any, key: str, slot: Callable[[], None]) -> bool:
    """Bind a key; False if it is the user's own, another widget's, or no key."""
    try:
        if any(part.key == KeyCode.UNKNOWN for part in coerce_keybinding(key).parts):
            return False
        viewer.bind_key(key, lambda viewer: slot())
    except (ValueError, TypeError):
        return False
    return True


def unbind(viewer: Any, bound: Mapping[str, list[str]]) -> None:
    """Give keys back.

    Parameters
    ----------
    viewer : napari.Viewer
    bound : mapping of str to list of str
        From `bind`.
    """
    for keys in bound.values():
        for key in keys:
            viewer.bind_key(key, None)
