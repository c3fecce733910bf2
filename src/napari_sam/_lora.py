"""Low-rank adapters for the attention of the image encoders.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021): a weight W
becomes W + (alpha / r) B A, and only A and B are trained.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from napari_sam.modeling.sam import Sam

RANK, ALPHA = 4, 8
ATTENTION_LAYERS = ("attn.qkv", "attn.proj")
DOWN, UP = ".lora_down", ".lora_up"
"""Ends of the names of A and B in a file, after the name of the weight."""


class LowRank(nn.Module):
    """Adds a product of two thin matrices to a weight.

    Parameters
    ----------
    shape : tuple of int
        (out, in) of the weight.
    rank : int
    generator : torch.Generator
        Of the random start of A; B starts at zero, so that nothing changes at first.
    """

    def __init__(
        self, shape: tuple[int, int], rank: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        start = torch.randn(rank, shape[1], generator=generator) / shape[1] ** 0.5
        self.down = nn.Parameter(start)
        self.up = nn.Parameter(torch.zeros(shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        """(out, in) to (out, in)."""
        return weight + low_rank(self.down, self.up)


def low_rank(down: Tensor, up: Tensor) -> Tensor:
    """Return what A (r, in) and B (out, r) add to a weight (out, in)."""
    return (ALPHA / down.shape[0]) * (up @ down)


def add_adapters(model: Sam, rank: int = RANK, seed: int = 0) -> list[nn.Parameter]:
    """Put adapters on the image encoder's attention layers.

    Parameters
    ----------
    model : Sam
        Changed in place; its answers are not.
    rank : int
    seed : int

    Returns
    -------
    list of Parameter
        The adapters, which ask for gradients; all else of the encoder is left as it
        was.
    """
    generator = torch.Generator().manual_seed(seed)
    added: list[nn.Parameter] = []
    for name, layer in model.image_encoder.named_modules():
        if isinstance(layer, nn.Linear) and name.endswith(ATTENTION_LAYERS):
            shape = layer.out_features, layer.in_features
            adapter = LowRank(shape, rank, generator).to(layer.weight.device)
            parametrize.register_parametrization(layer, "weight", adapter)
            added += adapter.parameters()
    return added


def adapter_tensors(model: Sam) -> dict[str, Tensor]:
    """Adapters of a model by the name of their weight, with `DOWN` or `UP` after it.

    They share memory with the model.
    """
    found: dict[str, Tensor] = {}
    for name, layer in model.named_modules():
        if parametrize.is_parametrized(layer, "weight"):
            chain = cast("nn.ModuleDict", layer.parametrizations)["weight"]
            adapter = cast("LowRank", cast("nn.ModuleList", chain)[0])
            found[f"{name}.weight{DOWN}"] = adapter.down.detach()
            found[f"{name}.weight{UP}"] = adapter.up.detach()
    return found


def merged_state(model: Sam) -> dict[str, Tensor]:
    """State dict with official names, adapters added to their weights.

    All else in it shares memory with the model.
    """
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        head, mark, tail = name.partition(".parametrizations.weight.")
        if not mark:
            state[name] = value
        elif tail == "original":
            layer = cast("nn.Linear", model.get_submodule(head))
            state[f"{head}.weight"] = layer.weight.detach()
    return state


def apply_adapters(
    state: dict[str, Tensor], adapters: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Add adapters, named as `adapter_tensors` does, to the weights of a state dict.

    Raises
    ------
    KeyError
        If a weight is missing, or one of the two matrices.
    """
    merged = dict(state)
    for name in adapters:
        if name.endswith(DOWN):
            weight = name.removesuffix(DOWN)
            merged[weight] = state[weight].float() + low_rank(
                adapters[name].float(), adapters[weight + UP].float()
            )
    return merged
