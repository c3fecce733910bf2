"""Medical files: their place in the world, and the traps in reading them."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from napari_sam._tests._image_files import (
    MEDICAL,
    OBLIQUE,
    SAGITTAL,
    write_dicom,
)
from napari_sam.io import ImageFile, read_image, read_labels, write_labels

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("direction", [np.eye(3), SAGITTAL, OBLIQUE])
@pytest.mark.parametrize("extension", MEDICAL)
def test_origin_and_direction_are_kept(
    tmp_path: Path, extension: str, direction: NDArray[Any]
) -> None:
    """Labels lie where the image lies, as another program sees it too."""
    like = ImageFile(
        np.zeros((4, 5, 6)),
        "ZYX",
        (2.5, 0.3, 0.7),
        (-10.5, 20.25, 30),
        direction,
        ("millimeter",) * 3,
    )
    path = tmp_path / f"a.{extension}"
    write_labels(path, np.ones((4, 5, 6), "uint16"), like=like)
    back = read_image(path)
    np.testing.assert_allclose(back.direction, direction, atol=1e-6)
    assert (back.spacing, back.origin) == (like.spacing, like.origin)
    index = (3, 1, 2)
    expected = like.origin + direction @ (np.array(like.spacing) * index)
    seen = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint(index[::-1])
    np.testing.assert_allclose(seen[::-1], expected, atol=1e-4)


def test_dicom_folder(tmp_path: Path) -> None:
    """A series is one volume in the order of its positions; its labels fit it."""
    volume = write_dicom(tmp_path / "scan", 6, 1)
    image = read_image(tmp_path / "scan")
    np.testing.assert_array_equal(image, volume)
    np.testing.assert_allclose(image.spacing, (2.5, 0.3, 0.7), rtol=1e-4)
    np.testing.assert_allclose(image.origin, (3, 2, 1), atol=1e-4)
    np.testing.assert_allclose(np.abs(image.direction), np.abs(OBLIQUE), atol=1e-4)
    write_labels(tmp_path / "a.nii.gz", np.ones(image.shape, "u1"), like=image)
    back = read_labels(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(back.direction, image.direction, atol=1e-5)
    np.testing.assert_allclose(back.origin, image.origin, atol=1e-5)


def test_longest_of_several_dicom_series(tmp_path: Path) -> None:
    """Of several series the longest is read, and a warning names them all."""
    write_dicom(tmp_path, 2, 1)
    volume = write_dicom(tmp_path, 5, 2)
    with pytest.warns(UserWarning, match=r"2 DICOM series.*the longest, .*\.2\."):
        image = read_image(tmp_path)
    np.testing.assert_array_equal(image, volume)


def test_packed_nifti_beside_an_unpacked_one(tmp_path: Path) -> None:
    """a.nii.gz is read from a.nii.gz, even if there is an a.nii beside it."""
    write_labels(tmp_path / "a.nii", np.full((4, 5, 6), 1, "u1"))
    write_labels(tmp_path / "a.nii.gz", np.full((4, 5, 6), 2, "u1"))
    assert (np.asarray(read_image(tmp_path / "a.nii")) == 1).all()
    assert (np.asarray(read_image(tmp_path / "a.nii.gz")) == 2).all()


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    """A packed file whose checksum is wrong is refused."""
    path = tmp_path / "a.nii.gz"
    write_labels(path, np.zeros((4, 5, 6), "u1"))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()))[:-8] + b"?" * 8)
    with pytest.raises(ValueError, match="could not be read as NIfTI"):
        read_image(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_of_both_byte_orders(tmp_path: Path, order: str) -> None:
    """Both byte orders pass the check of the length; NIfTI-2 is named as such."""
    nibabel = pytest.importorskip("nibabel")
    data = np.arange(120, dtype="i2").reshape(6, 5, 4)
    for version, kind in enumerate((nibabel.Nifti1Image, nibabel.Nifti2Image), 1):
        header = kind.header_class(endianness=order)
        header.set_data_dtype("i2")
        path = tmp_path / f"{version}.nii.gz"
        kind(data, np.diag((-0.5, -0.25, 2, 1)), header).to_filename(path)
    image = read_image(tmp_path / "1.nii.gz")
    np.testing.assert_array_equal(image, data.T)
    assert image.spacing == (2, 0.25, 0.5)
    with pytest.raises(ValueError, match="NIfTI-2"):
        read_image(tmp_path / "2.nii.gz")
