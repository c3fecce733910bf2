"""A predictor that encodes a plane once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_sam.embedding_cache import EmbeddingCache
from napari_sam.predictor import Predictor
from napari_sam.types import ImageEmbedding, ModelInput


class CachingPredictor(Predictor):
    """Looks every plane up in a cache before it encodes it.

    Parameters
    ----------
    cache : EmbeddingCache
    *args, **kwargs
        As `Predictor` takes them.
    """

    def __init__(self, cache: EmbeddingCache, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cache = cache

    def encode(self, planes: Sequence[ModelInput]) -> list[ImageEmbedding]:
        """Encode prepared planes, those that are not in the cache."""
        return [self._encode_once(plane) for plane in planes]

    def _encode_once(self, plane: ModelInput) -> ImageEmbedding:
        key = self.key(plane)
        features = self.cache.get(key, self.device, self.dtype)
        if features is None:
            # Rounded as the cache rounds, whether it was in there or not.
            features = super().encode([plane])[0].stored.half().to(self.dtype)
            self.cache.put(key, features)
        return self.restore(features.to(self.dtype), plane, key)
