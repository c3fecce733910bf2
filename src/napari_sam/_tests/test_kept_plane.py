"""A plane is resized once, unless anything about it has changed."""

import numpy as np
import pytest

from napari_sam._kept_plane import KeptPlane, Looked
from napari_sam.types import Window

LOOKED = Looked((0.0, 9.0), (4, 6), None)


def plane():
    """Make a small plane."""
    return np.arange(24, dtype=np.uint16).reshape(4, 6)


def test_the_same_pixels_are_prepared_once():
    """Equal pixels, in whatever array, give the same value."""
    kept = KeptPlane()
    assert kept.prepare(plane(), LOOKED) is kept.prepare(plane(), LOOKED)


@pytest.mark.parametrize(
    "looked",
    [
        Looked((0.0, 20.0), (4, 6), None),
        Looked(None, (4, 6), None),
        Looked((0.0, 9.0), (8, 12), None),
        Looked((0.0, 9.0), (4, 6), Window(0, 0, 4, 6)),
    ],
)
def test_looked_at_otherwise(looked):
    """Contrast, size and window count."""
    kept = KeptPlane()
    kept.prepare(plane(), LOOKED)
    seen, fresh = kept.prepare(plane(), looked), KeptPlane().prepare(plane(), looked)
    assert np.array_equal(seen.pixels, fresh.pixels)
    assert (seen.plane_size, seen.window) == (looked.shape, looked.window)


def test_pixels_changed_in_place():
    """What the caller does to its array does not change what was compared."""
    kept, pixels = KeptPlane(), plane()
    before = kept.prepare(pixels, LOOKED).pixels.clone()
    pixels[:] = 9
    after = kept.prepare(pixels, LOOKED).pixels
    assert not np.array_equal(before, after)
    assert (after == 255).all()


def test_another_type_of_the_same_values():
    """True is white, and 1 is nearly black."""
    kept, looked = KeptPlane(), Looked(None, (1, 2), None)
    ones = kept.prepare(np.ones((1, 2), np.uint8), looked)
    white = kept.prepare(np.ones((1, 2), bool), looked)
    assert ones.pixels.max() == 1
    assert white.pixels.min() == 255


def test_planes_with_nan_are_prepared_anew():
    """NaN is not equal to itself, and is black."""
    kept, pixels = KeptPlane(), np.array([[np.nan, 9.0]])
    looked = Looked((0.0, 9.0), (1, 2), None)
    first = kept.prepare(pixels, looked)
    assert np.array_equal(first.pixels, kept.prepare(pixels, looked).pixels)
