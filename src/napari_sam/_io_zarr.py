"""Zarr arrays and OME-Zarr images, opened without loading them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._io_image import ImageFile, explained, unit_name

if TYPE_CHECKING:
    from pathlib import Path

_MARKERS = ("zarr.json", ".zarray", ".zgroup")
_AXES = "TCZYX"


def is_zarr(path: Path) -> bool:
    """Whether a directory is a zarr array or group."""
    return any((path / marker).is_file() for marker in _MARKERS)


def read_zarr(path: Path) -> ImageFile:
    """Open a zarr array, or the finest level of an OME-Zarr image; nothing is loaded.

    Axes of length 1 stay, as leaving them out would mean loading.

    Raises
    ------
    ValueError
        If it is a group without OME-Zarr metadata, or is damaged.
    """
    import zarr

    with explained(path, "zarr"):
        node = zarr.open(path, mode="r")
        attributes: dict[str, Any] = dict(node.attrs)
    if isinstance(node, zarr.Array):
        return _plain(node, attributes)
    # Version 0.5 keeps its metadata under "ome", earlier ones at the top.
    images = attributes.get("ome", attributes).get("multiscales")
    if not images:
        names = ", ".join(sorted(node)) or "nothing"
        raise ValueError(
            f"{path} must be a zarr array or an OME-Zarr image; it is a group that "
            f"holds {names}."
        )
    with explained(path, "OME-Zarr"):
        return _multiscale(node, images[0])


def _plain(array: Any, attributes: Mapping[str, Any]) -> ImageFile:
    named = array.metadata.to_dict().get("dimension_names")
    names = named or attributes.get("_ARRAY_DIMENSIONS") or ()
    axes = "".join(str(name).upper() for name in names)
    if len(axes) != array.ndim or not set(axes) <= set(_AXES):
        colour = array.ndim > 2 and array.shape[-1] in (3, 4) and array.dtype == "u1"
        planes = array.ndim - colour
        default = {2: "YX", 3: "ZYX", 4: "TZYX"}.get(planes, "Q" * (planes - 2) + "YX")
        axes = default[-planes:] + "C" * colour
    return ImageFile(array, axes, (1.0,) * (len(axes) - axes.endswith("C")))


def _multiscale(group: Any, image: Mapping[str, Any]) -> ImageFile:
    level = image["datasets"][0]
    array = group[level["path"]]
    # Version 0.3 has axes as plain strings, 0.1 and 0.2 have none and are TCZYX.
    axes: Sequence[Any] = image.get("axes", [*_AXES.lower()])
    described = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in axes]
    spacing, origin = np.ones(array.ndim), np.zeros(array.ndim)
    # First the level's own transforms, then those of the whole image.
    for transform in [
        *level.get("coordinateTransformations", ()),
        *image.get("coordinateTransformations", ()),
    ]:
        if transform["type"] == "scale":
            spacing, origin = (x * transform["scale"] for x in (spacing, origin))
        elif transform["type"] == "translation":
            origin = origin + transform["translation"]
    return ImageFile(
        array,
        "".join(str(axis["name"]).upper()[:1] for axis in described),
        tuple(spacing.tolist()),
        tuple(origin.tolist()),
        units=tuple(unit_name(axis.get("unit")) for axis in described),
    )
