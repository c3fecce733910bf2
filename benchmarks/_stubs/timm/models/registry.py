"""MobileSAM registers its classification models, which nobody here builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def register_model(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function unregistered."""
    return function
