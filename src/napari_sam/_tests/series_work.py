"""Work on a series for tests, which other processes import."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._tests.tiny_models import tiny_predictor
from napari_sam.embedding_cache import EmbeddingCache
from napari_sam.io import ImageFile, read_image
from napari_sam.session import Session
from napari_sam.types import Prompts

if TYPE_CHECKING:
    from pathlib import Path


class TinyWork:
    """Segment a box in every plane with a tiny model.

    Parameters
    ----------
    directory : Path
        Of embeddings; in it each worker leaves its process id, so that it can be
        killed.
    pause : float
        Seconds that a plane takes longer.
    """

    def __init__(self, directory: Path, pause: float = 0) -> None:
        self.directory, self.pause = directory, pause
        self.predictor = tiny_predictor()
        self.cache = EmbeddingCache(directory=directory / "embeddings")
        directory.mkdir(exist_ok=True)
        (directory / f"{os.getpid()}.pid").touch()

    def planes(self, path: Path) -> list[Any]:
        """Every plane of the image."""
        return self.session(path).planes

    def segment(self, path: Path, plane: Any) -> NDArray[Any]:
        """One box; the label says which plane it was."""
        time.sleep(self.pause)
        found = self.session(path).segment(Prompts(box=[2, 2, 12, 14]), plane)
        return found.best * np.uint16(plane + 1)

    def combine(self, path: Path, labels: list[NDArray[Any]]) -> ImageFile:
        """Stack the planes."""
        return ImageFile(np.stack(labels), "ZYX", read_image(path).spacing)

    def session(self, path: Path) -> Session:
        """Open an image; some names are poison."""
        if "broken" in path.name:
            raise KeyError("no good")
        return Session(read_image(path).data, self.predictor, cache=self.cache)
