"""How long code of the plugin held the window's thread, apart from napari's own.

Time is taken where one calls the other: every function of `napari_sam._qt` and
`napari_sam._layers*` starts the plugin's clock, and napari's functions that do work for
their caller (making layers, adding them, refreshing, assigning data, moving in the
viewer, its list of activities) stop it until they return. What napari calls back in the
plugin meanwhile counts as the plugin's again. numpy, torch and Qt count for whoever
calls them; drawing, and whatever else the event loop does by itself, is not the
plugin's. If the worker's thread holds Python's lock, it does not show here either: that
is in the whole time only.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from napari.components import Dims, LayerList
from napari.layers import Image, Labels, Points, Shapes
from napari.layers.base import Layer
from napari.utils import cancelable_progress, progress
from napari.utils.events.containers import Selection

import napari_sam._qt

OUTSIDE, THEIRS, OURS = 0, 1, 2
# Methods of napari that work for their caller; setters of properties, too.
THEIR_METHODS = {
    Layer: ("refresh",),
    Labels: ("__init__", "data_setitem", "undo", "redo", "save"),
    Points: ("__init__", "add", "remove_selected", "refresh_colors"),
    Shapes: ("__init__", "add", "remove_selected", "refresh_colors"),
    Image: ("__init__",),
    LayerList: ("insert", "append", "remove", "pop"),
    Dims: ("set_point", "set_current_step"),
    Selection: ("add", "clear", "update"),
    cancelable_progress: ("__init__", "close"),
    progress: ("__init__", "update", "set_description", "close"),
}


class Meter:
    """Clocks of the plugin's share; made before the widget is."""

    def __init__(self) -> None:
        self._main = threading.get_ident()
        self._side = OUTSIDE
        self._since = (0.0, 0.0)
        self.wall = self.cpu = 0.0
        self.by_name: Counter[str] = Counter()
        self._names: list[str] = []
        for module in plugin_modules():
            self._wrap_module(module)
        self._wrap_napari()

    def take(self) -> tuple[float, float]:
        """Milliseconds of the plugin since the last time: by the clock, and busy."""
        self._turn(self._side)
        taken = 1000 * self.wall, 1000 * self.cpu
        self.wall = self.cpu = 0.0
        return taken

    def _turn(self, side: int) -> int:
        """Go on with another side; returns the one before."""
        now = time.perf_counter(), time.thread_time()
        before, self._side = self._side, side
        if before == OURS:
            self.wall += now[0] - self._since[0]
            self.cpu += now[1] - self._since[1]
            self.by_name[self._names[-1]] += now[1] - self._since[1]
        self._since = now
        return before

    def wrap(self, function: Callable[..., Any], side: int) -> Callable[..., Any]:
        """Return a function that is counted for one side."""
        name = f"{function.__module__}.{function.__qualname__}"
        kinds = inspect.signature(function).parameters.values()
        takes = len(kinds)
        if any(one.kind is one.VAR_POSITIONAL for one in kinds):
            takes = sys.maxsize

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            args = args[:takes]  # Qt passes as many as it can
            is_new = side != self._side and not (
                side == THEIRS and self._side == OUTSIDE
            )
            if not is_new or threading.get_ident() != self._main:
                return function(*args, **kwargs)
            if side == OURS:
                self._names.append(name)
            before = self._turn(side)
            try:
                return function(*args, **kwargs)
            finally:
                self._turn(before)
                if side == OURS:
                    self._names.pop()

        return timed

    def _wrap_module(self, module: Any) -> None:
        for name, value in list(vars(module).items()):
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(value) and not inspect.isgeneratorfunction(value):
                setattr(module, name, self.wrap(value, OURS))
            elif inspect.isclass(value) and not issubclass(value, BaseException):
                self._wrap_class(value)

    def _wrap_class(self, owner: type) -> None:
        for name, value in list(vars(owner).items()):
            is_plain = not name.startswith("__") or name == "__init__"
            is_generator = inspect.isgeneratorfunction(value)
            if inspect.isfunction(value) and is_plain and not is_generator:
                setattr(owner, name, self.wrap(value, OURS))

    def _wrap_napari(self) -> None:
        for owner, names in THEIR_METHODS.items():
            for name in names:
                value = inspect.getattr_static(owner, name, None)
                if inspect.isfunction(value):
                    setattr(owner, name, self.wrap(value, THEIRS))
        bases = {base for owner in THEIR_METHODS for base in owner.__mro__}
        for owner in bases:
            if owner.__module__.startswith("napari."):
                self._wrap_setters(owner)

    def _wrap_setters(self, owner: type) -> None:
        for name, value in list(vars(owner).items()):
            if isinstance(value, property) and value.fset is not None:
                setter = self.wrap(value.fset, THEIRS)
                setattr(owner, name, property(value.fget, setter, value.fdel))


def plugin_modules() -> list[Any]:
    """Modules of the plugin whose functions run in the window's thread."""
    path, prefix = napari_sam._qt.__path__, "napari_sam._qt."
    names = [one.name for one in pkgutil.iter_modules(path, prefix)]
    every = pkgutil.iter_modules(napari_sam.__path__, "napari_sam.")
    names += [one.name for one in every if one.name.startswith("napari_sam._layers")]
    return [importlib.import_module(name) for name in names]
