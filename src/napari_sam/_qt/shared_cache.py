"""One cache of embeddings for all widgets of an application that ask for the same."""

from __future__ import annotations

from weakref import WeakValueDictionary

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication

from napari_sam._qt.preferences import Preferences
from napari_sam.embedding_cache import EmbeddingCache


class _Caches(QObject):
    """What the application owns, so that it ends with it; caches end with their users.

    Two caches of one directory would each count its files against the same budget, and
    hold the same embeddings in memory twice.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.open: WeakValueDictionary[
            tuple[str, tuple[int, int, int]], EmbeddingCache
        ] = WeakValueDictionary()


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
    application = QApplication.instance()
    if application is None:
        raise ValueError("a cache is shared within an application, there is none.")
    caches = next(
        (one for one in application.children() if isinstance(one, _Caches)), None
    ) or _Caches(application)
    key = str(preferences.cache_path), preferences.budgets
    cache = caches.open.get(key)
    if cache is None:
        cache = EmbeddingCache(preferences.cache_path, *preferences.budgets)
        caches.open[key] = cache
    return cache
