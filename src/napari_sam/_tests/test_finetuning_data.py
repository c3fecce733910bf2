"""What is learned from: arrays, layers, folders and COCO files."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.io import imsave

from napari_sam._finetuning_data import (
    MOST_PLANES,
    LabelledImage,
    labelled_images,
    split_groups,
)
from napari_sam._finetuning_views import (
    LEAST_CELLS,
    VIEWS,
    Views,
    valid_cells,
    view_of,
)


def pair(shape=(40, 60), dtype=np.uint8, seed=0):
    """Make an image and labels with two objects."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 200, shape).astype(dtype)
    labels = np.zeros(shape, np.int32)
    labels[..., 5:15, 5:25] = 1
    labels[..., 20:35, 30:50] = 7
    return image, labels


def test_a_plane_is_one_image():
    """8 bit stay as they are."""
    image, labels = pair()
    (one,) = labelled_images([(image, labels)])
    np.testing.assert_array_equal(one.pixels, image)
    np.testing.assert_array_equal(one.labels, labels)
    assert one.size == (40, 60)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, bool])
def test_other_types_become_8_bit(dtype):
    """With one contrast for all planes of a stack."""
    image, labels = pair((4, 40, 60), dtype)
    planes = labelled_images([(image, labels)])
    assert len(planes) == 4
    assert all(one.pixels.dtype == np.uint8 for one in planes)
    assert len({one.group for one in planes}) == 1


def test_only_labelled_planes_count():
    """Evenly chosen, if there are too many."""
    image, labels = pair((2 * MOST_PLANES + 9, 40, 60))
    labels[3:9] = 0
    planes = labelled_images([(image, labels)])
    assert len(planes) == MOST_PLANES
    assert all(one.labels.any() for one in planes)


@pytest.mark.parametrize(("channels", "seen"), [(2, 2), (3, 3), (4, 3)])
def test_colour_and_grey_with_alpha(channels, seen):
    """Two channels are grey and alpha; of four the last is alpha."""
    image, labels = pair()
    colour = np.stack([image] * channels, -1)
    (one,) = labelled_images([(colour, labels)])
    assert one.pixels.ndim == seen


def test_a_layer_is_seen_as_it_is_displayed():
    """With its contrast limits; of a multiscale layer the finest level."""
    image, labels = pair(dtype=np.uint16)
    layer = SimpleNamespace(
        data=[image, image[::2, ::2]], multiscale=True, contrast_limits=(0, 400)
    )
    (one,) = labelled_images([(layer, SimpleNamespace(data=labels))])
    np.testing.assert_allclose(one.pixels, image / 400 * 255, atol=0.51)


def files(folder, names, labels_of):
    """Write pairs of pictures."""
    for i, name in enumerate(names):
        image, labels = pair(seed=i)
        for path, array in ((folder / name, image), (labels_of(name), labels)):
            path.parent.mkdir(exist_ok=True)
            imsave(path, array.astype(np.uint8), check_contrast=False)


def test_a_folder_of_images_and_labels(tmp_path):
    """By name, whatever the endings."""
    names = ["images/a.png", "images/b.tif"]
    files(tmp_path, names, lambda n: tmp_path / "labels" / f"{n[7]}_mask.tif")
    assert [one.labels.max() for one in labelled_images(tmp_path)] == [7, 7]
    (tmp_path / "labels" / "b_mask.tif").unlink()
    with pytest.raises(ValueError, match=r"no labels for the image b\.tif"):
        labelled_images(tmp_path)


def test_a_folder_of_files_side_by_side(tmp_path):
    """The label file's name says so; images without one are left out."""
    files(tmp_path, ["a.tif", "b.tif"], lambda n: tmp_path / f"{n[0]}_labels.tif")
    imsave(tmp_path / "c.tif", pair()[0], check_contrast=False)
    assert {one.name.split()[0] for one in labelled_images(tmp_path)} == {
        "a.tif",
        "b.tif",
    }


def test_a_folder_of_npz(tmp_path):
    """With the arrays image and label."""
    image, labels = pair()
    np.savez(tmp_path / "a.npz", image=image, label=labels)
    (one,) = labelled_images(tmp_path)
    np.testing.assert_array_equal(one.labels, labels)
    np.savez(tmp_path / "b.npz", other=image)
    with pytest.raises(ValueError, match="must hold the arrays image and label"):
        labelled_images(tmp_path)


