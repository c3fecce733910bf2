"""Numbers that no object has, without holding the viewer up for a large volume."""

from __future__ import annotations

from collections.abc import Collection, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_sam._generators import result_of
from napari_sam._layers_target import free_label, label_parts
from napari_sam._qt.runner import Receiver, Runner

if TYPE_CHECKING:
    from napari.layers import Labels

# Bytes that are searched within a few milliseconds, at once.
SMALL = 16 << 20


class Numbering:
    """Finds free numbers in labels, and remembers the largest one there is.

    Parameters
    ----------
    runner : Runner
        Searches what is large.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._target: Labels | None = None
        self._largest: int | None = None

    def note(self, target: Labels, number: int) -> None:
        """Remember a number that was written into labels."""
        if target is self._target and self._largest is not None:
            self._largest = max(self._largest, number)

    def find(
        self, target: Labels | None, taken: Collection[int], receiver: Receiver
    ) -> None:
        """Find a number that is neither in labels nor taken.

        Parameters
        ----------
        target : Labels layer, optional
        taken : collection of int
        receiver : Receiver
            Gets the number: at once, unless large labels are searched the first time.

        Raises
        ------
        ValueError
            If none is free.
        """
        if target is None:
            receiver.done(max(taken, default=0) + 1)
            return
        self._follow(target)
        data = target.data
        search = partial(_search, data, target.name, tuple(taken), self._largest)
        if self._largest is None and _nbytes(data) > SMALL:
            done = partial(self._found, target, receiver)
            self._runner.submit(
                search, Receiver(done, receiver.failed, receiver.stepped)
            )
            return
        self._found(target, receiver, result_of(search()))

    def _found(
        self, target: Labels, receiver: Receiver, found: tuple[int, int]
    ) -> None:
        largest, number = found
        if target is self._target:
            self._largest = max(largest, self._largest or 0)
        receiver.done(number)

    def _follow(self, target: Labels) -> None:
        """Notice what is painted into a layer from now on."""
        if target is self._target:
            return
        self.stop()
        self._target, self._largest = target, None
        target.events.paint.connect(self._on_paint)
        target.events.data.connect(self._on_data)

    def _on_paint(self, event: Any) -> None:
        self.note(event.source, int(event.source.selected_label))

    def _on_data(self, event: Any) -> None:
        self._largest = None

    def stop(self) -> None:
        """Listen to nothing any more."""
        if self._target is not None:
            self._target.events.paint.disconnect(self._on_paint)
            self._target.events.data.disconnect(self._on_data)
        self._target = None


def _nbytes(data: Any) -> int:
    count = 1
    for length in data.shape:
        count *= int(length)
    return count * int(data.dtype.itemsize)


def _search(
    data: Any, name: str, taken: Collection[int], largest: int | None
) -> Generator[str, None, tuple[int, int]]:
    """Return the largest label and a free one."""
    if largest is None:
        largest = 0
        for part in label_parts(data):
            largest = max(largest, int(part.max(initial=0)))
            yield "Looking for a free number"
    return largest, free_label(data, name, taken, largest)
