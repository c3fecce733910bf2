"""Images and their labels to learn from: arrays, layers, folders, COCO files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_sam import transforms
from napari_sam.io import read_coco_images, read_image, read_labels
from napari_sam.stack_axes import check_image

TrainingData: TypeAlias = str | os.PathLike[str] | Sequence[tuple[Any, Any]]
"""A folder, a COCO file, or pairs of image and labels (arrays or layers)."""

MOST_PLANES = 64
"""Labelled planes of a volume that are used, evenly spaced."""
# Planes of a stack that its contrast is chosen from.
CONTRAST_PLANES = 5
IMAGE_FOLDERS, LABEL_FOLDERS = ("images", "image"), ("labels", "masks", "label", "mask")
LABEL_ENDINGS = ("_labels", "_label", "_masks", "_mask", "-labels")


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One plane and its labels.

    Parameters
    ----------
    pixels : ndarray of shape (H, W) or (H, W, 3), uint8
        As SAM sees it.
    labels : ndarray of shape (H, W), int
        0 is background; every other value is one object.
    group : str
        The image or volume it comes from; planes of one volume share it.
    name : str
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.integer[Any]]
    group: str
    name: str

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.labels.shape[0], self.labels.shape[1]


def labelled_images(data: TrainingData) -> list[LabelledImage]:
    """Collect what there is to learn from.

    Parameters
    ----------
    data : path, or sequence of (image, labels)
        A folder: ``images/`` and ``labels/`` with files of equal names, or
        ``x.tif`` beside ``x_labels.tif``, or ``.npz`` files with ``image`` and
        ``label``. A COCO ``.json`` file, its images beside it or in ``images/``.
        Pairs: arrays (numpy, dask, zarr), napari layers or files; 2D or stacks, the
        last two axes being rows and columns, with or without colour.

    Returns
    -------
    list of LabelledImage
        Planes without labels are left out.

    Raises
    ------
    ValueError
        If nothing is labelled, an image has no labels or the shapes do not fit.
    """
    if isinstance(data, (str, os.PathLike)):
        found = list(_read_path(Path(data).expanduser()))
        where = str(data)
    else:
        if isinstance(data, np.ndarray) or not isinstance(data, Sequence):
            raise ValueError(
                "data must be a folder, a COCO file or a list of (image, labels) "
                f"pairs, got {type(data).__name__}."
            )
        found = []
        for i, pair in enumerate(data):
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise ValueError(f"data[{i}] must be a pair (image, labels).")
            found += planes_of(pair[0], pair[1], _name(pair[0], f"image {i}"))
        where = "the data"
    if not found:
        raise ValueError(f"{where} must hold images with labelled objects, got none.")
    return found


def _name(image: Any, default: str) -> str:
    if isinstance(image, (str, os.PathLike)):
        return str(image)
    # Two layers may have one name; the number keeps their groups apart.
    return f"{default} {getattr(image, 'name', '')}".strip()


def planes_of(image: Any, labels: Any, name: str) -> list[LabelledImage]:
    """Split an image and its labels into labelled planes, all of one group.

    Parameters
    ----------
    image, labels : array, napari layer or path
    name : str

    Raises
    ------
    ValueError
        If they are no image and labels, or their shapes do not fit.
    """
    pixels, limits = _image_array(image)
    marks = _label_array(labels, name)
    if pixels.ndim == marks.ndim + 1 and pixels.shape[-1] <= 4:
        # Two channels are grey and alpha, or a pair of which the first is shown.
        pixels = pixels[..., 0] if pixels.shape[-1] < 3 else pixels[..., :3]
    if pixels.shape[: marks.ndim] != marks.shape or pixels.ndim > marks.ndim + 1:
        raise ValueError(
            f"labels of {name} must have the image's shape {pixels.shape}, "
            f"got {marks.shape}."
        )
    sliced = marks.shape[:-2]
    indices = [i for i in np.ndindex(*sliced) if np.any(marks[i])]
    if len(indices) > MOST_PLANES:
        kept = np.linspace(0, len(indices) - 1, MOST_PLANES).round().astype(int)
        indices = [indices[i] for i in kept]
    if indices and limits is None:
        step = math.ceil(len(indices) / CONTRAST_PLANES)
        some = (np.asarray(pixels[i]) for i in indices[::step])
        limits = transforms.default_contrast_limits(*some)
    return [
        LabelledImage(
            transforms.stretch(np.asarray(pixels[i]), limits),
            np.asarray(marks[i]),
            name,
            f"{name} {','.join(map(str, i))}".strip(),
        )
        for i in indices
    ]


def _image_array(image: Any) -> tuple[Any, transforms.ContrastLimits | None]:
    """Array of an image, and the contrast it is displayed with if it is a layer."""
    if isinstance(image, (str, os.PathLike)):
        return read_image(image).data, None
    limits = getattr(image, "contrast_limits", None)
    array = _unwrapped(image)
    checked = check_image(array)
    if len(checked.shape) < 2:
        raise ValueError(f"an image must have at least 2 axes, got {checked.shape}.")
    # SAM sees 8 bit as they are, unless the user has stretched them in the viewer.
    is_colour = getattr(image, "rgb", False)
    if limits is None or is_colour:
        return array, None
    return array, transforms.check_contrast_limits(limits)


def _label_array(labels: Any, name: str) -> Any:
    if isinstance(labels, (str, os.PathLike)):
        return read_labels(labels).data
    array = _unwrapped(labels)
    kind = np.dtype(getattr(array, "dtype", object)).kind
    if kind not in "biu" or len(array.shape) < 2:
        raise ValueError(
            f"labels of {name} must be integers with at least 2 axes, got "
            f"{getattr(array, 'dtype', type(array).__name__)}."
        )
    return array


def _unwrapped(source: Any) -> Any:
    """Array of a layer (of a multiscale one the finest), or what was given."""
    if isinstance(source, np.ndarray) or not hasattr(source, "data"):
        return source
    if getattr(source, "multiscale", False):
        return source.data[0]
    return source.data


def _read_path(path: Path) -> Iterator[LabelledImage]:
    if path.suffix.lower() == ".json" and path.is_file():
        yield from _read_coco(path)
        return
    if not path.is_dir():
        raise ValueError(f"data must be a folder or a COCO .json file, got {path}.")
    for stored in sorted(path.glob("*.npz")):
        yield from _read_npz(stored)
    for image, labels in _file_pairs(path):
        yield from planes_of(image, labels, image.name)


def _read_npz(path: Path) -> list[LabelledImage]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            names = set(stored.files)
            label = "labels" if "labels" in names else "label"
            image, labels = stored["image"], stored[label]
    except Exception:  # what numpy raises depends on which bytes are damaged
        raise ValueError(f"{path} must hold the arrays image and label.") from None
    return planes_of(image, labels, path.name)


def _file_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Files of images and of their labels, by name."""
    subfolders = {p.name.lower(): p for p in folder.iterdir() if p.is_dir()}
    images = next((subfolders[n] for n in IMAGE_FOLDERS if n in subfolders), None)
    labels = next((subfolders[n] for n in LABEL_FOLDERS if n in subfolders), None)
    if images is not None and labels is not None:
        marked = {_stem(p).removesuffix(e): p for p in _files(labels) for e in _ends(p)}
        files = _files(images)
        missing = [p.name for p in files if _stem(p) not in marked]
        if missing:
            raise ValueError(f"{labels} has no labels for the image {missing[0]}.")
        return [(p, marked[_stem(p)]) for p in files]
    named = {_stem(p): p for p in _files(folder)}
    return [
        (named[stem.removesuffix(end)], p)
        for stem, p in named.items()
        for end in _ends(p)
        if end and stem.removesuffix(end) in named
    ]


