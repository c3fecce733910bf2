"""From a list of steps to clean labels: what the widget "Clean up" does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_sam._layers import PromptLayers, view_plane
from napari_sam._layers_commit import repeat_labels
from napari_sam._layers_target import check_writable
from napari_sam._layers_view import image_shape
from napari_sam._qt import workspace
from napari_sam._qt.cleanup_engine import Cleaning, changes, cleaned
from napari_sam._qt.cleanup_list import StepList
from napari_sam._qt.label_steps import LabelSteps, taken_back
from napari_sam._qt.layer_work import LayerWork
from napari_sam._qt.plane_layer import PlaneLayer, lengths
from napari_sam.cleanup import read_steps, write_steps

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtCore import QObject

    from napari_sam._label_changes import PlaneChange
    from napari_sam._layers import ViewPlane

# Milliseconds that a slider or a brush rests before the preview follows.
REST = 60
# Voxels that a preview of 3D steps looks at.
PREVIEW_VOXELS = 4_000_000
REMOVED, ADDED, RENUMBERED = 1, 2, 3
COLOURS = {
    None: "transparent",
    0: "transparent",
    REMOVED: (0.95, 0.15, 0.15, 1.0),
    ADDED: (0.1, 0.85, 0.2, 1.0),
    RENUMBERED: (0.95, 0.85, 0.1, 1.0),
}
LABEL_EVENTS = ("data", "paint", "labels_update", "selected_label", "scale", "units")


class Cleaner(LayerWork):
    """Previews steps in the displayed plane, and applies them to a Labels layer.

    Parameters
    ----------
    viewer : napari.Viewer
    parent : QObject, optional
    """

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        colours = DirectLabelColormap(color_dict=COLOURS)
        preview = PlaneLayer(viewer, "clean-up preview", colours, 0.9)
        super().__init__(preview, parent, REST)
        self.target: Labels | None = None
        self.steps = StepList()
        self.selected: frozenset[int] = frozenset()
        self.is_previewing = True
        self.is_applying = False
        self.written = LabelSteps(viewer, self)
        self.written.changed.connect(self.changed)
        self._listened: Labels | None = None

    @property
    def targets(self) -> list[Labels]:
        """Labels of the user, the topmost first."""
        return [
            layer
            for layer in reversed(workspace.layers_of(self.viewer))
            if isinstance(layer, Labels) and workspace.ROLE not in layer.metadata
        ]

    @property
    def scale(self) -> tuple[tuple[float, ...], str]:
        """How far voxels of the labels are apart, and the unit."""
        if self.target is None or self.view is None:
            return (1.0, 1.0), "px"
        return lengths(self.target, self.view)

    @property
    def is_stack(self) -> bool:
        """Whether the labels have more than one plane."""
        return self.target is not None and self.target.ndim > 2

    def refresh(self) -> None:
        """Read off the viewer what can be done now, and preview it."""
        if self._is_closed:
            return
        self._dirty.stop()
        if not workspace.is_in(self.viewer, self.target):
            self.target = next(iter(self.targets), None)
        self._listen()
        self.view, self.problem = None, ""
        if self.target is not None:
            try:
                # Of the layer only its place and shape count.
                self.view = view_plane(self.viewer.dims, self.target)
            except ValueError as error:
                self.problem = str(error)
        self._preview()
        self.changed.emit()

    def _listen(self) -> None:
        """Follow what happens to the labels, and to no others."""
        if self._listened is self.target:
            return
        pairs = ((self._listened, "disconnect"), (self.target, "connect"))
        for layer, what in pairs:
            for name in LABEL_EVENTS:
                emitter = getattr(layer.events, name, None) if layer else None
                if emitter is not None:
                    getattr(emitter, what)(self._mark_dirty)
        self._listened = self.target
        self._watcher.watch(None, PromptLayers())

    # What the user does

    def set_target(self, target: Labels | None) -> None:
        """Choose the labels to clean."""
        self.target = target
        self.refresh()

    def set_steps(self, steps: StepList) -> None:
        """Change the steps, or which of them is chosen."""
        if steps.active != self.steps.active:
            self.message = ""
            self._mark_dirty()
        self.steps = steps
        self.changed.emit()

    def set_selected(self, labels: frozenset[int]) -> None:
        """Say which labels steps for "selected" work on."""
        self.selected = labels
        self._mark_dirty()

    def set_previewing(self, is_on: bool) -> None:
        """Switch the preview on or off."""
        self.is_previewing = is_on
        self.message = ""
        self.refresh()

    def apply(self) -> None:
        """Clean the whole layer, as one step to undo."""
        self.refresh()
        target = self.target
        if target is None or not self.steps.active:
            return
        with self._errors():
            check_writable(target)
            self.is_applying = True
            request = self._request(target.data)
            done = partial(self._on_cleaned, target)
            self._submit(partial(changes, request), done)

    def undo(self) -> None:
        """Take back the last clean-up, where nothing was edited since."""
        with self._errors():
            self._say(taken_back(self.written.undo()))

    def save(self, path: str) -> None:
        """Save the steps that are switched on."""
        with self._errors():
            write_steps(path, self.steps.active)
            self._say(f"{len(self.steps.active)} steps saved.")

    def load(self, path: str) -> None:
        """Take the steps of a file in the place of those in the list."""
        with self._errors():
            self.set_steps(StepList.of(read_steps(path)))

    def cancel(self) -> None:
        """Stop; the labels stay as they are."""
        self.runner.cancel()
        self.is_applying = False
        self.is_previewing = False
        self.preview.hide()
        self._say("Cancelled; nothing was changed.")

    # What follows from it

    def _let_go(self) -> None:
        self.target = None
        self._listen()
        self.written.close()

    def _request(self, labels: Any) -> Cleaning:
        number = 0 if self.target is None else int(self.target.selected_label)
        return Cleaning(labels, self.steps.active, self.scale[0], self.selected, number)

    def _preview(self) -> None:
        target, view = self.target, self.view
        if self.is_applying:
            return
        if not self.is_previewing or not self.steps.active or not target or not view:
            self.runner.cancel()
            self.preview.hide()
            return
        inside, local = self._surroundings(target, view)
        request = self._request(target.data[inside])
        done = partial(self._on_preview, target, view, local)
        self.runner.cancel()  # what is old is of no use any more
        self._submit(partial(cleaned, request), done)

    def _surroundings(
        self, target: Labels, view: ViewPlane
    ) -> tuple[tuple[slice, ...], tuple[int, ...]]:
        """Part of the labels that the preview looks at, and the plane in it."""
        shape = image_shape(target)
        rows, columns = view.plane_axes
        reach = PREVIEW_VOXELS // max(1, 2 * shape[rows] * shape[columns])
        is_flat = all(step.dimensions == 2 for step in self.steps.active)
        if is_flat and {rows, columns} == {target.ndim - 2, target.ndim - 1}:
            reach = 0
        inside, local = [slice(None)] * target.ndim, []
        for axis, at in zip(view.sliced_axes, view.index, strict=True):
            around = reach if axis >= target.ndim - 3 else 0
            first = max(0, at - around)
            inside[axis] = slice(first, min(shape[axis], at + around + 1))
            local.append(at - first)
        return tuple(inside), tuple(local)

    def _on_preview(
        self,
        target: Labels,
        view: ViewPlane,
        local: tuple[int, ...],
        result: tuple[NDArray[Any], NDArray[Any]],
    ) -> None:
        here = replace(view, index=local)
        before, after = (here.read(labels, local) for labels in result)
        kinds = np.zeros(before.shape, np.int32)
        kinds[(before != 0) & (after == 0)] = REMOVED
        kinds[(before == 0) & (after != 0)] = ADDED
        kinds[(before != 0) & (after != 0) & (before != after)] = RENUMBERED
        self.preview.show(kinds, target, view)
        is_part = any(
            n < image_shape(target)[axis]
            for axis, n in enumerate(result[0].shape)
            if axis >= target.ndim - 3
        )
        is_3d = any(step.dimensions == 3 for step in self.steps.active)
        self._say(preview_text(kinds, is_part and is_3d))

    def _on_cleaned(self, target: Labels, found: tuple[PlaneChange, ...]) -> None:
        self.is_applying = False
        with self._errors():
            left = repeat_labels(target, found)
            self.written.note(target, found, f"clean-up of {target.name}")
            # Another preview would show what a second time would do.
            self.is_previewing = False
            self.preview.hide()
            # So that Ctrl-Z is that of these labels.
            self.viewer.layers.selection.active = target
            count = sum(change.count for change in found)
            rest = f" {left} pixels edited meanwhile were left alone." if left else ""
            self._say(f"{count:,} pixels of {target.name} changed.{rest}")

    def _on_failure(self, error: Exception) -> None:
        self.is_applying = False
        super()._on_failure(error)


def preview_text(kinds: NDArray[np.int32], is_part: bool) -> str:
    """Say what the steps would do to a plane.

    Parameters
    ----------
    kinds : ndarray of shape (H, W), int32
        0, REMOVED, ADDED or RENUMBERED.
    is_part : bool
        Whether 3D steps saw only the planes around.

    Examples
    --------
    >>> preview_text(np.array([[0, 1, 1]], np.int32), is_part=False)
    'In this plane: 2 pixels removed (red).'
    """
    names = {REMOVED: "removed (red)", ADDED: "added (green)"}
    names[RENUMBERED] = "of another label (yellow)"
    counts = {kind: int(np.count_nonzero(kinds == kind)) for kind in names}
    parts = [f"{n:,} pixels {names[kind]}" for kind, n in counts.items() if n]
    text = f"In this plane: {', '.join(parts) or 'nothing changes'}."
    if is_part:
        text += " Seen from the planes around; Apply looks at all of them."
    return text
