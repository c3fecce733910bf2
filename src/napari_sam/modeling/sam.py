"""The whole model, put together from its parts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_sam.modeling.image_encoder_tinyvit import TinyViT
from napari_sam.modeling.image_encoder_vit import (
    VIT_B,
    VIT_H,
    VIT_L,
    ImageEncoderViT,
    ViTConfig,
)
from napari_sam.modeling.mask_decoder import ImageSide, MaskDecoder
from napari_sam.modeling.prompt_encoder import PromptEncoder
from napari_sam.types import EncoderType

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
VIT_CONFIGS: dict[str, ViTConfig] = {"vit_b": VIT_B, "vit_l": VIT_L, "vit_h": VIT_H}


class Sam(nn.Module):
    """Segment Anything: encode an image once, decode a prompt quickly.

    Parameters
    ----------
    image_encoder : nn.Module
        (B, 3, 1024, 1024) to (B, 256, 64, 64).
    prompt_encoder : PromptEncoder
    mask_decoder : MaskDecoder
    """

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.register_buffer(
            "pixel_mean", torch.tensor(PIXEL_MEAN, device="cpu"), persistent=False
        )
        self.register_buffer(
            "pixel_std", torch.tensor(PIXEL_STD, device="cpu"), persistent=False
        )
        self.pixel_mean: Tensor
        self.pixel_std: Tensor

    def image_side(self, features: Tensor) -> ImageSide:
        """Prepare one embedding for many prompts without a mask.

        Parameters
        ----------
        features : Tensor of shape (1, 256, 64, 64)

        Returns
        -------
        ImageSide
        """
        return self.mask_decoder.project(self._with_mask(self.cells(features), None))

    def cells(self, features: Tensor) -> ImageSide:
        """Embedding without any prompt, a row a cell.

        Parameters
        ----------
        features : Tensor of shape (B or 1, 256, 64, 64)

        Returns
        -------
        ImageSide
        """
        dtype = self.mask_decoder.iou_token.weight.dtype
        # Positions are made in float32: bfloat16 could not tell neighbouring pixels.
        positions = self.prompt_encoder.dense_positions().to(dtype)
        cells = features.flatten(2).transpose(1, 2).to(dtype).contiguous()
        rows, columns = features.shape[2:]
        return ImageSide(cells, positions, (rows, columns))

    def _with_mask(self, cells: ImageSide, masks: Tensor | None) -> ImageSide:
        """Add the dense prompt of masks (B, 1, 4 * rows, 4 * columns), or of none."""
        dense: Tensor = self.prompt_encoder.embed_masks(masks)
        return cells._replace(image=cells.image + dense.to(cells.image.dtype))

    def attend(
        self, features: Tensor, points: tuple[Tensor, Tensor], masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Decode as far as `MaskDecoder.attend`; arguments as in `decode`."""
        sparse: Tensor = self.prompt_encoder.embed_points(*points)
        side = self._with_mask(self.cells(features), masks)
        return self.mask_decoder.attend(side, sparse.to(side.image.dtype))

    def decode_part(
        self, cells: ImageSide, masks: Tensor, points: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Decode prompts with a mask on a part of an image, as if there were no more.

        Parameters
        ----------
        cells : ImageSide
            A part of what `cells` returns, for all prompts or one for each.
        masks : Tensor of shape (B, 1, 4 * rows, 4 * columns)
            Mask logits of that part.
        points : tuple of Tensor
            As in `decode`; in the frame of the whole image.

        Returns
        -------
        tuple of Tensor
            Mask logits (B, 3, 4 * rows, 4 * columns) and predicted IoU (B, 3).
        """
        sparse: Tensor = self.prompt_encoder.embed_points(*points)
        side = self._with_mask(cells, masks)
        return self.mask_decoder(side, sparse.to(side.image.dtype), True)  # type: ignore[no-any-return]

    def decode(
        self,
        image: Tensor | ImageSide,
        points: tuple[Tensor, Tensor],
        masks: Tensor | None,
        multimask: bool,
        min_score: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode prompts on images that are already encoded.

        Parameters
        ----------
        image : Tensor of shape (B or 1, 256, 64, 64), or ImageSide
            Embedding, one for all prompts or one each; or, without masks, what
            `image_side` prepared.
        points : tuple of Tensor
            (x, y) of shape (B, N, 2) in the model's frame and labels (B, N), as
            `PromptEncoder.embed_points` takes them.
        masks : Tensor of shape (B, 1, 256, 256), or None
            Mask logits.
        multimask : bool
            Three masks instead of one.
        min_score : float, optional
            Make masks only for prompts of which one has a higher predicted IoU.

        Returns
        -------
        tuple of Tensor
            Mask logits (B, M, 256, 256) and predicted IoU (B, M), M being 3 or 1.
            With `min_score`, logits of fewer prompts, in their order.
        """
        sparse: Tensor = self.prompt_encoder.embed_points(*points)
        if not isinstance(image, ImageSide):
            image = self._with_mask(self.cells(image), masks)
        sparse = sparse.to(image.image.dtype)
        return self.mask_decoder(image, sparse, multimask, min_score)  # type: ignore[no-any-return]


def build_sam(encoder: EncoderType) -> Sam:
    """Make a model with random weights.

    Parameters
    ----------
    encoder : {"vit_t", "vit_b", "vit_l", "vit_h"}
        TinyViT (MobileSAM), or ViT base, large or huge (SAM).

    Raises
    ------
    ValueError
        If there is no such encoder.
    """
    if encoder == "vit_t":
        return Sam(TinyViT(), PromptEncoder(), MaskDecoder())
    if encoder not in VIT_CONFIGS:
        names = ", ".join(["vit_t", *VIT_CONFIGS])
        raise ValueError(f"encoder must be one of {names}, got {encoder!r}.")
    image_encoder = ImageEncoderViT(VIT_CONFIGS[encoder])
    return Sam(image_encoder, PromptEncoder(), MaskDecoder())
