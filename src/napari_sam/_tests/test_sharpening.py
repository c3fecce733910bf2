"""A closer look: finer masks of small objects, large planes never read as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_sam import windows
from napari_sam._tests.seeing_predictor import SeeingPredictor
from napari_sam._tests.tiny_models import tiny_predictor
from napari_sam.session import Session
from napari_sam.sharpening import SharpOptions
from napari_sam.types import ImageEmbedding, Prompts, Window


def disc_at(row: float, column: float, radius: float, size: Sequence[int]) -> Any:
    """Bright disc on black, (H, W) uint8."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    return np.uint8(200) * (np.hypot(rows - row, columns - column) < radius)


def iou(first: Any, second: Any) -> float:
    """Intersection over union of two masks."""
    return float((first & second).sum() / (first | second).sum())


class HugeImage:
    """A plane of 20,000 x 20,000 with one bright disc, made when it is read."""

    shape = (20_000, 20_000)

    def __init__(self, row: int, column: int, radius: int, dtype: Any) -> None:
        self.disc = row, column, radius
        self.dtype = np.dtype(dtype)
        self.largest_read = 0

    def __getitem__(self, index: Any) -> Any:
        """Make the part asked for, and note its size."""
        rows, columns = (
            np.arange(*part.indices(length))
            for part, length in zip(index, self.shape, strict=True)
        )
        self.largest_read = max(self.largest_read, len(rows) * len(columns))
        row, column, radius = self.disc
        away = np.hypot(rows[:, None] - row, columns - column)
        return np.where(away < radius, 200, 10).astype(self.dtype)


class HugeStack:
    """Three planes of 20,000 x 20,000 that cannot be read."""

    shape = (3, 20_000, 20_000)
    dtype = np.dtype(np.uint8)

    def __getitem__(self, index: Any) -> Any:
        """Fail: nothing is to be read."""
        raise AssertionError(f"read at {index}")


