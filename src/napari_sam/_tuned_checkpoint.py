"""The file of a fine-tuned model: what changed, and what it changes.

It holds the tensors that differ from the base model's and a dictionary that says
which base that is, so that the file is small and cannot be put on another model by
mistake.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from napari_sam._io_image import replacing
from napari_sam._lora import DOWN, UP, apply_adapters

if TYPE_CHECKING:
    from pathlib import Path

FORMAT, VERSION = "napari-sam fine-tuned model", 1


@dataclass(frozen=True)
class TunedAbout:
    """What a fine-tuned model says about itself.

    Parameters
    ----------
    base : str
        Name of the model it was made from, or path of its checkpoint.
    base_checksum : str
        Of that checkpoint, ``"sha256:..."`` or ``"xxh128:..."``.
    encoder : str
        Image encoder, such as "vit_t".
    train : str
        What was trained, as `FinetuneOptions.train`.
    date : str
        Day it was made, as YYYY-MM-DD.
    data : dict
        Numbers of images and objects trained on and held out.
    figures : dict
        Mean IoU on the images held out, before and after.
    license : str
        Licence of the base model, which goes on to hold.
    version : str
        Version of napari-sam.
    """

    base: str
    base_checksum: str
    encoder: str
    train: str
    date: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    license: str = ""
    version: str = ""


def is_tuned(loaded: Any) -> bool:
    """Whether what torch read from a file is a fine-tuned model of ours."""
    return isinstance(loaded, dict) and loaded.get("format") == FORMAT


def write_tuned(path: Path, about: TunedAbout, tensors: Mapping[str, Tensor]) -> None:
    """Write a file aside, then put it in place.

    Parameters
    ----------
    path : Path
    about : TunedAbout
    tensors : mapping of str to Tensor
        Changed tensors by their official names, and adapters.
    """
    content = {
        "format": FORMAT,
        "format_version": VERSION,
        # Text, since only tensors and plain values are read back from a file.
        "about": json.dumps(asdict(about)),
        "tensors": {k: v.detach().cpu().clone() for k, v in tensors.items()},
    }
    with replacing(path) as part:
        torch.save(content, part)


def read_about(loaded: Mapping[str, Any], source: str) -> TunedAbout:
    """Return what a file says about itself.

    Raises
    ------
    ValueError
        If it is of a later version, or damaged.
    """
    version = loaded.get("format_version")
    if version != VERSION:
        raise ValueError(
            f"{source} is a fine-tuned model of version {version}, this napari-sam "
            f"reads version {VERSION}; update it."
        )
    try:
        return TunedAbout(**json.loads(loaded["about"]))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{source} is a damaged fine-tuned model.") from None


def changed_tensors(
    state: Mapping[str, Tensor], base: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Tensors of a state dict that are not those of the base."""
    return {
        name: value.cpu()
        for name, value in state.items()
        if not torch.equal(value.cpu(), base[name].to(value.dtype))
    }


def tuned_state(
    base: Mapping[str, Tensor], loaded: Mapping[str, Any], source: str
) -> dict[str, Tensor]:
    """Put what changed into the state dict of the base model.

    Parameters
    ----------
    base : mapping of str to Tensor
        Official names.
    loaded : mapping
        A fine-tuned model's file.
    source : str
        Named in errors.

    Returns
    -------
    dict of str to Tensor
        Official names, all tensors of the base.

    Raises
    ------
    ValueError
        If a tensor is unknown to the base, or of another shape, or not finite.
    """
    tensors = loaded.get("tensors")
    if not isinstance(tensors, dict) or not tensors:
        raise ValueError(f"{source} is a damaged fine-tuned model.")
    adapters = {k: v for k, v in tensors.items() if k.endswith((DOWN, UP))}
    plain = {k: v for k, v in tensors.items() if k not in adapters}
    for name, value in plain.items():
        _check_fits(name, value, base, source)
    merged = {**base, **plain}
    try:
        merged = apply_adapters(merged, adapters)
    except (KeyError, RuntimeError):
        raise ValueError(
            f"{source} was made for another architecture: its adapters do not fit."
        ) from None
    return merged


def _check_fits(name: str, value: Any, base: Mapping[str, Tensor], source: str) -> None:
    if name not in base:
        raise ValueError(
            f"{source} was made for another architecture: the base has no {name}."
        )
    if not isinstance(value, Tensor) or value.shape != base[name].shape:
        raise ValueError(
            f"{source} was made for another architecture: {name} has another shape."
        )
    if not torch.isfinite(value).all():
        raise ValueError(f"{source} holds NaN or infinity in {name}.")
