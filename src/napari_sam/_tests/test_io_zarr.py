"""zarr and OME-Zarr open without being loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

from napari_sam.io import read_image

if TYPE_CHECKING:
    from pathlib import Path


def test_zarr_is_not_loaded(tmp_path: Path) -> None:
    """A zarr array stays a zarr array."""
    array = zarr.create_array(tmp_path / "a.zarr", shape=(4, 5, 6), dtype="u2")
    array[:] = 7
    image = read_image(tmp_path / "a.zarr")
    assert isinstance(image.data, zarr.Array)
    assert (image.axes, image.shape, image.dtype) == ("ZYX", (4, 5, 6), np.uint16)
    assert np.asarray(image).max() == 7


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str) -> None:
    """The finest level opens, with the scale and units its metadata gives."""
    group = zarr.open_group(
        tmp_path / "a.zarr", mode="w", zarr_format=2 if version == "0.4" else 3
    )
    for level, size in enumerate((8, 4)):
        group.create_array(str(level), shape=(2, size, size), dtype="u1")
    levels = [
        {
            "path": str(i),
            "coordinateTransformations": [
                {"type": "scale", "scale": [2, 0.5 * 2**i, 0.25 * 2**i]},
                {"type": "translation", "translation": [0, 1, 2]},
            ],
        }
        for i in range(2)
    ]
    image = {
        "axes": [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"],
        "datasets": levels,
        "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 2]}],
    }
    metadata = {"version": version, "multiscales": [image]}
    group.attrs.update(metadata if version == "0.4" else {"ome": metadata})
    opened = read_image(tmp_path / "a.zarr")
    assert (opened.shape, opened.axes) == ((2, 8, 8), "ZYX")
    assert (opened.spacing, opened.origin) == ((2, 1, 0.5), (0, 2, 4))
    assert opened.units == ("micrometer",) * 3


def test_zarr_group_without_image(tmp_path: Path) -> None:
    """A group that is no image is refused, and its members are named."""
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("raw", shape=(2, 2), dtype="u1")
    with pytest.raises(ValueError, match="holds raw"):
        read_image(tmp_path / "a.zarr")
