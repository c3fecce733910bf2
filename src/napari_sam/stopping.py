"""Stop an encoding halfway, from another thread.

An encoding is one call that takes seconds, and whoever waits for a mask should not wait
for the end of one that was begun while nothing else was to be done. The encoders ask
`may_stop` between their blocks; whoever runs them says with `stoppable` when to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Stopped", "may_stop", "stoppable"]


class Stopped(BaseException):
    """Work was stopped in the middle, as it was asked to; no error."""


# Of this thread alone: others may run the same model meanwhile.
_is_stopped: ContextVar[Callable[[], bool] | None] = ContextVar(
    "is_stopped", default=None
)


def may_stop() -> None:
    """End here if that is what is wanted.

    Raises
    ------
    Stopped
        In a `stoppable` block that is to end.
    """
    is_stopped = _is_stopped.get()
    if is_stopped is not None and is_stopped():
        raise Stopped


@contextmanager
def stoppable(is_stopped: Callable[[], bool]) -> Iterator[None]:
    """Let work in this thread end at the next `may_stop`.

    Parameters
    ----------
    is_stopped : callable
        Whether to end; asked often, so it must be quick.

    Examples
    --------
    >>> with stoppable(lambda: False):
    ...     may_stop()  # goes on
    """
    before = _is_stopped.set(is_stopped)
    try:
        yield
    finally:
        _is_stopped.reset(before)
