"""Checkpoint files: their named tensors, and the model these make.

Files of SAM, MobileSAM, MedSAM and micro-sam, and our own of fine-tuned models, are
read without running their code. None is ever half-loaded: the encoder is recognised
from the names of the tensors, and every tensor must be there in its shape.
"""

from __future__ import annotations

import errno
import textwrap
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from napari_sam.modeling.sam import Sam, build_sam
from napari_sam.types import EncoderType

if TYPE_CHECKING:
    from pathlib import Path

# Keys under which training code wraps a state dict, and prefixes it puts before names.
_WRAPPERS = ("model_state", "model_state_dict", "state_dict", "model")
_PREFIXES = ("module.", "sam.", "sam_model.", "model.")
_VIT_BY_WIDTH: dict[int, EncoderType] = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}


def read_file(path: Path, lazily: bool = False) -> Any:
    """Read what torch saved, tensors and plain values only.

    Parameters
    ----------
    path : Path
    lazily : bool
        Leave the tensors' values on disk until they are looked at.

    Raises
    ------
    ValueError
        If the file is truncated, or not a PyTorch file of tensors.
    """
    try:
        with warnings.catch_warnings():
            # Old files of torch name storage classes that are deprecated.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=lazily or None
            )
    except Exception as error:  # what is raised depends on where the file goes wrong
        # Of a file that was cut off, torch seeks to a place before the beginning.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ValueError(
            f"{path} is not a PyTorch checkpoint of tensors, or it is truncated."
        ) from None


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the named tensors of a checkpoint, unwrapped, without running its code.

    Raises
    ------
    ValueError
        If the file is truncated, not a PyTorch file, or holds no named tensors.
    """
    return named_tensors(read_file(path), str(path))


def named_tensors(loaded: Any, source: str) -> dict[str, Tensor]:
    """Find the named tensors in what was read; ValueError if there are none."""
    state = _unwrap(loaded)
    if not state:
        raise ValueError(f"{source} holds no named tensors.")
    return state


def _unwrap(loaded: Any) -> dict[str, Tensor]:
    """Find the tensors in what training code saved, and their official names."""
    if not isinstance(loaded, dict):
        return {}
    for wrapper in _WRAPPERS:
        if isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
            break
    state = {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)}
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def recognise_encoder(state: Mapping[str, Tensor]) -> EncoderType | None:
    """Which image encoder a state dict belongs to, or None if to none of SAM's."""
    if "image_encoder.patch_embed.seq.0.c.weight" in state:
        return "vit_t"
    positions = state.get("image_encoder.pos_embed")
    if positions is None or positions.ndim != 4:
        return None
    return _VIT_BY_WIDTH.get(positions.shape[-1])


def build_from_state(
    state: Mapping[str, Tensor], source: str = "the checkpoint"
) -> Sam:
    """Make a model of a state dict; every tensor must be there and fit.

    Parameters
    ----------
    state : dict of str to Tensor
        Official names, as `read_state` returns them.
    source : str
        Named in errors.

    Returns
    -------
    Sam
        In float32 on the CPU.

    Raises
    ------
    ValueError
        If it is no SAM, or tensors are missing, unknown or of another shape.
    """
    encoder = recognise_encoder(state)
    if encoder is None:
        raise ValueError(
            f"{source} is not a SAM checkpoint: allowed are SAM (ViT-B, ViT-L, ViT-H) "
            "and MobileSAM, also as MedSAM and micro-sam save them."
        )
    with _EmptyWeights():
        model = build_sam(encoder)
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        first = textwrap.shorten(str(error).splitlines()[1], 200).rstrip(".")
        raise ValueError(
            f"{source} looks like a {encoder} checkpoint but does not fit: {first}."
        ) from None
    # Tensors read from a file do not ask for gradients until they are parameters.
    return model.requires_grad_(True)


class _EmptyWeights(TorchFunctionMode):
    """Leaves tensors empty that layers would fill at random, and that are replaced.

    The device "meta" would do as well, but using it imports hundreds of modules, which
    takes seconds and has Python collect garbage for as long as a window is frozen.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in (Tensor.uniform_, Tensor.normal_):
            return args[0]
        return func(*args, **(kwargs or {}))
