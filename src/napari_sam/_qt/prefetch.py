"""Encode the displayed plane, and those around it, while nothing is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_sam._layers_view import image_shape
from napari_sam._qt.engine import Encoded, Engine, Source
from napari_sam._qt.runner import Receiver
from napari_sam._qt.turns import timer_once
from napari_sam.types import Plane

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam._qt.runner import Runner
    from napari_sam._qt.state import Scene

# A viewer that is being scrolled does not want every plane encoded.
DELAY = 300


class Prefetcher(QObject):
    """Plans idle work for a runner, once for each plane that is looked at.

    Parameters
    ----------
    runner : Runner
    engine : Engine
    receiver : Receiver
        Is told of each plane that is encoded.
    parent : QObject, optional
    """

    def __init__(
        self,
        runner: Runner,
        engine: Engine,
        receiver: Receiver,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._runner = runner
        self._engine = engine
        self._receiver = receiver
        self._next: tuple[Source, list[Plane]] | None = None
        self._last: tuple[Source, list[Plane]] | None = None
        self._underway: tuple[Source, list[Plane]] | None = None
        self._timer = timer_once(self, DELAY, self._begin)

    def plan(self, scene: Scene, image: Image | None) -> None:
        """Encode what is displayed in a moment, if nothing is asked for until then.

        Parameters
        ----------
        scene : Scene
        image : Image layer, optional
        """
        source, view = scene.source, scene.view
        if (
            image is None
            or source is None
            or view is None
            # Neither before the user begins, nor a download that nobody asked for.
            or not scene.has_prompt_layers
            or scene.download is not None
        ):
            self._timer.stop()
            return
        shape = image_shape(image)
        around = neighbours(view.index, [shape[axis] for axis in view.sliced_axes])
        self._next = source, [view.plane, *around]
        if self._next != self._last and not self._runner.is_busy:
            self._timer.start()

    def is_encoding(self, source: Source, plane: Plane) -> bool:
        """Whether this very plane is what the worker encodes ahead now.

        Parameters
        ----------
        source : Source
        plane : int or tuple of int
        """
        underway = self._underway
        return underway is not None and (source, plane) == (underway[0], underway[1][0])

    def stop(self) -> None:
        """Plan nothing; what is underway is the runner's to stop."""
        self._timer.stop()

    def forget(self) -> None:
        """Let go of the last image, or of its pixels that have changed."""
        self.stop()
        self._next = self._last = None

    def _begin(self) -> None:
        if self._next is None or self._runner.is_busy:
            return
        plan, receiver = self._next, self._receiver
        work = partial(self._engine.prefetch, *plan)

        def step(value: Any) -> None:
            if isinstance(value, Encoded) and self._underway is not None:
                left = self._underway[1][1:]
                self._underway = (plan[0], left) if left else None
            receiver.stepped(value)

        def end(report: Callable[[Any], None], value: Any) -> None:
            self._last = plan  # what a click stops is begun again after it
            self._underway = None
            report(value)

        done, failed = partial(end, receiver.done), partial(end, receiver.failed)
        self._underway = plan
        self._runner.submit_idle(work, Receiver(done, failed, step))


def neighbours(
    index: Sequence[int], shape: Sequence[int], reach: int = 2
) -> list[Plane]:
    """Planes around one, the nearest first, along every sliced axis.

    Parameters
    ----------
    index : sequence of int
        Along each sliced axis.
    shape : sequence of int
        Number of planes along each of them.
    reach : int
        How far to go.

    Examples
    --------
    >>> neighbours((0,), (5,))
    [1, 2]
    >>> neighbours((3, 1), (9, 2), reach=1)
    [(3, 0), (4, 1), (2, 1)]
    """
    found: list[Plane] = []
    for distance in range(1, reach + 1):
        # The last axis first: in a time series of stacks one looks through a stack.
        for axis in reversed(range(len(shape))):
            for step in (distance, -distance):
                at = index[axis] + step
                if 0 <= at < shape[axis]:
                    moved = (*index[:axis], at, *index[axis + 1 :])
                    found.append(moved if len(shape) > 1 else at)
    return found
