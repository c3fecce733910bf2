"""A predictor whose mask decoder has learned something; all else is shared."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sam.modeling.image_side import KeptImageSide
from napari_sam.modeling.sam import Sam
from napari_sam.predictor import Predictor

Changes: TypeAlias = Mapping[str, NDArray[Any]]
"""What is added to tensors of the mask decoder, by name."""


def as_sam(base: Predictor) -> Sam:
    """Return the model of a predictor, if its decoder can learn.

    Raises
    ------
    ValueError
        If it is of another family.
    """
    if not isinstance(base.model, Sam):
        raise ValueError(
            f"{base.name} cannot learn while annotating; SAM and MobileSAM can."
        )
    return base.model


class AdaptedPredictor(Predictor):
    """The same model with another mask decoder.

    Embeddings of the base fit, and have the same keys, since the encoder is the same.

    Parameters
    ----------
    base : Predictor
        It is not changed.
    changes : mapping of str to ndarray
        What is added to tensors of its mask decoder, by name.

    Raises
    ------
    ValueError
        If there is no such tensor, or it has another shape, or a value is not finite.
    """

    def __init__(self, base: Predictor, changes: Changes) -> None:
        model = as_sam(base)
        decoder = copy.deepcopy(model.mask_decoder)
        weights = dict(decoder.named_parameters())
        with torch.no_grad():
            for name, change in changes.items():
                if name not in weights or weights[name].shape != change.shape:
                    raise ValueError(f"what was learned does not fit: {name}.")
                if not np.isfinite(change).all():
                    raise ValueError(f"what was learned must be finite: {name} is not.")
                one = weights[name]
                # Summed in float32: the precision of the model may be shorter.
                total = one.float() + torch.from_numpy(change).to(one.device).float()
                one.copy_(total)
        # Not through Predictor's own: it would convert what is shared once more.
        self.__dict__.update(vars(base))
        self.model = Sam(model.image_encoder, model.prompt_encoder, decoder)
        self.model.to(base.device).eval()
        self._kept_side = KeptImageSide()
