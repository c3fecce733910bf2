"""A copy of a model, of which some parts are trained and the rest is shared."""

from __future__ import annotations

import copy

from napari_sam._finetuning_options import FinetuneOptions
from napari_sam._lora import add_adapters
from napari_sam.modeling.sam import Sam


def copy_for_training(base: Sam, options: FinetuneOptions) -> tuple[Sam, list[str]]:
    """Copy what is to be trained, and share the rest.

    Parameters
    ----------
    base : Sam
        In float32; not changed.
    options : FinetuneOptions

    Returns
    -------
    tuple
        The copy, of which only what is to be trained asks for gradients, and the
        names of those parameters.
    """
    encoder = base.image_encoder
    if options.trains_encoder:
        encoder = copy.deepcopy(encoder)
    parts = copy.deepcopy(base.prompt_encoder), copy.deepcopy(base.mask_decoder)
    model = Sam(encoder, *parts).to(base.pixel_mean.device).eval()
    if options.train == "lora":
        add_adapters(model, seed=options.seed)
    names = [n for n, _ in model.named_parameters() if is_trained(n, options.train)]
    chosen = set(names)
    for name, parameter in model.named_parameters():
        if options.trains_encoder or not name.startswith("image_encoder."):
            parameter.requires_grad_(name in chosen)
    return model, names


def is_trained(name: str, train: str) -> bool:
    """Whether a parameter of this name is trained."""
    # The classifier TinyViT was pretrained with takes no part in an answer.
    if name.startswith(("image_encoder.head", "image_encoder.norm_head")):
        return False
    if name.startswith("mask_decoder."):
        return True
    if name.startswith("prompt_encoder."):
        return train in ("decoder+prompt", "full")
    if train == "lora":
        return ".parametrizations.weight.0." in name
    return train == "full"