class TwoFacedPredictor(SeeingPredictor):
    """Sees the opposite in windows."""

    def decode(
        self, embedding: ImageEmbedding, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Answer, turned round in windows."""
        logits, scores = super().decode(embedding, *args, **kwargs)
        return (logits if embedding.window is None else -logits), scores


def test_off_is_the_predictor_itself() -> None:
    """Without sharp, a session answers what the predictor answers."""
    predictor = tiny_predictor()
    image = np.random.default_rng(0).integers(0, 255, (300, 200)).astype(np.uint8)
    session = Session(image, predictor)
    first = session.segment(Prompts(points=[[50, 60]]))
    again = Prompts(points=[[50, 60], [9, 9]], mask_logits=first.best_logits)
    for prompts in (Prompts(points=[[50, 60]]), again):
        answer = session.segment(prompts)
        expected = predictor.predict(session.embed(), prompts)
        np.testing.assert_array_equal(answer.logits, expected.logits)
        np.testing.assert_array_equal(answer.masks, expected.masks)
        np.testing.assert_array_equal(answer.scores, expected.scores)
        assert answer.window is None
        assert answer.frame is None


@pytest.mark.parametrize(
    "prompts", [Prompts(box=[290, 390, 311, 411]), Prompts(points=[[300, 400]])]
)
def test_small_object_is_sharper(prompts: Prompts) -> None:
    """A small disc has a finer border, where and as it is, in the plane's frame."""
    disc = disc_at(300, 400, 10, (1500, 2000))
    session = Session(disc, SeeingPredictor())
    truth = disc > 0
    coarse = session.segment(prompts, multimask=False)
    sharp = session.segment(prompts, multimask=False, sharp="auto")
    assert coarse.window is None
    assert sharp.window is not None
    assert sharp.frame is None
    assert sharp.masks.shape == coarse.masks.shape
    assert iou(sharp.best, truth) > max(0.95, iou(coarse.best, truth))
    np.testing.assert_array_equal(sharp.logits, coarse.logits)


def test_sharp_answer_can_be_refined() -> None:
    """What a closer look gives is a mask prompt like any other."""
    disc = disc_at(300, 400, 10, (1500, 2000))
    session = Session(disc, SeeingPredictor(), sharp="always")
    first = session.segment(Prompts(points=[[300, 400]]), multimask=False)
    more = Prompts(
        points=[[300, 400], [900, 900]],
        point_labels=[1, 0],
        mask_logits=first.best_logits,
    )
    again = session.segment(more)
    assert iou(again.best, disc > 0) > 0.95


@pytest.mark.parametrize("size", [(300, 200), (190, 301), (256, 256)])
def test_both_ways_are_averaged(size: tuple[int, int]) -> None:
    """The answer is the mean of two, so that of a mirrored plane is mirrored."""
    predictor = tiny_predictor()
    image = np.random.default_rng(0).integers(0, 255, size).astype(np.uint8)
    axis = windows.mirror_axis(size)
    there = Session(np.flip(image, axis).copy(), predictor)
    here = Session(image, predictor)
    assert here.embed(mirrored=True).key == there.embed().key
    click = Prompts(points=[[50, 60]])
    logits = here.segment(click).best_logits
    again = Prompts([[50, 60], [9, 150]], [1, 0], mask_logits=logits)
    both = SharpOptions("auto", max_object=1e-3)
    for prompts in (click, again, Prompts(box=[20, 30, 170, 180])):
        turned = windows.mirror_prompts(prompts, size)
        one, other = (
            predictor.predict(session.embed(), asked)
            for session, asked in ((here, prompts), (there, turned))
        )
        mean = (one.logits + np.flip(other.logits, 1 + axis)) / 2
        found = here.segment(prompts, sharp=both)
        np.testing.assert_allclose(found.logits, mean, atol=1e-5)
        np.testing.assert_allclose(found.scores, (one.scores + other.scores) / 2)
        mirrored = there.segment(turned, sharp=both)
        np.testing.assert_allclose(
            np.flip(mirrored.logits, 1 + axis), found.logits, atol=1e-4
        )


def test_encoding_ahead_is_both_ways() -> None:
    """A click on a plane that is ready costs none; large planes are not mirrored."""
    predictor = SeeingPredictor()
    stack = np.stack([disc_at(500, 450, radius, (1000, 1000)) for radius in (200, 210)])
    session = Session(stack, predictor, sharp="auto")
    assert list(session.embed_planes()) == [0, 1]
    assert predictor.encoded == 4
    session.segment(Prompts(points=[[500, 500]]), plane=1, multimask=False)
    assert predictor.encoded == 4
    assert not SharpOptions("auto").looks_both_ways((2049, 100))


def test_neighbours_share_a_window() -> None:
    """The second of two small neighbours costs no encoding: neither way nor closer."""
    size = (1024, 1024)
    image = disc_at(300, 308, 5, size) | disc_at(300, 322, 5, size)
    predictor = SeeingPredictor()
    session = Session(image, predictor, sharp="auto")
    windows_used = {
        session.segment(Prompts(box=[295, c - 5, 306, c + 6])).window
        for c in (308, 322)
    }
    assert len(windows_used) == 1
    assert predictor.encoded == 3  # the plane, its mirror image, the window


def test_auto_leaves_large_objects() -> None:
    """An object SAM sees well is not looked at again, unless always is asked for."""
    image = disc_at(500, 500, 200, (1000, 1000))
    predictor = SeeingPredictor()
    prompts = Prompts(box=[300, 300, 700, 700])
    session = Session(image, predictor)
    once = SharpOptions("auto", mirror=False)
    assert session.segment(prompts, sharp=once).window is None
    assert predictor.encoded == 1
    assert session.segment(prompts, sharp="auto").window is None
    assert predictor.encoded == 2  # its mirror image
    small = Session(disc_at(60, 60, 20, (1000, 1000)), predictor)
    assert small.segment(Prompts(box=[40, 40, 80, 80]), sharp="auto").window is not None


def test_contradiction_is_not_believed() -> None:
    """If the closer look contradicts the first, the first stays."""
    session = Session(disc_at(300, 400, 10, (1500, 2000)), TwoFacedPredictor())
    prompts = Prompts(box=[290, 390, 311, 411])
    coarse = session.segment(prompts)
    sharp = session.segment(prompts, sharp="always")
    assert sharp.window is None
    np.testing.assert_array_equal(sharp.masks, coarse.masks)


def test_three_masks_stay_three() -> None:
    """Each of three masks is looked at on its own."""
    session = Session(disc_at(300, 400, 10, (1500, 2000)), SeeingPredictor())
    coarse = session.segment(Prompts(points=[[300, 400]]))
    sharp = session.segment(Prompts(points=[[300, 400]]), sharp="always")
    assert sharp.masks.shape == coarse.masks.shape == (3, 1500, 2000)
    assert sharp.logits.shape == (3, 256, 256)
    assert sharp.logits.dtype == np.float32


@pytest.mark.parametrize(
    "prompts",
    [Prompts(points=[[15_000, 7_000]]), Prompts(box=[14_980, 6_980, 15_021, 7_021])],
)
@pytest.mark.parametrize("sharp", ["off", "auto"])
def test_huge_plane(prompts: Prompts, sharp: Any) -> None:
    """A click in a plane of 20,000 x 20,000 reads a few windows, and encodes two."""
    image = HugeImage(15_000, 7_000, 20, np.uint8)
    predictor = SeeingPredictor()
    session = Session(image, predictor, sharp=sharp)
    answer = session.segment(prompts, multimask=False)
    assert predictor.encoded <= 2
    assert image.largest_read <= 1024**2
    frame = answer.frame
    assert answer.masks.shape == (1, *frame.shape)
    rows, columns = np.nonzero(answer.best)
    assert rows.mean() + frame.row_min == pytest.approx(15_000, abs=1.5)
    assert columns.mean() + frame.column_min == pytest.approx(7_000, abs=1.5)
    assert rows.size == pytest.approx(np.pi * 20**2, rel=0.2)
    assert answer.logits.shape == (1, 256, 256)
    whole = answer.in_plane(image.shape)
    assert whole.frame is None
    assert whole.best[15_000, 7_000]
    assert whole.best[frame.slices].sum() == rows.size


def test_large_object_in_a_huge_plane() -> None:
    """The first look goes farther away until the object fits."""
    image = HugeImage(10_000, 12_000, 1500, np.uint8)
    session = Session(image, SeeingPredictor())
    answer = session.segment(Prompts(points=[[10_000, 12_000]]), multimask=False)
    assert min(answer.frame.shape) >= 4096
    assert answer.best.sum() == pytest.approx(np.pi * 1500**2, rel=0.05)
    assert image.largest_read < 5000**2


def test_huge_planes_are_refused_where_all_would_be_read() -> None:
    """Automatic masks name the way by tiles; objects are followed without windows."""
    image = HugeImage(10_000, 12_000, 20, np.uint8)
    session = Session(image, SeeingPredictor())
    with pytest.raises(ValueError, match="20000 x 20000: use label_tiles"):
        session.generate_masks()
    assert image.largest_read == 0
    stack = Session(HugeStack(), SeeingPredictor(), sharp="auto")
    with pytest.raises(ValueError, match="sharp must be 'off' to follow objects"):
        stack.propagate({0: Prompts(points=[[5, 5]])})


def test_contrast_of_a_huge_plane() -> None:
    """Limits come from small parts of it."""
    image = HugeImage(10_000, 10_000, 6000, np.uint16)
    session = Session(image, SeeingPredictor())
    assert session.contrast_limits == (10, 200)
    assert image.largest_read <= 512**2


def test_windows_are_embedded_for_themselves() -> None:
    """A window is read, encoded and found again by itself; all of a plane is none."""
    image = np.random.default_rng(0).integers(0, 255, (100, 90)).astype(np.uint8)
    session = Session(image, tiny_predictor())
    window = Window(10, 20, 74, 84)
    part = session.embed(window=window)
    assert part.window == window
    assert part.plane_size == (64, 64)
    assert session.is_embedded(window=window)
    assert not session.is_embedded()
    expected = session.predictor.embed(image, window).features
    torch.testing.assert_close(part.features.float(), expected, atol=1e-2, rtol=1e-2)
    assert session.embed(window=windows.whole((100, 90))).key == session.embed().key
    with pytest.raises(ValueError, match="window must lie within"):
        session.embed(window=Window(0, 0, 101, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "on"}, "mode must be 'off', 'auto' or 'always', got 'on'"),
        ({"context": 1.9}, "context must be at least 2"),
        ({"context": float("nan")}, "context must be at least 2"),
        ({"min_magnification": 0.5}, "min_magnification must be at least 1"),
        ({"max_object": 0}, "max_object must be above 0"),
        ({"min_agreement": 1.5}, "min_agreement must be 0 to 1"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    """Options are checked when they are made."""
    with pytest.raises(ValueError, match=message):
        SharpOptions(**options)


@pytest.mark.parametrize("sharp", [True, "sometimes", 3])
def test_bad_sharp(sharp: Any) -> None:
    """A session, and a call, take the three modes or options."""
    image = np.zeros((8, 8), np.uint8)
    with pytest.raises(ValueError, match="sharp must be 'off', 'auto', 'always'"):
        Session(image, tiny_predictor(), sharp=sharp)
    with pytest.raises(ValueError, match="sharp must be 'off', 'auto', 'always'"):
        Session(image, tiny_predictor()).segment(Prompts(points=[[1, 1]]), sharp=sharp)
