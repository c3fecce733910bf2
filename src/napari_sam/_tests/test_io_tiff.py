"""TIFF by this package and by others: spacing, units and axes are understood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_sam._tests._image_files import (
    some_labels,
)
from napari_sam.io import ImageFile, read_image, read_labels, write_labels

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "unit",
    [
        *("angstrom", "nanometer", "micrometer", "millimeter"),
        *("centimeter", "meter", "inch", "pixel"),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_tiff_keeps_each_unit(tmp_path: Path, unit: str, dtype: str) -> None:
    """ImageJ, OME and plain TIFF say in which unit the spacing is."""
    data = np.zeros((2, 3, 4), dtype)
    like = ImageFile(data, "ZYX", (2, 0.5, 0.25), units=(unit,) * 3)
    write_labels(tmp_path / "a.tif", data, like=like)
    back = read_image(tmp_path / "a.tif")
    assert (back.units, back.spacing) == ((unit,) * 3, (2, 0.5, 0.25))


@pytest.mark.parametrize("axes", ["CYX", "CZYX", "TZYX", "ZCYX", "TCZYX", "QZYX"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64"])
def test_tiff_keeps_channel_and_time_axes(
    tmp_path: Path, axes: str, dtype: str
) -> None:
    """Axes in any order come back; a letter TIFF does not know becomes time."""
    data = some_labels((2, 3, 4, 5, 6)[-len(axes) :], dtype)
    units = tuple("second" if a == "T" else "nanometer" for a in axes)
    spacing = tuple(float(i) for i in range(1, len(axes) + 1))
    image = ImageFile(data, axes, spacing, units=units)
    write_labels(tmp_path / "a.tif", image)
    back = read_labels(tmp_path / "a.tif")
    assert back.axes == axes.replace("Q", "T")
    np.testing.assert_array_equal(back, data)
    for axis in set(back.axes) - ({"C"} if "Q" not in axes else {"T"}):
        assert back.spacing[back.axes.index(axis)] == spacing[back.axes.index(axis)]


def test_imagej_and_tifffile_read_the_spacing(tmp_path: Path) -> None:
    """The header says what ImageJ looks for: unit, spacing, pixels per unit."""
    write_labels(tmp_path / "a.tif", np.zeros((3, 4, 5), "u2"), (2, 0.3, 0.7))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_imagej
        assert file.imagej_metadata["unit"] == "um"
        assert file.imagej_metadata["spacing"] == 2
        assert file.imagej_metadata["slices"] == 3
        tags = file.pages[0].tags
        assert tags["XResolution"].value == (10, 7)
        assert tags["YResolution"].value == (10, 3)


@pytest.mark.parametrize(
    ("options", "spacing", "unit"),
    [
        ({"resolution": (4, 2), "resolutionunit": "CENTIMETER"}, 0.25, "centimeter"),
        ({"resolution": (100, 50), "resolutionunit": "INCH"}, 0.01, "inch"),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, 1, "pixel"),
        ({"resolution": (4, 2), "resolutionunit": "NONE"}, 0.25, "pixel"),
        ({}, 1, "pixel"),
        (
            {"resolution": (4, 2), "imagej": True, "metadata": {"unit": "\\u00B5m"}},
            0.25,
            "micrometer",
        ),
        # OME's unit of length is the micrometre unless it says otherwise.
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.25}}, 0.25, "micrometer"),
    ],
)
def test_spacing_of_tiff_by_others(
    tmp_path: Path, options: dict[str, Any], spacing: float, unit: str
) -> None:
    """Resolution tags, ImageJ's and OME's headers are understood."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), "u1"), **options)
    image = read_image(tmp_path / "a.tif")
    assert (image.spacing[-1], image.units[-1]) == (spacing, unit)


@pytest.mark.parametrize(
    ("shape", "options", "axes"),
    [
        ((5, 6, 3), {"photometric": "rgb"}, "YXC"),
        ((4, 5, 6, 3), {"photometric": "rgb"}, "ZYXC"),
        ((3, 5, 6), {"photometric": "rgb", "planarconfig": "separate"}, "YXC"),
        ((4, 5, 6), {"metadata": None, "photometric": "minisblack"}, "ZYX"),
        ((1, 5, 6), {"imagej": True}, "YX"),
        ((2, 4, 5, 6), {"imagej": True, "metadata": {"axes": "ZCYX"}}, "ZCYX"),
        ((2, 1, 5, 6), {"ome": True, "metadata": {"axes": "CZYX"}}, "CYX"),
        (
            (2, 5, 6, 3),
            {"ome": True, "photometric": "rgb", "metadata": {"axes": "CYXS"}},
            "CYXC",
        ),
    ],
)
def test_axes_of_tiff_by_others(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any], axes: str
) -> None:
    """Colour comes last, stacks are planes, axes of length 1 are left out."""
    data = np.random.default_rng(0).integers(0, 255, shape).astype("u1")
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    image = read_image(tmp_path / "a.tif")
    assert image.axes == axes
    planar = options.get("planarconfig")
    expected = np.moveaxis(data, 0, -1) if planar else np.squeeze(data)
    np.testing.assert_array_equal(image, expected)
    assert image.is_rgb == axes.endswith("C")
    assert len(image.spacing) == len(axes) - image.is_rgb
