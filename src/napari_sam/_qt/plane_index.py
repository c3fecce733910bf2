"""Which planes of an image have their embedding on disk, since yesterday perhaps.

Embeddings are found by what is in a plane. To say which of a thousand planes are there,
all of them would have to be read; so what was encoded is noted, image by image.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import xxhash

from napari_sam._io_image import replacing
from napari_sam.types import Plane

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam._qt.engine import Source
    from napari_sam.embedding_cache import EmbeddingDirectory


@dataclass(frozen=True)
class Known:
    """Planes that were encoded before, and are on disk.

    Parameters
    ----------
    source : Source
    planes : frozenset of int or tuple of int
    """

    source: Source
    planes: frozenset[Plane]


class PlaneIndex:
    """Planes of an image, and the keys of their embeddings, in a file beside these.

    Parameters
    ----------
    embeddings : EmbeddingDirectory, optional
        Without one nothing is noted.
    what : str
        Everything that the embeddings depend on: image, axes, contrast, model.

    Notes
    -----
    Whether an embedding is right, its key says; this is only what the user is shown. So
    a file that cannot be read is none, and one that cannot be written is left out.
    """

    def __init__(self, embeddings: EmbeddingDirectory | None, what: str) -> None:
        self._embeddings = embeddings
        self._path: Path | None = None
        self._keys: dict[Plane, str] = {}
        if embeddings is not None:
            name = xxhash.xxh3_128(what.encode()).hexdigest()
            self._path = embeddings.directory / "planes" / f"{name}.json"
            self._keys = _read(self._path)

    def planes(self) -> frozenset[Plane]:
        """Planes whose embedding is on disk now."""
        if self._embeddings is None:
            return frozenset()
        path, keys = self._embeddings.path, self._keys.items()
        return frozenset(plane for plane, key in keys if path(key).exists())

    def note(self, plane: Plane, key: str) -> None:
        """Note the embedding of a plane.

        Parameters
        ----------
        plane : int or tuple of int
        key : str
            As in the cache.
        """
        if self._path is None or self._keys.get(plane) == key:
            return
        self._keys[plane] = key
        rows = [[plane, key] for plane, key in self._keys.items()]
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path) as part:
                part.write_text(json.dumps(rows))


def _read(path: Path) -> dict[Plane, str]:
    try:
        rows = json.loads(path.read_text())
        return {
            tuple(map(int, plane)) if isinstance(plane, list) else int(plane): str(key)
            for plane, key in rows
        }
    except (OSError, ValueError, TypeError):
        return {}
