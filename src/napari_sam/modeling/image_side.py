"""The decoder's side of the last embedding, kept prepared for the next prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam.modeling.mask_decoder import ImageSide
from napari_sam.modeling.sam import Sam

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class KeptImageSide:
    """Prepare an embedding for decoding, or find it still prepared.

    Prompts come one after another for the same plane, so the last one is kept. It is
    not used for other tensors, or after the decoder's weights have changed.
    """

    def __init__(self) -> None:
        self._kept: tuple[list[tuple[Tensor, int]], ImageSide] | None = None

    def get(self, model: Sam, features: Tensor, device: torch.device) -> ImageSide:
        """Side of an embedding (1, 256, 64, 64), on the device of the model."""
        used = [features, *model.mask_decoder.parameters()]
        used += model.prompt_encoder.state_dict(keep_vars=True).values()
        # Tensors made in inference have no version.
        now = [(t, 0 if t.is_inference() else t._version) for t in used]
        kept = self._kept
        pairs = () if kept is None else zip(kept[0], now, strict=True)
        if kept is None or any(a is not b or i != j for (a, i), (b, j) in pairs):
            kept = self._kept = now, model.image_side(features.to(device))
        return kept[1]
