"""What those share who follow layers of the viewer and have the worker do something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sam._qt.plane_layer import PlaneLayer
from napari_sam._qt.progress import Progress
from napari_sam._qt.report import report_error, reporting
from napari_sam._qt.runner import Receiver, Runner
from napari_sam._qt.turns import timer_once
from napari_sam._qt.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam._layers import ViewPlane


class LayerWork(QObject):
    """Reads off the viewer what can be done, has it done, and tells what came of it.

    Parameters
    ----------
    preview : PlaneLayer
        Shows what may become of the displayed plane; its viewer is the one followed.
    parent : QObject, optional
    rest : int
        Milliseconds that changes rest before they are looked at.

    Notes
    -----
    `changed` is sent when there is something new to show.
    """

    changed = Signal()

    def __init__(
        self, preview: PlaneLayer, parent: QObject | None = None, rest: int = 0
    ) -> None:
        super().__init__(parent)
        self.viewer, self.preview = preview.viewer, preview
        self.runner = Runner(self)
        self.view: ViewPlane | None = None
        self.problem = ""
        self.message = ""
        self.progress = Progress(0, "")
        self._is_closed = False
        self._dirty = timer_once(self, rest, self.refresh)
        self._watcher = Watcher(self.viewer, self._mark_dirty, self._mark_dirty)

    def _mark_dirty(self, event: Any = None) -> None:
        if not self._is_closed:
            self._dirty.start()

    def refresh(self) -> None:
        """Read off the viewer what can be done now."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of viewer and worker."""
        if not self._is_closed:
            self._is_closed = True
            self._dirty.stop()
            self._watcher.stop()
            self._let_go()
            self.runner.close()
            self.preview.remove()

    def _let_go(self) -> None:
        """Let go of what else is held, before the worker ends."""
        raise NotImplementedError

    def _submit(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self.progress = Progress(0, "Starting")
        self.runner.submit(work, self._receiver(done))
        self.changed.emit()

    def _receiver(self, done: Callable[[Any], None]) -> Receiver:
        return Receiver(done, self._on_failure, self._on_step)

    def _on_step(self, step: Any) -> None:
        if isinstance(step, Progress):
            self.progress = step
            self.changed.emit()

    def _say(self, text: str) -> None:
        self.message = text
        self.changed.emit()

    def _on_failure(self, error: Exception) -> None:
        self._say(report_error(error))

    def _errors(self) -> Any:
        return reporting(self._on_failure)
