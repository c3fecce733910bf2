"""Windows: within the plane, around the object, shared by neighbours."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam import windows
from napari_sam.transforms import mask_to_logits
from napari_sam.types import Prompts, Window

SIZES = st.tuples(st.integers(1, 30_000), st.integers(1, 30_000))


@st.composite
def boxes_in_planes(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, int]]:
    """Draw a plane size, and a box of whole pixels in it."""
    size = draw(SIZES)
    low = [draw(st.integers(0, length - 1)) for length in size]
    high = [draw(st.integers(a + 1, n)) for a, n in zip(low, size, strict=True)]
    return np.array([*low, *high], float), size


@settings(max_examples=60, deadline=None)
@given(boxes_in_planes(), st.floats(2, 4), st.booleans())
def test_window_holds_the_box(
    drawn: tuple[np.ndarray, tuple[int, int]], context: float, snap: bool
) -> None:
    """A window lies in the plane, holds the box, and is a square unless cut."""
    box, size = drawn
    window = windows.choose_window(box, size, context, snap)
    windows.check_window(window, size)
    assert window.row_min <= box[0]
    assert window.column_min <= box[1]
    assert window.row_max >= box[2]
    assert window.column_max >= box[3]
    side = max(window.shape)
    for length, whole in zip(window.shape, size, strict=True):
        assert length in (side, whole)
    longest = (box[2:] - box[:2]).max()
    most = max(windows.MIN_SIDE, (2 if snap else 1) * context * longest + 1)
    assert side <= most


@settings(max_examples=40, deadline=None)
@given(boxes_in_planes())
def test_snapped_edges_lie_on_the_grid(
    drawn: tuple[np.ndarray, tuple[int, int]],
) -> None:
    """Edges are multiples of half a power of two, or the plane's own."""
    box, size = drawn
    window = windows.choose_window(box, size)
    low, high = (window.row_min, window.column_min), (window.row_max, window.column_max)
    for start, stop, length in zip(low, high, size, strict=True):
        if start > 0 and stop < length:
            side = stop - start
            assert side & (side - 1) == 0
            assert start % (side // 2) == 0


def test_neighbours_share_a_window() -> None:
    """Objects of one size, packed in a plane, need far fewer windows than objects."""
    corners = np.stack(np.mgrid[500:700:20, 500:700:20], -1).reshape(-1, 2)
    boxes = np.concatenate([corners, corners + 18], axis=1)
    shared = {windows.choose_window(box, (4096, 4096)) for box in boxes}
    own = {windows.choose_window(box, (4096, 4096), snap=False) for box in boxes}
    assert len(own) == len(boxes)
    assert len(shared) <= len(boxes) / 2


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(2, 4000), st.floats(0, 0.9))
def test_tiles_cover_the_plane(size: tuple[int, int], side: int, share: float) -> None:
    """Every pixel is in a tile, and neighbours overlap at least as much as asked."""
    side = max(side, max(size) // 20 + 1)
    overlap = int(share * (side - 1))
    parts = windows.tiles(size, side, overlap)
    for axis in (0, 1):
        spans = sorted({(w.slices[axis].start, w.slices[axis].stop) for w in parts})
        assert spans[0][0] == 0
        assert spans[-1][1] == size[axis]
        for (_, stop), (start, _) in pairwise(spans):
            assert stop - start >= overlap
    assert len(set(parts)) == len(parts)


@pytest.mark.parametrize("overlap", [-1, 10, 11])
def test_tiles_refuse_overlap(overlap: int) -> None:
    """An overlap of a whole tile would never end."""
    with pytest.raises(ValueError, match="overlap must be 0 to less"):
        windows.tiles((100, 100), 10, overlap)


@pytest.mark.parametrize(
    "window", [Window(-1, 0, 5, 5), Window(0, 0, 11, 5), Window(0, 5, 5, 21)]
)
def test_window_outside_is_refused(window: Window) -> None:
    """A window must lie within its plane."""
    with pytest.raises(ValueError, match="window must lie within the 10 x 20 plane"):
        windows.check_window(window, (10, 20))


def test_extents() -> None:
    """Boxes around masks and prompts are of pixel edges."""
    mask = np.zeros((20, 30), bool)
    assert windows.extent_of(mask) is None
    mask[3:5, 7:11] = True
    assert windows.extent_of(mask).tolist() == [3, 7, 5, 11]
    prompts = Prompts(points=[[2, 3], [9, 9]], point_labels=[1, 0])
    box = windows.extent_of_prompts(prompts, (20, 30))
    assert box.tolist() == [2, 3, 3, 4]
    both = Prompts(points=[[2, 3]], box=[5, 5, 40, 40])
    assert windows.extent_of_prompts(both, (20, 30)).tolist() == [2, 3, 20, 30]
    background = Prompts(points=[[1, 1]], point_labels=[0])
    assert windows.extent_of_prompts(background, (20, 30)) is None


def test_prompts_in_window() -> None:
    """Points and boxes move with the window's corner; points outside are left out."""
    prompts = Prompts(
        points=[[100, 100], [10, 10]], point_labels=[1, 0], box=[90, 90, 110, 120]
    )
    inside = windows.prompts_in_window(prompts, Window(80, 70, 144, 134), (500, 500))
    assert inside.points.tolist() == [[20, 30]]
    assert inside.point_labels.tolist() == [1]
    assert inside.box.tolist() == [10, 20, 30, 50]


@pytest.mark.parametrize("size", [(512, 512), (300, 800), (2000, 1500)])
def test_resampled_logits_say_the_same(size: tuple[int, int]) -> None:
    """A disc's logits, into a window, are those of the disc drawn in the window."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    disc = np.hypot(rows - 150, columns - 170) < 60
    window = Window(64, 64, 256, 256)
    there = windows.resample_logits(mask_to_logits(disc), windows.whole(size), window)
    drawn = mask_to_logits(disc[window.slices])
    # The border is blurred by the larger cells of the plane, and nothing else.
    assert np.mean((there > 0) != (drawn > 0)) < 0.02
    back = windows.resample_logits(drawn, window, windows.whole(size))
    assert np.mean((back > 0) != (mask_to_logits(disc) > 0)) < 0.001


def test_resampling_nowhere_is_identity() -> None:
    """From a square window to itself nothing changes."""
    logits = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    window = Window(10, 20, 266, 276)
    same = windows.resample_logits(logits, window, window)
    np.testing.assert_allclose(same, logits, atol=1e-5)


def test_what_a_window_does_not_show_is_not_the_object() -> None:
    """Outside the source window, logits say background."""
    logits = np.full((256, 256), 5, np.float32)
    pasted = windows.resample_logits(
        logits, Window(0, 0, 100, 100), Window(0, 0, 400, 400)
    )
    assert (pasted[:63, :63] == 5).all()
    assert (pasted[65:] == windows.OUTSIDE_LOGIT).all()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(slice(0, 3), False), (slice(5, 8), False), (slice(7, 10), True)],
)
def test_edges_of_the_plane_are_no_edges_of_the_window(
    rows: slice, expected: bool
) -> None:
    """A mask may end with the plane, but not with a window in it."""
    mask = np.zeros((10, 10), bool)
    mask[rows, 4:6] = True
    window = Window(0, 20, 10, 30)
    assert windows.touches_inner_edge(mask, window, (50, 50)) is expected


@settings(max_examples=30, deadline=None)
@given(boxes_in_planes())
def test_mirrored_twice_is_as_before(
    drawn: tuple[np.ndarray, tuple[int, int]],
) -> None:
    """Points and boxes stay on the pixels they mark; logits on their cells."""
    box, size = drawn
    logits = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    prompts = Prompts([box[:2]], [0], box, logits)
    there = windows.mirror_prompts(prompts, size)
    assert windows.mirror_prompts(there, size) == prompts
    axis = windows.mirror_axis(size)
    assert size[axis] == max(size)
    assert there.box is not None
    # The first pixel of the box is now the last one.
    assert there.points[0, axis] == there.box[2 + axis] - 1
    assert there.box[1 - axis] == box[1 - axis]


@pytest.mark.parametrize("size", [(40, 100), (100, 40), (33, 33)])
def test_a_mirrored_mask_is_the_mask_of_the_mirrored_plane(
    size: tuple[int, int],
) -> None:
    """In pixels of the plane and in cells of the answer alike."""
    mask = np.zeros(size, bool)
    mask[3:20, 5:17] = True
    axis = windows.mirror_axis(size)
    turned = windows.mirror_prompts(Prompts(mask_logits=mask_to_logits(mask)), size)
    assert turned.mask_logits is not None
    expected = mask_to_logits(np.flip(mask, axis).copy())
    np.testing.assert_array_equal(turned.mask_logits > 0, expected > 0)
