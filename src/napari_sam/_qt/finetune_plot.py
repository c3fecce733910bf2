"""Curves of a training while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

HEIGHT = 112
# On the horizontal axis before anything is known.
LEAST_MINUTES = 0.1


@dataclass(frozen=True)
class Curve:
    """One line of a plot.

    Parameters
    ----------
    name : str
        In the legend; "" is not listed.
    colour : str
    points : sequence of (float, float)
        Minutes and value.
    is_marked : bool
        Whether each point has a dot.
    """

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    is_marked: bool = False


class CurvePlot(QWidget):
    """Values over minutes, with axes.

    Parameters
    ----------
    title : str
        What the vertical axis shows.
    tooltip : str
    top : float, optional
        End of the vertical axis; that of the values by default.
    """

    def __init__(self, title: str, tooltip: str, top: float | None = None) -> None:
        super().__init__()
        self.title, self.top = title, top
        self.curves: tuple[Curve, ...] = ()
        self.best: float | None = None
        self.minutes = LEAST_MINUTES
        self.setToolTip(tooltip)
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Return the size it would like to have."""
        return QSize(260, HEIGHT)

    def show_curves(
        self, curves: Sequence[Curve], minutes: float, best: float | None = None
    ) -> None:
        """Draw other curves.

        Parameters
        ----------
        curves : sequence of Curve
        minutes : float
            Where the horizontal axis ends.
        best : float, optional
            Minute of the model that is kept.
        """
        self.curves, self.best = tuple(curves), best
        self.minutes = max(minutes, LEAST_MINUTES)
        self.update()

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the two axes: minutes and value; they begin at 0."""
        values = [value for curve in self.curves for _, value in curve.points]
        return self.minutes, self.top or max(values, default=1.0) or 1.0

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the axes and the curves."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = self.fontMetrics()
        left = metrics.horizontalAdvance("0.00") + 8
        line = metrics.height()
        frame = QRectF(left, 1.5 * line + 4, self.width() - left - 6, 0)
        frame.setBottom(self.height() - line - 4)
        self._draw_axes(painter, frame)
        self._draw_legend(painter, frame)
        for curve in self.curves:
            self._draw_curve(painter, frame, curve)
        painter.end()

    def _draw_axes(self, painter: QPainter, frame: QRectF) -> None:
        text = self.palette().color(self.foregroundRole())
        faint = QColor(text)
        faint.setAlphaF(0.35)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(frame.topLeft(), frame.bottomLeft())
        painter.drawLine(frame.bottomLeft(), frame.bottomRight())
        if self.best is not None:
            painter.setPen(QPen(faint, 1, Qt.PenStyle.DashLine))
            x = frame.left() + frame.width() * self.best / self.limits[0]
            painter.drawLine(QPointF(x, frame.top()), QPointF(x, frame.bottom()))
        painter.setPen(text)
        minutes, top = self.limits
        line = self.fontMetrics().height()
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for value in (0.0, top / 2, top):
            y = frame.bottom() - frame.height() * value / top
            box = QRectF(0, y - line / 2, frame.left() - 4, line)
            painter.drawText(box, right, f"{value:.2g}")
        below = QRectF(frame.left(), frame.bottom() + 2, frame.width(), line)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "0")
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, "minutes")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{minutes:.1f}")

    def _draw_legend(self, painter: QPainter, frame: QRectF) -> None:
        """Write what is drawn, in its colour, above the frame."""
        metrics = self.fontMetrics()
        x = 2.0
        text = self.palette().color(self.foregroundRole())
        entries = [(self.title, text)]
        entries += [(one.name, QColor(one.colour)) for one in self.curves if one.name]
        for name, colour in entries:
            if colour is not text:
                swatch = QRectF(x, metrics.height() / 2 - 2, 10, 4)
                painter.fillRect(swatch, colour)
                x += 13
            painter.setPen(text)
            painter.drawText(QPointF(x, metrics.ascent() + 1), name)
            x += metrics.horizontalAdvance(name) + 8

    def _draw_curve(self, painter: QPainter, frame: QRectF, curve: Curve) -> None:
        if not len(curve.points):
            return
        minutes, top = self.limits
        places = np.clip(np.array(curve.points) / (minutes, top), 0, 1)
        points = [
            QPointF(
                frame.left() + x * frame.width(), frame.bottom() - y * frame.height()
            )
            for x, y in places
        ]
        painter.setPen(QPen(QColor(curve.colour), 1.6))
        painter.drawPolyline(QPolygonF(points))
        if curve.is_marked:
            painter.setBrush(QColor(curve.colour))
            for point in points:
                painter.drawEllipse(point, 1.8, 1.8)
            painter.setBrush(Qt.BrushStyle.NoBrush)