def coco(tmp_path, segmentations):
    """Write a COCO file with one image."""
    imsave(tmp_path / "a.png", pair()[0], check_contrast=False)
    content = {
        "images": [
            {"id": 4, "file_name": "a.png", "height": 40, "width": 60},
            {"id": 5, "file_name": "none", "height": 9, "width": 9},
        ],
        "annotations": [{"image_id": 4, "segmentation": s} for s in segmentations],
    }
    (tmp_path / "all.json").write_text(json.dumps(content))
    return tmp_path / "all.json"


def test_coco_polygons_and_runs(tmp_path):
    """Of overlapping objects the smaller one is on top."""
    square = [[5, 10, 25, 10, 25, 30, 5, 30]]
    runs = {"size": [40, 60], "counts": [40 * 10 + 12, 4, 40 * 50 - 16]}
    (one,) = labelled_images(coco(tmp_path, [square, runs]))
    expected = np.zeros((40, 60), int)
    expected[10:30, 5:25] = 1
    expected[12:16, 10] = 2
    np.testing.assert_array_equal(one.labels, expected)


def test_a_coco_file_without_its_images_is_refused(tmp_path):
    """With the place where one was looked for."""
    path = coco(tmp_path, [[[5, 10, 25, 10, 25, 30, 5, 30]]])
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"a\.png"):
        labelled_images(path)


IMAGE, LABELS = pair()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "must hold images with labelled objects"),
        ([(IMAGE, LABELS * 0)], "must hold images with labelled objects"),
        (IMAGE, "data must be a folder"),
        (5, "data must be a folder"),
        ([IMAGE], "must be a pair"),
        ([(IMAGE, LABELS[:-1])], "must have the image's shape"),
        ([(IMAGE, LABELS[None])], "must have the image's shape"),
        ([(IMAGE, LABELS.astype(float))], "must be integers"),
        ([(IMAGE, LABELS[0])], "must be integers with at least 2 axes"),
        ([(IMAGE.astype(complex), LABELS)], "bool, integer or real"),
        ([(IMAGE[0], LABELS)], "at least 2 axes"),
        ([("no_such_file.tif", LABELS)], "existing file"),
        ("no_such_folder", "must be a folder or a COCO"),
    ],
)
def test_bad_data_are_refused(data, message):
    """In one sentence."""
    with pytest.raises(ValueError, match=message):
        labelled_images(data)


def planes(groups):
    """Make a plane of each group."""
    return [LabelledImage(IMAGE, LABELS, g, f"{g} {i}") for i, g in enumerate(groups)]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.sampled_from("abcdef"), min_size=1),
    st.floats(0, 0.99),
    st.integers(0, 99),
)
def test_no_group_is_on_both_sides(groups, fraction, seed):
    """All planes are somewhere; something is left to train on."""
    train, held_out = split_groups(planes(groups), fraction, seed)
    assert len(train) + len(held_out) == len(groups)
    assert not {p.group for p in train} & {p.group for p in held_out}
    assert train
    assert bool(held_out) == (fraction > 0 and len(set(groups)) > 1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.integers(1, VIEWS))
def test_views_keep_pixels_and_labels_together(seed, number):
    """An object is brighter than what is around it in every view."""
    image = LabelledImage((LABELS > 0).astype(np.uint8) * 180 + 20, LABELS, "a", "a")
    shown = view_of(image, number, seed)
    assert shown.pixels.shape == shown.labels.shape
    inside = shown.pixels[shown.labels > 0]
    assert len(inside)
    # Objects that the border cuts are no targets, but still there to be seen.
    assert inside.min() > np.percentile(shown.pixels, 1)
    again = view_of(image, number, seed)
    np.testing.assert_array_equal(again.pixels, shown.pixels)


def test_the_first_view_is_the_image():
    """So that training sees what will be segmented."""
    (image,) = planes("a")
    assert view_of(image, 0, 3) is image


def test_targets_are_objects_of_the_views():
    """In the answer frame, none too small, none in the padding."""
    views = Views(planes("ab"), 0)
    targets = views.draw(6, VIEWS, np.random.default_rng(0), 2)
    assert len(targets) == 6
    assert {one.image for one in targets} == {0, 1}
    for one in targets:
        assert one.mask.sum() >= LEAST_CELLS
        assert not (one.mask & ~one.valid).any()
    np.testing.assert_array_equal(
        targets[0].valid, valid_cells(views.get(targets[0].image, targets[0].view).size)
    )


def test_too_small_objects_are_not_drawn():
    """There is nothing to see of them in the model's frame."""
    labels = np.zeros((2048, 2048), np.uint8)
    labels[5, 5] = 1
    image = LabelledImage(labels, labels, "a", "a")
    assert Views([image], 0).draw(2, 1, np.random.default_rng(0), 1) == []
