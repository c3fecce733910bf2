"""A SAM of few parameters and random weights: it encodes in milliseconds."""

from __future__ import annotations

from typing import Any

import torch

from napari_sam.modeling.image_encoder_vit import ImageEncoderViT, ViTConfig
from napari_sam.modeling.mask_decoder import MaskDecoder
from napari_sam.modeling.prompt_encoder import PromptEncoder
from napari_sam.modeling.sam import Sam
from napari_sam.predictor import Predictor

WIDTH = 32


def tiny_sam(seed: int = 0) -> Sam:
    """Make the architecture of SAM with one block and a width of 32."""
    config = ViTConfig(
        embed_dim=32, depth=1, num_heads=2, global_attn_indexes=(), out_channels=WIDTH
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Sam(ImageEncoderViT(config), PromptEncoder(WIDTH), MaskDecoder(WIDTH))
        for parameter in model.parameters():
            if parameter.std() == 0:  # biases and tables: zero tests nothing
                torch.nn.init.normal_(parameter, parameter.mean().item(), 0.2)
    return model


class CountingPredictor(Predictor):
    """A predictor that counts the planes it encodes."""

    encoded = 0

    def encode(self, planes: Any) -> Any:
        """Encode, and count."""
        self.encoded += len(planes)
        return super().encode(planes)


def tiny_predictor(seed: int = 0) -> CountingPredictor:
    """Make a new predictor of `tiny_sam` in float32 on the CPU."""
    return CountingPredictor(
        tiny_sam(seed), f"tiny {seed}", "tiny", device="cpu", precision="float32"
    )
