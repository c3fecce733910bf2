"""CLIP and SigLIP with few random weights, saved as folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import transformers as hub

from napari_sam._tests.tiny_detectors import tokenizer_of

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ["a", "photo", "of", "cell", "nucleus", "background", "something", "else"]
_TOWER = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def _parts(words: int) -> dict[str, Any]:
    text = {**_TOWER, "vocab_size": words, "max_position_embeddings": 8}
    ends = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    vision = {**_TOWER, "image_size": 32, "patch_size": 16}
    return {"text_config": {**text, **ends}, "vision_config": vision}


def _clip(words: int) -> Any:
    return hub.CLIPModel(hub.CLIPConfig(**_parts(words), projection_dim=16))


def _siglip(words: int) -> Any:
    return hub.SiglipModel(hub.SiglipConfig(**_parts(words)))


_MAKE = {"clip": _clip, "siglip": _siglip}
RANKERS = tuple(_MAKE)


def save_ranker(kind: str, folder: Path) -> Path:
    """Save a new model and its tokenizer."""
    words = ["[PAD]", "[UNK]", "[START]", "[END]", *WORDS]
    vocabulary = {word: i for i, word in enumerate(words)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _MAKE[kind](len(words))
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, 0, 0.3)
    model.save_pretrained(folder)
    tokenizer_of("[START]", "[END]", vocabulary).save_pretrained(folder)
    return folder
