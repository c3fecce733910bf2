"""How far the worker is, as it tells the widgets; no Qt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far some work is.

    Parameters
    ----------
    done : float
        0 to 1.
    text : str
        What is being done.
    """

    done: float
    text: str
