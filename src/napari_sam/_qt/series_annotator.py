"""One image of a series after the other, its labels saved without being asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from xxhash import xxh3_64_hexdigest

from napari_sam._layers import make_labels_layer
from napari_sam._qt import workspace
from napari_sam._qt.report import report_error, reporting
from napari_sam._qt.runner import Receiver, Runner
from napari_sam._qt.turns import timer_once
from napari_sam._reader import layer_tuple
from napari_sam.io import read_image, read_labels
from napari_sam.series import ImageSeries, SeriesImage, find_images, reason, write_into

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_sam.io import ImageFile

LABELS_FOLDER = "labels"
# Long enough not to save within a stroke, short enough to lose little.
AUTOSAVE = 2000


@dataclass(frozen=True, eq=False)
class Save:
    """Labels to be written: a copy, as the user goes on painting.

    Parameters
    ----------
    image : SeriesImage
    labels : ndarray
    like : ImageFile
        The image, which says where labels are.
    digest : str
        Of the labels.
    """

    image: SeriesImage
    labels: NDArray[Any]
    like: ImageFile
    digest: str


@dataclass(frozen=True, eq=False)
class Opened:
    """An image that was read, and its labels if there are some."""

    image: SeriesImage
    file: ImageFile
    labels: ImageFile | None


@dataclass(frozen=True, eq=False)
class Unreadable:
    """An image that could not be read, and why."""

    image: SeriesImage
    error: Exception


def exchange(
    save: Save | None, wanted: SeriesImage | None
) -> Opened | Unreadable | None:
    """Write the labels of one image, then read another; done by the worker."""
    if save is not None:
        write_into(save.image.labels, save.labels, save.like)
    if wanted is None:
        return None
    try:
        labels = read_labels(wanted.labels) if wanted.labels.exists() else None
        return Opened(wanted, read_image(wanted.path), labels)
    except (OSError, ValueError) as error:
        return Unreadable(wanted, error)


def digest(labels: Any) -> str:
    """Tell label images apart without keeping a copy."""
    return xxh3_64_hexdigest(np.ascontiguousarray(labels).view(np.uint8).data)


class SeriesAnnotator(QObject):
    """Shows the images of a folder one by one, and saves their labels.

    Parameters
    ----------
    viewer : napari.Viewer
    parent : QObject, optional

    Notes
    -----
    `changed` is sent when there is something new to show.
    """

    changed = Signal()

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.runner = Runner(self)
        self.series: ImageSeries | None = None
        self.shown: Opened | None = None
        self.labels: Labels | None = None
        self.message = ""
        self._images: list[Image] = []
        self._saved = ""
        self._timer = timer_once(self, AUTOSAVE, self.save)

    # What the user does

    def open_folder(self, folder: str | Path) -> None:
        """Open a folder of images, and the first that is not done.

        Parameters
        ----------
        folder : str or Path
            Labels and states are kept in the folder "labels" within.
        """
        with reporting(self._on_failure):
            self._keep()
            self.series = ImageSeries(find_images(folder), Path(folder) / LABELS_FOLDER)
            self._forget()
            self.show((self._waiting() or [image.name for image in self.series])[0])

    def show(self, name: str) -> None:
        """Show another image; the labels of the one before are saved."""
        if self.series is None:
            return
        wanted = self.series[name]
        self._submit(wanted, f"Opening {name} ...", is_done=False)

    def step(self, by: int) -> None:
        """Show the next image (1), or the one before (-1), of the list."""
        name = self.neighbour(by)
        if name is not None:
            self.show(name)

    def neighbour(self, by: int) -> str | None:
        """Name of the next image that can be read, or the one before; None if none."""
        if self.series is None or self.shown is None:
            return None
        names = [image.name for image in self.series]
        here = names.index(self.shown.image.name)
        others = names[here + 1 :] if by > 0 else names[:here][::-1]
        return next((n for n in others if self.series[n].state != "failed"), None)

    def finish(self) -> None:
        """Call the shown image done, and show the next one that is not."""
        if self.series is None or self.shown is None or self.labels is None:
            return
        here = self.shown.image.name
        waiting = [name for name in self._waiting() if name != here]
        wanted = self.series[waiting[0]] if waiting else None
        self._submit(wanted, f"Saving {here} ...", is_done=True)

    def _waiting(self) -> list[str]:
        """Names of images that are to be done, those after the shown one first."""
        images = [] if self.series is None else [*self.series]
        names = [image.name for image in images]
        here = names.index(self.shown.image.name) if self.shown is not None else 0
        return [
            image.name
            for image in images[here:] + images[:here]
            if image.state not in ("done", "failed")
        ]

    def reopen(self) -> None:
        """Say that the shown image is not done after all."""
        if self.series is not None and self.shown is not None:
            with reporting(self._on_failure):
                self.series.mark(self.shown.image.name, "in work")
            self.changed.emit()

    def save(self) -> None:
        """Save the labels if they have changed; done by itself after each change."""
        # What is under way saves them too.
        if self.runner.is_busy:
            self._timer.start()
        elif self._to_save() is not None:
            self._submit(None, "Saving ...", is_done=False)

    def cancel(self) -> None:
        """Stay with the image that is shown."""
        self.runner.cancel()
        self.message = ""
        self.changed.emit()

    def close(self) -> None:
        """Save what is not saved, and end the work."""
        self._timer.stop()
        with reporting(self._on_failure):
            self._keep()
        self.runner.close()

    # What happens then

    def _submit(self, wanted: SeriesImage | None, message: str, is_done: bool) -> None:
        self._timer.stop()
        save = self._to_save(always=is_done)
        self.message = message
        done: Callable[[Any], None] = partial(self._on_done, save, is_done)
        self.runner.submit(
            partial(exchange, save, wanted), Receiver(done, self._on_failure)
        )
        self.changed.emit()

    def _to_save(self, always: bool = False) -> Save | None:
        """Copy the labels if they are not those on disk."""
        if self.shown is None or self.labels is None:
            return None
        labels = np.asarray(self.labels.data)
        now = digest(labels)
        if now == self._saved and not always:
            return None
        return Save(self.shown.image, labels.copy(), self.shown.file, now)

    def _on_done(
        self, save: Save | None, is_done: bool, opened: Opened | Unreadable | None
    ) -> None:
        self.message = ""
        with reporting(self._on_failure):
            if save is not None:
                self._note(save, is_done)
            if isinstance(opened, Unreadable):
                self._skip(opened)
            elif opened is not None:
                # Painted while the next image was being read.
                self._keep()
                self._replace(opened)
        self.changed.emit()

    def _skip(self, found: Unreadable) -> None:
        """Say that an image cannot be read; the shown one stays."""
        self.message = report_error(found.error)
        if self.series is not None:
            self.series.mark(found.image.name, "failed", reason(found.error))
        if self.shown is None and self._waiting():
            self.show(self._waiting()[0])

    def _note(self, save: Save, is_done: bool) -> None:
        """Take down that labels are on disk."""
        if self.shown is not None and self.shown.image.name == save.image.name:
            self._saved = save.digest
        if self.series is None or save.image.name not in {i.name for i in self.series}:
            return
        if is_done:
            self.series.mark(save.image.name, "done")
        elif self.series[save.image.name].state != "done":
            self.series.mark(save.image.name, "in work")

    def _keep(self) -> None:
        """Save at once what is not saved."""
        save = self._to_save()
        if save is not None:
            exchange(save, None)
            self._note(save, is_done=False)

    def _replace(self, opened: Opened) -> None:
        """Take the layers of one image out, and put those of another in."""
        self._forget()
        name = opened.image.name
        data, keywords, _ = layer_tuple(opened.file, name)
        added = self.viewer.add_image(data, **keywords)
        self._images = added if isinstance(added, list) else [added]
        first = self._images[0]
        labels = make_labels_layer(first, f"labels: {name}", np.dtype(np.uint16))
        if opened.labels is not None and opened.labels.shape == labels.data.shape:
            labels.data = np.asarray(opened.labels)
        elif opened.labels is not None:
            raise ValueError(
                f"{opened.image.labels} must have the shape of its image, "
                f"{labels.data.shape}, got {opened.labels.shape}."
            )
        labels.metadata[workspace.LABELS_OF] = str(first.unique_id)
        labels.events.connect(self._on_labels)
        self.viewer.add_layer(labels)
        self.shown, self.labels = opened, labels
        self._saved = digest(labels.data)

    def _forget(self) -> None:
        """Take the layers of the shown image out, its prompts and preview too."""
        if self.labels is not None:
            self.labels.events.disconnect(self._on_labels)
        helpers = [
            layer
            for one in self._images
            for layer in workspace.made_for(self.viewer, one)
        ]
        for layer in (self.labels, *helpers, *self._images):
            if layer is not None and workspace.is_in(self.viewer, layer):
                self.viewer.layers.remove(layer)
        self._images, self.labels, self.shown = [], None, None

    def _on_labels(self, event: Any = None) -> None:
        """Save soon; whether anything has changed is looked at then."""
        if not self._timer.isActive():
            self._timer.start()

    def _on_failure(self, error: Exception) -> None:
        self.message = report_error(error)
        self.changed.emit()
