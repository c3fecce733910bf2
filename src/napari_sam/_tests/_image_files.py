"""Image files, and what is needed to make them, for several test modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
MEDICAL = ("nii", "nii.gz", "nrrd", "mha")
TIFFS = ("tif", "tiff", "ome.tif")
# Axes permuted and flipped, as in a sagittal scan; and one that is oblique.
SAGITTAL = np.array([[0, -1, 0], [0, 0, 1], [1, 0, 0]], float)
OBLIQUE = np.array([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])


def some_labels(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Random labels with the smallest and largest number of their type."""
    rng = np.random.default_rng(0)
    if dtype == "bool":
        return rng.random(shape) > 0.5
    labels = rng.integers(0, 100, shape).astype(dtype)
    labels.flat[0], labels.flat[-1] = np.iinfo(dtype).min, np.iinfo(dtype).max
    return labels


def write_dicom(folder: Path, count: int, series: int) -> NDArray[Any]:
    """Write a series of `count` slices 2.5 mm apart, oblique."""
    volume = np.arange(count * 20, dtype="int16").reshape(count, 4, 5)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    folder.mkdir(exist_ok=True)
    rows, columns, normal = OBLIQUE.T[[2, 1, 0]]
    for i, plane in enumerate(volume):
        image = sitk.GetImageFromArray(plane[None])
        image.SetSpacing((0.7, 0.3, 2.5))
        place = normal[::-1] * 2.5 * i + (1, 2, 3)
        tags = {
            "0008|0060": "MR",
            "0020|000e": f"1.2.826.0.1.3680043.2.{series}",
            "0020|000d": "1.2.826.0.1.3680043.2.77",
            "0008|0018": f"1.2.826.0.1.3680043.2.{series}.{i + 1}",
            "0020|0032": "\\".join(f"{x:.6f}" for x in place),
            "0020|0037": "\\".join(f"{x:.6f}" for x in (*rows[::-1], *columns[::-1])),
            "0020|0013": str(i),
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        # Named backwards: only the positions tell the order of the slices.
        writer.SetFileName(str(folder / f"{series}_{count - i:03}.dcm"))
        writer.Execute(image)
    return volume
