"""The dock widget "Image series"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)

from napari_sam._qt.controls import button, row, text
from napari_sam._qt.job_widget import JobWidget
from napari_sam._qt.series_annotator import LABELS_FOLDER, SeriesAnnotator

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtWidgets import QWidget


class ImageSeriesWidget(JobWidget):
    """Images of a folder one after the other; their labels are saved by themselves.

    Parameters
    ----------
    viewer : napari.Viewer
    parent : QWidget, optional
    """

    def __init__(
        self,
        viewer: napari.viewer.Viewer,  # napari looks for this very name
        parent: QWidget | None = None,
    ) -> None:
        # No child of this widget: it must live until it has been told to close.
        self.annotator = SeriesAnnotator(viewer)
        super().__init__(self.annotator.runner, self.annotator.close, parent)
        self._make_controls()
        self._lay_out()
        self._connect()
        self.refresh()

    def _make_controls(self) -> None:
        self.open = button("Open a folder ...", "A folder of images to label")
        self.folder = text("Where the images are")
        self.images = QTreeWidget()
        self.images.setHeaderLabels(["Image", "State"])
        self.images.setRootIsDecorated(False)
        self.images.setToolTip("Click an image to show it")
        self.images.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        header: Any = self.images.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.previous = button("< Previous", "Save the labels; show the image before")
        self.next = button("Next >", "Save the labels; show the next image")
        self.done = button(
            "Done, next", "Save the labels, call the image done, show the next one"
        )
        self.reopen = button("Not done", "Say that this image is not done after all")
        self.cancel.setToolTip("Stay with the image that is shown")
        self.progress.show_unknown()

    def _lay_out(self) -> None:
        layout = QVBoxLayout()
        layout.addWidget(self.open)
        layout.addWidget(self.folder)
        layout.addWidget(self.images, 1)
        layout.addLayout(row(self.previous, self.next))
        layout.addLayout(row(self.done, self.reopen))
        self.lay_out(layout)

    def _connect(self) -> None:
        own = self.annotator
        own.changed.connect(self.refresh)
        self.open.clicked.connect(self._choose_folder)
        self.previous.clicked.connect(lambda: own.step(-1))
        self.next.clicked.connect(lambda: own.step(1))
        self.done.clicked.connect(own.finish)
        self.reopen.clicked.connect(own.reopen)
        self.cancel.clicked.connect(own.cancel)
        self.images.itemClicked.connect(lambda item: own.show(item.text(0)))

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "A folder of images")
        if folder:
            self.annotator.open_folder(folder)

    def refresh(self) -> None:
        """Show in the controls what is known now."""
        own = self.annotator
        is_free = not own.runner.is_busy
        self.folder.setText("" if own.series is None else str(own.series.folder.parent))
        self._refresh_list()
        shown = own.series[own.shown.image.name] if own.series and own.shown else None
        self.open.setEnabled(is_free)
        self.images.setEnabled(is_free)
        self.previous.setEnabled(is_free and own.neighbour(-1) is not None)
        self.next.setEnabled(is_free and own.neighbour(1) is not None)
        self.done.setEnabled(is_free and shown is not None)
        self.reopen.setEnabled(shown is not None and shown.state == "done")
        self.status.setText(own.message or self._what_to_do())

    def _refresh_list(self) -> None:
        own = self.annotator
        images = [] if own.series is None else [*own.series]
        count = self.images.topLevelItemCount()
        items: list[Any] = [self.images.topLevelItem(place) for place in range(count)]
        names = [item.text(0) for item in items]
        if names != [image.name for image in images]:
            self.images.clear()
            items = [QTreeWidgetItem([image.name, ""]) for image in images]
            self.images.addTopLevelItems(items)
        for item, image in zip(items, images, strict=True):
            item.setToolTip(0, str(image.path))
            item.setText(1, image.state)
            item.setToolTip(1, image.message)
            if own.shown is not None and image.name == own.shown.image.name:
                self.images.setCurrentItem(item)
                self.images.scrollToItem(item)

    def _what_to_do(self) -> str:
        series, shown = self.annotator.series, self.annotator.shown
        if series is None:
            return "Open a folder of images."
        done = sum(image.state == "done" for image in series)
        so_far = f"{done} of {len(series)} images are done."
        if done == len(series):
            return f"{so_far} Labels are in the folder {series.folder.name}."
        if shown is None:
            return f"{so_far} Click an image to show it."
        return (
            f"{so_far} Paint labels, or use Segment Anything; they are saved in the "
            f"folder {LABELS_FOLDER} by themselves."
        )
