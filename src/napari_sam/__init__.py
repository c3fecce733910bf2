"""Segment Anything in napari: prompts from layers, plane by plane, on any stack.

The public names below are imported on first use, so that ``import napari_sam``
loads neither torch nor Qt.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sam import postprocess
    from napari_sam._layers import segment_layers
    from napari_sam.embedding_cache import EmbeddingCache
    from napari_sam.io import read_image, write_labels
    from napari_sam.predictor import Predictor
    from napari_sam.propagation import PropagationOptions
    from napari_sam.registry import list_models, load_model
    from napari_sam.session import Session
    from napari_sam.types import ImageEmbedding, ModelSpec, Prediction, Prompts, Window

__version__ = "0.1.0"

# Public name -> module it lives in; a module that is public itself maps to None.
_HOME: dict[str, str | None] = {
    "EmbeddingCache": "embedding_cache",
    "ImageEmbedding": "types",
    "ModelSpec": "types",
    "Prediction": "types",
    "Predictor": "predictor",
    "Prompts": "types",
    "PropagationOptions": "propagation",
    "Session": "session",
    "Window": "types",
    "list_models": "registry",
    "load_model": "registry",
    "postprocess": None,
    "read_image": "io",
    "segment_layers": "_layers",
    "write_labels": "io",
}

__all__ = [
    "EmbeddingCache",
    "ImageEmbedding",
    "ModelSpec",
    "Prediction",
    "Predictor",
    "Prompts",
    "PropagationOptions",
    "Session",
    "Window",
    "list_models",
    "load_model",
    "postprocess",
    "read_image",
    "segment_layers",
    "write_labels",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOME[name]
    if home is None:
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
