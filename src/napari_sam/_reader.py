"""npe2 reader: medical volumes and annotations become layers with their place.

napari's world is (z, y, x) in millimetres here, that of DICOM, growing to superior,
posterior and left. napari cuts planes out of a layer only along its own axes. So an
orientation that is a mere flip of axes goes into the layer's affine, and a head
stands upright whichever way it was stored; any other (sagittal and coronal stacks,
oblique scans) is left out, and the layer is shown plane by plane as it was acquired.
Origin and direction are then in ``layer.metadata``, from where the writer takes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.io import (
    has_annotations,
    has_dicom,
    read_coco_images,
    read_geojson,
    read_image,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_sam.io import ImageFile

    LayerTuple = tuple[Any, dict[str, Any], str]

_ANNOTATIONS = (".json", ".geojson")
_EXTENSIONS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")
_LABEL_WORDS = ("label", "labels", "mask", "seg", "segmentation")


def get_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[LayerTuple]] | None:
    """Return a function that reads `path`, or None if this plugin does not.

    Parameters
    ----------
    path : str or list of str
        Files, or directories with a DICOM series.

    Returns
    -------
    callable or None
        Takes `path` and returns one layer tuple, (data, keywords, type), per file.
    """
    paths = [path] if isinstance(path, str) else path
    readable = all(_is_readable(Path(one)) for one in paths)
    return read_layers if readable and paths else None


def _is_readable(path: Path) -> bool:
    if path.is_dir():
        return has_dicom(path)
    if path.suffix.lower() in _ANNOTATIONS:
        return has_annotations(path)
    return path.name.lower().endswith(_EXTENSIONS)


def read_layers(path: str | Sequence[str]) -> list[LayerTuple]:
    """Read one layer per file, of COCO annotations one per image.

    Integer volumes whose name ends in label(s), mask, seg or segmentation become
    Labels layers, the others Image layers.

    Parameters
    ----------
    path : str or list of str
        Files, or directories with a DICOM series.

    Returns
    -------
    list of tuple
        (data, keywords, "image" or "labels").

    Raises
    ------
    ValueError
        As `napari_sam.io.read_image`.
    """
    paths = [path] if isinstance(path, str) else path
    return [layer for one in paths for layer in _read_file(Path(one))]


def _read_file(path: Path) -> list[LayerTuple]:
    if path.suffix.lower() == ".geojson":
        return [layer_tuple(read_geojson(path), path.stem, "labels")]
    if path.suffix.lower() == ".json":
        found = read_coco_images(path).items()
        return [layer_tuple(image, Path(name).stem, "labels") for name, image in found]
    return [_read_layer(path)]


def _read_layer(path: Path) -> LayerTuple:
    image = read_image(path)
    name = path.name.split(".")[0]
    last_word = name.lower().replace("-", "_").split("_")[-1]
    is_labels = last_word in _LABEL_WORDS and image.dtype.kind in "iu"
    kind = "labels" if is_labels and not image.axes.endswith("C") else "image"
    return layer_tuple(image, name, kind)


def layer_tuple(image: ImageFile, name: str, kind: str = "image") -> LayerTuple:
    """Describe an image to napari: data, what the layer is to be given, its type.

    Parameters
    ----------
    image : ImageFile
        What `napari_sam.io.read_image` returns.
    name : str
        Name of the layer.
    kind : {"image", "labels"}
        Type of the layer.

    Returns
    -------
    tuple
        (data, keywords, kind), as a napari reader returns it.
    """
    keywords: dict[str, Any] = {
        "name": name,
        "scale": image.spacing,
        "units": image.units,
    }
    if len(set(image.axes)) == image.ndim:
        keywords["axis_labels"] = tuple(image.axes.lower().removesuffix("c"))
    if image.is_rgb:
        keywords["rgb"] = True
    elif image.axes.endswith("C"):
        keywords["channel_axis"] = image.ndim - 1
    return image.data, keywords | _placement(image), kind


def _placement(image: ImageFile) -> dict[str, Any]:
    """Origin and direction, as far as napari can slice along the result."""
    direction = np.round(np.asarray(image.direction), 4) + 0.0
    if np.array_equal(direction, np.eye(len(direction))):
        return {"translate": image.origin}
    if np.array_equal(np.abs(direction), np.eye(len(direction))):
        affine = np.eye(len(direction) + 1)
        affine[:-1, :-1] = direction
        affine[:-1, -1] = image.origin
        return {"affine": affine}
    return {"metadata": {"origin": image.origin, "direction": image.direction}}
