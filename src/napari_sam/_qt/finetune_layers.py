"""Which images of the viewer to learn from, and with which labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHeaderView, QTreeWidget, QTreeWidgetItem

from napari_sam._layers_view import image_shape
from napari_sam._qt import workspace
from napari_sam._qt.controls import choice, fill
from napari_sam._qt.finetune_engine import ImageValues, LabelsValues, Pair

if TYPE_CHECKING:
    from napari.layers import Image

HEIGHT = 110


class PairChooser(QTreeWidget):
    """A line for each image of a viewer: a tick, and its labels.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self._images: list[Image] = []
        self._chosen: dict[Image, tuple[bool, Labels | None]] = {}
        self.setHeaderLabels(["Image", "Its labels"])
        self.setRootIsDecorated(False)
        self.setFixedHeight(HEIGHT)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setToolTip("Tick the images to learn from, and choose the labels of each")
        header: Any = self.header()
        for column in (0, 1):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        events = viewer.layers.events
        self._followed: tuple[Any, ...] = (events.inserted, events.removed)
        for event in self._followed:
            event.connect(self.refresh)
        self.itemChanged.connect(self._on_change)
        self.refresh()

    def close_events(self) -> None:
        """Follow the viewer no more; may be called again."""
        followed, self._followed = self._followed, ()
        for event in followed:
            event.disconnect(self.refresh)

    def refresh(self, event: Any = None) -> None:
        """List the images of now; what the user chose is kept."""
        self.blockSignals(True)
        self.clear()
        self._images = workspace.images_of(self.viewer)
        guesses = self._guesses()
        for image in self._images:
            ticked, labels = self._chosen.get(image, (None, None))
            if ticked is None or not workspace.is_in(self.viewer, labels):
                labels = guesses.get(image)
                ticked = labels is not None
            item = QTreeWidgetItem([image.name, ""])
            item.setToolTip(0, image.name)
            states = Qt.CheckState.Unchecked, Qt.CheckState.Checked
            item.setCheckState(0, states[ticked])
            self.addTopLevelItem(item)
            self.setItemWidget(item, 1, self._labels_box(item, labels))
        self.blockSignals(False)

    def _on_change(self, item: QTreeWidgetItem) -> None:
        """Note what the user chose of an image."""
        row = self.indexOfTopLevelItem(item)
        ticked = item.checkState(0) == Qt.CheckState.Checked
        self._chosen[self._images[row]] = ticked, self.labels_of(row)

    def _labels_box(self, item: QTreeWidgetItem, chosen: Labels | None) -> QComboBox:
        box = choice("The labels of this image")
        entries = [(layer.name, layer) for layer in self._all_labels()]
        fill(box, [("none", None), *entries], chosen)
        # What has labels now is probably meant.
        box.activated.connect(lambda: item.setCheckState(0, Qt.CheckState.Checked))
        box.activated.connect(lambda: self.itemChanged.emit(item, 1))
        return box

    def _all_labels(self) -> list[Labels]:
        """Labels of the viewer but previews, the topmost first."""
        return [
            layer
            for layer in reversed(workspace.layers_of(self.viewer))
            if isinstance(layer, Labels) and workspace.ROLE not in layer.metadata
        ]

    def _guesses(self) -> dict[Image, Labels]:
        """Labels made for an image, or else the first of its shape without an image."""
        made = {
            image: labels
            for image in self._images
            if (labels := workspace.labels_of(self.viewer, image)) is not None
        }
        free = [one for one in self._all_labels() if one not in made.values()]
        for image in reversed(self._images):
            shape = image_shape(image)
            fitting = [one for one in reversed(free) if image_shape(one) == shape]
            if image not in made and fitting:
                made[image] = fitting[0]
                free.remove(fitting[0])
        return made

    def _item(self, row: int) -> QTreeWidgetItem:
        item = self.topLevelItem(row)
        if item is None:
            raise IndexError(row)
        return item

    def labels_of(self, row: int) -> Labels | None:
        """Labels that are chosen for the image of a line."""
        box: Any = self.itemWidget(self._item(row), 1)
        chosen: Labels | None = box.currentData()
        return chosen

    def pairs(self) -> tuple[Pair, ...]:
        """Return what the ticked images and their labels hold.

        Raises
        ------
        ValueError
            If nothing is ticked, or a ticked image has no labels.
        """
        found = []
        for row, image in enumerate(self._images):
            if self._item(row).checkState(0) != Qt.CheckState.Checked:
                continue
            labels = self.labels_of(row)
            if labels is None:
                raise ValueError(
                    f"{image.name!r} has no labels: choose a Labels layer beside it, "
                    "or untick it."
                )
            found.append((_image_values(image), _labels_values(labels)))
        if not found:
            raise ValueError("Tick at least one image that has labels.")
        return tuple(found)


def _image_values(image: Image) -> ImageValues:
    low, high = image.contrast_limits
    limits = float(low), float(high)
    return ImageValues(image.name, image.data, limits, image.rgb, image.multiscale)


def _labels_values(labels: Labels) -> LabelsValues:
    data = labels.data
    if isinstance(data, np.ndarray):
        data = data.copy()
    return LabelsValues(labels.name, data, labels.multiscale)
