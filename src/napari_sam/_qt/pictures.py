"""Small pictures in the widget: what SAM sees, and what the cache holds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent, QPixmap
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_sam._qt.engine import CacheReport, Usage
from napari_sam._qt.progress_bar import Bar

MIB = 1 << 20
PICTURE_HEIGHT = 72
# Seen on dark and on light; the palette of Qt knows nothing of napari's themes.
_EMPTY, _READY, _HERE = QColor(128, 128, 128, 70), QColor("#4c9be8"), QColor("#f0a030")


class SeenPicture(QLabel):
    """The displayed plane as SAM sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setFixedHeight(PICTURE_HEIGHT)
        self.setToolTip(
            "What SAM sees of this plane: with too little contrast here, choose other "
            "contrast limits"
        )
        self._shown: NDArray[np.uint8] | None = None
        self.show_pixels(None)

    def show_pixels(self, pixels: NDArray[np.uint8] | None) -> None:
        """Show a plane.

        Parameters
        ----------
        pixels : ndarray of shape (H, W) or (H, W, 3), uint8, optional
        """
        if pixels is None:
            self._shown = None
            self.setText("not looked at yet")
            return
        if pixels is self._shown:
            return
        self._shown = pixels
        pixels = np.ascontiguousarray(pixels)
        formats = QImage.Format
        kind = formats.Format_RGB888 if pixels.ndim == 3 else formats.Format_Grayscale8
        rows, columns = pixels.shape[:2]
        data = pixels.tobytes()  # Qt does not keep it: it must outlive the image
        image = QImage(data, columns, rows, pixels.strides[0], kind)
        size = QSize(3 * PICTURE_HEIGHT, PICTURE_HEIGHT)
        self.setPixmap(
            QPixmap.fromImage(image).scaled(
                size,
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        )


class PlaneStrip(QWidget):
    """All planes of a stack side by side; those that are encoded are lit."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(10)
        self.setToolTip(
            "The planes of the stack: masks come at once where the bar is blue; the "
            "orange line is the displayed plane"
        )
        self._count, self._here = 0, 0
        self._ready: frozenset[int] = frozenset()
        self.show_planes(0, 0, ())

    def show_planes(self, count: int, here: int, ready: Collection[int]) -> None:
        """Show which planes are encoded.

        Parameters
        ----------
        count : int
            Number of planes; 0 hides the strip.
        here : int
            The displayed one.
        ready : collection of int
            Those that are encoded.
        """
        now = count, here, frozenset(ready)
        if now != (self._count, self._here, self._ready):
            self._count, self._here, self._ready = now
            self.update()
        self.setVisible(count > 1)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the planes."""
        painter, width = QPainter(self), self.width() / max(1, self._count)
        painter.fillRect(self.rect(), _EMPTY)
        for plane in self._ready:
            place = QRectF(plane * width, 0, max(2.0, width), self.height())
            painter.fillRect(place, _READY)
        line = QRectF((self._here + 0.5) * width - 1, 0, 2, self.height())
        painter.fillRect(line, _HERE)
        painter.end()


class CacheBars(QWidget):
    """How much of its budgets the cache has used, a bar for each tier."""

    def __init__(self) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        self.bars: dict[str, Bar] = {}
        for name, tooltip in (
            ("device", "Embeddings on the graphics card"),
            ("memory", "Embeddings in memory"),
            ("disk", "Embeddings on disk, found again tomorrow"),
        ):
            bar = Bar()
            bar.setToolTip(
                f"{tooltip}; what is longest unused leaves first. The budget is in "
                "napari's preferences."
            )
            bar.setVisible(False)
            layout.addWidget(bar)
            self.bars[name] = bar

    def show_report(self, report: CacheReport | None) -> None:
        """Show what the cache holds.

        Parameters
        ----------
        report : CacheReport, optional
        """
        tiers: dict[str, Usage | None] = {}
        if report is not None:
            tiers["device"] = report.device if report.device.used else None
            tiers["memory"] = Usage(report.used, report.budget)
            tiers["disk"] = report.disk if report.disk.budget else None
        for name, bar in self.bars.items():
            usage = tiers.get(name)
            bar.setVisible(usage is not None)
            if usage is not None:
                text = f"{name}: {_size(usage.used)} of {_size(usage.budget)}"
                bar.fill(usage.used / max(1, usage.budget), text)


def _size(count: int) -> str:
    """Bytes in words: 6 MiB, 2.0 GiB."""
    mib = count / MIB
    return f"{mib:.0f} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"


def ready_along(ready: Collection[Any], index: tuple[int, ...], last: int) -> set[int]:
    """Positions along the last sliced axis that are encoded, where the viewer is.

    Parameters
    ----------
    ready : collection of int or tuple of int
        Planes that are encoded.
    index : tuple of int
        Of the displayed plane, along each sliced axis.
    last : int
        Number of planes along the last of them.

    Examples
    --------
    >>> sorted(ready_along([(0, 3), (1, 4), (0, 7)], (0, 2), 9))
    [3, 7]
    >>> sorted(ready_along([3, 12], (2,), 9))
    [3]
    """
    found = set()
    for plane in ready:
        place = plane if isinstance(plane, tuple) else (plane,)
        if place[:-1] == index[:-1] and place[-1] < last:
            found.add(place[-1])
    return found
