"""What the worker does, in napari's own list of activities."""

from __future__ import annotations

from napari.utils import cancelable_progress


class Activity:
    """An entry in napari's activity dialog while something takes long."""

    def __init__(self) -> None:
        self._entry: cancelable_progress | None = None

    def show(self, text: str, done: int = 0, total: int = 0) -> None:
        """Make the entry, or bring it up to date.

        Parameters
        ----------
        text : str
            What is being done.
        done, total : int
            How far it is; a total of 0 is not known.
        """
        if self._entry is None:
            self._entry = cancelable_progress(total=total, desc=text)
        # Each of these lets Qt handle events: only where there is something new.
        if self._entry.desc.removesuffix(": ") != text:
            self._entry.set_description(text)
        if self._entry.total != total:
            self._entry.total = total
        if done > self._entry.n:
            self._entry.update(done - self._entry.n)

    @property
    def is_cancelled(self) -> bool:
        """Whether the user pressed Cancel there; napari calls nobody."""
        return self._entry is not None and self._entry.is_canceled

    def hide(self) -> None:
        """Take the entry away."""
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.close()
