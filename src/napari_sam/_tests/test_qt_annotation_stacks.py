"""The dock widget in a real viewer: stacks, colour, time, rotations, the real model."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

from napari_sam import segment_layers
from napari_sam._tests.test_qt_steps import DiscPredictor, User, image
from napari_sam.stopping import may_stop


@pytest.fixture
def discs(monkeypatch, tmp_path):
    """Make the widget load a model of discs that counts what it encodes."""
    predictor = DiscPredictor()
    monkeypatch.setattr("napari_sam._qt.engine.load_model", lambda name: predictor)
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path))
    return predictor


@pytest.fixture
def opened(make_napari_viewer, qtbot, discs):
    """Open an image and press Start."""

    def open_image(data: Any, **how: Any) -> User:
        user = User(make_napari_viewer(), qtbot)
        user.viewer.add_image(data, name="image", **how)
        user.settle()
        user.start()
        return user

    return open_image


# A turn by 30 degrees in the plane, and a shift, of a (z, y, x) image.
ROTATED = np.array(
    [
        [2.0, 0, 0, 5],
        [0, np.cos(np.pi / 6), -np.sin(np.pi / 6), -7],
        [0, np.sin(np.pi / 6), np.cos(np.pi / 6), 11],
        [0, 0, 0, 1],
    ]
)
CASES: dict[str, tuple[tuple[int, ...], dict[str, Any], tuple[int, ...]]] = {
    "2D": ((40, 50), {}, ()),
    "RGB": ((40, 50, 3), {"rgb": True}, ()),
    "ZYX": ((6, 40, 50), {"scale": (3, 0.5, 0.5)}, (4,)),
    "ZYX RGB": ((6, 40, 50, 3), {"rgb": True}, (4,)),
    "TZYX": ((3, 6, 40, 50), {"scale": (1, 3, 0.5, 0.5)}, (1, 4)),
    "rotated": ((6, 40, 50), {"affine": ROTATED}, (4,)),
}


def go_to(user: User, index: tuple[int, ...]) -> None:
    """Move the sliders to a plane of the image, in its pixels."""
    place = user.annotator.image.data_to_world((*index, 20, 25))
    for axis in range(len(index)):
        user.viewer.dims.set_point(axis, place[axis])
    user.qtbot.wait(10)


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_image_from_start_to_labels(opened, case):
    """The mask lies where the click was, in the plane that is shown; others stay."""
    shape, how, index = CASES[case]
    data = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    user = opened(data, **how)
    go_to(user, index)
    user.points.add([(*index, 20, 30)])
    user.settle()
    mask = user.mask()
    assert mask[20, 30]
    assert mask.sum() < mask.size / 4
    preview = user.annotator.preview.layer
    np.testing.assert_array_equal(preview.data.reshape(mask.shape) > 0, mask)
    # The preview lies in the world where the image has these pixels.
    first = user.annotator.image.data_to_world((*index, 0, 0))
    np.testing.assert_allclose(preview.data_to_world((0,) * preview.ndim), first)
    user.press("accept")
    labels = user.layer("segmentation")
    written = labels.data[index] if index else labels.data
    np.testing.assert_array_equal(written == 1, mask)
    assert np.count_nonzero(labels.data) == mask.sum()
    np.testing.assert_allclose(labels.affine.affine_matrix, preview.affine)
    np.testing.assert_allclose(labels.scale, user.annotator.image.scale)


def test_planes_along_any_axes(opened):
    """XZ, YZ and transposed planes."""
    user = opened(image(20, 40, 50), scale=(2, 1, 1))
    centre = np.array([10, 20, 25])
    place = user.annotator.image.data_to_world(centre)
    for number, order in enumerate([(1, 0, 2), (2, 0, 1), (0, 2, 1)], start=1):
        user.viewer.dims.order = order
        user.viewer.dims.set_point(order[0], place[order[0]])
        user.annotator.choose(object_id=number, overlap="overwrite")
        user.settle()
        user.points.add([centre])
        user.settle()
        mask = user.mask()
        assert mask[tuple(centre[list(order[1:])])]
        user.press("accept")
        volume = user.layer("segmentation").data
        plane = np.moveaxis(volume, order, (0, 1, 2))[centre[order[0]]]
        np.testing.assert_array_equal(plane == number, mask)
        assert np.count_nonzero(volume == number) == mask.sum()


def test_prompts_of_other_planes_do_not_count(opened):
    """Each plane has its own preview, and shows it again."""
    user = opened(image(6, 40, 50))
    go_to(user, (1,))
    user.points.add([(1, 10, 10)])
    user.settle()
    here = user.preview.copy()
    go_to(user, (2,))
    user.settle()
    assert user.preview is None
    assert "Click on object 1" in user.status
    user.points.add([(2, 30, 40)])
    user.settle()
    assert not np.array_equal(user.preview, here)
    go_to(user, (1,))
    user.settle()
    np.testing.assert_array_equal(user.preview, here)
    user.viewer.dims.ndisplay = 3
    user.settle()
    assert "switch the viewer to 2D" in user.status
    assert not user.controls.accept.isEnabled()
    user.viewer.dims.ndisplay = 2
    user.settle()
    assert user.preview is not None


def test_correcting_an_accepted_mask_replaces_it(opened):
    """Another prompt of the same object in the same plane."""
    user = opened(image(6, 40, 50))
    go_to(user, (1,))
    user.points.add([(1, 20, 20)])
    user.settle()
    user.press("accept")
    assert "correct this one" in user.status
    user.key("G")
    user.points.add([(1, 20, 24)])
    user.settle()
    assert user.preview is not None
    user.press("accept")
    labels = user.layer("segmentation").data
    np.testing.assert_array_equal(labels[1] == 1, user.mask())
    assert not labels[1, 20, 24]
    # In a stack, accepting does not go on with a new object by itself.
    user.key("G")
    go_to(user, (2,))
    user.points.add([(2, 20, 20)])
    user.settle()
    user.press("accept")
    assert np.flatnonzero(labels.any(axis=(1, 2))).tolist() == [1, 2]
    assert labels.max() == user.controls.object_id.value() == 1
    user.press("free")
    assert user.controls.object_id.value() == 2


def test_what_sam_sees_is_what_is_encoded(opened, discs):
    """Changed contrast or pixels never meet an old embedding."""
    user = opened(image(40, 50).astype(np.uint16), contrast_limits=(0, 300))
    layer = user.annotator.image
    user.points.add([(20, 20)])
    user.settle()
    assert discs.encoded == 1
    layer.contrast_limits = (50, 200)
    user.settle()
    assert discs.encoded == 2
    layer.data = image(40, 50, seed=1).astype(np.uint16)
    user.settle()
    assert discs.encoded == 3
    user.controls.contrast.setCurrentIndex(1)
    user.controls.contrast.activated.emit(1)
    user.settle()
    assert discs.encoded == 4
    layer.contrast_limits = (60, 200)  # does not count any more
    user.settle()
    assert discs.encoded == 4
    assert user.preview is not None


def test_planes_around_are_encoded_while_nothing_is_asked_for(opened, discs):
    """The displayed one first; the line about the cache says so."""
    user = opened(image(9, 40, 50))
    go_to(user, (4,))
    user.wait(lambda: discs.encoded == 5)
    user.wait(lambda: "5 in memory" in user.controls.cache.text())
    assert "Plane 4: ready" in user.controls.cache.text()
    user.points.add([(4, 20, 20)])
    user.settle()
    assert discs.encoded == 5


@pytest.mark.parametrize("clicked", [0, 3])
def test_a_click_stops_the_encoding_of_other_planes_only(opened, discs, clicked):
    """What is encoded ahead and needed now goes on; anything else ends halfway."""
    begun, release, encode = threading.Event(), threading.Event(), discs.encode
    ended: list[int] = []

    def slow(planes):
        begun.set()
        assert release.wait(10)
        may_stop()
        ended.append(len(planes))
        return encode(planes)

    discs.encode = slow
    data = np.stack([image(24, 32) + i for i in range(5)])
    user = opened(data)
    user.wait(begun.is_set)
    user.viewer.dims.set_current_step(0, clicked)
    user.points.add([clicked, 10, 12])
    user.wait(lambda: user.annotator.runner.is_busy)
    release.set()
    user.wait(lambda: user.preview is not None)
    assert ended[0] == 1
    ready = {plane for _, plane in user.annotator.ready}
    assert clicked in ready
    assert (0 in ready) == (clicked == 0)


def test_nothing_is_encoded_before_start(make_napari_viewer, qtbot, discs):
    """Opening the widget costs nothing."""
    user = User(make_napari_viewer(), qtbot)
    user.viewer.add_image(image(9, 40, 50))
    qtbot.wait(500)
    assert discs.encoded == 0
    assert user.annotator.runner._thread is None or not user.annotator.runner.is_busy


def test_two_images_are_two_sets_of_prompts(opened, discs):
    """Choosing another image changes layers, session and target."""
    user = opened(image(40, 50))
    user.points.add([(20, 20)])
    user.settle()
    user.viewer.add_image(image(30, 30, seed=2), name="other")
    user.settle()
    assert user.preview is not None  # a new image does not take over
    chooser = user.controls.image
    chooser.setCurrentIndex(chooser.findText("other"))
    chooser.activated.emit(chooser.currentIndex())
    user.settle()
    assert user.preview is None
    user.start()
    user.points.add([(10, 10)])
    user.settle()
    assert user.annotator.preview.layer.data.shape == (30, 30)
    user.press("accept")
    assert user.layer("segmentation").data.shape == (30, 30)


def test_lazy_volumes_are_read_one_plane_at_a_time(opened):
    """A dask array that fails outside the planes that are looked at."""
    da = pytest.importorskip("dask.array")
    read = []

    def block(block_info=None):
        read.append(block_info[None]["chunk-location"][0])
        return image(1, 40, 50)

    data = da.map_blocks(block, chunks=((1,) * 100, (40,), (50,)), dtype=np.uint8)
    read.clear()  # dask tries the function out
    user = opened(data, contrast_limits=(0, 255))
    go_to(user, (50,))
    user.points.add([(50, 20, 20)])
    user.settle()
    assert user.preview is not None
    # 0 and the middle are what napari shows before the slider is moved. An autosaved
    # session knows its image by a few planes, read in the background.
    recognised = {0, 25, 50, 74, 99}
    assert set(read) <= recognised | {48, 49, 50, 51, 52}
    assert len(read) <= 3 * len(recognised | {48, 49, 50, 51, 52})


def test_the_real_model_gives_what_the_script_gives(
    make_napari_viewer, qtbot, predictor, monkeypatch, tmp_path
):
    """Widget and `segment_layers` write equal labels."""
    from skimage.data import coins

    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path))
    monkeypatch.setattr("napari_sam._qt.engine.load_model", lambda name: predictor)
    user = User(make_napari_viewer(), qtbot)
    user.viewer.add_image(coins(), name="coins", contrast_limits=(0, 255))
    user.settle()
    user.start()
    for point in ([55, 45], [70, 115]):
        user.points.add(point)
        user.wait(lambda: user.preview is not None)
        user.settle()
        user.press("accept")
    found = user.layer("segmentation").data
    assert [int((found == i).sum() > 500) for i in (1, 2)] == [1, 1]
    expected = segment_layers(
        user.viewer, "coins", user.points, labels="script", predictor=predictor
    )
    np.testing.assert_array_equal(found, expected.data)