def _ends(path: Path) -> list[str]:
    """Return the ending that marks a file as labels, or an empty one."""
    return [e for e in LABEL_ENDINGS if _stem(path).endswith(e)][:1] or [""]


def _files(folder: Path) -> list[Path]:
    known = (".npz", ".json", ".txt", ".csv", ".md")
    return sorted(
        p
        for p in folder.iterdir()
        if not p.name.startswith(".")
        and not p.name.lower().endswith(known)
        and (p.is_file() or p.name.lower().endswith(".zarr"))
    )


def _stem(path: Path) -> str:
    """Name without its ending; .nii.gz and .ome.tif are one ending."""
    stem = path.stem
    for inner in (".nii", ".ome"):
        stem = stem.removesuffix(inner)
    return stem


def _read_coco(path: Path) -> Iterator[LabelledImage]:
    """Images of a COCO file; of overlapping objects the smaller one is on top."""
    for name, labels in read_coco_images(path).items():
        if not np.any(labels.data):
            continue
        places = (path.parent / name, path.parent / "images" / name)
        file = next((p for p in places if p.exists()), places[0])
        yield from planes_of(file, labels, name)


def split_groups(
    images: Sequence[LabelledImage], fraction: float, seed: int
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Split into images to train on, and images held out, whole groups together.

    Parameters
    ----------
    images : sequence of LabelledImage
    fraction : float
        Of the groups to hold out: at least one, but not the last one. 0 is none.
    seed : int

    Returns
    -------
    tuple of list of LabelledImage
    """
    groups = sorted({one.group for one in images})
    count = 0 if fraction == 0 else max(1, round(fraction * len(groups)))
    count = min(count, len(groups) - 1)
    chosen = np.random.default_rng(seed).permutation(len(groups))[:count]
    out = {groups[i] for i in chosen}
    return (
        [one for one in images if one.group not in out],
        [one for one in images if one.group in out],
    )
