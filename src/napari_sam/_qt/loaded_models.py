"""Models that are loaded, shared by all who want the same one; no Qt."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from napari_sam.predictor import Predictor


class LoadedModels:
    """Models in use: a second engine that wants one does not load it again.

    A model ends with its last user. Several threads may ask, and use what they get at
    the same time: predictors remember nothing that could change an answer.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._models: WeakValueDictionary[Hashable, Predictor] = WeakValueDictionary()

    def get(self, key: Hashable, load: Callable[[], Predictor]) -> Predictor:
        """Find a model, or load it; who asks meanwhile waits for it.

        Parameters
        ----------
        key : hashable
            Whatever makes one model another.
        load : callable

        Returns
        -------
        Predictor
        """
        with self._lock:
            model = self._models.get(key)
            if model is None:
                model = self._models[key] = load()
            return model
