"""What a user does with the widget, for tests: open it, click, draw, wait.

No test is in here; files that import Qt are called test_qt_* (CONTRIBUTING.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("qtpy.QtCore", exc_type=ImportError)

from qtpy.QtCore import QCoreApplication, QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent

from napari_sam._qt.annotation import SegmentAnythingWidget
from napari_sam._tests.tiny_models import WIDTH, CountingPredictor, tiny_sam

PLUGIN, TITLE = "napari-sam-stacks", "Segment Anything"


def image(*shape: int, seed: int = 0) -> np.ndarray:
    """Noise with a bright square in the middle of each plane."""
    data = np.random.default_rng(seed).integers(0, 80, shape).astype(np.uint8)
    data[..., shape[-2] // 4 : shape[-2] // 2, shape[-1] // 4 : shape[-1] // 2] += 150
    return data


class DiscPredictor(CountingPredictor):
    """A predictor of masks that one can foresee: discs around foreground points.

    Of the three masks of a single point the second has the highest score. Boxes and
    masks count as a point in their middle; around background points nothing is.
    """

    RADII = (3.0, 6.0, 9.0)
    SCORES = (0.7, 0.9, 0.8)

    def __init__(self) -> None:
        super().__init__(
            tiny_sam(), "discs", "discs", device="cpu", precision="float32"
        )

    def _encode(self, planes: Any) -> Any:
        features = torch.zeros(1, WIDTH, 64, 64)
        return [self.restore(features, plane, self.key(plane)) for plane in planes]

    def decode(
        self, embedding: Any, prompts: Any, multimask: bool, min_score: Any = None
    ) -> Any:
        """Logits (B, M, 256, 256) and scores (B, M)."""
        chosen = [0, 1, 2] if multimask else [1]
        logits = [
            [self._disc(one, embedding.plane_size, self.RADII[i]) for i in chosen]
            for one in prompts
        ]
        scores = [[self.SCORES[i] for i in chosen] for _ in prompts]
        return torch.tensor(np.array(logits)).float(), torch.tensor(scores)

    @staticmethod
    def _disc(prompts: Any, plane_size: tuple[int, int], radius: float) -> Any:
        """Logits of one mask, in pixels of the plane."""
        scale = max(plane_size) / 256
        grid = (np.indices((256, 256)).transpose(1, 2, 0) + 0.5) * scale - 0.5
        points = prompts.points[prompts.point_labels == 1]
        if prompts.box is not None:
            points = np.vstack([points, prompts.box.reshape(2, 2).mean(axis=0) - 0.5])
        holes = prompts.points[prompts.point_labels == 0]
        around = [radius - np.linalg.norm(grid - point, axis=-1) for point in points]
        away = [np.linalg.norm(grid - hole, axis=-1) - radius for hole in holes]
        return np.minimum.reduce([np.maximum.reduce(around), *away])


class User:
    """Someone in front of a viewer with the widget.

    Parameters
    ----------
    viewer : napari.Viewer
    qtbot : QtBot
    """

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer = viewer
        self.qtbot = qtbot
        self.dock, self.widget = viewer.window.add_plugin_dock_widget(PLUGIN, TITLE)
        assert isinstance(self.widget, SegmentAnythingWidget)
        self.points: Any = None
        self.shapes: Any = None
        self.controls = self.widget.controls
        self.annotator = self.widget.annotator

    @property
    def status(self) -> str:
        """The line that says what to do next."""
        return self.controls.status.text()

    def press(self, name: str) -> None:
        """Click on a button."""
        button = getattr(self.controls, name)
        assert button.isEnabled(), name
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def key(self, key: str) -> None:
        """Press a key with the focus on the canvas."""
        self.viewer.window._qt_viewer.canvas._key_map_handler.press_key(key)

    @property
    def camera(self) -> Any:
        """Camera of the viewer; before napari 0.9 it had no scene."""
        return getattr(self.viewer, "scene", self.viewer).camera

    def at(self, row: float, column: float) -> QPoint:
        """Where a place in the world is on the canvas, in a view of 2D."""
        canvas, camera = self.viewer.window._qt_viewer.canvas, self.camera
        away = np.array([row, column]) - camera.center[-2:]
        y, x = away * camera.zoom + np.array(canvas.size) / 2
        return QPoint(round(x), round(y))

    def drag(self, *places: tuple[float, float]) -> None:
        """Press the mouse at a place, move it along the others, and release it."""
        native = self.viewer.window._qt_viewer.canvas.native
        left = Qt.MouseButton.LeftButton
        start, *along = [self.at(*place) for place in places]
        self.qtbot.mousePress(native, left, pos=start)
        for point in along:
            # QTest moves the pointer without the button.
            move = QMouseEvent(
                QEvent.Type.MouseMove,
                QPointF(point),
                QPointF(native.mapToGlobal(point)),
                Qt.MouseButton.NoButton,
                left,
                Qt.KeyboardModifier.NoModifier,
            )
            QCoreApplication.sendEvent(native, move)
            self.qtbot.wait(50)  # napari leaves out moves that follow too fast
        self.qtbot.mouseRelease(native, left, pos=[start, *along][-1])

    def layer(self, name: str) -> Any:
        """Layer by name."""
        return self.viewer.layers[name]

    def start(self) -> None:
        """Make the prompt layers."""
        self.press("start")
        name = self.annotator.image.name
        self.points = self.layer(f"points: {name}")
        self.shapes = self.layer(f"boxes: {name}")

    def wait(self, condition: Any) -> None:
        """Let the event loop run until something is so."""
        self.qtbot.waitUntil(condition, timeout=20000)

    def settle(self) -> None:
        """Wait until the mask of the prompts of now is there, or no more is coming."""
        self.qtbot.wait(30)
        self.wait(lambda: not self.annotator.runner.is_busy)
        self.qtbot.wait(30)

    @property
    def preview(self) -> np.ndarray | None:
        """Copy of the preview layer's data, which is drawn in place, if visible."""
        layer = self.annotator.preview.layer
        return layer.data.copy() if layer is not None and layer.visible else None

    def mask(self, index: int | None = None) -> np.ndarray:
        """Mask of the last answer."""
        work = self.annotator.work
        return work.answer.prediction.masks[work.mask_index if index is None else index]


class JobUser:
    """Someone in front of a dock widget with long work.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    qtbot : QtBot
    widget : JobWidget
        With buttons and choosers in its `controls`.
    own : object
        What does the work, with a `runner`.
    """

    def __init__(self, viewer: Any, qtbot: Any, widget: Any, own: Any) -> None:
        self.viewer, self.qtbot, self.widget, self.own = viewer, qtbot, widget, own
        self.controls = widget.controls

    @property
    def status(self) -> str:
        """The line that says what to do next."""
        return self.widget.status.text()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self.own.runner.is_busy

    def settle(self) -> None:
        """Wait until nothing is under way."""
        self.own.refresh()
        self.qtbot.waitUntil(lambda: self.is_idle, timeout=20000)
        # A job may end before anyone sees that it runs.
        QCoreApplication.processEvents()

    def press(self, name: str) -> None:
        """Press a button, as far as it can be pressed."""
        control = getattr(self.controls, name)
        assert control.isEnabled(), name
        control.click()
        self.settle()

    def choose(self, name: str, value: Any) -> None:
        """Choose an entry as a user would."""
        box = getattr(self.controls, name)
        index = box.findData(value)
        assert index >= 0
        box.setCurrentIndex(index)
        box.activated.emit(index)
