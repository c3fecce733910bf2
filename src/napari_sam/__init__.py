"""Segment Anything in napari: prompts from layers, plane by plane, on any stack.

The public names below are imported on first use, so that ``import napari_sam``
loads neither torch nor Qt.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sam import postprocess
    from napari_sam._automatic_options import AutomaticOptions
    from napari_sam._candidates import Candidates
    from napari_sam._detections import TextDetections, TextOptions
    from napari_sam._layers import segment_layers
    from napari_sam._proposals import edge_map, propose_objects
    from napari_sam._series_cluster import run_series_on
    from napari_sam._session_text import TextObjects, TextVolume
    from napari_sam.cleanup import (
        CleanupStep,
        apply_steps,
        clean_up,
        read_steps,
        write_steps,
    )
    from napari_sam.embedding_cache import EmbeddingCache
    from napari_sam.finetuning import (
        FinetuneOptions,
        TrainingStep,
        export_official,
        finetune,
    )
    from napari_sam.io import (
        ObjectMeasurement,
        measure_objects,
        read_coco,
        read_geojson,
        read_image,
        write_coco,
        write_geojson,
        write_labels,
        write_sa1b,
        write_table,
    )
    from napari_sam.learning import (
        AcceptedObject,
        AdaptedPredictor,
        Learned,
        Learner,
        LearningOptions,
    )
    from napari_sam.predictor import Predictor
    from napari_sam.propagation import PropagationOptions
    from napari_sam.registry import list_models, load_model
    from napari_sam.replay import replay_session
    from napari_sam.series import ImageSeries, find_images, run_series
    from napari_sam.session import Session
    from napari_sam.sharpening import SharpOptions
    from napari_sam.text_detector import TextDetector, load_detector
    from napari_sam.text_ranker import TextRanker, TextRanking, load_ranker
    from napari_sam.types import ImageEmbedding, ModelSpec, Prediction, Prompts, Window

__version__ = "0.1.0"

# Public name -> module it lives in; a module that is public itself maps to None.
_HOME: dict[str, str | None] = {
    "AcceptedObject": "learning",
    "AdaptedPredictor": "learning",
    "AutomaticOptions": "_automatic_options",
    "Candidates": "_candidates",
    "CleanupStep": "cleanup",
    "EmbeddingCache": "embedding_cache",
    "FinetuneOptions": "finetuning",
    "ImageEmbedding": "types",
    "ImageSeries": "series",
    "Learned": "learning",
    "Learner": "learning",
    "LearningOptions": "learning",
    "ModelSpec": "types",
    "ObjectMeasurement": "io",
    "Prediction": "types",
    "Predictor": "predictor",
    "Prompts": "types",
    "PropagationOptions": "propagation",
    "Session": "session",
    "SharpOptions": "sharpening",
    "TrainingStep": "finetuning",
    "TextDetections": "_detections",
    "TextDetector": "text_detector",
    "TextObjects": "_session_text",
    "TextOptions": "_detections",
    "TextRanker": "text_ranker",
    "TextRanking": "text_ranker",
    "TextVolume": "_session_text",
    "Window": "types",
    "apply_steps": "cleanup",
    "clean_up": "cleanup",
    "edge_map": "_proposals",
    "export_official": "finetuning",
    "find_images": "series",
    "finetune": "finetuning",
    "list_models": "registry",
    "load_detector": "text_detector",
    "load_model": "registry",
    "load_ranker": "text_ranker",
    "measure_objects": "io",
    "postprocess": None,
    "propose_objects": "_proposals",
    "read_coco": "io",
    "read_geojson": "io",
    "read_image": "io",
    "read_steps": "cleanup",
    "replay_session": "replay",
    "run_series": "series",
    "run_series_on": "_series_cluster",
    "segment_layers": "_layers",
    "write_coco": "io",
    "write_geojson": "io",
    "write_labels": "io",
    "write_sa1b": "io",
    "write_steps": "cleanup",
    "write_table": "io",
}

__all__ = [
    "AcceptedObject",
    "AdaptedPredictor",
    "AutomaticOptions",
    "Candidates",
    "CleanupStep",
    "EmbeddingCache",
    "FinetuneOptions",
    "ImageEmbedding",
    "ImageSeries",
    "Learned",
    "Learner",
    "LearningOptions",
    "ModelSpec",
    "ObjectMeasurement",
    "Prediction",
    "Predictor",
    "Prompts",
    "PropagationOptions",
    "Session",
    "SharpOptions",
    "TextDetections",
    "TextDetector",
    "TextObjects",
    "TextOptions",
    "TextRanker",
    "TextRanking",
    "TextVolume",
    "TrainingStep",
    "Window",
    "apply_steps",
    "clean_up",
    "edge_map",
    "export_official",
    "find_images",
    "finetune",
    "list_models",
    "load_detector",
    "load_model",
    "load_ranker",
    "measure_objects",
    "postprocess",
    "propose_objects",
    "read_coco",
    "read_geojson",
    "read_image",
    "read_steps",
    "replay_session",
    "run_series",
    "run_series_on",
    "segment_layers",
    "write_coco",
    "write_geojson",
    "write_labels",
    "write_sa1b",
    "write_steps",
    "write_table",
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
