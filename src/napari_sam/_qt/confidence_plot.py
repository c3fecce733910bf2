"""A small plot of how far each plane of a followed object can be trusted."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_sam._qt.volume_state import Review, shows_object
from napari_sam.review import DOUBTFUL

# Distinct for the colour-blind, too; on light and on dark themes.
TRUSTED, DOUBTED, DECIDED = "#3fa66b", "#e69f00", "#5b9bd5"
# Below the bars, for the marks of seeds.
FOOT = 8
LEAST_BAR = 2.0


class ConfidencePlot(QWidget):
    """A bar for each plane; a click shows the plane.

    Notes
    -----
    `chosen` is sent with the position of the plane that was clicked.
    """

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.review = Review()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(64)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip(
            "How far each plane can be trusted: SAM's own estimate times the overlap "
            "with the neighbours. Orange is worth a look, blue is approved, triangles "
            "are marked planes; click to go there"
        )

    def show_review(self, review: Review) -> None:
        """Draw what is known of an object.

        Parameters
        ----------
        review : Review
        """
        self.review = review
        self.update()

    def sizeHint(self) -> QSize:
        """Return the size it would like to have."""
        return QSize(240, 64)

    def position(self, x: float) -> int:
        """Plane that is drawn at a pixel from the left."""
        count = max(self.review.count, 1)
        return min(max(int(x * count / max(self.width(), 1)), 0), count - 1)

    def left(self, position: int) -> float:
        """Pixel from the left at which a plane begins."""
        return position * self.width() / max(self.review.count, 1)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go to the plane that was clicked."""
        if event is not None and self.review.count:
            self.chosen.emit(self.position(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Drag through the planes, or say which one is under the mouse."""
        if event is None or not self.review.count:
            return
        position = self.position(event.position().x())
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.chosen.emit(position)
            return
        value = self.review.confidence.get(position)
        known = "" if value is None else f": {value:.2f}"
        where = event.globalPosition().toPoint()
        QToolTip.showText(where, f"plane {position}{known}", self)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw bars, the limit of doubt, marks of seeds, and the displayed plane."""
        if not self.review.count:
            return
        painter = QPainter(self)
        base = self.height() - FOOT
        text = self.palette().color(self.foregroundRole())
        faint = QColor(text)
        faint.setAlphaF(0.35)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(QPointF(0, base + 0.5), QPointF(self.width(), base + 0.5))
        for left, width, value, colour in self._bars():
            height = max(value * base, LEAST_BAR)
            painter.fillRect(QRectF(left, base - height, width, height), colour)
        painter.setPen(QPen(faint, 1, Qt.PenStyle.DashLine))
        limit = base * (1 - DOUBTFUL)
        painter.drawLine(QPointF(0, limit), QPointF(self.width(), limit))
        self._mark_seeds(painter, text)
        middle = self.left(self.review.here) + 0.5 * self.left(1)
        painter.setPen(QPen(text, 1.5))
        painter.drawLine(QPointF(middle, 0), QPointF(middle, base))
        painter.end()

    def _bars(self) -> list[tuple[float, float, float, QColor]]:
        """Left, width, value and colour; of planes in one pixel the least certain."""
        pixel = max(1.0, self.left(1))
        gap = 1.0 if pixel >= 4 else 0.0
        least: dict[float, int] = {}
        confidence = self.review.confidence
        for position in confidence:
            left = self.left(position)
            left = left if pixel > 1 else float(int(left))
            if left not in least or confidence[position] < confidence[least[left]]:
                least[left] = position
        return [
            (left, pixel - gap, confidence[position], self._colour(position))
            for left, position in least.items()
        ]

    def _colour(self, position: int) -> QColor:
        if position in self.review.certain:
            return QColor(DECIDED)
        is_doubtful = self.review.confidence[position] < DOUBTFUL
        return QColor(DOUBTED if is_doubtful else TRUSTED)

    def _mark_seeds(self, painter: QPainter, text: QColor) -> None:
        """Mark marked planes: full triangles, hollow where there is no object."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(text, 1))
        top, bottom = self.height() - FOOT + 2.0, self.height() - 1.0
        for position, seed in self.review.seeds.items():
            middle = self.left(position) + 0.5 * self.left(1)
            corners = [(middle, top), (middle - 4, bottom), (middle + 4, bottom)]
            painter.setBrush(text if shows_object(seed) else Qt.BrushStyle.NoBrush)
            painter.drawPolygon(QPolygonF([QPointF(*corner) for corner in corners]))
