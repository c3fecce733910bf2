"""napari opens medical volumes and writes Labels layers where they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import npe2
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

from napari_sam._reader import get_reader, layer_tuple, read_layers
from napari_sam._tests._image_files import OBLIQUE, SAGITTAL, write_dicom
from napari_sam._writer import write_single
from napari_sam.io import ImageFile, read_image, sample_path, write_labels

PLUGIN = "napari-sam-stacks"
SHAPE = (4, 5, 6)
FLIPPED = np.diag((1.0, -1.0, -1.0))
MIRRORED = np.diag((1.0, 1.0, -1.0))


def volume(direction: NDArray[Any]) -> ImageFile:
    """Labels 1 to 120 in a place of their own."""
    return ImageFile(
        np.arange(120, dtype="u2").reshape(SHAPE),
        "ZYX",
        (2.5, 0.5, 0.75),
        (-10, 20, 30),
        direction,
        ("millimeter",) * 3,
    )


def opened(path: Path) -> Any:
    """Return the only layer a file gives."""
    (layer,) = (Layer.create(*one) for one in read_layers(str(path)))
    return layer


@pytest.fixture
def plugins() -> npe2.PluginManager:
    """Return a plugin manager that knows this package's manifest."""
    manager = npe2.PluginManager.instance()
    if PLUGIN not in manager:
        source = Path(__file__).parents[1] / "napari.yaml"
        manager.register(npe2.PluginManifest.from_file(source))
    return manager


def test_manifest_opens_and_writes(plugins: npe2.PluginManager, tmp_path: Path) -> None:
    """Through napari: open with the plugin, write the layer, open it again."""
    write_labels(tmp_path / "a_labels.nii.gz", volume(FLIPPED))
    viewer = ViewerModel()
    (layer,) = viewer.open(str(tmp_path / "a_labels.nii.gz"), plugin=PLUGIN)
    assert isinstance(layer, Labels)
    (written,) = layer.save(str(tmp_path / "b.nrrd"), plugin=PLUGIN)
    back = read_image(written)
    np.testing.assert_array_equal(back, volume(FLIPPED))
    np.testing.assert_allclose(back.direction, FLIPPED, atol=1e-6)
    assert (back.spacing, back.origin) == ((2.5, 0.5, 0.75), (-10, 20, 30))


def test_manifest_names_functions_that_exist(plugins: npe2.PluginManager) -> None:
    """Each command but those of the windows leads to a function."""
    for command in plugins.get_manifest(PLUGIN).contributions.commands:
        if "._qt." not in command.python_name:
            assert callable(plugins.commands.get(command.id))


@pytest.mark.parametrize("direction", [np.eye(3), FLIPPED, MIRRORED])
def test_layer_lies_where_the_scan_does(tmp_path: Path, direction: Any) -> None:
    """Voxels get their patient coordinates as (z, y, x), and planes still show."""
    write_labels(tmp_path / "a.nrrd", volume(direction))
    layer = opened(tmp_path / "a.nrrd")
    assert isinstance(layer, Image)
    index = np.array((3, 1, 2))
    expected = direction @ (np.array((2.5, 0.5, 0.75)) * index) + (-10, 20, 30)
    np.testing.assert_allclose(layer.data_to_world(index), expected)
    np.testing.assert_allclose(layer.scale, (2.5, 0.5, 0.75))
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
    assert layer.axis_labels == ("z", "y", "x")
    viewer = ViewerModel()
    viewer.add_layer(layer)
    viewer.dims.set_current_step(0, 2)
    np.testing.assert_array_equal(layer._slice.image.raw, layer.data[2])


@pytest.mark.parametrize("direction", [SAGITTAL, OBLIQUE])
def test_other_orientations_show_as_acquired(tmp_path: Path, direction: Any) -> None:
    """What napari cannot slice is shown upright in its own axes, and written back."""
    write_labels(tmp_path / "a_seg.nrrd", volume(direction))
    layer = opened(tmp_path / "a_seg.nrrd")
    np.testing.assert_allclose(layer.data_to_world((3, 1, 2)), (7.5, 0.5, 1.5))
    data, meta, _ = layer.as_layer_data_tuple()
    write_single(str(tmp_path / "b.nii.gz"), data, meta)
    back = read_image(tmp_path / "b.nii.gz")
    np.testing.assert_allclose(back.direction, direction, atol=1e-6)
    assert (back.spacing, back.origin) == ((2.5, 0.5, 0.75), (-10, 20, 30))


