"""Work that says how far it is, for those who only want its result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

Step = TypeVar("Step")
Other = TypeVar("Other")
Result = TypeVar("Result")


def result_of(
    work: Generator[Step, None, Result],
    on_step: Callable[[Step], object] | None = None,
) -> Result:
    """Run a generator to its end.

    Parameters
    ----------
    work : generator
    on_step : callable, optional
        Called with each value that it yields.

    Returns
    -------
    object
        What the generator returns.
    """
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
        if on_step is not None:
            on_step(step)


def mapped(
    work: Generator[Step, None, Result], function: Callable[[Step], Other]
) -> Generator[Other, None, Result]:
    """Yield something else for each step of a generator, and return what it returns.

    Parameters
    ----------
    work : generator
    function : callable
        Of a value that it yields.

    Examples
    --------
    >>> def work():
    ...     yield 1
    ...     return "done"
    >>> result_of(mapped(work(), lambda step: -step), print)
    -1
    'done'
    """
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
        yield function(step)
