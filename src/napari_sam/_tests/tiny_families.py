"""Models of the transformers library with few random weights, saved as its folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import transformers as hub

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 32
_PROMPTS = {"hidden_size": WIDTH, "mask_input_channels": 8}
_DECODER = {
    "hidden_size": WIDTH,
    "mlp_dim": 32,
    "num_attention_heads": 2,
    "iou_head_hidden_dim": 16,
}


def _sam2_vision(width: int, side: int = 1024) -> Any:
    backbone = hub.Sam2HieraDetConfig(
        image_size=[side, side],
        hidden_size=8,
        blocks_per_stage=[1, 1, 1, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        global_attention_blocks=[],
    )
    return hub.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[side // n, side // n] for n in (4, 8, 16)],
        fpn_hidden_size=width,
    )


def _sam2() -> Any:
    return hub.Sam2Model(
        hub.Sam2Config(
            vision_config=_sam2_vision(WIDTH),
            prompt_encoder_config=hub.Sam2PromptEncoderConfig(**_PROMPTS),
            mask_decoder_config=hub.Sam2MaskDecoderConfig(**_DECODER),
        )
    )


def _sam2_video() -> Any:
    # The library has the memory 64 wide, and wants the rest to be wider.
    width, memory = 128, 64
    side = 256  # time grows with its fourth power
    prompts = _PROMPTS | {"hidden_size": width, "image_size": side}
    decoder = _DECODER | {"hidden_size": width}
    return hub.Sam2VideoModel(
        hub.Sam2VideoConfig(
            vision_config=_sam2_vision(width, side),
            prompt_encoder_config=hub.Sam2VideoPromptEncoderConfig(**prompts),
            mask_decoder_config=hub.Sam2VideoMaskDecoderConfig(**decoder),
            image_size=side,
            num_maskmem=3,
            max_object_pointers_in_encoder=4,
            memory_attention_rope_feat_sizes=[side // 16, side // 16],
            memory_attention_hidden_size=width,
            memory_attention_num_layers=1,
            memory_attention_feed_forward_hidden_size=32,
            memory_encoder_hidden_size=width,
            memory_encoder_output_channels=memory,
            mask_downsampler_embed_dim=width,
            memory_fuser_num_layers=1,
            memory_fuser_embed_dim=width,
            memory_fuser_intermediate_dim=32,
        )
    )


def _sam3() -> Any:
    backbone = hub.Sam3ViTConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        global_attn_indexes=[],
    )
    vision = hub.Sam3VisionConfig(backbone_config=backbone, fpn_hidden_size=WIDTH)
    return hub.Sam3TrackerModel(
        hub.Sam3TrackerConfig(
            vision_config=vision,
            prompt_encoder_config=hub.Sam3TrackerPromptEncoderConfig(**_PROMPTS),
            mask_decoder_config=hub.Sam3TrackerMaskDecoderConfig(**_DECODER),
        )
    )


def _sam_hq() -> Any:
    vision = hub.SamHQVisionConfig(
        hidden_size=16,
        output_channels=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        global_attn_indexes=[1],
        mlp_dim=16,
        num_pos_feats=WIDTH // 2,
    )
    return hub.SamHQModel(
        hub.SamHQConfig(
            vision_config=vision,
            prompt_encoder_config=hub.SamHQPromptEncoderConfig(**_PROMPTS),
            mask_decoder_config=hub.SamHQMaskDecoderConfig(**_DECODER, vit_dim=16),
        )
    )


_MAKE = {"sam2": _sam2, "sam2_video": _sam2_video, "sam3": _sam3, "sam_hq": _sam_hq}
FAMILIES = tuple(_MAKE)


def save_tiny(family: str, folder: Path, seed: int = 0) -> Path:
    """Save a new model as ``config.json`` and ``model.safetensors``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _MAKE[family]()
        for name, parameter in model.named_parameters():
            _randomise(name, parameter)
    model.save_pretrained(folder)
    return folder


def _randomise(name: str, parameter: Any) -> None:
    """Fill so that signals neither fade nor grow: else no prompt would matter."""
    is_norm = parameter.ndim == 1 and name.endswith("weight")
    is_table = "embed" in name or "token" in name
    spread = 1.0 if is_table else 0.2
    if parameter.ndim > 1 and not is_table:
        spread = float(parameter[0].numel() ** -0.5)
    torch.nn.init.normal_(parameter, float(is_norm), spread)
