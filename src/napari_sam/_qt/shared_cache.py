"""What the widgets of an application share: the cache of embeddings, and models."""

from __future__ import annotations

from weakref import WeakValueDictionary

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication

from napari_sam._qt.engine import Engine
from napari_sam._qt.loaded_models import LoadedModels
from napari_sam._qt.preferences import Preferences
from napari_sam.embedding_cache import EmbeddingCache


class _Shared(QObject):
    """What the application owns, so that it ends with it; the rest ends with its users.

    Two caches of one directory would each count its files against the same budget, and
    hold the same embeddings in memory twice.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.caches: WeakValueDictionary[
            tuple[str, tuple[int, int, int]], EmbeddingCache
        ] = WeakValueDictionary()
        self.models = LoadedModels()


def _shared() -> _Shared:
    application = QApplication.instance()
    if application is None:
        raise ValueError("a cache is shared within an application, there is none.")
    found = (one for one in application.children() if isinstance(one, _Shared))
    return next(found, None) or _Shared(application)


def new_engine(preferences: Preferences) -> Engine:
    """Make the engine of a widget, by what the user prefers.

    Parameters
    ----------
    preferences : Preferences

    Returns
    -------
    Engine
        It shares embeddings and loaded models with the other widgets.
    """
    cache, precision = shared_cache(preferences), preferences.precision
    return Engine(None, cache, precision, _shared().models)


def shared_cache(preferences: Preferences) -> EmbeddingCache:
    """Find or make the cache of a directory with budgets.

    Parameters
    ----------
    preferences : Preferences

    Returns
    -------
    EmbeddingCache
        One and the same for equal preferences, while somebody uses it.

    Raises
    ------
    ValueError
        As `EmbeddingCache`.
    """
    caches = _shared().caches
    key = str(preferences.cache_path), preferences.budgets
    cache = caches.get(key)
    if cache is None:
        cache = EmbeddingCache(preferences.cache_path, *preferences.budgets)
        caches[key] = cache
    return cache
