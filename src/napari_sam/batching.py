"""Work through many items with the memory there is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_batches(
    function: Callable[[Sequence[Item]], list[Result]],
    items: Sequence[Item],
    at_once: int,
    on_exhausted: Callable[[], None],
) -> list[Result]:
    """Apply a function to batches of items; out of memory, to smaller ones.

    Parameters
    ----------
    function : callable
        Several items to as many results.
    items : sequence
    at_once : int
        Items in a batch. Halved, with a warning, each time memory runs out.
    on_exhausted : callable
        Called when there is no memory for a single item; it makes room (moves to
        another device, say) or raises.

    Returns
    -------
    list
        One result for each item, in order.
    """
    results: list[Result] = []
    while len(results) < len(items):
        try:
            results += function(items[len(results) : len(results) + at_once])
            continue
        except torch.OutOfMemoryError:
            pass
        # Outside the handler, whose traceback would keep the tensors alive.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if at_once == 1:
            on_exhausted()
            continue
        at_once //= 2
        warnings.warn(
            f"out of GPU memory: going on with batches of {at_once}.", stacklevel=4
        )
    return results
