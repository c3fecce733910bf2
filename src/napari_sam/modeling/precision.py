"""Which device and number format to compute in, and how to put a model into it."""

from __future__ import annotations

import contextlib
from typing import cast

import torch
from torch import nn

from napari_sam.modeling.common import LayerNorm2d, Neck
from napari_sam.modeling.image_encoder_tinyvit import ConvNorm
from napari_sam.modeling.image_encoder_vit import ImageEncoderViT
from napari_sam.modeling.sam import Sam
from napari_sam.types import Precision

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def choose_device(device: str | torch.device) -> torch.device:
    """Return the device asked for, or for ``"auto"`` the fastest there is.

    Raises
    ------
    ValueError
        If the name is no device, or this machine does not have it.
    """
    if isinstance(device, str) and device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        has_mps = torch.backends.mps.is_available()
        return torch.device("mps" if has_mps else "cpu")
    is_there = False
    with contextlib.suppress(
        RuntimeError, AssertionError, NotImplementedError, TypeError
    ):
        chosen = torch.device(device)
        torch.empty(0, device=chosen)  # a device may have a name and not be there
        is_there = chosen.type != "meta"
    if not is_there:
        raise ValueError(
            f"device must be 'auto', 'cpu' or an accelerator of this machine, "
            f"got {str(device)!r}."
        )
    return chosen


def has_fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX)."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in names)


def choose_dtype(device: torch.device, precision: Precision) -> torch.dtype:
    """Return the number format of a precision on a device.

    ``"auto"`` is bfloat16 on CUDA devices and CPUs that have it in hardware, float32
    elsewhere.

    Raises
    ------
    ValueError
        If there is no such precision, or float16 is asked for on a CPU, where it is
        hundreds of times slower than float32.
    """
    if precision == "auto":
        is_fast = has_fast_bfloat16() if device.type == "cpu" else device.type == "cuda"
        if device.type == "cuda":
            is_fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if is_fast else torch.float32
    if not isinstance(precision, str) or precision not in DTYPES:
        names = ", ".join(["auto", *DTYPES])
        raise ValueError(f"precision must be one of {names}, got {precision!r}.")
    if precision == "float16" and device.type == "cpu":
        raise ValueError("precision float16 is for GPUs; use float32 or bfloat16 here.")
    return DTYPES[precision]


def set_precision(model: Sam, dtype: torch.dtype) -> Sam:
    """Convert, in place, what gains from a short number format.

    Kept in float32: the prompt encoder (short formats could not tell neighbouring
    pixels); batch normalisations and their convolutions (they are folded first and
    shortened once, where the input is); and what costs little but loses much where
    it is rounded: pixels and patches, layer normalisations, the sums between them, the
    changes of width, the neck's first step, and the predicted IoU, which decides
    between masks.
    """
    encoder = model.image_encoder
    encoder.to(dtype)
    encoder.patch_embed.float()
    cast("Neck", encoder.neck)[0].float()
    model.mask_decoder.to(dtype)
    model.mask_decoder.iou_prediction_head.float()
    if isinstance(encoder, ImageEncoderViT):
        encoder.pos_embed.data = encoder.pos_embed.data.float()
    for module in encoder.modules():
        if isinstance(module, ConvNorm | nn.LayerNorm | LayerNorm2d):
            module.float()
    return model
