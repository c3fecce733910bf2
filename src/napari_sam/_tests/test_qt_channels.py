"""Colours of an image, and two images together, as SAM sees them."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam._layers import view_plane
from napari_sam._layers_channels import (
    OneColour,
    TogetherAsColour,
    channel_choices,
    with_channels,
)
from napari_sam._qt.scene import read_scene
from napari_sam._qt.state import Choices
from napari_sam._tests.tiny_models import tiny_predictor
from napari_sam.session import Session

pytest.importorskip("qtpy", exc_type=ImportError)


def stack(*shape: int, seed: int = 0) -> np.ndarray:
    """Noise of 8 bit."""
    return np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8)


@pytest.fixture
def viewer():
    """Two grey stacks of one size, one of another, and one elsewhere."""
    viewer = ViewerModel()
    viewer.add_image(stack(4, 20, 30), name="cells", contrast_limits=(0, 100))
    viewer.add_image(stack(4, 20, 30, seed=1), name="nuclei", contrast_limits=(0, 255))
    viewer.add_image(stack(20, 30), name="flat")
    viewer.add_image(stack(4, 20, 30), name="moved", translate=(0, 5, 0))
    viewer.dims.set_current_step(0, 2)
    return viewer


def test_images_with_the_same_voxels_can_be_seen_together(viewer):
    """As red and green, each by its own contrast; nothing but the plane is read."""
    cells, nuclei, *_ = every = list(viewer.layers)
    view = view_plane(viewer.dims, cells)
    choices = channel_choices(cells, every, view)
    assert [text for text, _ in choices] == ["this image", "with nuclei"]
    assert channel_choices(cells, every, None) == [("this image", "")]
    both = with_channels(cells, every, view, choices[1][1])
    assert isinstance(both, TogetherAsColour)
    assert both == with_channels(cells, every, view, choices[1][1])
    assert hash(both) == hash(with_channels(cells, every, view, choices[1][1]))
    session = Session(both, tiny_predictor(), (1, 2), True)
    seen = session.pixels(2)
    red = np.rint(np.minimum(cells.data[2], 100) / 100 * 255)
    np.testing.assert_allclose(seen[..., 0], red, atol=1)
    np.testing.assert_array_equal(seen[..., 1], nuclei.data[2])
    assert not seen[..., 2].any()
    turned = Session(both, tiny_predictor(), (2, 0), True).pixels(7)
    np.testing.assert_array_equal(turned[..., 1], nuclei.data[:, 7].T)
    # What is not there any more is not seen.
    assert with_channels(cells, every[:1], view, choices[1][1]) is cells.data


def test_one_colour_of_an_image_is_grey():
    """The array is not copied, and equal each time."""
    viewer = ViewerModel()
    image = viewer.add_image(stack(3, 20, 30, 3), rgb=True)
    view = view_plane(viewer.dims, image)
    texts = [text for text, _ in channel_choices(image, [image], view)]
    assert texts == ["colour", "red only", "green only", "blue only"]
    green = with_channels(image, [image], view, "green")
    assert green == OneColour(image.data, 1) != OneColour(image.data, 2)
    assert (green.shape, green.dtype, green.ndim) == ((3, 20, 30), np.uint8, 3)
    session = Session(green, tiny_predictor(), (1, 2), False)
    np.testing.assert_array_equal(session.pixels(1), image.data[1, ..., 1])
    np.testing.assert_array_equal(green[1], image.data[1, ..., 1])
    assert with_channels(image, [image], view, "") is image.data


def test_another_channel_is_another_source(viewer):
    """And the same one is the same, so that nothing is asked for twice."""
    cells, every = viewer.layers["cells"], list(viewer.layers)
    view = view_plane(viewer.dims, cells)
    channel = channel_choices(cells, every, view)[1][1]
    empty = read_scene(viewer, cells, _no_layers(), Choices())
    both, again = (
        read_scene(viewer, cells, _no_layers(), Choices(channel=channel))
        for _ in range(2)
    )
    assert empty.source != both.source == again.source
    assert hash(both.source) == hash(again.source)
    assert both.source.rgb
    viewer.layers["nuclei"].contrast_limits = (0, 50)
    other = read_scene(viewer, cells, _no_layers(), Choices(channel=channel))
    assert other.source != both.source


def _no_layers():
    from napari_sam._layers import PromptLayers

    return PromptLayers()