def test_dicom_directory(tmp_path: Path) -> None:
    """A directory is read if there is DICOM in it, and left to others if not."""
    assert get_reader(str(tmp_path)) is None
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    assert get_reader(str(tmp_path)) is None
    data = write_dicom(tmp_path / "scan", 3, 1)
    read = get_reader(str(tmp_path / "scan"))
    assert read is not None
    np.testing.assert_array_equal(read(str(tmp_path / "scan"))[0][0], data)


@pytest.mark.parametrize("path", ["a.tif", "a.png", "a.nii.txt", [], ["a.nii", "a.x"]])
def test_files_left_to_others(path: Any) -> None:
    """TIFF and the like are napari's own business."""
    assert get_reader(path) is None


def test_several_files_are_several_layers() -> None:
    """A list of files gives a layer each, labels as Labels."""
    paths = [str(sample_path(f"spine_ct{x}.nii.gz")) for x in ("", "_labels")]
    read = get_reader(paths)
    assert read is not None
    layers = [Layer.create(*one) for one in read(paths)]
    assert [type(layer) for layer in layers] == [Image, Labels]
    assert [layer.name for layer in layers] == ["spine_ct", "spine_ct_labels"]


def test_colour_and_channels() -> None:
    """Three colours are one RGB layer, five channels are split by napari."""
    colour = ImageFile(np.zeros((2, 4, 5, 3), "u1"), "ZYXC", (3, 2, 1))
    assert Layer.create(*layer_tuple(colour, "a")).rgb
    channels = ImageFile(np.zeros((4, 5, 5), "u1"), "YXC", (2, 1))
    data, meta, _ = layer_tuple(channels, "a")
    assert len(ViewerModel().add_image(data, **meta)) == 5


@pytest.mark.parametrize("extension", ["nii.gz", "nii", "nrrd", "mha", "tif"])
@pytest.mark.parametrize("units", ["millimeter", "micrometer", "pixel"])
def test_writer_keeps_scale_and_units(
    tmp_path: Path, units: str, extension: str
) -> None:
    """A scaled and moved layer is written with spacing, origin and units."""
    data = np.arange(60).reshape(3, 4, 5)
    layer = Labels(data, scale=(2, 0.5, 0.25), translate=(8, 4, 2), units=(units,) * 3)
    path = str(tmp_path / f"a.{extension}")
    assert write_single(path, *layer.as_layer_data_tuple()[:2]) == [path]
    back = read_image(path)
    np.testing.assert_array_equal(back, data)
    factor = 1e-3 if units == "micrometer" and extension != "tif" else 1
    np.testing.assert_allclose(back.spacing, np.array((2, 0.5, 0.25)) * factor)
    if extension == "tif":
        assert back.units == (units,) * 3
    else:
        np.testing.assert_allclose(back.origin, np.array((8, 4, 2)) * factor)


def test_writer_composes_all_transforms(tmp_path: Path) -> None:
    """Rotation and affine of a layer become the direction of the file."""
    mirror = np.eye(4)
    mirror[:3, :3], mirror[:3, 3] = MIRRORED, (1, 2, 3)
    turn = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    layer = Labels(
        np.ones(SHAPE, int),
        scale=(2, 1, 0.5),
        translate=(5, 6, 7),
        rotate=turn,
        affine=mirror,
        units=("millimeter",) * 3,
    )
    write_single(str(tmp_path / "a.mha"), *layer.as_layer_data_tuple()[:2])
    back = read_image(tmp_path / "a.mha")
    index = np.array((3, 1, 2))
    assert back.origin is not None
    place = back.origin + back.direction @ (np.array(back.spacing) * index)
    np.testing.assert_allclose(place, layer.data_to_world(index), atol=1e-9)


def test_writer_warns_of_shear(tmp_path: Path) -> None:
    """A shear cannot be written: the spacing is, with a warning."""
    layer = Labels(np.ones((4, 5), int), scale=(2, 0.5), shear=[0.5], name="bent")
    with pytest.warns(UserWarning, match="'bent' is sheared"):
        write_single(str(tmp_path / "a.mha"), *layer.as_layer_data_tuple()[:2])
    assert read_image(tmp_path / "a.mha").spacing == (2, 0.5)


def test_writer_takes_bare_arrays_and_multiscale(tmp_path: Path) -> None:
    """Without keywords the spacing is 1; of a pyramid the finest level is written."""
    levels = [np.ones((8, 8), int), np.ones((4, 4), int)]
    write_single(str(tmp_path / "a.tif"), levels, {"multiscale": True})
    image = read_image(tmp_path / "a.tif")
    assert (image.shape, image.spacing) == ((8, 8), (1, 1))
    with pytest.raises(ValueError, match="2 to 5 axes"):
        write_single(str(tmp_path / "a.tif"), np.ones(3, int), {})
