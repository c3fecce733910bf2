"""Models of the transformers library with few random weights, saved as its folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import transformers as hub
from transformers.modeling_outputs import BaseModelOutput

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


# Of models for video. The library has the memory 64 wide, and wants the rest wider.
_WIDE, _NARROW = 128, 64
_CELLS = 16  # along a side; time grows with its fourth power
_WIDE_DECODER = _DECODER | {"hidden_size": _WIDE}
_MEMORY = {
    "num_maskmem": 3,
    "max_object_pointers_in_encoder": 4,
    "memory_attention_rope_feat_sizes": [_CELLS, _CELLS],
    "memory_attention_hidden_size": _WIDE,
    "memory_attention_num_layers": 1,
    "memory_encoder_hidden_size": _WIDE,
    "memory_encoder_output_channels": _NARROW,
    "mask_downsampler_embed_dim": _WIDE,
    "memory_fuser_num_layers": 1,
    "memory_fuser_embed_dim": _WIDE,
    "memory_fuser_intermediate_dim": 32,
}


def _wide_prompts(patch: int = 16) -> dict[str, int]:
    sizes = {"image_size": patch * _CELLS, "patch_size": patch}
    return _PROMPTS | {"hidden_size": _WIDE} | sizes


def _sam2_video() -> Any:
    side = 16 * _CELLS
    return hub.Sam2VideoModel(
        hub.Sam2VideoConfig(
            vision_config=_sam2_vision(_WIDE, side),
            prompt_encoder_config=hub.Sam2VideoPromptEncoderConfig(**_wide_prompts()),
            mask_decoder_config=hub.Sam2VideoMaskDecoderConfig(**_WIDE_DECODER),
            image_size=side,
            memory_attention_feed_forward_hidden_size=32,
            **_MEMORY,
        )
    )


class MapsConfig(hub.PreTrainedConfig):  # type: ignore[misc]
    """Of an encoder without parameters that could be chosen."""

    model_type = "tiny_maps"


class Maps(hub.PreTrainedModel):  # type: ignore[misc]
    """What EdgeTAM takes from the package timm: maps of four sizes, (B, C, h, w)."""

    config_class = MapsConfig
    main_input_name = "pixel_values"

    def __init__(self, config: MapsConfig) -> None:
        super().__init__(config)
        steps = ((3, 8, 4), (8, 16, 2), (16, 32, 2), (32, 64, 2))
        self.steps = torch.nn.ModuleList(
            torch.nn.Conv2d(before, after, size, size) for before, after, size in steps
        )
        self.post_init()

    def forward(self, pixel_values: Any, **_: Any) -> Any:
        """Return them as timm's encoders do, in a list."""
        maps = [pixel_values]
        for step in self.steps:
            maps.append(torch.tanh(step(maps[-1])))
        return BaseModelOutput(last_hidden_state=maps[1:])


hub.AutoConfig.register(MapsConfig.model_type, MapsConfig, exist_ok=True)
hub.AutoModel.register(MapsConfig, Maps, exist_ok=True)


def _edgetam_vision() -> Any:
    return hub.EdgeTamVisionConfig(
        backbone_config=MapsConfig(),
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[n * _CELLS, n * _CELLS] for n in (4, 2, 1)],
        fpn_hidden_size=_WIDE,
    )


def _edgetam() -> Any:
    return hub.EdgeTamModel(
        hub.EdgeTamConfig(
            vision_config=_edgetam_vision(),
            prompt_encoder_config=hub.EdgeTamPromptEncoderConfig(**_wide_prompts()),
            mask_decoder_config=hub.EdgeTamMaskDecoderConfig(**_WIDE_DECODER),
        )
    )


def _edgetam_video() -> Any:
    prompts = hub.EdgeTamVideoPromptEncoderConfig(**_wide_prompts())
    return hub.EdgeTamVideoModel(
        hub.EdgeTamVideoConfig(
            vision_config=_edgetam_vision(),
            prompt_encoder_config=prompts,
            mask_decoder_config=hub.EdgeTamVideoMaskDecoderConfig(**_WIDE_DECODER),
            image_size=16 * _CELLS,
            memory_attention_mlp_hidden_size=32,
            memory_attention_rope_k_sizes=[4, 4],
            perceiver_resampler_num_latents=16,
            perceiver_resampler_num_latents_2d=16,
            perceiver_resampler_mlp_intermediate_size=32,
            perceiver_resampler_num_layers=1,
            **_MEMORY,
        )
    )


def _sam3_vision(width: int, **sizes: int) -> Any:
    backbone = hub.Sam3ViTConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        global_attn_indexes=[],
        **sizes,
    )
    return hub.Sam3VisionConfig(backbone_config=backbone, fpn_hidden_size=width)


def _sam3_video() -> Any:
    prompts = hub.Sam3TrackerVideoPromptEncoderConfig(**_wide_prompts(14))
    side = 14 * _CELLS
    return hub.Sam3TrackerVideoModel(
        hub.Sam3TrackerVideoConfig(
            vision_config=_sam3_vision(_WIDE, image_size=side),
            prompt_encoder_config=prompts,
            mask_decoder_config=hub.Sam3TrackerVideoMaskDecoderConfig(**_WIDE_DECODER),
            image_size=side,
            memory_attention_feed_forward_hidden_size=32,
            **_MEMORY,
        )
    )


def _sam3() -> Any:
    return hub.Sam3TrackerModel(
        hub.Sam3TrackerConfig(
            vision_config=_sam3_vision(WIDTH),
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


_MAKE = {
    "sam2": _sam2,
    "sam2_video": _sam2_video,
    "edgetam": _edgetam,
    "edgetam_video": _edgetam_video,
    "sam3": _sam3,
    "sam3_video": _sam3_video,
    "sam_hq": _sam_hq,
}
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
