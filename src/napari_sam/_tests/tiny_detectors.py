"""Open-vocabulary detectors with few random weights, saved as folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import transformers as hub
from tokenizers import Tokenizer, models, pre_tokenizers, processors

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ["cell", "wall", "nucleus", "vesicle", "dark", "."]


def tokenizer_of(before: str, after: str, vocabulary: dict[str, int]) -> Any:
    """Split at spaces and points, with a token before and after the words."""
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{before} $A {after}",
        special_tokens=[(one, vocabulary[one]) for one in (before, after)],
    )
    return hub.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]"
    )


def _owlv2() -> tuple[Any, Any]:
    words = ["[PAD]", "[UNK]", "[START]", "[END]", *WORDS]
    vocabulary = {word: i for i, word in enumerate(words)}
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = hub.Owlv2Config(
        text_config={
            **size,
            "vocab_size": len(words),
            "num_attention_heads": 2,
            "max_position_embeddings": 6,
            "bos_token_id": 2,
            "eos_token_id": 3,
        },
        vision_config={
            **size,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 16,
        },
        projection_dim=16,
    )
    return hub.Owlv2ForObjectDetection(config), tokenizer_of(
        "[START]", "[END]", vocabulary
    )


def _grounding_dino() -> tuple[Any, Any]:
    # The numbers of [CLS], [SEP] and "." are fixed in the library.
    vocabulary = {word: 200 + i for i, word in enumerate(WORDS)}
    vocabulary |= {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012}
    tokenizer = tokenizer_of("[CLS]", "[SEP]", vocabulary)
    config = hub.GroundingDinoConfig(
        backbone_config=hub.SwinConfig(
            image_size=32,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            out_indices=[2, 3, 4],
        ),
        text_config=hub.BertConfig(
            vocab_size=1100,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        ),
        num_queries=20,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=4,
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_attention_heads=4,
        d_model=32,
        max_text_len=16,
    )
    return hub.GroundingDinoForObjectDetection(config), tokenizer


_MAKE = {"owlv2": _owlv2, "grounding-dino": _grounding_dino}
DETECTORS = tuple(_MAKE)


def save_detector(kind: str, folder: Path) -> Path:
    """Save a new detector and its tokenizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, tokenizer = _MAKE[kind]()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
