"""Errors as napari notifications."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from napari.utils.notifications import notification_manager, show_error, show_info

# Said in a sentence by this package; anything else is a fault in it.
EXPECTED = (ValueError, OSError, MemoryError)


def report_error(error: Exception) -> str:
    """Show an error; one that nobody expected with its traceback.

    Parameters
    ----------
    error : Exception

    Returns
    -------
    str
        A sentence for the status line.
    """
    if isinstance(error, EXPECTED):
        show_error(str(error))
        return str(error)
    notification_manager.receive_error(type(error), error, error.__traceback__)
    return f"Something went wrong: {error}"


def report_note(text: str) -> None:
    """Show a sentence that is good to know, and no error."""
    show_info(text)


@contextmanager
def reporting(on_error: Callable[[Exception], None]) -> Iterator[None]:
    """Hand on what goes wrong within; the viewer goes on.

    Parameters
    ----------
    on_error : callable
    """
    try:
        yield
    except Exception as error:
        on_error(error)
