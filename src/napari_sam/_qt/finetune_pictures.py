"""A plane before and after fine-tuning, side by side, with outlines of the masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget
from scipy.ndimage import binary_erosion

from napari_sam._qt.controls import text
from napari_sam._qt.finetune_engine import BeforeAfter, Compared

SIDE = 112
"""Pixels of the longer side of a picture: two fit into a narrow dock, also beside the
scroll bar that they make necessary; what is wider would be cut off."""
# Told apart by the colour-blind, on grey and on coloured images.
TRUTH, MASK = (86, 180, 233), (255, 140, 0)
# Around the objects, as a fraction of their extent.
MARGIN = 0.1


class ComparisonPictures(QWidget):
    """Two small pictures with what each shows below."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = (QLabel(), QLabel())
        self.captions = (QLabel(), QLabel())
        self.legend = text("One click in the middle of each object")
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for column in (0, 1):
            picture, caption = self.pictures[column], self.captions[column]
            for label in (picture, caption):
                label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            layout.addWidget(picture, 0, column)
            layout.addWidget(caption, 1, column)
        layout.addWidget(self.legend, 2, 0, 1, 2)
        self.setVisible(False)

    def show_comparison(self, found: BeforeAfter | None) -> None:
        """Show what came of a training; nothing hides the pictures.

        Parameters
        ----------
        found : BeforeAfter, optional
        """
        self.setVisible(found is not None)
        if found is None:
            return
        for column, (name, compared) in enumerate(
            (("before", found.before), ("after", found.after))
        ):
            pixels = outlined(found, compared)
            rows, columns = pixels.shape[:2]
            data = pixels.tobytes()  # must outlive the image, which does not copy it
            kind = QImage.Format.Format_RGB888
            image = QImage(data, columns, rows, 3 * columns, kind)
            self.pictures[column].setPixmap(QPixmap.fromImage(image))
            self.captions[column].setText(f"{name}: IoU {compared.iou:.2f}")
        which = "an image held out" if found.is_held_out else "an image it learned from"
        self.legend.setText(
            f"One click on each object of {which}. Blue: your labels; orange: the mask."
        )


def outlined(found: BeforeAfter, compared: Compared) -> NDArray[np.uint8]:
    """Draw the outlines of labels and masks on a small picture of a plane.

    Parameters
    ----------
    found : BeforeAfter
    compared : Compared
        Whose masks are drawn.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
        The part of the plane around the objects, at most `SIDE` wide and high.
    """
    rows, columns = _places(np.logical_or.reduce(found.truth))
    pixels = found.pixels[np.ix_(rows, columns)]
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=-1)
    drawn = np.ascontiguousarray(pixels)
    for masks, colour in ((found.truth, TRUTH), (compared.masks, MASK)):
        drawn[_outlines(masks, (rows, columns))] = colour
    return drawn


def _outlines(
    masks: Sequence[NDArray[np.bool_]], places: tuple[NDArray[np.intp], ...]
) -> NDArray[np.bool_]:
    """Outlines of all masks, one pixel of the picture thin."""
    small = (mask[np.ix_(*places)] for mask in masks)
    edges = [mask & ~binary_erosion(mask) for mask in small]
    return np.asarray(np.logical_or.reduce(edges), bool)


def _places(objects: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the plane that make up the picture."""
    ends = []
    for axis in (0, 1):
        there = np.flatnonzero(objects.any(1 - axis))
        margin = int(MARGIN * (there[-1] - there[0])) + 4
        first = max(0, int(there[0]) - margin)
        ends.append((first, min(objects.shape[axis], int(there[-1]) + margin + 1)))
    scale = SIDE / max(last - first for first, last in ends)
    made = []
    for first, last in ends:
        count = max(1, round(scale * (last - first)))
        place = first + (np.arange(count) + 0.5) / scale
        made.append(np.clip(place.astype(np.intp), first, last - 1))
    return made[0], made[1]
