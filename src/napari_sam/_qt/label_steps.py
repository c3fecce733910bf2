"""What a widget wrote into labels last, and one order of undo for all of a viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sam._layers_commit import revert_labels
from napari_sam._qt import workspace
from napari_sam._qt.commands import open_widget

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam._label_changes import PlaneChange
    from napari_sam._qt.controller import Annotator


class LabelSteps(QObject):
    """Takes back what was written last, and tells the undo of the viewer about it.

    If "Segment Anything" is open in the viewer, what is written is a step of its
    history: undone and done again there in the order in which things were done.

    Parameters
    ----------
    viewer : napari.Viewer
    parent : QObject, optional

    Notes
    -----
    `changed` is sent when there is something else to take back.
    """

    changed = Signal()

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._last: tuple[Labels, tuple[PlaneChange, ...]] | None = None
        self._is_undone = False
        self._annotator: Annotator | None = None

    def note(self, target: Labels, changes: tuple[PlaneChange, ...], text: str) -> None:
        """Note what was just written.

        Parameters
        ----------
        target : Labels layer
        changes : tuple of PlaneChange
            None is nothing to take back.
        text : str
            What was done, to be read after "Undone: ".
        """
        self._last = (target, changes) if changes else None
        self._is_undone = False
        widget = open_widget(self._viewer)
        self._listen(None if widget is None else widget.annotator)
        if self._annotator is not None and changes:
            self._annotator.undo.note_labels(text, changes, target)
            self._annotator.refresh()
        self.changed.emit()

    @property
    def can_undo(self) -> bool:
        """Whether what was written last can be taken back."""
        if self._last is None or self._is_undone:
            return False
        return workspace.is_in(self._viewer, self._last[0])

    def undo(self) -> int:
        """Take back what was written last, where nothing else was written since.

        Returns
        -------
        int
            Number of pixels that were edited since, and stay as they are; where
            "Segment Anything" takes it back, that says so, and it is 0.
        """
        if self._last is None or not self.can_undo:
            return 0
        target, changes = self._last
        widget = open_widget(self._viewer)
        if widget is not None and widget.annotator.undo.is_next(changes):
            widget.annotator.undo.undo()
            return 0
        left = revert_labels(target, changes)
        if widget is not None:
            widget.annotator.undo.forget(changes)
        self._last = None
        self.changed.emit()
        return left

    def close(self) -> None:
        """Listen no more."""
        self._listen(None)

    def _listen(self, annotator: Annotator | None) -> None:
        if annotator is self._annotator:
            return
        if self._annotator is not None:
            self._annotator.reverted.disconnect(self._on_reverted)
        if annotator is not None:
            annotator.reverted.connect(self._on_reverted)
        self._annotator = annotator

    def _on_reverted(self, changes: tuple[PlaneChange, ...]) -> None:
        """Notice that what was written last was undone, or done again."""
        if self._last is not None and changes is self._last[1]:
            self._is_undone = not self._is_undone
            self.changed.emit()


def taken_back(left: int) -> str:
    """Say what was taken back.

    Examples
    --------
    >>> taken_back(0), taken_back(3)
    ('Taken back.', 'Taken back. 3 pixels were edited since, and stay.')
    """
    rest = f" {left} pixels were edited since, and stay." if left else ""
    return f"Taken back.{rest}"
