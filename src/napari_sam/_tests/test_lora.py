"""Low-rank adapters: silent at first, trained alone, merged exactly."""

from __future__ import annotations

import pytest
import torch

from napari_sam._lora import (
    DOWN,
    adapter_tensors,
    add_adapters,
    apply_adapters,
    merged_state,
)
from napari_sam._tests.tiny_models import tiny_sam


@pytest.fixture
def image():
    """Make a normalised frame."""
    return torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(0))


def trained(seed: int = 0):
    """Make a tiny model with adapters that are not silent any more."""
    model = tiny_sam()
    generator = torch.Generator().manual_seed(seed)
    for parameter in add_adapters(model, rank=2):
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


@torch.no_grad()
def test_new_adapters_change_nothing(image):
    """B starts at zero."""
    plain, adapted = tiny_sam().eval(), tiny_sam().eval()
    assert add_adapters(adapted)
    expected = plain.image_encoder(image)
    torch.testing.assert_close(adapted.image_encoder(image), expected)


def test_adapters_of_a_seed_are_the_same():
    """So that a run can be resumed."""
    one, two = tiny_sam(), tiny_sam()
    for a, b in zip(add_adapters(one, seed=3), add_adapters(two, seed=3), strict=True):
        torch.testing.assert_close(a, b)


@torch.no_grad()
def test_merged_weights_answer_like_the_adapters(image):
    """Loaded into a plain model, by their official names."""
    adapted = trained()
    plain = tiny_sam(1)
    plain.load_state_dict(merged_state(adapted), strict=True)
    torch.testing.assert_close(
        plain.eval().image_encoder(image), adapted.image_encoder(image)
    )


def test_adapters_from_a_file_are_added_to_the_base():
    """The base and the thin matrices are all that is needed."""
    adapted, base = trained(), tiny_sam().state_dict()
    merged = apply_adapters(base, adapter_tensors(adapted))
    for name, tensor in merged_state(adapted).items():
        torch.testing.assert_close(merged[name], tensor)


def test_half_an_adapter_is_refused():
    """Its weight cannot be computed."""
    adapters = adapter_tensors(trained())
    down = {k: v for k, v in adapters.items() if k.endswith(DOWN)}
    with pytest.raises(KeyError):
        apply_adapters(tiny_sam().state_dict(), down)


def test_gradients_reach_both_matrices():
    """And the weight below stays as it is asked to."""
    model = trained()
    added = [p for n, p in model.named_parameters() if ".weight.0." in n]
    weight = model.image_encoder.blocks[0].attn.qkv.weight
    weight.square().sum().backward()
    assert sum(p.grad is not None for p in added) == 2
